// `writ entitlements`: what you may ask for, and under which conditions.
import { entitlementsAnswer } from '../http/wire.ts'
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { counted, facts } from './facts.ts'
import { Failure } from './failure.ts'
import { endFacts, ruleInWords } from './show-grant.ts'
import { shown } from './shown.ts'

export const entitlements: Command = {
  name: 'entitlements',
  summary: 'what you may ask for',
  usage: '[NAME]',
  about:
    'Lists the entitlements that you may ask for: target, actions, who approves, how long at most. With a NAME, that one alone.',
  examples: ['writ entitlements', 'writ entitlements payments-migrator --json'],
  options: {},
  words: [0, 1],
  run: async (context) => {
    const { given, say, note, paint } = context
    const [name] = given.words
    const { value, raw } = await (await context.client()).get('/v1/entitlements', entitlementsAnswer)
    const wanted = value.entitlements.filter(({ id }) => name === undefined || id === name)
    if (name !== undefined && wanted.length === 0)
      throw new Failure(EXIT.missing, `You may not ask for ${name}, or there is no such entitlement.`, {
        next: 'writ entitlements',
      })
    context.sayJson(name === undefined ? raw : { entitlements: wanted })
    if (wanted.length === 0) note(shown`There is nothing that you may ask for here.`)
    for (const one of wanted) {
      const { target, limits, credential } = one
      say(shown`${paint.bold(one.id)}  ${one.title}`)
      facts(context, [
        ['target', `${target.id} in ${target.environment}, of ${one.tenant}`],
        [
          'actions',
          Object.entries(one.actions)
            .map(([action, kind]) => `${action} (${kind})`)
            .join(', '),
        ],
        ['scope', one.scopes.join(', ')],
        ['tier', one.tier],
        ['approval', ruleInWords(one.approval)],
        [
          'credential',
          credential.sender === 'dpop'
            ? 'a token, bound to your key'
            : credential.kind === 'jwt'
              ? 'a token'
              : 'made at a backend, for this grant alone',
        ],
        ...endFacts(one),
        ['limits', `${limits.maxDuration} long, opening within ${limits.horizon}, ${counted(limits.maxUses, 'use')}`],
        [
          'needs',
          [...(one.ticketRequired ? ['a change ticket'] : []), ...(one.planRequired ? ['a plan'] : [])].join(', '),
        ],
      ])
    }
    return EXIT.ok
  },
}
