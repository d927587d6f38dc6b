// When the last kill is over and the load has stopped: everything that has an end comes to it, what lives is the same wherever it is asked, and
// after a containment of all of it nothing is left. THREATS.md §5, I7, I8, I9, I10 and I20 after quiet.
import type { Redis } from 'ioredis'
import { client, type Json } from '../../deploy/dev/client.ts'
import type { DevStage } from '../../deploy/dev/stage.ts'
import { type Eyes, eachOf, NOTHING } from '../support/journey-actors.ts'
import { until } from '../support/until.ts'
import type { Cast } from './cast.ts'
import { countOf, rowsOf } from './invariants-of-store.ts'
import { isOver, type Journal } from './journal.ts'
import type { Lookout } from './lookout.ts'
import type { Known, Model } from './model.ts'
import type { Slots } from './slots.ts'
import type { Stories } from './stories.ts'
import type { Report } from './violation.ts'

export interface ClosingPorts {
  readonly slots: Slots
  readonly redis: Redis
  readonly journal: Journal
  readonly model: Model
  readonly look: Lookout
  readonly tales: Stories
  /** What was not to end by itself. */
  readonly keepers: readonly Known[]
  readonly stage: Pick<DevStage, 'url'>
  readonly eyes: Eyes
  readonly cast: Cast
  readonly report: Report
  readonly say: (line: string) => void
}

/** The longest window, the lease of whoever died over it, and the longest wait between two tries. */
const QUIET_WITHIN_MS = 150_000
const CLEAN_WITHIN_MS = 75_000
/** Tokens that are asked about once more at the end, the newest. */
const ASKED_AGAIN = 400

export async function closing(p: ClosingPorts): Promise<void> {
  await allEndsCome(p)
  await quietCountsAgree(p)
  await containAll(p)
  await nothingIsLeft(p)
  await endedStaysEnded(p)
  await p.look.afterKill(true)
}

const openNow = async ({ look, journal }: ClosingPorts): Promise<readonly string[]> => {
  await look.readEvents()
  return [...journal.lives.values()].flatMap(({ id, status }) => (isOver(status) ? [] : [id]))
}

/** I8: what is not to live on has ended, by itself. */
async function allEndsCome(p: ClosingPorts): Promise<void> {
  const kept = new Set(p.keepers.map(({ id }) => id))
  const long = new Set(
    [...p.model.grants.values()].filter(({ closesAt }) => closesAt > Date.now() + 90_000).map(({ id }) => id),
  )
  const left = async (): Promise<readonly string[]> => (await openNow(p)).filter((id) => !kept.has(id) && !long.has(id))
  const isDone = await within(QUIET_WITHIN_MS, async () => (await left()).length === 0)
  if (isDone) return
  for (const id of await left())
    p.report({
      invariant: 'I8 allEndsCome',
      grant: id,
      expected: 'an end, with its window and all tries over',
      seen: p.journal.life(id)?.status ?? '',
    })
}

/** I20: active by events = by Redis's index = by the figures of every broker; and of logins = by each list of the backend. */
async function quietCountsAgree(p: ClosingPorts): Promise<void> {
  const count = async (): Promise<Readonly<Record<string, number>>> => {
    await p.look.readEvents()
    const active = [...p.journal.lives.values()].filter(({ status }) => status === 'active').map(({ id }) => id)
    const rows = await rowsOf(p.redis, active)
    const logins = rows.flatMap(
      ({ record }) => record?.mints.filter(({ kind, status }) => kind === 'vault' && status === 'live') ?? [],
    )
    const { leases, holds, roles, logins: users } = await p.eyes.left()
    const figures = await Promise.all(p.slots.urls().map(activeByFigures))
    return {
      events: active.length,
      index: await countOf(p.redis, 'active'),
      ...Object.fromEntries(figures.map((figure, n) => [`figure ${n}`, figure])),
      'logins by record': logins.length,
      'logins by leases': leases,
      'logins by holds': holds,
      'logins by roles': roles,
      'logins by users': users,
    }
  }
  const agree = (counts: Readonly<Record<string, number>>): boolean => {
    const [logins, all] = [true, false].map((of) =>
      Object.entries(counts).filter(([name]) => name.startsWith('logins') === of),
    )
    return [logins, all].every((group) => new Set(group?.map(([, value]) => value)).size === 1)
  }
  let seen = await count()
  await within(CLEAN_WITHIN_MS, async () => {
    seen = await count()
    return agree(seen)
  })
  p.say(`quiet: ${JSON.stringify(seen)}`)
  if (!agree(seen))
    p.report({ invariant: 'I20 quietCountsAgree', expected: 'one number of each kind', seen: JSON.stringify(seen) })
}

async function activeByFigures(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(/^writ_grants\{[^}]*status="active"[^}]*\} (\d+)/m.exec(text)?.[1] ?? Number.NaN)
}

/** One containment of everything, by the SOC of the tenant whose targets these are. */
async function containAll(p: ClosingPorts): Promise<void> {
  const [url] = p.slots.urls()
  const to = client(url ?? p.stage.url, p.stage.url)
  const sol = p.cast.person('sol')
  const made = await to.post(await sol(), '/v1/containments', {
    where: { tenant: 'northwind' },
    reason: 'the run is over',
    freeze: false,
  })
  let seen: Json = made.body
  const isDone = await within(CLEAN_WITHIN_MS, async () => {
    seen = (await to.get(await sol(), `/v1/containments/${made.body.id}`)).body
    return seen.done === true && (await openNow(p)).length === 0
  })
  if (!isDone)
    p.report({
      invariant: 'I8 allEndsCome',
      expected: 'everything contained has ended',
      seen: `${JSON.stringify(seen)}; open: ${(await openNow(p)).join(', ')}`,
    })
}

/** I9 and I10, when everything has ended: no lease, hold, role, login or session. */
async function nothingIsLeft(p: ClosingPorts): Promise<void> {
  let left = await p.eyes.left()
  const isClean = await within(CLEAN_WITHIN_MS, async () => {
    left = await p.eyes.left()
    return JSON.stringify(left) === JSON.stringify(NOTHING)
  })
  if (!isClean)
    p.report({ invariant: 'I9 nothingIsLeft', expected: JSON.stringify(NOTHING), seen: JSON.stringify(left) })
}

/** I7: every login that was ever handed out is refused, and the newest tokens are inactive. */
async function endedStaysEnded(p: ClosingPorts): Promise<void> {
  const { handed, grants } = p.model
  for (const known of grants.values()) known.overAt ??= Date.now()
  const newest = handed.filter(({ what }) => what.kind === 'jwt').slice(-ASKED_AGAIN)
  const logins = handed.filter(({ what }) => what.kind === 'vault')
  const all = [...newest, ...logins]
  await eachOf(all.length, 8, async (n) => {
    const one = all[n]
    const known = one && grants.get(one.grant)
    if (one === undefined || known === undefined) return
    if (one.what.kind === 'jwt') await p.tales.check(known, one, () => undefined)
    else await p.tales.checkLogin(known, one)
  })
}

const within = (ms: number, look: () => Promise<boolean>): Promise<boolean> =>
  until('it', ms, look, 500).then(
    () => true,
    () => false,
  )
