// One soak: two shipped brokers on a real Redis, Vault and PostgreSQL, a base line, the load, and quiet again. Invariant: what is judged is seen from
// outside, and nothing of the brokers is changed for it but settings that everybody has. Ended grants stay as long as a token of theirs might be
// asked about, so tokens live for twenty seconds here and retention is at its least: what is over leaves for the archive while the load goes on.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { randomFrom } from '../hostile/plan.ts'
import { eyes } from '../support/journey-actors.ts'
import { type Figures, figures } from './figures.ts'
import { type Requests, requests, type Who } from './http.ts'
import { type Judged, judgeAll, type Rule, type Sample, windowsOf } from './judge.ts'
import { eachOnce, type Scene, startLoad } from './load.ts'

export interface SoakOptions {
  readonly minutes: number
  /** Stories begun in a second. */
  readonly rate: number
  readonly seed: number
  /** Does not wait until what has ended has left Redis: for a run of seconds. */
  readonly quick: boolean
  readonly progress?: (line: string) => void
  /** Another program than the shipped broker: for a test of this one. */
  readonly program?: string
}
export interface SoakReport {
  readonly minutes: number
  readonly stories: Readonly<Record<string, number>>
  readonly verbs: Readonly<Record<string, number>>
  /** Requests. */
  readonly perSecond: number
  readonly windows: ReturnType<typeof windowsOf>
  readonly tolerance: string
  readonly baseline: Readonly<Record<string, number>>
  readonly level: Readonly<Record<string, number>>
  readonly end: Readonly<Record<string, number>>
  /** Percent, the last tenth against the level. */
  readonly drift: Readonly<Record<string, number>>
  readonly met: Readonly<Record<string, boolean>>
  readonly why: readonly string[]
  readonly failed: number
  /** Stories that were left because something was said to be unavailable for now: on a machine with others a Redis may be late. */
  readonly unavailable: number
  readonly errors: readonly string[]
  /** Seen and not judged. */
  readonly seen: Readonly<Record<string, number>>
  readonly seed: number
}

const CONFIG = fileURLToPath(new URL('../../config', import.meta.url))
/** Twenty seconds of a token, as long again at verifiers, a minute for clocks, and at most 75 s until a broker looks. */
const LEAVES_AFTER = 20 + 20 + 60 + 75
const TOKEN_MS = 240_000
const LOGINS = ['vera', 'olivia', 'dana', 'lena', 'sol', 'sam', 'audra'] as const

/** Under what the compose file gives a broker: a heap that may grow for an hour hides a leak for an hour. */
const HEAP = '--max-old-space-size=320'

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const stage = await openStage({ vault: true })
  const counted = new Map<string, number>()
  const client = requests((method, path, status) => {
    const verb = `${method} ${path.replace(/(g\d+-|f-)[a-z0-9]{20,}/, ':id').replace(/^\/status\/.*/, '/status/:list')}`
    counted.set(verb, (counted.get(verb) ?? 0) + 1)
    counted.set(`answered ${status}`, (counted.get(`answered ${status}`) ?? 0) + 1)
  })
  try {
    const services = await stage.bringVault()
    const env = shortLives(stage)
    const more = options.program === undefined ? { env } : { env, program: options.program }
    const brokers = [await stage.startBroker(0, more), await stage.startBroker(1, more)]
    const watched = brokers.map(({ pid, url }, n) => ({ name: `broker${n}`, pid, url }))
    const look = figures(watched, stage.redis.url, { eyes: eyes(services), open: client.open })
    try {
      return await soaked({ stage, look, client, counted, urls: brokers.map(({ url }) => url) }, options)
    } finally {
      look.close()
    }
  } finally {
    client.close()
    await stage.stop()
  }
}

/** The shipped configuration with tokens of twenty seconds, and retention at its least. */
function shortLives(stage: DevStage): Record<string, string> {
  const config = join(stage.dir, 'config')
  cpSync(CONFIG, config, { recursive: true })
  const file = join(config, 'entitlements.yaml')
  writeFileSync(file, readFileSync(file, 'utf8').replace(/maxLife: \d+m/g, 'maxLife: 20s'))
  return { WRIT_CONFIG_DIR: config, WRIT_RETENTION: '1m', WRIT_STATUS_TTL: '10s', NODE_OPTIONS: HEAP }
}

interface On {
  readonly stage: DevStage
  readonly look: Figures
  readonly client: Requests
  readonly counted: ReadonlyMap<string, number>
  readonly urls: readonly string[]
}

async function soaked(on: On, options: SoakOptions): Promise<SoakReport> {
  const { minutes, rate, seed, quick } = options
  const say = options.progress ?? (() => undefined)
  const tokens = await freshTokens(on.stage)
  const scene = sceneOf(on, tokens, seed)
  const samples: Sample[] = []
  const everyMs = minutes >= 10 ? 5_000 : 1_000
  say('every story once, then the base line')
  await untilReady(on)
  await eachOnce(scene, true)
  on.client.close()
  await untilQuiet(on.look, { archived: false, withinMs: 120_000 })
  const idle = quick ? 5 : 20
  for (let n = 0; n < idle; n += 1) {
    samples.push({ seconds: n - idle, figures: { ...(await on.look.often()), ...(await on.look.seldom()) } })
    await pause(1_000)
  }
  const before = totalOf(on.counted)
  const load = startLoad(scene, { rate, seed, vault: true })
  const began = performance.now()
  const secondsNow = () => (performance.now() - began) / 1_000
  let told = 0
  for (let n = 0; secondsNow() < minutes * 60; n += 1) {
    await tokens.refresh()
    const seldom = quick || n % 5 === 0 ? await on.look.seldom() : {}
    const found = { ...(await on.look.often()), ...seldom }
    samples.push({ seconds: secondsNow(), figures: found })
    if (secondsNow() - told >= (quick ? 5 : 30)) {
      told = secondsNow()
      say(lineOf(told, found, load.failed()))
    }
    await pause(everyMs)
  }
  const perSecond = (totalOf(on.counted) - before) / secondsNow()
  say('the load is over; until all is quiet')
  await load.stop()
  on.client.close()
  const calm = await untilQuiet(on.look, { archived: !quick, withinMs: quick ? 60_000 : 300_000 })
  await pause(quick ? 1_000 : 10_000)
  const last = { ...(await on.look.often()), ...(await on.look.seldom()) }
  const windows = windowsOf(minutes, LEAVES_AFTER)
  const { rules, tolerance } = rulesOf(minutes, quick, windows.length)
  const judged = judgeAll(samples, rules, { windows, last })
  const report = reportOf(judged, last)
  return {
    minutes,
    stories: load.begun,
    verbs: Object.fromEntries([...on.counted].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    perSecond: Math.round(perSecond * 10) / 10,
    windows,
    tolerance,
    ...report,
    why: [...report.why, ...(calm === undefined ? [] : [calm])],
    failed: load.failed(),
    unavailable: load.unavailable(),
    errors: load.errors,
    seed,
  }
}

const totalOf = (counted: ReadonlyMap<string, number>): number =>
  [...counted].reduce((sum, [name, n]) => (name.startsWith('answered ') ? sum + n : sum), 0)
const lineOf = (seconds: number, found: Readonly<Record<string, number>>, failed: number): string =>
  `${Math.round(seconds)} s: rss ${Math.round(found['broker0.rssMb'] ?? 0)} and ${Math.round(found['broker1.rssMb'] ?? 0)} MB, descriptors ${found['broker0.fds']} and ${found['broker1.fds']}, ${found['redis.keys']} keys of ${found['redis.grants']} grants, ${Math.round(found['redis.usedMb'] ?? 0)} MB in redis, ${failed} failed`

function reportOf(judged: Readonly<Record<string, Judged>>, last: Readonly<Record<string, number>>) {
  const each = <T>(of: (one: Judged) => T): Readonly<Record<string, T>> =>
    Object.fromEntries(Object.entries(judged).map(([name, one]) => [name, of(one)]))
  return {
    baseline: each(({ baseline }) => baseline),
    level: each(({ level }) => level),
    end: each(({ end }) => end),
    drift: each(({ drift }) => drift),
    met: each(({ met }) => met),
    why: Object.entries(judged).flatMap(([name, { why }]) => why.map((text) => `${name} ${text}`)),
    seen: Object.fromEntries(
      Object.entries(last).flatMap(([name, value]) =>
        name in judged ? [] : [[name, Math.round(value * 100) / 100] as const],
      ),
    ),
  }
}

/**
 * Five percent for everything in a run whose windows are longer than the saw of the archive, which takes what is over away once in a minute. In a
 * shorter one what lies in Redis saws by more than that; and in one of less than ten minutes a process is still growing into its heap.
 */
export function rulesOf(
  minutes: number,
  quick: boolean,
  window: number,
): { readonly rules: Readonly<Record<string, Rule>>; readonly tolerance: string } {
  const saw = window >= 240 ? 5 : quick ? 10_000 : 20
  const process = minutes >= 10 ? 5 : 25
  const archived = (left: number): Partial<Rule> => (quick ? {} : { left })
  const ofBroker = (name: string): Readonly<Record<string, Rule>> => ({
    [`${name}.rssMb`]: { percent: process, grain: 6 },
    [`${name}.heapMb`]: { percent: Math.max(process, 15), grain: 15 },
    [`${name}.externalMb`]: { percent: Math.max(process, 15), grain: 5 },
    [`${name}.fds`]: { percent: 5, grain: 8, left: 4 },
    [`${name}.handles`]: { percent: 5, grain: 8, left: 4 },
    [`${name}.waiting`]: { percent: 5, grain: 6, left: 0 },
  })
  return {
    tolerance: `processes ${process} %, descriptors, backends and what lives 5 %, what is in redis ${saw} %`,
    rules: {
      ...ofBroker('broker0'),
      ...ofBroker('broker1'),
      'redis.live': { percent: 5, grain: 12, left: 6 },
      // A job for each moment at which something will be due, until then.
      'redis.queue': { percent: saw, grain: 30, ...archived(10) },
      'redis.clients': { percent: 5, grain: 4, left: 2 },
      'redis.passing': { percent: Math.max(saw, 10), grain: 50 },
      'redis.grantKeys': { percent: saw, grain: 100, ...archived(0) },
      'redis.events': { percent: saw, grain: 100, ...archived(60) },
      'redis.oldestEnded': { percent: 5, grain: 60 },
      'redis.keys': { percent: saw, grain: 100 },
      'redis.usedMb': { percent: saw, grain: 1, ...archived(3) },
      'vault.leases': { percent: 5, grain: 8, left: 0 },
      'vault.holds': { percent: 5, grain: 8, left: 0 },
      'vault.roles': { percent: 5, grain: 8, left: 0 },
      'postgres.logins': { percent: 5, grain: 8, left: 0 },
      'postgres.sessions': { percent: 5, grain: 2, left: 0 },
    },
  }
}

/** Nothing lives at any backend, and nothing that is over is left in Redis; or, after that time, what still is. */
async function untilQuiet(
  look: Figures,
  { archived, withinMs }: { readonly archived: boolean; readonly withinMs: number },
): Promise<string | undefined> {
  const until = performance.now() + withinMs
  for (;;) {
    const { 'redis.grants': grants = 0, 'redis.ended': ended = 0 } = await look.often()
    const left = Object.entries(await look.seldom()).filter(([, n]) => n > 0)
    if (grants === ended && left.length === 0 && (!archived || grants === 0)) return undefined
    if (performance.now() > until)
      return `did not come to rest: ${grants} grants, ${ended} of them over, ${JSON.stringify(Object.fromEntries(left))}`
    await pause(500)
  }
}

async function untilReady({ urls }: On): Promise<void> {
  for (const url of urls)
    for (let tries = 0; !(await fetch(`${url}/readyz`, { headers: { connection: 'close' } })).ok; tries += 1) {
      if (tries > 300) throw new Error(`${url} is not ready`)
      await pause(100)
    }
}

async function freshTokens({ idp }: DevStage) {
  const known = new Map<string, Who>()
  let at = Number.NEGATIVE_INFINITY
  const refresh = async (): Promise<void> => {
    if (performance.now() - at < TOKEN_MS) return
    at = performance.now()
    for (const login of LOGINS) known.set(login, { token: await idp.personToken(login) })
    known.set('triage-agent', { token: await idp.agentToken('triage-agent') })
  }
  await refresh()
  return {
    refresh,
    of: (login: string): Who => {
      const found = known.get(login)
      if (found === undefined) throw new Error(`nobody is called ${login}`)
      return found
    },
  }
}

function sceneOf({ stage, client, urls }: On, tokens: { of(login: string): Who }, seed: number): Scene {
  const random = randomFrom(seed + 1)
  const doors = urls.map((url) => client.at(url, stage.url))
  let words = 0
  return {
    stage,
    to: () => {
      const door = doors[Math.floor(random() * doors.length)]
      if (door === undefined) throw new Error('there is no broker')
      return door
    },
    who: tokens.of,
    agent: () => tokens.of('triage-agent'),
    word: () => `soak-${++words}`,
    random,
  }
}

/** The share of stories that may be left for an unavailability; each has been told to come again, and nothing of it stays. */
const UNAVAILABLE = 0.01

export function level({ why, failed, unavailable, stories, verbs }: SoakReport): boolean {
  const all = Object.values(stories).reduce((sum, n) => sum + n, 0)
  const is5xx = (name: string): boolean => /^answered 5/.test(name) && name !== 'answered 503'
  return why.length === 0 && failed === 0 && unavailable <= all * UNAVAILABLE && !Object.keys(verbs).some(is5xx)
}
