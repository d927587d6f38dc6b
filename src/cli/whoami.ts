// `writ whoami`: who the broker says you are.
import { whoamiAnswer } from '../http/wire.ts'
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { facts } from './facts.ts'
import { shown } from './shown.ts'

export const whoami: Command = {
  name: 'whoami',
  summary: 'who the broker says you are',
  usage: '',
  about:
    'Shows your principal, tenant, groups and, for a workload or an agent, who answers for it: as the people directory has it.',
  examples: ['writ whoami', 'writ whoami --json'],
  options: {},
  words: [0, 0],
  run: async (context) => {
    const client = await context.client()
    const { value, raw } = await client.get('/v1/whoami', whoamiAnswer)
    context.sayJson(raw)
    const { principal, kind, tenant, groups, sponsors, session } = value
    facts(context, [
      ['principal', shown`${context.paint.bold(principal)} (${kind})`],
      ['tenant', tenant],
      ['groups', groups.join(', ')],
      ['sponsors', sponsors.join(', ')],
      ['session', session],
      ['broker', client.broker],
    ])
    return EXIT.ok
  },
}
