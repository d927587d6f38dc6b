// What must hold in Redis, asked of Redis itself in one transaction: every open grant has a deadline, lies in exactly the index of its status,
// and its record is what its events say; nothing that is due waits while somebody could do it. I8, I20 in part, DESIGN.md §4 rules 1 and 3.
import type { Redis } from 'ioredis'
import type { Json } from '../../deploy/dev/client.ts'
import { isOver, isStatus, type Journal, RANK, type Status } from './journal.ts'
import type { Report } from './violation.ts'

export const LANES = ['local', 'vault-main'] as const
const TENANT = 'northwind'
const dueKey = (lane: string): string => `{writ:0}:due:${lane}`
const inKey = (status: string): string => `{writ:0}:in:${TENANT}:${status}`

export interface Record {
  readonly version: number
  readonly status: Status
  readonly mints: readonly Json[]
}
export interface Row {
  readonly id: string
  /** Undefined where Redis has none. */
  readonly record: Record | undefined
  readonly lanes: readonly string[]
  readonly indexes: readonly string[]
}

/** All of these at one moment. */
export async function rowsOf(redis: Redis, ids: readonly string[]): Promise<readonly Row[]> {
  if (ids.length === 0) return []
  const transaction = redis.multi()
  const statuses = Object.keys(RANK)
  for (const id of ids) {
    transaction.hmget(`{writ:0}:head:${id}`, 'version', 'status', 'head')
    for (const lane of LANES) transaction.zscore(dueKey(lane), id)
    for (const status of statuses) transaction.zscore(inKey(status), id)
  }
  const answers = (await transaction.exec()) ?? []
  const each = 1 + LANES.length + statuses.length
  return ids.map((id, n) => {
    const [head, ...scores] = answers.slice(n * each, (n + 1) * each).map(([error, value]) => {
      if (error !== null) throw error
      return value
    })
    const has = scores.map((score) => score !== null)
    return {
      id,
      record: recordOf(head as readonly (string | null)[]),
      lanes: LANES.filter((_, at) => has[at]),
      indexes: statuses.filter((_, at) => has[LANES.length + at]),
    }
  })
}

/** Under which grants, that nobody has, canaries are being made or are left. */
export async function openCanaries(redis: Redis): Promise<ReadonlySet<string>> {
  const open = await redis.hvals('{writ:0}:canaries-open')
  return new Set(open.map((text) => String(JSON.parse(text).grant)))
}

function recordOf([version, status, head]: readonly (string | null)[]): Record | undefined {
  if (version == null || !isStatus(status)) return undefined
  return { version: Number(version), status, mints: JSON.parse(head ?? '{}').mints ?? [] }
}

export function judgeRows(rows: readonly Row[], journal: Pick<Journal, 'life'>, report: Report): void {
  for (const { id, record, lanes, indexes } of rows) {
    const life = journal.life(id)
    if (life === undefined) continue
    const said = (invariant: string, expected: string, seen: string): void =>
      report({ invariant, grant: id, expected, seen })
    if (record === undefined) {
      if (!isOver(life.status)) said('nothingOpenIsLost', `a grant that is ${life.status}`, 'none')
      continue
    }
    // The record may be ahead of the events that were read a moment before, never behind.
    if (record.version < life.version || (record.version === life.version && record.status !== life.status))
      said('recordAgreesWithEvents', `${life.version} ${life.status}`, `${record.version} ${record.status}`)
    if (indexes.length !== 1 || indexes[0] !== record.status)
      said('indexAgreesWithRecord', record.status, indexes.join(', '))
    if (!isOver(record.status) && lanes.length !== 1)
      said('everyOpenGrantHasADeadline', 'one lane', lanes.length === 0 ? 'none' : lanes.join(', '))
    if (isOver(record.status) && lanes.length > 0)
      said('everyOpenGrantHasADeadline', 'no deadline: it is over', lanes.join(', '))
  }
}

/** Somebody who is up looks every half second. */
const LATE_MS = 3_000

/** What has been due for so long and nobody has claimed: `<lane> <grant> <deadline>`. */
export async function overdue(redis: Redis): Promise<readonly string[]> {
  const [seconds] = await redis.time()
  const found = await Promise.all(
    LANES.map(async (lane) => {
      const all = await redis.zrangebyscore(
        dueKey(lane),
        '-inf',
        Number(seconds) * 1_000 - LATE_MS,
        'WITHSCORES',
        'LIMIT',
        0,
        20,
      )
      return all.flatMap((id, at) => (at % 2 === 0 ? [`${lane} ${id} ${all[at + 1]}`] : []))
    }),
  )
  return found.flat()
}

/** How long each may take, with everything dying meanwhile: a mint's deadline, leases of those who died, and the longest wait between two tries. */
const BOUNDS: Partial<{ readonly [S in Status]: number }> = { issuing: 100_000, ending: 150_000 }

/** I8: whatever is begun is finished, released or ended. */
export function judgeAges(journal: Pick<Journal, 'lives'>, now: number, report: Report): void {
  for (const life of journal.lives.values()) {
    const bound = BOUNDS[life.status]
    const since = life.told.findLast(({ type }) => type === 'claimed' || type === 'ending')?.at
    if (bound === undefined || since === undefined || now - since < bound) continue
    report({
      invariant: 'I8 whatIsBegunIsFinished',
      grant: life.id,
      expected: `not ${life.status} after ${bound} ms`,
      seen: `${now - since} ms`,
    })
  }
}

export const countOf = async (redis: Redis, status: Status): Promise<number> => redis.zcard(inKey(status))
