// Services in containers, where a Docker of this machine answers. Whether it does, and whether an image is there, is asked of its API
// directly and bounded to seconds; the container itself is made by testcontainers, and removed by its guard even if we are killed.
// Containers use the host's network, so that a service listens on 127.0.0.1 and nowhere else, and Vault finds PostgreSQL there.
import { createRequire } from 'node:module'
import { hostname } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { guarded } from './container-guard.ts'
import type { Report } from './debian.ts'
import { ask } from './docker-api.ts'
import type { Controls } from './running.ts'

const ASK_MS = 3_000
const PULL_MS = 300_000
/** A registry that cannot be reached is given up after this much silence; a slow one is not. */
const PULL_SILENT_MS = 10_000
const TELL_MS = 60_000
const READY_MS = 30_000
const GRACE_MS = 5_000

interface Info {
  readonly Name?: string
  readonly SecurityOptions?: readonly string[] | null
}

/** Its host's network is ours only on the same host: not from inside a container, not a virtual machine's, not a rootless one's own. */
const sharesOurNetwork = ({ Name, SecurityOptions }: Info): boolean =>
  Name === hostname() && !SecurityOptions?.some((option) => option.startsWith('name=rootless'))

const findDocker = async (): Promise<'none' | 'apart' | 'here'> => {
  const info = await ask('GET', '/info', ASK_MS)
  if (info?.status !== 200) return 'none'
  return sharesOurNetwork(JSON.parse(info.body) as Info) ? 'here' : 'apart'
}

let found: ReturnType<typeof findDocker> | undefined
const docker = () => {
  found ??= findDocker()
  return found
}

/** One line for the set-up when no container can be had at all. */
export const reportDocker = async (report: Report): Promise<void> => {
  const instead = 'services come from binaries on PATH or the cache folder.'
  const where = await docker()
  if (where === 'none') report(`Docker does not answer; ${instead}`)
  if (where === 'apart') report(`Docker answers but does not share this machine's network; ${instead}`)
}

const offered = new Map<string, Promise<boolean>>()

const isThere = async (image: string): Promise<boolean> =>
  (await docker()) === 'here' && (await ask('GET', `/images/${image}/json`, ASK_MS))?.status === 200

const lookFor = async (image: string, report: Report): Promise<boolean> => {
  const is = await isThere(image)
  if (!is && (await docker()) === 'here') report(`Docker answers but has no ${image}; going on without a container.`)
  return is
}

/** Whether a container of this image can be started here. Downloads nothing. Asked once per process; says so when Docker answers in vain. */
export const hasImage = (image: string, report: Report): Promise<boolean> => {
  const known = offered.get(image) ?? lookFor(image, report)
  offered.set(image, known)
  return known
}

const pull = async (image: string, report: Report): Promise<boolean> => {
  if (await isThere(image)) return true
  if ((await docker()) !== 'here') return false
  const [name = '', tag = 'latest'] = image.split(':')
  report(`Docker: pulling ${image}…`)
  await ask('POST', `/images/create?fromImage=${encodeURIComponent(name)}&tag=${tag}`, PULL_MS, PULL_SILENT_MS)
  if (await isThere(image)) return true
  report(`Docker answers but has no ${image} and cannot pull it; going on without a container.`)
  return false
}

/** For the set-up: as `hasImage`, but pulls it if need be. */
export const bringImage = (image: string, report: Report): Promise<boolean> => {
  const brought = pull(image, report)
  offered.set(image, brought)
  return brought
}

export interface ContainerPlan {
  readonly image: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** A folder of ours that the container sees at `target`; files made there belong to our user, or can be read by it. */
  readonly folder?: { readonly source: string; readonly target: string }
  readonly isUp: () => Promise<boolean>
}

type Testcontainers = typeof import('testcontainers')
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

let loaded: Testcontainers | undefined
/**
 * Loaded on first use and in one go, so that the signal handlers that come with it can be told apart and taken off: they leave the exit to
 * any other handler, as ours do, and a process with both would ignore the signal.
 */
const testcontainers = (): Testcontainers => {
  if (loaded) return loaded
  const before = SIGNALS.map((signal) => [signal, process.listeners(signal)] as const)
  loaded = createRequire(import.meta.url)('testcontainers') as Testcontainers
  for (const [signal, own] of before)
    for (const one of process.listeners(signal)) if (!own.includes(one)) process.off(signal, one)
  return loaded
}

const create = async (plan: ContainerPlan) => {
  const label = await guarded()
  // Always true in the host's network. Without it testcontainers looks for a gateway wherever a file says that this is a container.
  process.env.TESTCONTAINERS_HOST_OVERRIDE ??= '127.0.0.1'
  const { GenericContainer } = testcontainers()
  const container = new GenericContainer(plan.image)
    .withNetworkMode('host')
    .withLabels(label)
    .withAutoCleanup(false)
    .withEnvironment({ ...plan.env })
    .withCommand([...plan.command])
  if (plan.folder) {
    container.withBindMounts([{ ...plan.folder, mode: 'z' }])
    const [user, group] = [process.getuid?.(), process.getgid?.()]
    // Root's images step down to a user of their own.
    if (user !== undefined && user !== 0) container.withUser(`${user}:${group}`)
  }
  return container.start()
}

const lastWords = async (id: string): Promise<string> => {
  const logs = await ask('GET', `/containers/${id}/logs?stdout=1&stderr=1&tail=3`, ASK_MS)
  // Every piece has a header of eight bytes: the stream, three zeros, four of length.
  const text = (logs?.body ?? '').replace(/(^|\n)[^\n]\p{Cc}{5}[\s\S]{2}/gu, '$1')
  const lines = text.split('\n').map((line) => line.trim())
  return lines.filter((line) => line !== '').join(' / ')
}

/** Starts a container in the host's network and waits until it answers. Rejects when it exits or does not answer within half a minute. */
export const startContainer = async (plan: ContainerPlan): Promise<Controls> => {
  const container = await create(plan)
  const id = container.getId()
  const tell = async (verb: string, unless: readonly number[]) => {
    const status = (await ask('POST', `/containers/${id}/${verb}`, TELL_MS))?.status
    const isDone = status !== undefined && (status < 400 || unless.includes(status))
    if (!isDone) throw new Error(`Docker: ${verb} answered ${status}`)
  }
  const isRunning = async () => {
    const state = await ask('GET', `/containers/${id}/json`, ASK_MS)
    return state === undefined || (state.status === 200 && /"Running":true/.test(state.body))
  }
  const untilUp = async () => {
    for (const end = performance.now() + READY_MS; performance.now() < end; await pause(50)) {
      if (await plan.isUp()) return
      if (!(await isRunning())) break
    }
    throw new Error(`the container of ${plan.image} did not get ready; its last words: ${await lastWords(id)}`)
  }
  let stopped: Promise<unknown> | undefined
  const stop = async () => {
    stopped ??= container.stop({ timeout: GRACE_MS })
    await stopped
  }
  await untilUp().catch(async (error) => {
    await stop()
    throw error
  })
  return {
    stop,
    // A frozen one takes its signal before it is thawed: it does nothing in between. 409: it does not run, or is as asked already.
    kill: () => tell('kill', [409]),
    freeze: () => tell('pause', [409]),
    // Older versions answer 500 for one that is not frozen.
    thaw: () => tell('unpause', [409, 500]),
    restart: async () => {
      await tell(`restart?t=${GRACE_MS / 1_000}`, [])
      await untilUp()
    },
  }
}
