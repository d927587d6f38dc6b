// A real PostgreSQL for dev and tests, the target behind Vault. Invariant: it listens on 127.0.0.1 only, every login needs its
// password, and `freeze` stops the postmaster and all its backends. It forgets durability (fsync off): its data is thrown away.
import { execFile, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, globSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { bringDebianTree, debianTree, firstOffered, hasDebianTree, librariesOf, type Report } from './debian.ts'
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

const run = promisify(execFile)
const IMAGE = 'postgres:15'
const TREE = 'postgresql'
const PREFERRED = 15
const OLDEST = 13
const VERSION = /^postgres \(PostgreSQL\) (\d+)/

export interface PostgresService extends Controls {
  /** The superuser's URL, database `postgres`. */
  readonly url: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly source: Source
  /** The postmaster; undefined where it is no process of ours. */
  readonly pid: number | undefined
  /** Where its data lie, in `data`; undefined where that is out of reach. */
  readonly dir: string | undefined
}
export interface PostgresOptions {
  readonly port?: number
  /** Further or other settings: `['-c', 'log_statement=all']`. */
  readonly settings?: readonly string[]
  /** Not the shared one named in the environment: a test that freezes or kills it needs its own. */
  readonly own?: boolean
  /** No container: a test that puts a copy of its data back needs the folder. */
  readonly copyable?: boolean
  readonly report?: Report
}

interface Binaries {
  /** The folder of postgres and initdb. */
  readonly bin: string
  readonly env: Readonly<Record<string, string>>
  readonly source: Source
}
interface User {
  readonly uid: number
  readonly gid: number
}

const SETTINGS = [
  ...['listen_addresses=127.0.0.1', 'max_connections=300', 'shared_buffers=32MB'],
  ...['fsync=off', 'full_page_writes=off', 'jit=off', 'timezone=UTC', 'log_min_messages=warning'],
].flatMap((setting) => ['-c', setting])

const NO_SOCKET = ['-c', 'unix_socket_directories=']

/** Servers on this machine with their initdb beside them: version 15 if there is one, else the newest. */
const onPath = async (): Promise<Binaries | undefined> => {
  const files = candidates('postgres', globSync('/usr/lib/postgresql/*/bin')).map((file) => realpathSync(file))
  const found = await Promise.all(
    [...new Set(files)].map(async (file) => {
      const version = Number(await versionOf(file, VERSION))
      const initdb = await versionOf(join(dirname(file), 'initdb'), /^initdb \(PostgreSQL\) (\d+)/)
      return { bin: dirname(file), version, hasInitdb: initdb !== undefined }
    }),
  )
  const usable = found.filter(({ version, hasInitdb }) => version >= OLDEST && hasInitdb)
  const rank = (version: number) => (version === PREFERRED ? Number.POSITIVE_INFINITY : version)
  const best = usable.toSorted((a, b) => rank(b.version) - rank(a.version))[0]
  return best && { bin: best.bin, env: {}, source: 'path' }
}

const inTree = (tree: string): Binaries | undefined => {
  const bin = globSync('usr/lib/postgresql/*/bin', { cwd: tree })[0]
  return bin ? { bin: join(tree, bin), env: { LD_LIBRARY_PATH: librariesOf(tree) }, source: 'cache' } : undefined
}
const inCache = (): Binaries | undefined => (hasDebianTree(TREE) ? inTree(debianTree(TREE)) : undefined)

/** Makes sure that `startPostgres` will find a server. Downloads only what is found nowhere else. */
export const setUpPostgres = async (report: Report): Promise<void> => {
  if (process.env.WRIT_TEST_POSTGRES_URL) return report('PostgreSQL: the address in WRIT_TEST_POSTGRES_URL.')
  if (await bringImage(IMAGE, report)) return report(`PostgreSQL: a container of ${IMAGE}.`)
  const found = await onPath()
  if (found) return report(`PostgreSQL: ${join(found.bin, 'postgres')}.`)
  await bringPostgres(report)
  report(`PostgreSQL: ${inCache()?.bin}/postgres.`)
}

/** PostgreSQL 15 out of the distribution's archive, or the version that it has. Its compiler (LLVM) stays away: jit is off. */
export const bringPostgres = async (report: Report): Promise<void> => {
  if (hasDebianTree(TREE)) return
  const offered = await firstOffered([PREFERRED, 16, 17, 18, 14, 13].map((version) => `postgresql-${version}`))
  const server = offered ?? `postgresql-${PREFERRED}`
  await bringDebianTree(TREE, [server, server.replace('-', '-client-')], /^libllvm|^libperl|^libjson-perl/, report)
}

/** Whom the server runs as: PostgreSQL refuses root. */
const unprivileged = (): User | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('postgres:'))
  const [, , uid = '65534', gid = '65534'] = line?.split(':') ?? []
  return { uid: Number(uid), gid: Number(gid) }
}

/** The binaries where that user may execute them: a cache under root's home is shut for others, so the tree is linked out of it. */
const reachable = (found: Binaries, user: User | undefined, folder: string): Binaries => {
  const env = { ...process.env, ...found.env }
  const runs = spawnSync(join(found.bin, 'postgres'), ['--version'], { ...user, env, cwd: '/', timeout: 5_000 })
  if (runs.status === 0) return found
  const tree = join(folder, 'binaries')
  for (const how of ['-al', '-a']) {
    if (spawnSync('cp', [how, debianTree(TREE), tree], { timeout: 60_000 }).status === 0) break
    spawnSync('rm', ['-rf', tree])
  }
  const copied = found.source === 'cache' ? inTree(tree) : undefined
  if (!copied) throw new Error(`${join(found.bin, 'postgres')} cannot be run by user ${user?.uid ?? 'of this process'}`)
  return copied
}

/** True when a client with the right password gets an answer. */
const answers = async (url: string): Promise<boolean> => {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('select 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

const urlOf = (host: string, port: number, password: string): string =>
  `postgresql://postgres:${password}@${host}:${port}/postgres`

const fromEnvironment = (address: string): PostgresService => {
  const url = new URL(address)
  return {
    ...notOurs('PostgreSQL'),
    url: address,
    host: url.hostname,
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    source: 'environment',
    pid: undefined,
    dir: undefined,
  }
}

const fromContainer = async (port: number, password: string, extra: readonly string[]): Promise<PostgresService> => {
  const url = urlOf('127.0.0.1', port, password)
  const controls = await startContainer({
    image: IMAGE,
    command: ['postgres', '-p', String(port), ...SETTINGS, ...extra],
    env: {
      POSTGRES_PASSWORD: password,
      POSTGRES_INITDB_ARGS: '--auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync',
    },
    isUp: () => answers(url),
  })
  const at = {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    password,
    source: 'container',
    pid: undefined,
    dir: undefined,
  } as const
  return { ...at, ...controls, url }
}

const initialise = async (binaries: Binaries, user: User | undefined, folder: string, password: string) => {
  const passwordFile = join(folder, 'password')
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (user) chownSync(passwordFile, user.uid, user.gid)
  const args = ['-D', join(folder, 'data'), '-U', 'postgres', '--pwfile', passwordFile, '--auth', 'scram-sha-256']
  await run(join(binaries.bin, 'initdb'), [...args, '--encoding', 'UTF8', '--locale', 'C', '--no-sync'], {
    ...user,
    cwd: folder,
    env: { ...process.env, ...binaries.env },
    timeout: 120_000,
  })
  await rm(passwordFile)
}

const fromBinaries = async (found: Binaries, port: number, password: string, extra: readonly string[]) => {
  const folder = await temporaryFolder('postgres')
  const user = unprivileged()
  if (user) chownSync(folder.path, user.uid, user.gid)
  const binaries = reachable(found, user, folder.path)
  await initialise(binaries, user, folder.path, password)
  const url = urlOf('127.0.0.1', port, password)
  const start = async () => {
    const args = ['-D', join(folder.path, 'data'), '-p', String(port), ...SETTINGS, ...NO_SOCKET, ...extra]
    const running = await launch(join(folder.path, 'postgres.log'), {
      ...{ command: join(binaries.bin, 'postgres'), args, env: binaries.env, user, cwd: folder.path },
      // SIGINT ends sessions and stops; SIGQUIT stops at once and still gives back the shared memory.
      ...{ stopSignal: 'SIGINT', orphanSignal: 'SIGQUIT' },
    })
    await untilReady('PostgreSQL', running, () => answers(url))
    return running
  }
  const { controls, running } = await controlled(start, () => folder.remove())
  const service: PostgresService = {
    ...controls,
    ...{ url, host: '127.0.0.1', port, user: 'postgres', password, source: binaries.source, dir: folder.path },
    get pid() {
      return running().pid
    },
  }
  return service
}

/** Starts PostgreSQL from the first source that has one. Rejects with the line that brings it where none has. */
export const startPostgres = async (options: PostgresOptions = {}): Promise<PostgresService> => {
  const report = options.report ?? (() => {})
  const address = process.env.WRIT_TEST_POSTGRES_URL
  if (address && !options.own && !options.settings) return fromEnvironment(address)
  const port = options.port ?? (await freePort())
  const password = randomBytes(18).toString('hex')
  if (options.copyable !== true && (await hasImage(IMAGE, report))) {
    try {
      return await fromContainer(port, password, options.settings ?? [])
    } catch (error) {
      report(
        `PostgreSQL: no container (${error instanceof Error ? error.message : 'unknown'}); going on with a binary.`,
      )
    }
  }
  const found = (await onPath()) ?? inCache()
  if (!found) throw new Error('No PostgreSQL found. Bring one: node deploy/dev/node.mjs deploy/dev/services.ts')
  return fromBinaries(found, port, password, options.settings ?? [])
}
