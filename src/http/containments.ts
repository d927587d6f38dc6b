// The containments of `/v1`: from parsed bodies to verbs and back, and how far one is, once or as a stream. Who may contain what is the verbs' to say.
import type { z } from 'zod'
import type { Broker, ContainedOne, Containment, Counted } from '../broker/broker.ts'
import type { Stage } from '../domain/containment.ts'
import { formatInstant, type Instant } from '../domain/instant.ts'
import { type Answer, json } from './endpoint.ts'
import { eventStream, type Look, wantsEvents } from './event-stream.ts'
import { freezeIdOf, selectorOf, showFreeze } from './freezes.ts'
import type { Call } from './grants.ts'
import { showConfirmation } from './show.ts'
import type { Waiters } from './wait.ts'
import type {
  ContainmentBody,
  containedAnswer,
  containedQuery,
  containmentAnswer,
  containQuery,
  countedAnswer,
} from './wire.ts'

interface ContainmentsPorts {
  readonly broker: Pick<Broker, 'contain' | 'containment' | 'contained' | 'countContained'>
  readonly waiters: Waiters
  nowToShow(): Instant
}

/** 202: the denial holds, and the ends behind it are under way. */
export async function contain(
  p: ContainmentsPorts,
  { caller, body, query }: Call<ContainmentBody, z.infer<typeof containQuery>>,
): Promise<Answer> {
  const selector = selectorOf(body.where)
  if (query.dryRun === true)
    return json(200, showCounted(await p.broker.countContained(caller, selector), p.nowToShow()))
  const made = await p.broker.contain(caller, selector, body.reason, { freezes: body.freeze })
  return json(202, showContainment(made, p.nowToShow()))
}

/** How far it is; as a stream, at each change until it is done. */
export async function show(p: ContainmentsPorts, { caller, incoming }: Call<unknown, unknown>): Promise<Answer> {
  const id = freezeIdOf(incoming)
  if (!wantsEvents(incoming)) return json(200, showContainment(await p.broker.containment(caller, id), p.nowToShow()))
  const look = async (seen: string): Promise<Look> => {
    const shown = showContainment(await p.broker.containment(caller, id), p.nowToShow())
    const { progress, done } = shown
    // What is to be told again has changed; how long it takes is only an estimate.
    const next = Object.values(progress).join('.')
    const messages = next === seen ? [] : [{ id: next, event: done ? 'done' : 'progress', data: shown }]
    return { messages, next, over: done }
  }
  return eventStream(p.waiters, caller.principal.id, await look(''), look)
}

const STAGE_NAMED = { ending: 'ending', failing: 'stuck', stopped: 'stopped', ended: 'ended' } as const
const NAME_OF = { ending: 'ending', stuck: 'failing', stopped: 'stopped', ended: 'ended' } as const satisfies Record<
  Stage,
  string
>

/** What became of each grant. */
export async function contained(
  p: ContainmentsPorts,
  { caller, incoming, query }: Call<unknown, z.infer<typeof containedQuery>>,
): Promise<Answer> {
  const stage = query.stage && STAGE_NAMED[query.stage]
  const { grants, next } = await p.broker.contained(caller, freezeIdOf(incoming), { stage, cursor: query.cursor })
  return json(200, {
    grants: grants.map(showOne),
    ...(next === undefined ? {} : { next }),
  } satisfies z.infer<typeof containedAnswer>)
}

function showOne({ id, stage, grant }: ContainedOne): z.infer<typeof containedAnswer>['grants'][number] {
  const head = grant?.head
  return {
    id,
    stage: NAME_OF[stage],
    ...(head === undefined ? {} : { status: head.status }),
    ...(head?.status === 'ended'
      ? {
          outcome: head.facts.outcome,
          confirmation: showConfirmation(head.facts.confirmation),
          residueUntil: formatInstant(head.facts.residueUntil),
        }
      : {}),
    ...(head?.status === 'ending' || head?.status === 'stuck'
      ? { attempts: head.facts.attempts, ...(head.facts.lastError === '' ? {} : { lastError: head.facts.lastError }) }
      : {}),
  }
}

/** What is over already is not told as still to come. */
const residue = (until: Instant | undefined, now: Instant): { readonly residueUntil?: string } =>
  until === undefined || until <= now ? {} : { residueUntil: formatInstant(until) }

function showContainment(
  { freeze, progress, done, leftMs }: Containment,
  now: Instant,
): z.infer<typeof containmentAnswer> {
  const { counts, walked, walks, unread, residueUntil } = progress
  return {
    id: freeze.id,
    freeze: showFreeze(freeze),
    done,
    progress: {
      walked,
      walks,
      matched: counts.ended + counts.stopped + counts.ending + counts.stuck,
      ended: counts.ended,
      stopped: counts.stopped,
      ending: counts.ending,
      failing: counts.stuck,
      unreadable: unread,
    },
    ...(done || leftMs === undefined ? {} : { etaSeconds: Math.ceil(leftMs / 1_000) }),
    ...residue(residueUntil, now),
  }
}

const showCounted = (
  { total, kinds, residueUntil, complete }: Counted,
  now: Instant,
): z.infer<typeof countedAnswer> => ({
  dryRun: true,
  matched: total,
  kinds: [...kinds],
  ...residue(residueUntil, now),
  complete,
})
