// One crash run: real services, three brokers in their slots, the load in its lanes, one kill after the other, and after each the look from
// outside. Ends with the quiet look: what lives by events, index, backend and figures is the same, and at last nothing is left.
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { crashConfig } from '../support/crash-config.ts'
import type { Point } from '../support/effect-points.ts'
import { eyes } from '../support/journey-actors.ts'
import { leaksIn, redisAsText, sinksOnDisk } from '../support/leaks.ts'
import type { Bug } from '../support/planted-bugs.ts'
import { cast } from './cast.ts'
import { closing } from './closing.ts'
import { desk } from './desk.ts'
import { backends } from './invariants-of-backends.ts'
import { eventsOf } from './invariants-of-events.ts'
import { journal } from './journal.ts'
import { type Killed, killer } from './killer.ts'
import { load } from './load.ts'
import { lookout, type Outages } from './lookout.ts'
import { model } from './model.ts'
import { provoker } from './provoke.ts'
import { randomOf } from './random.ts'
import { schedule, VICTIMS, type Victim } from './schedule.ts'
import { sealed } from './sealed.ts'
import { openSlots, type Slots } from './slots.ts'
import { stories } from './stories.ts'
import type { Found, Report } from './violation.ts'

export interface CrashOptions {
  readonly minutes?: number | undefined
  readonly kills?: number | undefined
  readonly seed: number
  /** Brokers with this bug; the run ends at the first violation. */
  readonly plant?: Bug | undefined
  /** Points that are aimed at before all others. */
  readonly first?: readonly Point[]
  readonly say: (line: string) => void
}
export interface CrashResult {
  readonly seed: number
  readonly plant?: Bug
  readonly kills: number
  readonly byVictim: Readonly<Record<Victim, number>>
  readonly byPoint: Readonly<Record<string, number>>
  readonly unreached: readonly string[]
  readonly verbs: number
  readonly byVerb: Readonly<Record<string, number>>
  readonly grants: number
  readonly credentials: number
  readonly commits: number
  readonly checks: number
  readonly maxRecoveryMs: number
  readonly recoveryMs: Readonly<Record<Victim, { readonly p50: number; readonly max: number }>>
  readonly seconds: number
  readonly violations: readonly Found[]
  /** The kills until the first of them. */
  readonly foundAtKill?: number
}

const SLOTS = 3
/** What the load never gets to, with the reason in README.md: listed, never aimed at. */
const OUT_OF_LOAD = /^(passkeys|ceremonies|forges|canaries)\.|^grants\.(counts|loadEach):/
const BROKER_ENV = {
  WRIT_RATE_LIMIT: '60000/1s',
  WRIT_RATE_LIMIT_ENDS: '60000/1s',
  WRIT_RETENTION: '1m',
}

export async function crashRun(options: CrashOptions): Promise<CrashResult> {
  const { seed, say } = options
  const started = performance.now()
  say(`seed ${seed}${options.plant === undefined ? '' : `, planted: ${options.plant}`}; starting the services`)
  const stage = await openStage({ vault: true })
  const redis = new Redis({ lazyConnect: true, maxRetriesPerRequest: 0, enableOfflineQueue: true, ...addressOf(stage) })
  redis.on('error', () => undefined)
  let slots: Slots | undefined
  try {
    const services = await stage.bringVault({ copyable: true })
    await shortLogins(eyes(services).vault)
    const commits = journal(redis)
    const found: Found[] = []
    let kills = 0
    const report: Report = (violation) => {
      const { invariant, grant } = violation
      if (found.some((one) => one.invariant === invariant && one.grant === grant) || found.length >= 100) return
      const one = { ...violation, seed, kill: kills, events: eventsOf(commits, grant) }
      found.push(one)
      say(`VIOLATION ${JSON.stringify(one)}`)
    }
    const env = {
      ...BROKER_ENV,
      WRIT_CONFIG_DIR: crashConfig(join(stage.dir, 'config')),
      NODE_COMPILE_CACHE: join(stage.dir, 'compiled'),
      ...(options.plant === undefined ? {} : { WRIT_TEST_PLANT: options.plant }),
    }
    const secrets: string[] = []
    slots = await openSlots({
      stage,
      many: SLOTS,
      env,
      ended: (slot, how, output) => {
        if (how === 'by itself')
          report({
            invariant: 'noBrokerEndsByItself',
            expected: 'killed, or alive',
            seen: `slot ${slot}: ${output.slice(-1_500)}`,
          })
        for (const leak of leaksIn([{ name: `log of slot ${slot}`, text: output }], secrets))
          report({ invariant: 'I13 secretsRestNowhere', expected: 'none', seen: leak })
      },
    })
    const { urls, points } = slots
    const outages: Outages = new Map()
    const known = model(report)
    const office = desk(urls, randomOf(seed, 'routing'), report)
    const quietTimes = alternating(20_000, 14_000)
    const tales = stories({
      stage,
      desk: office,
      cast: cast(stage),
      model: known,
      report,
      database: { host: services.postgres.host, port: services.postgres.port },
      busy: quietTimes,
    })
    const look = lookout({
      redis,
      journal: commits,
      model: known,
      sealed: sealed(stage.dir),
      backends: backends(eyes(services)),
      outages,
      brokersUpFor: upFor(slots),
      report,
    })
    const recovery: Record<Victim, number[]> = { broker: [], redis: [], vault: [] }
    const provoke = provoker(tales, randomOf(seed, 'provoked'))
    const deaths = killer({
      slots,
      services: { redis: stage.redis, vault: services.vault },
      provoke: provoke.lead,
      told: (victim, is) => {
        const times = outages.get(victim) ?? []
        outages.set(victim, times)
        if (is === 'down') times.push({ from: Date.now(), to: undefined })
        else Object.assign(times.at(-1) ?? {}, { to: Date.now() })
      },
      recovered: (victim, ms) => recovery[victim].push(Math.round(ms)),
      failed: (thrown) =>
        report({
          invariant: 'whoDiesComesBack',
          expected: 'a broker that is ready',
          seen: String(thrown).slice(0, 2_000),
        }),
    })

    const working = load(tales, seed, quietTimes)
    const keepers = await working.keepers(minutesLeft(options))
    const done: Killed[] = []
    const over = deadlineOf(options)
    const aimed = points().filter((point) => !OUT_OF_LOAD.test(point))
    let checks = 0
    let lookedMs = 0
    const missed: string[] = []
    for (const next of schedule(seed, aimed, options.first)) {
      if (over(kills) || (options.plant !== undefined && found.length > 0)) break
      const killed = await deaths.kill(next)
      done.push(killed)
      if (killed.at !== next.at) missed.push(next.at)
      kills += 1
      const looking = performance.now()
      checks += (await look.afterKill(kills % 3 === 0)) ? 1 : 0
      lookedMs += performance.now() - looking
      if (kills % 20 === 0) {
        say(
          `${kills} kills, ${sum([...office.counts.values()])} verbs, ${commits.lives.size} grants, ${found.length} violations, ${seconds(started)} s`,
        )
        if (process.env.CRASH_DEBUG)
          say(
            `  waited ${Math.round(sum(done.map(({ waitedMs }) => waitedMs)) / kills)} reached ${Math.round(sum(done.map(({ reachedMs }) => reachedMs)) / kills)} looked ${Math.round(lookedMs / kills)}; missed ${missed.join(' ')}`,
          )
      }
    }
    const killedFor = seconds(started)
    await deaths.settled()
    await working.stop()
    await provoke.settled()
    say(`${kills} kills in ${killedFor} s; waiting until all is quiet`)
    secrets.push(...known.handed.map(({ what }) => (what.kind === 'jwt' ? what.token : what.password)))
    await closing({
      slots,
      redis,
      journal: commits,
      model: known,
      look,
      tales,
      keepers,
      stage,
      eyes: eyes(services),
      cast: cast(stage),
      report,
      say,
    })
    for (const leak of leaksIn([...sinksOnDisk(stage), await redisAsText(stage.redis.url)], secrets))
      report({ invariant: 'I13 secretsRestNowhere', expected: 'none', seen: leak })
    office.close()

    const byPoint: Readonly<Record<string, number>> = countsOf(
      [...points(), 'random'],
      done.map(({ at }) => at),
    )
    return {
      seed,
      ...(options.plant === undefined ? {} : { plant: options.plant }),
      kills,
      byVictim: countsOf(
        VICTIMS,
        done.map(({ victim }) => victim),
      ),
      byPoint,
      unreached: Object.keys(byPoint).filter((point) => byPoint[point] === 0),
      verbs: [...office.counts.values()].reduce((sum, one) => sum + one, 0),
      byVerb: Object.fromEntries([...office.counts].sort()),
      grants: commits.lives.size,
      credentials: known.handed.length,
      commits: [...commits.lives.values()].reduce((sum, { told }) => sum + told.length, 0),
      checks,
      maxRecoveryMs: Math.max(0, ...Object.values(recovery).flat()),
      recoveryMs: { broker: figures(recovery.broker), redis: figures(recovery.redis), vault: figures(recovery.vault) },
      seconds: seconds(started),
      violations: found,
      ...(found[0] === undefined ? {} : { foundAtKill: found[0].kill }),
    }
  } finally {
    redis.disconnect()
    await slots?.stop().catch(() => undefined)
    await stage.stop()
  }
}

const sum = (all: readonly number[]): number => all.reduce((one, other) => one + other, 0)
const seconds = (since: number): number => Math.round((performance.now() - since) / 1_000)
const minutesLeft = ({ minutes, kills = 0 }: CrashOptions): number => minutes ?? Math.ceil(kills / 20) + 5

function addressOf({ redis }: Pick<DevStage, 'redis'>) {
  const { host, port, password } = redis
  return { host, port, password }
}

function deadlineOf({ minutes, kills }: CrashOptions): (done: number) => boolean {
  const end = performance.now() + (minutes ?? Number.POSITIVE_INFINITY) * 60_000
  return (done) => performance.now() >= end || done >= (kills ?? Number.POSITIVE_INFINITY)
}

/** True for so long, then false for so long, and so on. */
function alternating(onMs: number, offMs: number): () => boolean {
  const started = performance.now()
  return () => (performance.now() - started) % (onMs + offMs) < onMs
}

/** How long the one that has been up longest has been up. */
function upFor({ all }: Slots): () => number {
  const since = new Map<string, number>()
  return () => {
    const now = performance.now()
    const up = new Set(all.flatMap((slot) => slot.life() ?? []))
    for (const life of since.keys()) if (!up.has(life)) since.delete(life)
    for (const life of up) if (!since.has(life)) since.set(life, now)
    return Math.max(0, ...[...since.values()].map((from) => now - from))
  }
}

function countsOf<T extends string>(names: readonly T[], seen: readonly T[]): Record<T, number> {
  const counts = Object.fromEntries(names.map((name) => [name, 0])) as Record<T, number>
  for (const one of seen) counts[one] += 1
  return counts
}

function figures(all: readonly number[]): { readonly p50: number; readonly max: number } {
  const sorted = all.toSorted((a, b) => a - b)
  return { p50: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 }
}

/** A broker's logins outlive it; in an hour hundreds would pile up that nobody uses any more. The life is shorter here, and renewed all the same. */
async function shortLogins(vault: ReturnType<typeof eyes>['vault']): Promise<void> {
  const { body } = await vault('LIST', 'auth/approle/role')
  for (const role of body.data.keys)
    await vault('POST', `auth/approle/role/${role}`, { token_ttl: '90s', token_max_ttl: '90s' })
}
