// `writ contain`: end whatever an attacker may hold, let nothing new through, and see it done. Invariant: "done" is said of what has ended and is
// confirmed, and of nothing else; until then the exit code is 6. A broker that dies meanwhile ends the watching as little as the work.
import type { z } from 'zod'
import { isFreezeId } from '../domain/ids.ts'
import {
  type ContainmentAnswer,
  containedAnswer,
  containmentAnswer,
  countedAnswer,
  STAGES_SHOWN,
} from '../http/wire.ts'
import type { Client } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { counted, facts, table } from './facts.ts'
import { Failure, usage } from './failure.ts'
import { reasonIn } from './freeze.ts'
import { type Shown, shown, visible } from './shown.ts'
import { waitSeconds } from './wait.ts'
import { WHERE_HELP, WHERE_OPTION, whereIn, whereShown } from './where.ts'

export const contain: Command = {
  name: 'contain',
  summary: 'end whatever matches, let nothing new through, and watch until it is confirmed',
  usage: '--where NAME=VALUE … --reason TEXT [--dry-run] | show ID | grants ID [--stage STAGE]',
  about: `From the first answer on nothing that matches is asked, approved or exchanged, and no token of it holds at introspection; what matched is dead
for ever, also after the freeze is lifted (writ freeze lift ID). Then everything that was handed out is ended at its backend, and this command
shows how far that is until the last end is confirmed. Ctrl-C stops the watching, not the containment: writ contain show ID goes on watching.
Every --where must hold. It concerns the targets and the requesters of your own tenant alone. The SOC may do this.
${WHERE_HELP}`,
  examples: [
    'writ contain --where agent=triage-agent --reason "INC0012346" --dry-run',
    'writ contain --where agent=triage-agent --reason "INC0012346"',
    'writ contain --where sponsor=sam --where issuedBefore=2026-11-25T22:00:00Z --reason "INC0012347" --no-freeze',
    'writ contain grants f-7xk2m4q6s2u3w5y7a2c4e6g3i5 --stage failing',
  ],
  options: {
    ...WHERE_OPTION,
    reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' },
    'dry-run': { takes: 'flag', help: 'count what would be ended, by kind and status; do nothing' },
    'no-freeze': { takes: 'flag', help: 'end what is there, and let what is asked from now on be judged as ever' },
    'no-wait': { takes: 'flag', help: 'do not watch: exit code 6 while anything is unconfirmed' },
    wait: { takes: 'maybe', value: 'SECONDS', help: 'watch for so long at most; an hour where it is not said' },
    stage: { takes: 'text', value: 'STAGE', help: `grants: only those that are ${STAGES_SHOWN.join(', ')}` },
  },
  words: [0, 2],
  run: async (context) => {
    const [what, id, ...more] = context.given.words
    if (what === undefined) return context.given.has('dry-run') ? count(context) : put(context)
    if (what === 'show' && id !== undefined && more.length === 0)
      return watch(context, await context.client(), idIn(id))
    if (what === 'grants' && id !== undefined && more.length === 0) return grants(context, idIn(id))
    throw usage(`writ contain ${contain.usage}`, 'See writ contain --help.')
  },
}

/** One that cannot be a containment's never leaves this machine: it would be part of a path. */
function idIn(id: string): string {
  if (isFreezeId(id)) return id
  throw usage(`${visible(id)} is not the id of a containment.`, 'writ freeze list shows the ids.')
}

async function count(context: Context): Promise<ExitCode> {
  const body = { where: whereIn(context), reason: context.given.text('reason') ?? '' }
  const client = await context.client()
  const { value, raw } = await client.post('/v1/containments?dryRun=true', body, countedAnswer, { again: 'safe' })
  context.sayJson(raw)
  context.say(shown`${counted(value.matched, 'grant')} would be ended: ${whereShown(body.where)}`)
  if (value.matched > 0)
    table(
      context,
      ['KIND', 'STATUS', 'COUNT'],
      value.kinds.map(({ kind, status, count: many }) => [kind, status, String(many)]),
    )
  if (value.residueUntil !== undefined)
    facts(context, [['residue until', shown`${value.residueUntil}, where somebody does not ask the broker`]])
  if (!value.complete)
    context.note(shown`Some records cannot be read; they are not counted, and would not be called ended.`)
  context.note(shown`Nothing was done.`)
  return EXIT.ok
}

async function put(context: Context): Promise<ExitCode> {
  const freeze = !context.given.has('no-freeze')
  const body = { where: whereIn(context), reason: reasonIn(context), freeze }
  const client = await context.client()
  const { value } = await client.post('/v1/containments', body, containmentAnswer, { again: 'safe' })
  context.note(
    shown`${value.id}  nothing that matches is given out or holds at introspection from now on; ending what was handed out …`,
  )
  return watch(context, client, value.id, value)
}

const LOOK_EVERY_MS = 500
/** Where nothing can be overwritten, one line in so long. */
const TELL_EVERY_MS = 5_000
const DEFAULT_WAIT_S = 3_600

async function watch(context: Context, client: Client, id: string, first?: ContainmentAnswer): Promise<ExitCode> {
  const { machine, progress } = context
  const seconds = context.given.has('no-wait') ? 0 : (waitSeconds(context) ?? DEFAULT_WAIT_S)
  const end = machine.now() + seconds * 1_000
  let told = machine.now()
  let seen: { readonly value: ContainmentAnswer; readonly raw: unknown } | undefined =
    first === undefined ? undefined : { value: first, raw: first }
  try {
    for (;;) {
      seen = (await look(context, client, id)) ?? seen
      if (seen?.value.done === true || machine.now() >= end) break
      if (seen !== undefined) {
        progress(shown`${howFar(seen.value)}  (Ctrl-C stops the watching, not the containment)`)
        if (machine.now() - told >= TELL_EVERY_MS) {
          told = machine.now()
          context.note(howFar(seen.value))
        }
      }
      await machine.pause(LOOK_EVERY_MS, machine.interrupted)
    }
  } finally {
    progress(undefined)
  }
  if (seen === undefined)
    throw new Failure(EXIT.unavailable, 'The broker did not answer in time.', {
      next: `Try again: writ contain show ${id}`,
    })
  context.sayJson(seen.raw)
  report(context, seen.value)
  return seen.value.done ? EXIT.ok : EXIT.notYet
}

/** Undefined where the broker does not answer now: whoever ends goes on all the same, and so does the watching. */
async function look(context: Context, client: Client, id: string) {
  try {
    return await client.get(`/v1/containments/${id}`, containmentAnswer)
  } catch (thrown) {
    if (!(thrown instanceof Failure) || thrown.exit !== EXIT.unavailable) throw thrown
    context.note(shown`${thrown.message} The containment holds; looking again …`)
    return undefined
  }
}

function howFar({ progress: at, etaSeconds }: ContainmentAnswer): Shown {
  const over = at.ended + at.stopped
  const failing = at.failing === 0 ? '' : `, ${at.failing} failing`
  const left = etaSeconds === undefined ? '' : `, about ${etaSeconds} s${at.walked < at.walks ? ' or more' : ''} left`
  const walking = at.walked < at.walks ? `, still looking (${at.walked} of ${at.walks})` : ''
  return shown`${over} of ${at.matched} over and confirmed, ${at.ending} ending${failing}${walking}${left}`
}

function report(context: Context, { id, freeze, done, progress: at, residueUntil }: ContainmentAnswer): void {
  const { say, paint, note } = context
  say(shown`${id}  ${done ? paint.good('done') : paint.warn('not confirmed yet')}  ${whereShown(freeze.where)}`)
  facts(context, [
    ['matched', at.matched],
    ['ended', at.ended],
    ['stopped', at.stopped === 0 ? '' : shown`${at.stopped}, of which nothing had been handed out`],
    ['ending', at.ending === 0 ? '' : paint.warn(String(at.ending))],
    ['failing', at.failing === 0 ? '' : paint.bad(String(at.failing))],
    ['unreadable', at.unreadable === 0 ? '' : paint.bad(String(at.unreadable))],
    ['residue until', residueUntil === undefined ? '' : shown`${residueUntil}, where somebody does not ask the broker`],
    ['freeze', freeze.lifted === undefined ? shown`in force: writ freeze lift ${id}` : 'none, or lifted'],
  ])
  if (at.failing > 0) note(shown`writ contain grants ${id} --stage failing says of each what its last try said.`)
  else if (!done) note(shown`What is not confirmed may still work. writ contain show ${id}`)
}

type Row = z.infer<typeof containedAnswer>['grants'][number]

async function grants(context: Context, id: string): Promise<ExitCode> {
  const stage = context.given.text('stage')
  if (stage !== undefined && !(STAGES_SHOWN as readonly string[]).includes(stage))
    throw usage(`--stage is one of ${STAGES_SHOWN.join(', ')}.`)
  const client = await context.client()
  const rows: Row[] = []
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({
      ...(stage === undefined ? {} : { stage }),
      ...(cursor === undefined ? {} : { cursor }),
    })
    const path = `/v1/containments/${id}/grants${query.size === 0 ? '' : `?${query}`}`
    const { value, raw } = await client.get(path, containedAnswer)
    context.sayJson(raw)
    rows.push(...value.grants)
    cursor = value.next
  } while (cursor !== undefined)
  if (rows.length === 0) context.note(shown`No grant is in that stage.`)
  else
    table(
      context,
      ['GRANT', 'STAGE', 'STATUS', 'WHAT WAS SAID'],
      rows.map((row) => [row.id, row.stage, row.status ?? 'archived', saidOf(row)]),
    )
  return EXIT.ok
}

const saidOf = ({ confirmation, lastError, attempts }: Row): string =>
  confirmation?.answer ?? (lastError === undefined ? '' : `${lastError}, ${counted(attempts ?? 0, 'attempt')}`)
