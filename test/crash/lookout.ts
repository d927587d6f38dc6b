// The look from outside after a kill: the order of commits and the records each time, what is overdue, and what lies at the backends. What
// cannot be asked because somebody is down is asked after the next kill.
import { setTimeout as pause } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { PEOPLE } from './cast.ts'
import { type Backends, isOfCanary, judgeArtefacts, judgeCanaries, type Watch } from './invariants-of-backends.ts'
import { judgeEvents } from './invariants-of-events.ts'
import { judgeAges, judgeRows, openCanaries, overdue, rowsOf } from './invariants-of-store.ts'
import { isOver, type Journal } from './journal.ts'
import type { Model } from './model.ts'
import type { Victim } from './schedule.ts'
import type { Sealed } from './sealed.ts'
import type { Report } from './violation.ts'

/** From when to when it was down; open while it is. */
export interface Outage {
  readonly from: number
  to: number | undefined
}
export type Outages = Readonly<Record<Exclude<Victim, 'broker'>, Outage[]>>
export interface LookoutPorts {
  readonly redis: Redis
  readonly journal: Journal
  readonly model: Model
  readonly sealed: Sealed
  readonly backends: Backends
  readonly outages: Outages
  readonly brokersUpFor: () => number
  readonly report: Report
}
export interface Lookout {
  /** `thorough`: also the backends. */
  afterKill(thorough: boolean): Promise<void>
  readEvents(): Promise<void>
  judgeBackends(): Promise<number>
}

export function lookout(p: LookoutPorts): Lookout {
  const { redis, journal, report } = p
  const watch: Watch = { since: new Map() }
  const canaryWatch: Watch = { since: new Map() }
  let handedSoFar = 0

  const readEvents = async (): Promise<void> => {
    const { told, gaps } = await journal.read()
    for (const gap of gaps)
      report({ invariant: 'I6 nothingCommittedIsLost', expected: 'one commit after the other', seen: gap })
    judgeEvents(journal.lives, told, PEOPLE, report)
  }

  /** I1, and DESIGN.md §4 rule 5: whatever somebody holds was committed as issued, and sealed. I18: none was given while Redis was down. */
  const judgeHanded = (): void => {
    for (const one of p.model.handed.slice(handedSoFar)) {
      handedSoFar += 1
      const said = (invariant: string, expected: string, seen: string): void =>
        report({ invariant, grant: one.grant, expected, seen })
      const issued = journal
        .life(one.grant)
        ?.told.filter(
          ({ type, details }) =>
            type === 'issued' &&
            details.mint === one.mint &&
            (one.what.kind === 'jwt' ? details.jti === one.what.jti : details.lease === one.what.leaseId),
        )
      if (issued === undefined || issued.length === 0) said('I1 handedOutIsCommitted', 'an issued event of it', 'none')
      else if (!issued.some(({ seq, hash }) => p.sealed.has(seq, hash)))
        said(
          'I1 handedOutIsSealed',
          'in the witness of some broker',
          `not sealed: ${issued.map(({ seq }) => seq).join(', ')}`,
        )
      const dark = p.outages.redis.some(
        ({ from, to }) => one.sentAt > from && one.receivedAt < (to ?? Number.POSITIVE_INFINITY),
      )
      if (dark) said('I18 nothingIsIssuedWithoutAStore', 'nothing while Redis is down', 'a credential')
    }
  }

  /** Looked at twice: what was due then and still is now, while a broker was up all the time, is swept by nobody. */
  const judgeOverdue = async (): Promise<void> => {
    const couldSweep = (): boolean => p.brokersUpFor() > 2_500
    if (!couldSweep()) return
    const first = await overdue(redis)
    if (first.length === 0) return
    await pause(1_500)
    if (!couldSweep()) return
    const still = new Set(await overdue(redis))
    for (const one of first.filter((one) => still.has(one)))
      report({
        invariant: 'I8 whatIsDueIsSwept',
        grant: one.split(' ')[1] ?? '',
        expected: 'claimed within a second while a broker is up',
        seen: `overdue: ${one}`,
      })
  }

  const judgeBackends = async (): Promise<number> => {
    const all = await p.backends.list()
    judgeCanaries(all.filter(isOfCanary), await openCanaries(redis), canaryWatch, report)
    const found = all.filter((one) => !isOfCanary(one))
    const rows = await rowsOf(redis, [...new Set(found.map(({ grant }) => grant))])
    await readEvents()
    judgeArtefacts(found, rows, journal, watch, report)
    return all.length
  }

  return {
    readEvents,
    judgeBackends,
    afterKill: async (thorough) => {
      try {
        await readEvents()
        judgeHanded()
        const open = [...journal.lives.values()].filter(({ status }) => !isOver(status)).map(({ id }) => id)
        judgeRows(await rowsOf(redis, open), journal, report)
        judgeAges(journal, Date.now(), report)
        await judgeOverdue()
        if (thorough) await judgeBackends()
      } catch (thrown) {
        // Redis or Vault is not back yet; whatever else that is, is a bug here.
        if (!isOutage(thrown)) throw thrown
      }
    },
  }
}

/** What clients of Redis, Vault and PostgreSQL throw where the other side is gone. */
const isOutage = (thrown: unknown): boolean =>
  thrown instanceof Error &&
  (/Connection is closed|max retries|Stream isn't writeable|LOADING|fetch failed|ECONN|socket|terminated|timeout|LIST .*: 5|sealed/i.test(
    `${thrown.name} ${thrown.message}`,
  ) ||
    'code' in thrown)
