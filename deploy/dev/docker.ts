// Services in containers, where a Docker of this machine answers. Whether it does, and whether an image is there, is asked of its API
// directly and bounded to seconds; the container itself is made by testcontainers, whose reaper removes it even if we are killed.
// Containers use the host's network, so that a service listens on 127.0.0.1 and nowhere else, and Vault finds PostgreSQL there.
import { request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { Report } from './debian.ts'
import type { Controls } from './running.ts'

const PING_MS = 2_000
const PULL_MS = 30_000
const START_MS = 60_000
const READY_MS = 30_000

/** Docker's socket. Undefined for a remote Docker, whose host is another machine, and off Linux, where the host is a virtual one. */
const socketPath = (): string | undefined => {
  const address = process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock'
  return process.platform === 'linux' && address.startsWith('unix://') ? address.slice('unix://'.length) : undefined
}

/** The status of Docker's answer once its body is complete; undefined when it does not answer in time. */
const ask = (method: 'GET' | 'POST', path: string, withinMs: number): Promise<number | undefined> =>
  new Promise((answer) => {
    const socket = socketPath()
    if (socket === undefined) return answer(undefined)
    const call = request({ socketPath: socket, method, path, signal: AbortSignal.timeout(withinMs) }, (reply) => {
      reply.once('error', () => answer(undefined))
      reply.once('end', () => answer(reply.statusCode))
      reply.resume()
    })
    call.once('error', () => answer(undefined))
    call.end()
  })

let answering: Promise<boolean> | undefined
const answers = (): Promise<boolean> => {
  answering ??= ask('GET', '/_ping', PING_MS).then((status) => status === 200)
  return answering
}

const offered = new Map<string, Promise<boolean>>()

const findImage = async (image: string, report: Report): Promise<boolean> => {
  if (!(await answers())) return false
  const isThere = async () => (await ask('GET', `/images/${image}/json`, PING_MS)) === 200
  if (await isThere()) return true
  const [name = '', tag = 'latest'] = image.split(':')
  report(`Docker: pulling ${image} (at most ${PULL_MS / 1000} s)…`)
  await ask('POST', `/images/create?fromImage=${encodeURIComponent(name)}&tag=${tag}`, PULL_MS)
  if (await isThere()) return true
  report(`Docker answers but ${image} is not there and could not be pulled; going on without a container.`)
  return false
}

/** Whether a container of this image can be started here. Asked once per process and image; says so when Docker answers in vain. */
export const hasImage = (image: string, report: Report): Promise<boolean> => {
  const known = offered.get(image) ?? findImage(image, report)
  offered.set(image, known)
  return known
}

/** One line for the set-up when there is no Docker at all. */
export const reportDocker = async (report: Report): Promise<void> => {
  if (!(await answers())) report('Docker does not answer; services come from binaries on PATH or the cache folder.')
}

export interface ContainerPlan {
  readonly image: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly isUp: () => Promise<boolean>
}

/** Starts a container in the host's network and waits until it answers. Rejects within about a minute and a half when it does not. */
export const startContainer = async (plan: ContainerPlan): Promise<Controls> => {
  const { GenericContainer } = await import('testcontainers')
  const container = await new GenericContainer(plan.image)
    .withNetworkMode('host')
    .withEnvironment({ ...plan.env })
    .withCommand([...plan.command])
    .withStartupTimeout(START_MS)
    .start()
  const tell = async (verb: string) => {
    const status = await ask('POST', `/containers/${container.getId()}/${verb}`, START_MS)
    // 304: it is already as asked; 409 and 500: it is not in the state that the verb ends, say unpause of what runs.
    const isDone = status !== undefined && (status < 400 || (verb === 'unpause' && status !== 404))
    if (!isDone) throw new Error(`Docker: ${verb} answered ${status}`)
  }
  const untilUp = async () => {
    for (const end = performance.now() + READY_MS; performance.now() < end; await pause(50))
      if (await plan.isUp()) return
    throw new Error(`the container of ${plan.image} did not answer`)
  }
  const stop = async () => {
    await tell('unpause')
    await container.stop()
  }
  await untilUp().catch(async (error) => {
    await stop()
    throw error
  })
  return {
    stop,
    kill: async () => {
      await tell('unpause')
      await tell('kill')
    },
    freeze: () => tell('pause'),
    thaw: () => tell('unpause'),
    restart: async () => {
      await tell('unpause')
      await tell('restart')
      await untilUp()
    },
  }
}
