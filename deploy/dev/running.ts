// A server we started: its process, its log, its folder, and ways to hurt it. Invariant: whatever happens to us, no server and
// no temporary folder of ours stays behind: the kernel kills the children of a killed parent, an exit handler does the rest.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { boundToParent } from './parent.mjs'

/** Where a service came from, in the order in which they are tried. */
export type Source = 'environment' | 'container' | 'path' | 'cache'

/** Ways to end, stop and resume a service. A service that is not ours (an address from the environment) refuses them. */
export interface Controls {
  /** Ends it in its own orderly way and removes its folder, unless the folder was handed in. Twice is once. */
  stop(): Promise<void>
  /** Ends it like a power cut (SIGKILL). The folder stays, for `restart`. */
  kill(): Promise<void>
  /** Stops every process of it in its tracks (SIGSTOP): connections stay open, nothing answers. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Starts it again on the same port and data, whether it runs or not. */
  restart(): Promise<void>
}

export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly user?: { readonly uid: number; readonly gid: number } | undefined
  readonly cwd: string
  /** The signal for an orderly end. */
  readonly stopSignal: NodeJS.Signals
  /** The signal that the kernel sends when we die. */
  readonly orphanSignal: NodeJS.Signals
}

export interface Running {
  readonly pid: number
  /** Everything it printed so far. */
  output(): string
  hasExited(): boolean
  stop(): Promise<void>
  kill(): Promise<void>
  freeze(): void
  thaw(): void
}

const GRACE_MS = 5_000
const live = new Set<{ end(): void }>()
let watching = false

const endAll = () => {
  // The youngest first: a server ends before the folder it lives in.
  for (const one of [...live].reverse()) one.end()
  live.clear()
}

/** Everything alive ends with this process. A host with handlers of its own for a signal decides itself when to exit. */
const watchOurEnd = () => {
  if (watching) return
  watching = true
  process.on('exit', endAll)
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    const leave = () => {
      if (process.listenerCount(signal) === 1) process.exit(code)
    }
    process.on(signal, leave)
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

/** Folders of processes that were killed too hard to clean up. A day's grace: their owner may live in another container. */
const clearLeftovers = () => {
  for (const name of readdirSync(tmpdir())) {
    const owner = /^writ-[a-z]+-(\d+)-\w{6}$/.exec(name)?.[1]
    if (owner === undefined || isAlive(Number(owner))) continue
    const path = join(tmpdir(), name)
    const made = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY
    if (made < Date.now() - 86_400_000) rmSync(path, { recursive: true, force: true })
  }
}

/** A new temporary folder, removed at our exit or by `remove`. */
export const temporaryFolder = async (name: string): Promise<{ readonly path: string; remove(): void }> => {
  watchOurEnd()
  clearLeftovers()
  const path = await mkdtemp(join(tmpdir(), `writ-${name}-${process.pid}-`))
  const folder = { end: () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }) }
  live.add(folder)
  return {
    path,
    remove: () => {
      live.delete(folder)
      folder.end()
    },
  }
}

/** Below this the kernel gives no port to outgoing connections or to "any free port", so nobody takes one between here and its use. */
const firstEphemeral = (): number => {
  try {
    return Number(/^\d+/.exec(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'))?.[0] ?? 32_768)
  } catch {
    return 32_768
  }
}
const PORTS = 10_000
/** Processes that look for ports side by side take from different ones, nearly always. */
const SLICES = 16
const handedOut = new Set<number>()

const canListen = (port: number): Promise<boolean> =>
  new Promise((answer) => {
    const probe = createServer()
    probe.once('error', () => answer(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => answer(true)))
  })

/** A port for a server that starts later, also again and again: handed out once by this process, and to nobody by the kernel. */
export const freePort = async (): Promise<number> => {
  const end = firstEphemeral()
  const from = Math.max(1_024, end - PORTS)
  for (let tries = 0; tries < 1_000; tries++) {
    const port = from + randomInt(Math.floor((end - from) / SLICES)) * SLICES + (process.pid % SLICES)
    if (handedOut.has(port) || !(await canListen(port))) continue
    handedOut.add(port)
    return port
  }
  throw new Error('no free port below the range that the kernel gives out')
}

interface ProcessLine {
  readonly state: string
  readonly parent: number
}
const processLine = (pid: number): ProcessLine | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [state = '', parent = ''] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}

/** The process and everything under it, parents first. Where there is no /proc, the process alone. */
export const family = (pid: number): readonly number[] => {
  const children = new Map<number, number[]>()
  for (const name of existsSync('/proc/self/stat') ? readdirSync('/proc') : []) {
    const line = /^\d+$/.test(name) ? processLine(Number(name)) : undefined
    if (line) children.set(line.parent, [...(children.get(line.parent) ?? []), Number(name)])
  }
  const under = (parent: number): number[] => [parent, ...(children.get(parent) ?? []).flatMap(under)]
  return under(pid)
}

const signalEach = (pids: readonly number[], signal: NodeJS.Signals) => {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // gone already
    }
  }
}

/** SIGSTOP for the parent first, so that it forks nobody meanwhile; again until every process found is stopped. */
const freezeFamily = (pid: number) => {
  for (let round = 0; round < 50; round++) {
    const moving = family(pid).filter((one) => !/[TZX]/.test(processLine(one)?.state ?? 'X'))
    if (moving.length === 0) return
    signalEach(moving, 'SIGSTOP')
  }
  throw new Error(`process ${pid} and its children did not all stop`)
}

const exitOf = (child: ChildProcess): Promise<void> =>
  new Promise((gone) => {
    if (child.exitCode !== null || child.signalCode !== null) gone()
    else child.once('exit', () => gone())
  })

/** Starts a server with its output in a log file beside its data. It dies with us. */
export const launch = async (log: string, what: Launch): Promise<Running> => {
  watchOurEnd()
  const out = openSync(log, 'w', 0o600)
  const [command, args] = boundToParent(what.command, what.args, what.orphanSignal)
  const child = spawn(command, args, {
    cwd: what.cwd,
    env: { ...process.env, ...what.env },
    stdio: ['ignore', out, out],
    ...what.user,
  })
  closeSync(out)
  const pid = await new Promise<number>((started, failed) => {
    child.once('error', failed)
    child.once('spawn', () => (child.pid === undefined ? failed(new Error('no process id')) : started(child.pid)))
  })
  const gone = exitOf(child)
  const killFamily = () => signalEach(family(pid), 'SIGKILL')
  const atOurExit = {
    // An orderly signal first, so that a database gives back its shared memory; there is no event loop any more to wait with.
    end: () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      signalEach(family(pid), 'SIGCONT')
      signalEach([pid], what.orphanSignal)
      const clock = new Int32Array(new SharedArrayBuffer(4))
      for (let n = 0; n < 50 && !/[ZX]/.test(processLine(pid)?.state ?? 'X'); n++) Atomics.wait(clock, 0, 0, 10)
      killFamily()
    },
  }
  live.add(atOurExit)
  void gone.then(() => live.delete(atOurExit))
  return {
    pid,
    output: () => readFileSync(log, 'utf8'),
    hasExited: () => child.exitCode !== null || child.signalCode !== null,
    stop: async () => {
      signalEach(family(pid), 'SIGCONT')
      child.kill(what.stopSignal)
      const late = setTimeout(killFamily, GRACE_MS)
      await gone
      clearTimeout(late)
    },
    kill: async () => {
      killFamily()
      await gone
    },
    freeze: () => freezeFamily(pid),
    thaw: () => signalEach([...family(pid)].reverse(), 'SIGCONT'),
  }
}

/** Waits until `isReady` says so; an exit or the deadline rejects with the end of the server's own output. */
export const untilReady = async (
  name: string,
  running: Running,
  isReady: () => Promise<boolean>,
  withinMs = 30_000,
) => {
  for (const end = performance.now() + withinMs; performance.now() < end; await pause(25)) {
    if (running.hasExited()) break
    if (await isReady()) return
  }
  const said = running.output().trim().split('\n').slice(-8).join('\n')
  await running.kill()
  throw new Error(`${name} did not get ready; its last words:\n${said}`)
}

/** The controls of a server that `start` starts, the first time already now. `cleanUp` runs once, after the last stop. */
export const controlled = async (start: () => Promise<Running>, cleanUp: () => void) => {
  let now = await start()
  const controls: Controls = {
    stop: async () => {
      await now.stop()
      cleanUp()
    },
    kill: () => now.kill(),
    freeze: async () => now.freeze(),
    thaw: async () => now.thaw(),
    restart: async () => {
      await now.stop()
      now = await start()
    },
  }
  return { controls, running: () => now }
}

/** The controls of a service at an address from the environment: ending is not our business, and hurting it is refused. */
export const notOurs = (name: string): Controls => {
  const refuse = () =>
    Promise.reject(new Error(`this ${name} is an address from the environment: it is not ours to stop`))
  return { stop: async () => {}, kill: refuse, freeze: refuse, thaw: refuse, restart: refuse }
}
