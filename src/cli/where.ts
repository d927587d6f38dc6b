// Who, what and where, as `writ freeze` and `writ contain` take it: NAME=VALUE, each once, all of which must hold.
import { SELECTOR_MEMBERS, type SelectorMember } from '../domain/selector.ts'
import type { FreezeAnswer } from '../http/wire.ts'
import { closest, type Options } from './arguments.ts'
import { ticketOf } from './asking.ts'
import type { Context } from './command.ts'
import { usage } from './failure.ts'

export const WHERE_HELP = `NAME is one of ${SELECTOR_MEMBERS.slice(0, 7).join(', ')},
${SELECTOR_MEMBERS.slice(7).join(', ')};
a ticket is SYSTEM:ID, issuedBefore a time such as 2026-11-25T22:00:00Z.`

export const WHERE_OPTION: Options = {
  where: { takes: 'many', value: 'NAME=VALUE', help: 'who, what or where; may be repeated' },
}

const isMember = (name: string): name is SelectorMember => (SELECTOR_MEMBERS as readonly string[]).includes(name)

/** What all the --where say together. */
export function whereIn({ given }: Context): Readonly<Record<string, unknown>> {
  const where = new Map<string, unknown>()
  for (const text of given.many('where')) {
    const [, name = '', value = ''] = /^([A-Za-z]+)=(.+)$/.exec(text) ?? []
    if (name === '') throw usage('--where takes NAME=VALUE, such as target=payments-db.')
    if (!isMember(name)) {
      const close = closest(name, SELECTOR_MEMBERS)
      throw usage(
        `Nothing is found by ${name}.`,
        close === undefined ? `Name one of: ${SELECTOR_MEMBERS.join(', ')}.` : `Did you mean --where ${close}=?`,
      )
    }
    if (where.has(name)) throw usage(`--where ${name} is here twice; two of them say "one or the other".`)
    where.set(name, name === 'ticket' ? ticketOf(value) : value)
  }
  if (where.size === 0) throw usage('Name who, what or where: --where NAME=VALUE.', 'See --help.')
  return Object.fromEntries(where)
}

export const whereShown = ({ ticket, ...plain }: FreezeAnswer['where']): string =>
  [...Object.entries(plain), ...(ticket === undefined ? [] : [['ticket', `${ticket.system}:${ticket.id}`] as const])]
    .flatMap(([name, value]) => (value === undefined ? [] : `${name}=${value}`))
    .join(' ')
