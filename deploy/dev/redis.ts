// A real Redis for dev and tests. Invariant: it is configured as Writ demands of a production server (AOF on every write,
// noeviction, a memory limit), unless a test asks for less by name; nothing it keeps lies outside its own folder.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join, resolve } from 'node:path'
import { bringDebianTree, debianTree, hasDebianTree, librariesOf, type Report } from './debian.ts'
import { bringImage, hasImage, startContainer } from './docker.ts'
import { candidates, versionOf } from './path.ts'
import {
  type Controls,
  controlled,
  freePort,
  launch,
  notOurs,
  type Source,
  temporaryFolder,
  untilReady,
} from './running.ts'

const IMAGE = 'redis:7'
const TREE = 'redis'
const PASSWORD_FILE = 'password.conf'

export interface RedisService extends Controls {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly password: string
  readonly source: Source
  /** Undefined where it is no process of ours. */
  readonly pid: number | undefined
  /** Its data folder; undefined where it is not ours. */
  readonly dir: string | undefined
}

export interface RedisOptions {
  /** Kept when it stops; without it, a temporary folder that goes. */
  readonly dataDir?: string
  readonly port?: number
  /** Further or other settings, as on redis-server's command line: `['--maxmemory-policy', 'allkeys-lru']`. */
  readonly settings?: readonly string[]
  /** Not the shared one named in the environment: a test that freezes or kills it needs its own. */
  readonly own?: boolean
  readonly report?: Report
}

interface Binary {
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly source: Source
}

const settingsFor = (extra: readonly string[]): readonly string[] => [
  ...['--save', '', '--appendonly', 'yes', '--appendfsync', 'always'],
  ...['--maxmemory', '256mb', '--maxmemory-policy', 'noeviction'],
  ...['--hz', '100', '--hash-max-listpack-value', '2048'],
  ...extra,
]

const onPath = async (): Promise<Binary | undefined> => {
  for (const command of candidates('redis-server')) {
    const version = await versionOf(command, /^Redis server v=(\d+)\./)
    if (Number(version) >= 7) return { command, env: {}, source: 'path' }
  }
  return undefined
}

const inCache = (): Binary | undefined => {
  if (!hasDebianTree(TREE)) return undefined
  const tree = debianTree(TREE)
  return { command: join(tree, 'usr/bin/redis-server'), env: { LD_LIBRARY_PATH: librariesOf(tree) }, source: 'cache' }
}

/** Makes sure that `startRedis` will find a server. Downloads only what is found nowhere else. */
export const setUpRedis = async (report: Report): Promise<void> => {
  if (process.env.WRIT_TEST_REDIS_URL) return report('Redis: the address in WRIT_TEST_REDIS_URL.')
  if (await bringImage(IMAGE, report)) return report(`Redis: a container of ${IMAGE}.`)
  const found = await onPath()
  if (found) return report(`Redis: ${found.command}.`)
  if (!hasDebianTree(TREE)) await bringDebianTree(TREE, ['redis-server', 'redis-tools'], /^$/, report)
  report(`Redis: ${join(debianTree(TREE), 'usr/bin/redis-server')}.`)
}

/** True when the server answers PING as one that is done loading. */
const answersPing = (host: string, port: number, password: string): Promise<boolean> =>
  new Promise((answer) => {
    const socket = connect({ host, port })
    const done = (is: boolean) => {
      socket.destroy()
      answer(is)
    }
    socket.setTimeout(1_000, () => done(false))
    socket.once('error', () => done(false))
    let heard = ''
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1')
      if (/\+PONG\r\n/.test(heard)) done(true)
      else if (/-LOADING/.test(heard)) done(false)
    })
    socket.write(`AUTH ${password}\r\nPING\r\n`)
  })

const service = (
  at: { host: string; port: number; password: string; source: Source },
  controls: Controls,
  about: { pid(): number | undefined; dir: string | undefined },
): RedisService => ({
  ...at,
  ...controls,
  url: `redis://:${at.password}@${at.host}:${at.port}`,
  dir: about.dir,
  get pid() {
    return about.pid()
  },
})

const fromEnvironment = (address: string): RedisService => {
  const url = new URL(address)
  const at = { host: url.hostname, port: Number(url.port || 6379), password: decodeURIComponent(url.password) }
  const about = { pid: () => undefined, dir: undefined }
  return { ...service({ ...at, source: 'environment' }, notOurs('Redis'), about), url: address, pid: undefined }
}

interface Home {
  readonly dir: string
  remove(): void
}

const homeFor = async (options: RedisOptions, password: string): Promise<Home> => {
  const folder = options.dataDir === undefined ? await temporaryFolder('redis') : undefined
  const dir = options.dataDir ?? folder?.path ?? ''
  if (!existsSync(dir)) mkdirSync(dir, { recursive: true, mode: 0o700 })
  // In a file, because command lines can be read by everybody on the machine.
  writeFileSync(join(dir, PASSWORD_FILE), `requirepass ${password}\nmasterauth ${password}\n`, { mode: 0o600 })
  return { dir, remove: () => folder?.remove() }
}

const argumentsFor = (dir: string, port: number, extra: readonly string[]): readonly string[] => [
  join(dir, PASSWORD_FILE),
  ...['--bind', '127.0.0.1', '--port', String(port), '--dir', dir, '--enable-debug-command', 'local'],
  ...settingsFor(extra),
]

const fromContainer = async ({ dir, remove }: Home, options: RedisOptions, port: number, password: string) => {
  const controls = await startContainer({
    image: IMAGE,
    command: ['redis-server', ...argumentsFor('/data', port, options.settings ?? [])],
    folder: { source: resolve(dir), target: '/data' },
    isUp: () => answersPing('127.0.0.1', port, password),
  })
  const stop = async () => {
    await controls.stop()
    remove()
  }
  const at = { host: '127.0.0.1', port, password, source: 'container' } as const
  return service(at, { ...controls, stop }, { pid: () => undefined, dir })
}

const fromBinary = async (binary: Binary, home: Home, options: RedisOptions, port: number, password: string) => {
  const { dir } = home
  const args = argumentsFor(dir, port, options.settings ?? [])
  const signals = { stopSignal: 'SIGTERM', orphanSignal: 'SIGKILL' } as const
  const start = async () => {
    const running = await launch(join(dir, 'redis.log'), { ...binary, args, cwd: dir, ...signals })
    await untilReady('Redis', running, () => answersPing('127.0.0.1', port, password))
    return running
  }
  const { controls, running } = await controlled(start, home.remove)
  const about = { pid: () => running().pid, dir }
  return service({ host: '127.0.0.1', port, password, source: binary.source }, controls, about)
}

/** Starts Redis from the first source that has one. Rejects with the line that brings it where none has. */
export const startRedis = async (options: RedisOptions = {}): Promise<RedisService> => {
  const report = options.report ?? (() => {})
  const address = process.env.WRIT_TEST_REDIS_URL
  if (address && !options.own && !options.settings && options.dataDir === undefined) return fromEnvironment(address)
  const port = options.port ?? (await freePort())
  const password = randomBytes(18).toString('hex')
  const home = await homeFor(options, password)
  try {
    if (await hasImage(IMAGE, report)) {
      try {
        return await fromContainer(home, options, port, password)
      } catch (error) {
        report(`Redis: no container (${error instanceof Error ? error.message : 'unknown'}); going on with a binary.`)
      }
    }
    const binary = (await onPath()) ?? inCache()
    if (!binary) throw new Error('No Redis found. Bring one: node deploy/dev/node.mjs deploy/dev/services.ts')
    return await fromBinary(binary, home, options, port, password)
  } catch (error) {
    home.remove()
    throw error
  }
}
