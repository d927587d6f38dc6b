// One crash run: real services, three brokers in their slots, the load in its lanes, one kill after the other, and after each the look from
// outside. Ends with the quiet look: what lives by events, index, backend and figures is the same, and at last nothing is left.
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { crashConfig } from '../support/crash-config.ts'
import type { Point } from '../support/effect-points.ts'
import { sometimesWhileMaking } from '../support/half-made-token.ts'
import { eyes } from '../support/journey-actors.ts'
import { leaksIn, redisAsText, sinksOnDisk } from '../support/leaks.ts'
import type { Bug } from '../support/planted-bugs.ts'
import { cast } from './cast.ts'
import { closing } from './closing.ts'
import { type Desk, desk } from './desk.ts'
import { backends } from './invariants-of-backends.ts'
import { eventsOf } from './invariants-of-events.ts'
import { type Journal, journal } from './journal.ts'
import { type Killed, type Killer, killer } from './killer.ts'
import { load } from './load.ts'
import { type Lookout, lookout, type Outages } from './lookout.ts'
import { type LostJobs, loseJobs } from './lost-jobs.ts'
import { type Model, model } from './model.ts'
import { type Provoker, provoker } from './provoke.ts'
import { randomOf } from './random.ts'
import { type CrashResult, type Recovery, resultOf } from './result.ts'
import { schedule } from './schedule.ts'
import { sealed } from './sealed.ts'
import { openSlots, type Slots } from './slots.ts'
import { type Stories, stories } from './stories.ts'
import type { Found, Report } from './violation.ts'

export interface CrashOptions {
  readonly minutes?: number | undefined
  readonly kills?: number | undefined
  readonly seed: number
  /** Brokers with this bug; the run ends at the first violation. */
  readonly plant?: Bug | undefined
  /** Points that brokers are aimed at before all others. */
  readonly first?: readonly Point[]
  readonly say: (line: string) => void
}

/** Everything that takes part in a run. */
interface Scene {
  readonly stage: DevStage
  readonly services: Awaited<ReturnType<DevStage['bringVault']>>
  readonly redis: Redis
  readonly slots: Slots
  readonly commits: Journal
  readonly known: Model
  readonly office: Desk
  readonly tales: Stories
  readonly look: Lookout
  readonly deaths: Killer
  readonly provoke: Provoker
  readonly recovery: Recovery
  readonly found: readonly Found[]
  readonly done: Killed[]
  readonly report: Report
  readonly busy: () => boolean
  readonly jobs: LostJobs
  readonly halfMade: () => number
}

const SLOTS = 3
/** What the load never gets to, with the reason in README.md: listed, never aimed at. */
const OUT_OF_LOAD = /^grants\.(counts|loadEach):/
const BROKER_ENV = {
  WRIT_RATE_LIMIT: '60000/1s',
  WRIT_RATE_LIMIT_ENDS: '60000/1s',
  WRIT_RETENTION: '1m',
  WRIT_CANARY_EVERY: '1m',
}
/** Of the kills of Vault. */
const WHILE_MAKING_EVERY = 6
/** Logins are asked for, and windows left to their ends, for so long; then not, for so long: some things only show when little happens. */
const [BUSY_MS, QUIET_MS] = [20_000, 14_000]

export async function crashRun(options: CrashOptions): Promise<CrashResult> {
  const { seed, say, plant } = options
  const started = performance.now()
  say(`seed ${seed}${plant === undefined ? '' : `, planted: ${plant}`}; starting the services`)
  // Passkeys know no relying party by an address.
  const stage = await openStage({ vault: true, host: 'localhost' })
  const { host, port, password } = stage.redis
  const redis = new Redis({ host, port, password, lazyConnect: true, maxRetriesPerRequest: 0 })
  redis.on('error', () => undefined)
  const toStop: (() => Promise<void>)[] = [() => stage.stop(), async () => redis.disconnect()]
  try {
    const scene = await set(options, stage, redis, toStop)
    await play(scene, options)
    scene.office.close()
    return resultOf({
      ...scene,
      jobsLost: scene.jobs.many(),
      halfMade: scene.halfMade(),
      points: scene.slots.points(),
      lives: scene.commits.lives,
      seed,
      plant,
      started,
    })
  } finally {
    for (const stop of toStop.reverse()) await stop().catch(() => undefined)
  }
}

async function set(
  options: CrashOptions,
  stage: DevStage,
  redis: Redis,
  toStop: (() => Promise<void>)[],
): Promise<Scene> {
  const { seed, plant } = options
  const services = await stage.bringVault({ copyable: true })
  const see = eyes(services)
  await shortLogins(see.vault)
  const commits = journal(redis)
  const done: Killed[] = []
  const { found, report } = reporter(options, commits, done)
  const known = model(report)
  const slots = await openSlots({
    stage,
    many: SLOTS,
    env: {
      ...BROKER_ENV,
      ...crashConfig(join(stage.dir, 'config')),
      ...(plant === undefined ? {} : { WRIT_TEST_PLANT: plant }),
    },
    ended: lastWords(known, report),
  })
  toStop.push(() => slots.stop())
  const busy = alternating(BUSY_MS, QUIET_MS)
  const office = desk(slots.urls, randomOf(seed, 'routing'), report)
  const { host, port } = services.postgres
  const tales = stories({
    stage,
    desk: office,
    cast: cast(stage),
    model: known,
    report,
    database: { host, port },
    busy,
  })
  const provoke = provoker(tales, randomOf(seed, 'provoked'))
  const outages: Outages = { redis: [], vault: [] }
  const recovery: Recovery = { broker: [], redis: [], vault: [] }
  const watching = {
    redis,
    journal: commits,
    model: known,
    sealed: sealed(stage.dir),
    backends: backends(see),
    outages,
  }
  const jobs = loseJobs(redis, () => !busy())
  toStop.push(async () => jobs.stop())
  const look = lookout({ ...watching, brokersUpFor: upFor(slots), report })
  const mortal = sometimesWhileMaking(services.vault, WHILE_MAKING_EVERY)
  const deaths = killer({
    slots,
    services: { redis: stage.redis, vault: mortal },
    provoke: provoke.lead,
    outages,
    recovered: (victim, ms) => recovery[victim].push(Math.round(ms)),
    failed: (thrown) =>
      report({ invariant: 'whoDiesComesBack', expected: 'ready again', seen: String(thrown).slice(0, 2_000) }),
  })
  return {
    stage,
    services,
    redis,
    slots,
    commits,
    known,
    office,
    tales,
    look,
    deaths,
    provoke,
    recovery,
    found,
    done,
    report,
    busy,
    jobs,
    halfMade: mortal.halfMade,
  }
}

async function play(scene: Scene, options: CrashOptions): Promise<void> {
  const {
    stage,
    services,
    slots,
    tales,
    busy,
    office,
    deaths,
    provoke,
    done,
    found,
    look,
    report,
    commits,
    known,
    redis,
    jobs,
  } = scene
  const { seed, say, plant } = options
  await tales.prepare()
  const working = load(tales, seed, busy, office.verbs)
  const keepers = await working.keepers(options.minutes ?? 60)
  await killAll(scene, options)
  say(`${done.length} kills; waiting until all is quiet`)
  await deaths.settled()
  await working.stop()
  await provoke.settled()
  jobs.stop()
  // A bug that was found may keep ends from coming for as long as anybody waits.
  if (plant === undefined || found.length === 0)
    await closing({
      ...{ slots, redis, journal: commits, model: known, look, tales, keepers, stage },
      ...{ eyes: eyes(services), cast: cast(stage), report, say },
    })
  for (const leak of leaksIn([...sinksOnDisk(stage), await redisAsText(stage.redis.url)], secretsOf(known)))
    report({ invariant: 'I13 secretsRestNowhere', expected: 'none', seen: leak })
}

async function killAll(scene: Scene, options: CrashOptions): Promise<void> {
  const { slots, deaths, look, done, found, office, commits, report } = scene
  const isOver = deadlineOf(options)
  const aimed = slots.points().filter((point) => !OUT_OF_LOAD.test(point))
  const began = performance.now()
  for (const next of schedule(options.seed, aimed, options.first)) {
    if (isOver(done.length) || (options.plant !== undefined && found.length > 0)) return
    try {
      const killed = await deaths.kill(next)
      done.push(killed)
      await look.afterKill(done.length % 3 === 0 || isAboutBackends(killed))
    } catch (thrown) {
      report({ invariant: 'whoDiesComesBack', expected: 'two brokers that are up', seen: String(thrown) })
      return
    }
    if (done.length % 20 !== 0) continue
    const passed = Math.round((performance.now() - began) / 1_000)
    options.say(
      `${done.length} kills in ${passed} s, ${office.verbs()} verbs, ${commits.lives.size} grants, ${found.length} violations`,
    )
  }
}

/** What was being made or ended there may be left now. */
const isAboutBackends = ({ at }: Killed): boolean => at.startsWith('credentials.')

const MOST_FOUND = 100

/** Each violation of one grant once, as it is found: to standard error at once, and into the result. */
function reporter({ seed, say }: CrashOptions, commits: Journal, done: readonly Killed[]) {
  const found: Found[] = []
  const report: Report = (violation) => {
    const { invariant, grant } = violation
    if (found.some((one) => one.invariant === invariant && one.grant === grant) || found.length >= MOST_FOUND) return
    const one = { ...violation, seed, kill: done.length, events: eventsOf(commits, grant) }
    found.push(one)
    say(`VIOLATION ${JSON.stringify(one)}`)
  }
  return { found, report }
}

/** Of a broker: its log goes with the next start in its slot. */
function lastWords(known: Model, report: Report): Parameters<typeof openSlots>[0]['ended'] {
  return (slot, how, output) => {
    const seen = `slot ${slot}: ${output.slice(-1_500)}`
    if (how === 'by itself') report({ invariant: 'noBrokerEndsByItself', expected: 'killed, or alive', seen })
    for (const leak of leaksIn([{ name: `log of slot ${slot}`, text: output }], secretsOf(known)))
      report({ invariant: 'I13 secretsRestNowhere', expected: 'none', seen: leak })
  }
}
const secretsOf = ({ handed }: Model): readonly string[] =>
  handed.map(({ what }) => (what.kind === 'jwt' ? what.token : what.password))

function deadlineOf({ minutes, kills }: CrashOptions): (done: number) => boolean {
  const end = performance.now() + (minutes ?? Number.POSITIVE_INFINITY) * 60_000
  return (done) => performance.now() >= end || done >= (kills ?? Number.POSITIVE_INFINITY)
}

/** True for so long, then false for so long, and so on. */
function alternating(onMs: number, offMs: number): () => boolean {
  const started = performance.now()
  return () => (performance.now() - started) % (onMs + offMs) < onMs
}

/** How long the broker that has been up longest has been up. */
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

/** A broker's logins outlive it; in an hour hundreds would pile up that nobody uses any more. Their life is shorter here, and renewed all the same. */
async function shortLogins(vault: ReturnType<typeof eyes>['vault']): Promise<void> {
  const { body } = await vault('LIST', 'auth/approle/role')
  const life = { token_ttl: '90s', token_max_ttl: '90s' }
  for (const role of body.data.keys) await vault('POST', `auth/approle/role/${role}`, life)
}
