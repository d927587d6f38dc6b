// A real Vault for dev and tests. Invariant: `restart` finds the same data at the same address, unsealed; the root token is known
// to the process that started it and lies in a file only its user can read.
// Without Docker and without a `vault` on PATH it is built once from test/vault, which embeds Vault's own core.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cacheDir, exclusively } from './cache.mjs'
import type { Report } from './debian.ts'
import { bringImage, hasImage, startContainer } from './docker.ts'
import { boundToParent } from './parent.mjs'
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

const IMAGE = 'hashicorp/vault:1.21'
const PROGRAM = fileURLToPath(new URL('../../test/vault', import.meta.url))
const BUILD_LINE = 'node deploy/dev/node.mjs deploy/dev/services.ts'
/** Packages of the program and everything under it; measured, for the progress line only. */
const PACKAGES = 1_650
const COLD_BUILD = '6 to 8 minutes on two cores, 4.5 GB of caches'

export interface VaultService extends Controls {
  readonly addr: string
  readonly rootToken: string
  readonly source: Source
  /** Undefined where it is no process of ours. */
  readonly pid: number | undefined
  /** Where its data lie, in `storage`; undefined where that is out of reach. */
  readonly dir: string | undefined
}
export interface VaultOptions {
  readonly port?: number
  /** Not the shared one named in the environment: a test that freezes or kills it needs its own. */
  readonly own?: boolean
  /** No container: a test that puts a copy of its data back needs the folder. */
  readonly copyable?: boolean
  readonly report?: Report
}

interface Binary {
  readonly command: string
  /** The program of test/vault unseals itself; the full server is unsealed from here. */
  readonly unsealsItself: boolean
  readonly source: Source
}

const onPath = async (): Promise<Binary | undefined> => {
  for (const command of candidates('vault')) {
    if (await versionOf(command, /^Vault v(1\.\d+)\./)) return { command, unsealsItself: false, source: 'path' }
  }
  for (const command of candidates('writ-test-vault')) {
    if (await versionOf(command, /^Vault v(1\.\d+)\./)) return { command, unsealsItself: true, source: 'path' }
  }
  return undefined
}

/** Named for its sources, so that a changed program is built again and an unchanged one never. */
const builtBinary = (): string => {
  const hash = createHash('sha256')
  for (const file of ['main.go', 'go.mod', 'go.sum']) hash.update(readFileSync(join(PROGRAM, file)))
  return join(cacheDir(), 'bin', `writ-test-vault-${hash.digest('hex').slice(0, 16)}`)
}
const inCache = (): Binary | undefined => {
  const command = builtBinary()
  return existsSync(command) ? { command, unsealsItself: true, source: 'cache' } : undefined
}

/** Makes sure that `startVault` will find a server. Builds only what is found nowhere else. */
export const setUpVault = async (report: Report): Promise<void> => {
  if (process.env.WRIT_TEST_VAULT_ADDR) return report('Vault: the address in WRIT_TEST_VAULT_ADDR.')
  if (await bringImage(IMAGE, report)) return report(`Vault: a container of ${IMAGE}.`)
  const found = await onPath()
  if (found) return report(`Vault: ${found.command}.`)
  if (!inCache()) {
    const waiting = () => report('Vault: another set-up is building it; waiting for it…')
    await exclusively('vault', async () => (inCache() ? undefined : build(report)), waiting)
  }
  report(`Vault: ${builtBinary()}.`)
}

const goEnvironment = () => ({
  ...process.env,
  GOPATH: join(cacheDir(), 'go'),
  GOMODCACHE: join(cacheDir(), 'go', 'pkg', 'mod'),
  GOCACHE: join(cacheDir(), 'go-build'),
  // Go counts its own uses in the user's configuration folder. Its settings are read from there, and nothing is written.
  GOENV: process.env.GOENV ?? join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'go', 'env'),
  XDG_CONFIG_HOME: join(cacheDir(), 'config'),
  // The file beside the sources alone decides; two at a time, so that the machine stays usable.
  GOFLAGS: '-p=2 -buildvcs=false -mod=readonly',
})

const build = async (report: Report) => {
  const go = [...candidates('go'), ...candidates('go', ['/usr/local/go/bin'])][0]
  if (!go) throw new Error('No Vault found, and no Go to build it with. Install one: https://go.dev/dl (1.25 or newer)')
  const binary = builtBinary()
  mkdirSync(join(cacheDir(), 'bin'), { recursive: true })
  const started = performance.now()
  const elapsed = () => {
    const seconds = Math.round((performance.now() - started) / 1000)
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
  }
  report(`Vault: building it once with Go (with empty caches ${COLD_BUILD}, else seconds to two minutes)…`)
  let modules = 0
  let packages = 0
  const tick = () =>
    report(`  ${elapsed()}: ${modules} modules downloaded, ${packages} packages of at most ${PACKAGES} compiled`)
  const ticking = setInterval(tick, 15_000)
  try {
    await runGo(go, ['build', '-v', '-trimpath', '-ldflags=-s -w', '-o', `${binary}.new`, '.'], (line) => {
      if (line.startsWith('go: downloading')) modules++
      else packages++
    })
  } finally {
    clearInterval(ticking)
  }
  await rename(`${binary}.new`, binary)
  const folder = join(cacheDir(), 'bin')
  const old = (await readdir(folder)).filter((name) => name.startsWith('writ-test-vault-'))
  for (const name of old) if (join(folder, name) !== binary) await rm(join(folder, name))
  report(`Vault: built in ${elapsed()}.`)
}

/** Runs go to its end; it prints one line per module and package. Rejects with its last lines. */
const runGo = (go: string, args: readonly string[], heard: (line: string) => void): Promise<void> =>
  new Promise((done, failed) => {
    const [command, bound] = boundToParent(go, args, 'SIGTERM')
    const child = spawn(command, bound, { cwd: PROGRAM, env: goEnvironment(), stdio: ['ignore', 'ignore', 'pipe'] })
    const killChild = () => child.kill('SIGTERM')
    process.on('exit', killChild)
    const last: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => {
      heard(line)
      last.push(line)
      if (last.length > 10) last.shift()
    })
    child.once('error', failed)
    child.once('close', (code) => {
      process.off('exit', killChild)
      if (code === 0) done()
      else failed(new Error(`go build failed (${code}):\n${last.join('\n')}`))
    })
  })

/** What Vault answers, where it answers at all within 5 s. The body is not read further than JSON. */
const call = async (
  addr: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: unknown }> => {
  const reply = await fetch(`${addr}/v1/${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  })
  const text = await reply.text()
  return { status: reply.status, body: text === '' ? undefined : JSON.parse(text) }
}

const isUp = (addr: string, wanted: readonly number[]): Promise<boolean> =>
  call(addr, 'GET', 'sys/health').then(
    ({ status }) => wanted.includes(status),
    () => false,
  )
/** 501: not initialised, 503: sealed. */
const LISTENS = [200, 501, 503]
const SERVES = [200]

const member = (body: unknown, name: string): unknown =>
  typeof body === 'object' && body !== null ? Reflect.get(body, name) : undefined

/** Opens a server that does not do it itself; the first time it is initialised, and its key and root token kept in `dir`. */
const unseal = async (addr: string, dir: string): Promise<void> => {
  const keyFile = join(dir, 'unseal-key')
  const state = await call(addr, 'GET', 'sys/init')
  if (member(state.body, 'initialized') !== true) {
    const made = await call(addr, 'PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 })
    const [key] = (member(made.body, 'keys_base64') as readonly string[] | undefined) ?? []
    const token = member(made.body, 'root_token')
    if (key === undefined || typeof token !== 'string') throw new Error(`sys/init answered ${made.status}`)
    writeFileSync(keyFile, key, { mode: 0o600 })
    writeFileSync(join(dir, 'root-token'), token, { mode: 0o600 })
  }
  await call(addr, 'PUT', 'sys/unseal', { key: readFileSync(keyFile, 'utf8') })
  for (let n = 0; n < 400; n++, await pause(25)) if (await isUp(addr, SERVES)) return
  throw new Error('Vault stayed sealed')
}

/** The full server's settings: the same storage and listener as the program of test/vault has. */
const serverSettings = (dir: string, port: number): string =>
  JSON.stringify({
    storage: { file: { path: join(dir, 'storage') } },
    listener: { tcp: { address: `127.0.0.1:${port}`, tls_disable: true } },
    api_addr: `http://127.0.0.1:${port}`,
    disable_mlock: true,
  })

const fromContainer = async (port: number): Promise<VaultService> => {
  const addr = `http://127.0.0.1:${port}`
  const secrets = await temporaryFolder('vault')
  const controls = await startContainer({
    image: IMAGE,
    command: ['server'],
    env: { VAULT_LOCAL_CONFIG: serverSettings('/vault/file', port), SKIP_SETCAP: 'true' },
    isUp: () => isUp(addr, LISTENS),
  })
  const stop = async () => {
    await controls.stop()
    secrets.remove()
  }
  await unseal(addr, secrets.path).catch(async (error) => {
    await stop()
    throw error
  })
  const rootToken = readFileSync(join(secrets.path, 'root-token'), 'utf8')
  const restart = async () => {
    await controls.restart()
    await unseal(addr, secrets.path)
  }
  return { ...controls, restart, stop, addr, rootToken, source: 'container', pid: undefined, dir: undefined }
}

const fromBinary = async (binary: Binary, port: number): Promise<VaultService> => {
  const folder = await temporaryFolder('vault')
  const dir = folder.path
  const addr = `http://127.0.0.1:${port}`
  const settings = join(dir, 'vault.json')
  if (!binary.unsealsItself) writeFileSync(settings, serverSettings(dir, port), { mode: 0o600 })
  const args = binary.unsealsItself
    ? ['-listen', `127.0.0.1:${port}`, '-data', dir, '-root-token-file', join(dir, 'root-token')]
    : ['server', `-config=${settings}`]
  const start = async () => {
    const signals = { stopSignal: 'SIGTERM', orphanSignal: 'SIGKILL' } as const
    const running = await launch(join(dir, 'vault.log'), { command: binary.command, args, cwd: dir, ...signals })
    await untilReady('Vault', running, () => isUp(addr, binary.unsealsItself ? SERVES : LISTENS))
    if (!binary.unsealsItself) await unseal(addr, dir)
    return running
  }
  const { controls, running } = await controlled(start, () => folder.remove())
  const service: VaultService = {
    ...controls,
    ...{ addr, rootToken: readFileSync(join(dir, 'root-token'), 'utf8'), source: binary.source, dir },
    get pid() {
      return running().pid
    },
  }
  return service
}

/** Starts Vault from the first source that has one; it is initialised and unsealed. Rejects with the line that brings it where none has. */
export const startVault = async (options: VaultOptions = {}): Promise<VaultService> => {
  const report = options.report ?? (() => {})
  const { WRIT_TEST_VAULT_ADDR: addr, WRIT_TEST_VAULT_TOKEN: token } = process.env
  if (addr && !options.own) {
    if (!token) throw new Error('WRIT_TEST_VAULT_ADDR needs WRIT_TEST_VAULT_TOKEN beside it')
    return { ...notOurs('Vault'), addr, rootToken: token, source: 'environment', pid: undefined, dir: undefined }
  }
  const port = options.port ?? (await freePort())
  if (options.copyable !== true && (await hasImage(IMAGE, report))) {
    try {
      return await fromContainer(port)
    } catch (error) {
      report(`Vault: no container (${error instanceof Error ? error.message : 'unknown'}); going on with a binary.`)
    }
  }
  const binary = (await onPath()) ?? inCache()
  if (!binary) throw new Error(`No Vault found. Build one (minutes, once): ${BUILD_LINE}`)
  return fromBinary(binary, port)
}
