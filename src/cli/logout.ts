// `writ logout`: forgets the login here, and has the identity provider end what it would still accept.
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { shown } from './shown.ts'

export const logout: Command = {
  name: 'logout',
  summary: 'forget the login at a broker',
  usage: '',
  about: `Removes the tokens of the broker in use from this machine and revokes them at the identity provider where it can. The key that
your credentials are bound to stays: grants that you asked for need it.`,
  examples: ['writ logout', 'writ logout --broker https://writ.example'],
  options: {},
  words: [0, 0],
  run: async (context) => {
    const { profiles, say, note } = context
    const broker = context.brokerUrl()
    const login = profiles.login(broker)
    const was = profiles.forget(broker)
    if (login !== undefined) {
      const { revoke } = await import('./identity-provider.ts')
      const ended = await revoke(login).catch(() => false)
      if (!ended) note(shown`The identity provider was not told; its tokens end by themselves.`)
    }
    context.sayJson({ broker, was })
    say(was ? shown`Logged out at ${broker}.` : shown`You were not logged in at ${broker}.`)
    return EXIT.ok
  },
}
