// `writ login`: asks the broker where persons log in, logs in there, and keeps what came of it only if the broker knows that person.
import { z } from 'zod'
import { whoamiAnswer } from '../http/wire.ts'
import { brokerAt, brokerClient, reach } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import type { Place } from './identity-provider.ts'
import { shown } from './shown.ts'

export const login: Command = {
  name: 'login',
  summary: 'log in at a broker, in the browser or with a code',
  usage: '[URL] [--device]',
  about: `Opens the login of the broker's identity provider in your browser (authorization code with PKCE on a loopback port); the address
is printed too. With --device it shows a code that you confirm on another device. The tokens are kept in a file that only you can read,
one per broker; the broker used last is the one that later commands talk to. A pipeline does not log in: it gives its token with
--token-file FILE or WRIT_TOKEN.`,
  examples: ['writ login https://writ.example', 'writ login https://writ.example --device'],
  options: { device: { takes: 'flag', help: 'no browser here: confirm a code on another device' } },
  words: [0, 1],
  run: async (context) => {
    const { given, machine, profiles, paint } = context
    const [url] = given.words
    const broker = url === undefined ? context.brokerUrl() : brokerAt(url)
    const place = await placeOf(broker)
    const provider = await import('./identity-provider.ts')
    const by = given.has('device') ? provider.loginByDevice : provider.loginByBrowser
    const got = await by(place, (address, code) => show(context, address, code), machine)
    const waiting = () => undefined
    const token = async () => got.accessToken
    const client = brokerClient({ broker, machine, token, key: () => profiles.key(broker), waiting })
    const { value, raw } = await client.get('/v1/whoami', whoamiAnswer)
    profiles.keep(got)
    context.sayJson(raw)
    context.say(shown`Logged in at ${broker} as ${paint.bold(value.principal)} of ${value.tenant}.`)
    return EXIT.ok
  },
}

async function show({ tell, machine }: Context, address: string, code: string | undefined): Promise<void> {
  if (code !== undefined) tell(shown`Your code: ${code}`)
  tell(shown`${code === undefined ? 'Log in here:' : 'Confirm it here:'} ${address}`)
  // Only somebody who sits here has a browser here.
  if (code === undefined && machine.terminal.errors) await machine.browse(address)
}

const Metadata = z.object({
  issuer: z.string(),
  writ_login: z.object({ issuer: z.url(), client_id: z.string(), scope: z.string(), resource: z.string() }).optional(),
})

async function placeOf(broker: string): Promise<Place> {
  const response = await reach(broker, '/.well-known/oauth-authorization-server', {
    signal: AbortSignal.timeout(15_000),
  })
  const read = Metadata.safeParse(response.ok ? await response.json().catch(() => undefined) : undefined)
  if (!read.success)
    throw new Failure(EXIT.refused, `${broker} does not answer as a broker does (${response.status}).`, {
      next: 'Check the address.',
    })
  const { issuer, writ_login: at } = read.data
  // RFC 8414 §3.3. Proofs name the public URL, so another address of the same broker would not do later either.
  if (issuer !== broker)
    throw new Failure(EXIT.refused, `The broker at ${broker} calls itself ${issuer}.`, { next: `writ login ${issuer}` })
  if (at === undefined)
    throw new Failure(EXIT.refused, `${broker} names no place where persons log in.`, {
      next: 'Its operator sets `cli` in issuers.yaml; until then give a token with --token-file FILE or WRIT_TOKEN.',
    })
  return { broker, issuer: at.issuer, clientId: at.client_id, scope: at.scope, resource: at.resource }
}
