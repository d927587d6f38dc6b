// `writ list`: grants, one to a line, newest first.
import { listAnswer } from '../http/wire.ts'
import type { Options } from './arguments.ts'
import type { Command, Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { table } from './facts.ts'
import { usage } from './failure.ts'
import { statusShown } from './show-grant.ts'
import { shown } from './shown.ts'

/** Filters that go to the broker under a name of its own. */
const FILTERS: Readonly<Record<string, string>> = {
  status: 'status',
  tenant: 'tenant',
  entitlement: 'entitlement',
  target: 'target',
  ticket: 'ticket',
  task: 'task',
  session: 'session',
  from: 'filedFrom',
  to: 'filedTo',
  cursor: 'cursor',
}
const OPTIONS: Options = {
  mine: { takes: 'flag', help: 'what you asked for, execute or answer for (the default)' },
  waiting: { takes: 'flag', help: 'what waits for your decision' },
  all: { takes: 'flag', help: 'everything that you may see' },
  status: {
    takes: 'text',
    value: 'STATUS',
    help: 'one or several, joined by commas: pending,approved,active,ending,stuck,ended …',
  },
  tenant: { takes: 'text', value: 'NAME', help: 'whose target it is' },
  entitlement: { takes: 'text', value: 'NAME', help: 'what was asked for' },
  target: { takes: 'text', value: 'NAME', help: 'of this target' },
  ticket: { takes: 'text', value: 'SYSTEM:ID', help: 'of this change ticket' },
  task: { takes: 'text', value: 'ID', help: 'of this task' },
  session: { takes: 'text', value: 'ID', help: 'of this run or session' },
  from: { takes: 'text', value: 'TIME', help: 'filed at this time or later, such as 2026-03-01T00:00:00Z' },
  to: { takes: 'text', value: 'TIME', help: 'filed before this time' },
  limit: { takes: 'text', value: 'N', help: 'how many, at most 100 (default 20)' },
  cursor: { takes: 'text', value: 'CURSOR', help: 'go on where the page before ended' },
}

export const list: Command = {
  name: 'list',
  summary: 'grants: yours, those that wait for you, or all you may see',
  usage: '[--mine | --waiting | --all] [filters]',
  about: `One grant to a line, newest first. Filters may be combined. Where more follow, the last line says how to go on; with --json that is
the member \`next\`, and one page is one answer of the broker, which may hold fewer than the limit.`,
  examples: [
    'writ list',
    'writ list --waiting',
    'writ list --all --status active,ending,stuck --ticket servicenow:CHG0031337',
  ],
  options: OPTIONS,
  words: [0, 0],
  run: async (context) => {
    const { given, note, paint } = context
    const limit = Number(given.text('limit') ?? 20)
    const client = await context.client()
    const query = queryOf(context)
    const first = await client.get(`/v1/grants?${query}`, listAnswer)
    const grants = [...first.value.grants]
    let { next } = first.value
    // A page may come back short or empty though more follow; a person wants the number that was asked for.
    while (!context.json && next !== undefined && grants.length < limit) {
      query.set('cursor', next)
      query.set('limit', String(limit - grants.length))
      const { value } = await client.get(`/v1/grants?${query}`, listAnswer)
      grants.push(...value.grants)
      next = value.next
    }
    context.sayJson(first.raw)
    if (context.json) return EXIT.ok
    if (grants.length === 0) note(shown`No grant fits.`)
    else
      table(
        context,
        ['ID', 'STATUS', 'WINDOW CLOSES', 'REQUESTER', 'ENTITLEMENT', 'SUMMARY'],
        grants.map((grant) => [
          shown`${grant.id}`,
          statusShown(grant, paint),
          grant.intent.window.closesAt,
          grant.intent.requester,
          grant.intent.entitlement,
          grant.texts.summary,
        ]),
      )
    if (next !== undefined) note(shown`More follow: the same with --cursor ${next}`)
    return EXIT.ok
  },
}

export function queryOf({ given }: Pick<Context, 'given'>): URLSearchParams {
  const whose = ['mine', 'waiting', 'all'].filter((name) => given.has(name))
  if (whose.length > 1) throw usage(`--${whose.join(' and --')} together say nothing; give one of them.`)
  const limit = given.text('limit') ?? '20'
  if (!/^\d{1,3}$/.test(limit) || Number(limit) < 1 || Number(limit) > 100)
    throw usage('--limit takes a number from 1 to 100.')
  const query = new URLSearchParams({ limit })
  const [which = 'mine'] = whose
  if (which !== 'all') query.set(which, 'true')
  for (const [option, name] of Object.entries(FILTERS)) {
    const value = given.text(option)
    if (value !== undefined) query.set(name, value)
  }
  return query
}
