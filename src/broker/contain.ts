// Contain: a freeze that ends besides whatever matches and lives. From the commit of its record on nothing of that is given out, and introspection
// refuses what was: the record is the denial. The clean-up behind it walks what lives, lane by lane, and ends it. Invariant: a walk goes on from
// where it was noted, by whoever comes first, and whatever was matched is in a stage until its end is confirmed, from the very commit that begins
// it; two walkers do no harm.
import {
  FIRST_STEP,
  isDone,
  type Progress,
  STAGES,
  type Stage,
  stageOf,
  timeLeft,
  type Walk,
} from '../domain/containment.ts'
import type { CredentialRule, Lane } from '../domain/entitlement.ts'
import { bites, type Freeze, type StoredFreeze } from '../domain/freeze.ts'
import { advance, type Grant, inStatus, type Step } from '../domain/grant.ts'
import { type FreezeId, type GrantId, type Shard, shardOf, type TenantId } from '../domain/ids.ts'
import { after, type Duration, type Instant, latest, seconds } from '../domain/instant.ts'
import type { Status } from '../domain/lifecycle.ts'
import type { Caller } from '../domain/principal.ts'
import { checkSelector, type Selector } from '../domain/selector.ts'
import { eventOf, witness } from './change.ts'
import { type EndPorts, residueOf, stepsToEnd } from './end.ts'
import { type FreezePorts, noSuchFreeze, permitted, putFreeze } from './freeze.ts'
import type { Directory, LiveFound, LivePage, Ports } from './ports.ts'
import { asSubject } from './subject.ts'
import { eachOf } from './sweep.ts'

export type ContainPorts = FreezePorts & EndPorts & Pick<Ports, 'containments' | 'shards' | 'lanes'>

export interface Containment {
  readonly freeze: Freeze
  readonly progress: Progress
  /** Nothing is left to see or to confirm. */
  readonly done: boolean
  /** How long until then, in milliseconds, as it goes; while it is being walked at least so long. Undefined while that cannot be said. */
  readonly leftMs: number | undefined
}

/**
 * From the answer on nothing that matches is given out and nothing of it holds, at every broker. What was handed out by a backend is ended by the
 * clean-up: see how far it is with `containment`. Without a freeze only what is there now is dead, and what is asked afterwards is judged
 * without it. Goes on whatever state the store is in.
 */
export const contain =
  (p: ContainPorts) =>
  async (caller: Caller, selector: Selector, reason: string, { freezes }: { freezes: boolean }): Promise<Containment> =>
    shown(p, await putFreeze(p, caller, { selector, reason, contains: true, freezes }))

/** How far it is. For whoever reads the audit trail of its tenant. */
export const containment =
  (p: ContainPorts) =>
  async (caller: Caller, id: FreezeId): Promise<Containment> =>
    shown(p, await found(p, caller, id))

export interface ContainedOne {
  readonly id: GrantId
  readonly stage: Stage
  /** Undefined where it has left the store, which only what is over does. */
  readonly grant: Grant | undefined
}

/** What became of each grant that was matched, at most a hundred in a page; `stage` picks. */
export const contained =
  (p: ContainPorts) =>
  async (
    caller: Caller,
    id: FreezeId,
    { stage, cursor }: { readonly stage: Stage | undefined; readonly cursor: string | undefined },
  ): Promise<{ readonly grants: readonly ContainedOne[]; readonly next: string | undefined }> => {
    const { id: known } = await found(p, caller, id)
    const page = await p.containments.page(known, stage === undefined ? STAGES : [stage], cursor, PAGE)
    const grants = await eachOf(page.grants, CONCURRENT, async (one) => ({
      ...one,
      grant: await p.grants.loadToEnd(one.id),
    }))
    return { grants, next: page.next }
  }

export interface CountedKind {
  readonly kind: CredentialRule['kind']
  readonly status: Status
  readonly count: number
}
export interface Counted {
  readonly total: number
  /** By kind of credential and status. */
  readonly kinds: readonly CountedKind[]
  /** The latest moment at which something that was handed out could still be taken, if it were contained now. */
  readonly residueUntil: Instant | undefined
  /** False where some records could not be read. */
  readonly complete: boolean
}

/** What a containment would end, and nothing is done. */
export const countContained =
  (p: ContainPorts) =>
  async (caller: Caller, selector: Selector): Promise<Counted> => {
    const rules = p.rulesToEnd()
    const { tenant } = permitted(rules, caller, 'Freeze')
    const now = p.nowToEnd()
    checkSelector(selector, now)
    const asked = { tenant, selector, answered: {}, everything: false }
    const counts = new Map<string, CountedKind>()
    let total = 0
    let unread = 0
    let residue: Instant | undefined
    for (const shard of p.shards)
      for (const lane of p.lanes) {
        let cursor: string | undefined
        const seen = new Set<GrantId>()
        do {
          const page = await p.grants.live({ shard, lane, cursor, about: PAGE })
          const { grants, unread: damaged } = await page.found
          for (const { grant } of grants) {
            if (seen.has(grant.id) || !bites(asked, asSubject(rules.directory, grant), false)) continue
            seen.add(grant.id)
            total += 1
            const { kind } = grant.ask.credential
            const { status } = grant.head
            const of = `${kind} ${status}`
            counts.set(of, { kind, status, count: (counts.get(of)?.count ?? 0) + 1 })
            if (inStatus(grant, 'active')) residue = latest(residueOf(grant, now), residue ?? now)
          }
          unread += damaged
          cursor = page.cursor
        } while (cursor !== undefined)
      }
    const kinds = [...counts].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, kind]) => kind)
    return { total, kinds, residueUntil: residue, complete: unread === 0 }
  }

async function found(p: ContainPorts, caller: Caller, id: FreezeId): Promise<Freeze> {
  const { tenant } = permitted(p.rulesToEnd(), caller, 'ReadAudit')
  const one = (await p.freezes.list()).find((candidate) => candidate.id === id && isTheirs(candidate, tenant))
  if (one === undefined || !one.contains) throw noSuchFreeze()
  return one
}
const isTheirs = (freeze: Freeze, tenant: TenantId): boolean => freeze.tenant === tenant

async function shown(p: ContainPorts, freeze: Freeze): Promise<Containment> {
  const progress = await p.containments.progress(freeze.id, p.lanes)
  return { freeze, progress, done: isDone(progress), leftMs: timeLeft(progress, p.nowToEnd()) }
}

const PAGE = 100
const CONCURRENT = 16
/** Kept while pages go on; when its walker dies, another broker goes on after it. */
const LEASE: Duration = seconds(1)
const OVER: Duration = seconds(0)
/** Pages of one lane before the other work of a look has its turn. */
const PAGES = 25
/** What one look goes after of that whose end has begun. */
const FOLLOWED = 2_000

export interface CleanedUp {
  /** There is more to walk now. */
  readonly more: boolean
  /** Containments that are not done. */
  readonly open: readonly FreezeId[]
}

/** What this broker knows to be over: it saves looking at it again and again, and decides nothing. */
export interface CleanUpMemory {
  readonly done: Set<FreezeId>
  readonly walked: Set<string>
  /** When a walk that met what it could not read may be made again. */
  readonly again: Map<string, Instant>
}
export const cleanUpMemory = (): CleanUpMemory => ({ done: new Set(), walked: new Set(), again: new Map() })
const AGAIN: Duration = seconds(30)

/**
 * A part of what is to be done behind all containments: some pages of each lane side by side, each of `about` so many, and a look at what is being
 * ended.
 */
export const cleanUp =
  (p: ContainPorts, memory: CleanUpMemory = cleanUpMemory()) =>
  async (about: number = PAGE): Promise<CleanedUp> => {
    const open = new Set<FreezeId>()
    let more = false
    const stored = await Promise.all(p.shards.map(async (shard) => ({ shard, freezes: await p.freezes.on(shard) })))
    const live = stored.flatMap(({ shard, freezes }) =>
      freezes.filter(({ freeze }) => freeze.contains && !memory.done.has(freeze.id)).map((one) => ({ shard, one })),
    )
    const walks = live.flatMap(({ shard, one }) => p.lanes.map((lane) => ({ shard, one, lane })))
    // Lanes side by side, so that a backend that is slow holds up none of the others; in each the older containment first, so that what both
    // match is counted with it. None waits for the other's denial, only for its count.
    const lanes = await Promise.all(
      p.shards.flatMap((shard) =>
        p.lanes.map(async (lane) => {
          const here = walks.filter((walk) => walk.shard === shard && walk.lane === lane)
          for (const { one } of here.toSorted((a, b) => a.one.seq - b.one.seq)) {
            const walked = await walkOn(p, memory, { shard, lane, about }, one)
            if (walked !== 'over') return walked
          }
          return 'over'
        }),
      ),
    )
    more = lanes.includes('more')
    for (const id of new Set(live.map(({ one }) => one.freeze.id))) {
      await follow(p, id, stored)
      if (isDone(await p.containments.progress(id, p.lanes))) memory.done.add(id)
      else open.add(id)
    }
    return { more, open: [...open] }
  }

/** `held`: somebody else is at it. */
async function walkOn(
  p: ContainPorts,
  memory: CleanUpMemory,
  { shard, lane, about }: { readonly shard: Shard; readonly lane: Lane; readonly about: number },
  stored: StoredFreeze,
): Promise<'more' | 'over' | 'held'> {
  const { id } = stored.freeze
  const name = `${id} ${shard} ${lane}`
  if (memory.walked.has(name)) return 'over'
  const claimed = await p.containments.claim({ id, shard, lane }, LEASE)
  if (claimed === undefined) return 'held'
  let walk: Walk = claimed
  // What could not be read may be readable by now: it is gone through again now and then, from the beginning.
  if (walk.over && walk.unread > 0 && (memory.again.get(name) ?? p.nowToEnd()) <= p.nowToEnd()) {
    memory.again.set(name, after(p.nowToEnd(), AGAIN))
    walk = FIRST_STEP
  }
  // Two more pages are asked for before this one is ended: the store does what it is told in turn, and what is asked for behind an end comes when
  // that is written, so that the two would only wait for each other. Nobody moves in the scan, and what ends meanwhile was seen. How far it has
  // come is noted in order.
  const read = (cursor: string | undefined) => p.grants.live({ shard, lane, cursor, about })
  const readAfter = async (page: Promise<LivePage | undefined>): Promise<LivePage | undefined> => {
    const cursor = (await page)?.cursor
    return cursor === undefined ? undefined : read(cursor)
  }
  let coming: Promise<LivePage | undefined> = heard(walk.over ? Promise.resolve(undefined) : read(walk.cursor))
  let next = heard(readAfter(coming))
  // Of the page before, and of the one before that.
  let [walked, older] = [Promise.resolve(walk), Promise.resolve(walk)]
  for (let n = 0; n < PAGES; n += 1) {
    const page = await coming
    if (page === undefined) break
    const { cursor } = page
    const found = await page.found
    coming = next
    next = n + 3 > PAGES ? Promise.resolve(undefined) : heard(readAfter(coming))
    // Whoever comes next goes on at once: most often that is the next look of this very broker.
    const lease = n + 1 === PAGES ? OVER : LEASE
    const before = walked
    const ended = heard(endPage(p, stored, found))
    const unread = found.unread
    walked = heard(
      before.then(async (from) => {
        const here: Walk = { cursor, over: cursor === undefined, unread: from.unread + unread }
        await noteWalk(p, shard, stored, { lane, walk: here, lease }, await ended)
        return here
      }),
    )
    // Three pages at a time.
    await older
    older = before
  }
  walk = await walked
  if (walk.over && walk.unread === 0) memory.walked.add(name)
  return walk.over ? 'over' : 'more'
}

/** Whoever comes to it later hears that it failed; until then nobody need. */
function heard<T>(coming: Promise<T>): Promise<T> {
  coming.catch(() => undefined)
  return coming
}

async function endPage(p: ContainPorts, { freeze, seq }: StoredFreeze, page: LiveFound): Promise<Ended> {
  const { directory } = p.rulesToEnd()
  const matched = page.grants.filter(({ grant, born }) => born <= seq && isAbout(freeze, directory, grant))
  return endSome(
    p,
    freeze,
    matched.map(({ grant }) => grant),
  )
}

async function noteWalk(
  p: ContainPorts,
  shard: Shard,
  { freeze }: StoredFreeze,
  walked: { readonly lane: Lane; readonly walk: Walk; readonly lease: Duration },
  { stages, residueUntil, isEnding }: Ended,
): Promise<void> {
  await p.containments.note(freeze.id, shard, { stages, residueUntil, walk: walked })
  if (isEnding) await p.timetable.at(walked.lane, p.nowToEnd())
}

const isAbout = (freeze: Freeze, directory: Directory, grant: Grant): boolean =>
  bites(freeze, asSubject(directory, grant), true)

interface Ended {
  /** What is still to be noted: the rest was, with the step that was written. */
  readonly stages: readonly { readonly id: GrantId; readonly stage: Stage }[]
  readonly residueUntil: Instant | undefined
  /** A backend has yet to confirm some. */
  readonly isEnding: boolean
}
const TRIES = 4

/** Ends these as far as it needs no backend. Whoever else moved one meanwhile is read again; what stays as it was is `ending`: it is looked after. */
async function endSome(p: ContainPorts, freeze: Freeze, grants: readonly Grant[]): Promise<Ended> {
  // Whoever's it is reads this: the freeze alone says by whom and why, to those who may know.
  const reason = `contained: ${freeze.id}`
  const stages = new Map<GrantId, Stage>()
  let residueUntil: Instant | undefined
  let isEnding = false
  let left = grants
  for (let tries = 0; tries < TRIES && left.length > 0; tries += 1) {
    const now = p.nowToEnd()
    const begun = left.map((grant) => ({ grant, steps: stopSteps(grant, reason, now) }))
    const results = await p.grants.commitEach(
      begun.flatMap(({ steps }) => steps),
      freeze.id,
    )
    await Promise.all(results.map(({ receipt }) => witness(p, receipt)))
    let at = 0
    const again: GrantId[] = []
    for (const { grant, steps } of begun) {
      const receipts = results.slice(at, at + steps.length).map(({ receipt }) => receipt)
      at += steps.length
      const last = steps[receipts.filter((receipt) => receipt !== undefined).length - 1]?.grant
      const stage = stageOf(last ?? grant)
      if (last !== undefined) stages.delete(grant.id)
      else stages.set(grant.id, stage ?? 'ending')
      if (stage === undefined) again.push(grant.id)
      isEnding ||= stage === 'ending'
      if (inStatus(grant, 'ended')) residueUntil = latest(grant.head.facts.residueUntil, residueUntil ?? now)
    }
    const read = await eachOf(again, CONCURRENT, (id) => p.grants.loadToEnd(id).catch(() => undefined))
    left = read.flatMap((grant) => grant ?? [])
  }
  return { stages: [...stages].map(([id, stage]) => ({ id, stage })), residueUntil, isEnding }
}

/** A pending grant is denied; of what was approved, `stepsToEnd`. */
function stopSteps(grant: Grant, reason: string, at: Instant): readonly Step[] {
  const by = 'broker'
  if (!inStatus(grant, 'pending')) return stepsToEnd(grant, { outcome: 'revoked', by, reason }, at)
  const event = eventOf(grant.ask, 'denied', at, by, { reason })
  return [advance(grant, { to: 'denied', facts: { at, by, reason }, event })]
}

/** Looks after what was matched and is not over: others end it, and this notes that they have. */
async function follow(
  p: ContainPorts,
  id: FreezeId,
  stored: readonly { readonly shard: Shard; readonly freezes: readonly StoredFreeze[] }[],
): Promise<void> {
  const freeze = stored.flatMap(({ freezes }) => freezes).find((one) => one.freeze.id === id)?.freeze
  if (freeze === undefined) return
  let cursor: string | undefined
  let looked = 0
  do {
    const page = await p.containments.page(id, ['ending', 'stuck'], cursor, PAGE)
    // Together, not one by one: behind a backend that is away they are many, and each look at them takes from what ends need.
    const read = await p.grants.loadManyToEnd(page.grants.map((one) => one.id))
    const unreadable = new Set(read.unreadable)
    const grants = new Map(read.grants.map((grant) => [grant.id, grant]))
    const left = read.grants.filter((grant) => stageOf(grant) === undefined)
    const ended = await endSome(p, freeze, left)
    const moved = page.grants.flatMap(({ id: grantId, stage }) => {
      const grant = grants.get(grantId)
      // What has left the store was over; what cannot be read now stays where it is.
      const now = grant !== undefined ? stageOf(grant) : unreadable.has(grantId) ? stage : 'ended'
      return now === undefined || now === stage ? [] : [{ id: grantId, stage: now }]
    })
    const residues = read.grants.flatMap((grant) => (inStatus(grant, 'ended') ? [grant.head.facts.residueUntil] : []))
    const [first, ...others] = [...residues, ...(ended.residueUntil === undefined ? [] : [ended.residueUntil])]
    const residueUntil = first === undefined ? undefined : latest(first, ...others)
    const byShard = Map.groupBy([...moved, ...ended.stages], (one) => shardOf(one.id))
    for (const [shard, stages] of byShard) await p.containments.note(id, shard, { stages, residueUntil })
    looked += page.grants.length
    cursor = page.next
  } while (cursor !== undefined && looked < FOLLOWED)
}
