// How far the clean-up behind each containment has come, in Redis, shard by shard. Everything goes over the connection for ending, whatever state
// a shard is in. Invariant: what is noted of a page and how far its walk has come are one commit, so that a walk never goes on behind what it
// has not told.
import type { ContainmentStore } from '../broker/ports.ts'
import { FIRST_STEP, type Progress, STAGES, type Stage, type Walk } from '../domain/containment.ts'
import { BrokerError } from '../domain/errors.ts'
import { isGrantId, type Shard } from '../domain/ids.ts'
import { days, instant } from '../domain/instant.ts'
import type { AnyReply, Calls } from './calls.ts'
import { unavailable } from './connect.ts'
import type { ShardMemory } from './shard-memory.ts'

/** How long it is known what a containment did, after it last did something. */
export const KEEP = days(90)
export const stageNumber = (stage: Stage): number => STAGES.indexOf(stage)

export interface ContainmentStoreParts {
  readonly ending: Calls
  readonly memory: ShardMemory
  readonly shards: readonly Shard[]
}

export function containmentStore({ ending, memory, shards }: ContainmentStoreParts): ContainmentStore {
  const ok = <Reply extends AnyReply>(reply: Reply): Extract<Reply, readonly ['ok', ...unknown[]]> => {
    if (reply[0] !== 'ok') throw unavailable(new Error(`${reply[0]}: ${reply[4]}`))
    return reply as Extract<Reply, readonly ['ok', ...unknown[]]>
  }
  return {
    claim: async ({ id, shard, lane }, lease) => {
      const reply = await memory.watch(shard, (seen) => ending.claimWalk(shard, seen, { id, lane, leaseMs: lease }))
      return reply[0] === 'held' ? undefined : readWalk(ok(reply)[4])
    },

    note: async (id, shard, { stages, residueUntil = 0, walk }) => {
      const record = {
        lane: walk?.lane ?? '',
        walk: walk === undefined ? '' : printWalk(walk.walk),
        leaseMs: walk?.lease ?? 0,
        residue: residueUntil,
        keepMs: KEEP,
        stages: stages.map((one) => ({ id: one.id, stage: stageNumber(one.stage) })),
      }
      ok(await memory.watch(shard, (seen) => ending.noteContained(shard, seen, id, record)))
    },

    progress: async (id, lanes) => {
      const counts = Object.fromEntries(STAGES.map((stage) => [stage, 0])) as Record<Stage, number>
      const walks: Walk[] = []
      let residue = 0
      let pace: Progress['pace']
      for (const shard of shards) {
        const reply = ok(await memory.watch(shard, (seen) => ending.readContainment(shard, seen, id, STAGES.length)))
        const stored = new Map(pairs(reply[4]))
        walks.push(...lanes.map((lane) => readWalk(stored.get(lane) ?? '')))
        residue = Math.max(residue, reply[5])
        for (const [n, count] of reply[6].entries()) counts[STAGES[n] ?? 'ending'] += count
        // Shards are worked on side by side; the slowest is the one that is waited for.
        const eachMs = Number(reply[7])
        if (reply[7] !== '' && (pace === undefined || eachMs > pace.eachMs)) pace = { eachMs, at: instant(reply[8]) }
      }
      return {
        walked: walks.filter(({ over }) => over).length,
        walks: walks.length,
        unread: walks.reduce((sum, { unread }) => sum + unread, 0),
        counts,
        residueUntil: residue === 0 ? undefined : instant(residue),
        pace,
      } satisfies Progress
    },

    page: async (id, stages, cursor, limit) => {
      const [at = 0, offset = 0] = parseCursor(cursor)
      const numbers = stages.map(stageNumber)
      const [from, to] = [Math.min(...numbers), Math.max(...numbers)]
      const shard = shards[at]
      if (shard === undefined) return { grants: [], next: undefined }
      const page = { from, to, offset, limit }
      const rows = ok(await memory.watch(shard, (seen) => ending.pageContained(shard, seen, id, page)))[4]
      const next = rows.length === limit ? `${at}.${offset + limit}` : `${at + 1}.0`
      return {
        grants: rows.flatMap(([grant, n]) => {
          const stage = STAGES[n]
          return isGrantId(grant) && stage !== undefined && stages.includes(stage) ? [{ id: grant, stage }] : []
        }),
        next: rows.length < limit && at + 1 >= shards.length ? undefined : next,
      }
    },
  }
}

const pairs = (flat: readonly string[]): readonly (readonly [string, string])[] =>
  flat.flatMap((name, n) => (n % 2 === 0 ? [[name, flat[n + 1] ?? ''] as const] : []))

/** Cursor, whether it is over, and how many could not be read: `-` where there is no cursor. */
const printWalk = ({ cursor, over, unread }: Walk): string => `${cursor ?? '-'} ${over ? 1 : 0} ${unread}`
function readWalk(text: string): Walk {
  if (text === '') return FIRST_STEP
  const [, cursor, over, unread] = /^(\S+) ([01]) (\d{1,9})$/.exec(text) ?? []
  // What nobody wrote is gone through again: that is slow, never wrong.
  if (cursor === undefined) return FIRST_STEP
  return { cursor: cursor === '-' ? undefined : cursor, over: over === '1', unread: Number(unread) }
}

function parseCursor(cursor: string | undefined): readonly number[] {
  if (cursor === undefined) return []
  const [, at, offset] = /^(\d{1,4})\.(\d{1,9})$/.exec(cursor) ?? []
  if (at === undefined || offset === undefined)
    throw new BrokerError('invalid_request', 'This cursor is not one that a former page returned.')
  return [Number(at), Number(offset)]
}
