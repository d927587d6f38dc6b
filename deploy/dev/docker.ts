// Services in containers, where Docker answers. Whether it does, and whether an image is there, is asked of its API directly and
// bounded to seconds; the container itself is made by testcontainers, whose reaper removes it even if we are killed.
import { request } from 'node:http'
import type { Report } from './debian.ts'
import type { Controls } from './running.ts'

const PING_MS = 2_000
const PULL_MS = 30_000
const START_MS = 60_000

const endpoint = (): { socketPath: string } | { host: string; port: number } => {
  const address = process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock'
  if (address.startsWith('unix://')) return { socketPath: address.slice('unix://'.length) }
  const url = new URL(address.replace(/^tcp:/, 'http:'))
  return { host: url.hostname, port: Number(url.port || 2375) }
}

/** The status of Docker's answer once its body is complete; undefined when it does not answer in time. */
const ask = (method: 'GET' | 'POST', path: string, withinMs: number): Promise<number | undefined> =>
  new Promise((answer) => {
    const call = request({ ...endpoint(), method, path, signal: AbortSignal.timeout(withinMs) }, (reply) => {
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

export interface Container {
  readonly host: string
  readonly port: number
  readonly controls: Controls
}
export interface ContainerPlan {
  readonly image: string
  readonly insidePort: number
  /** Fixed, so that a restart keeps it. */
  readonly port: number
  readonly command?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Starts a container and waits until its port answers. Rejects within about a minute when it cannot. */
export const startContainer = async (plan: ContainerPlan, untilUp: () => Promise<void>): Promise<Container> => {
  const { GenericContainer } = await import('testcontainers')
  let planned = new GenericContainer(plan.image)
    .withExposedPorts({ container: plan.insidePort, host: plan.port })
    .withEnvironment({ ...plan.env })
    .withStartupTimeout(START_MS)
  if (plan.command) planned = planned.withCommand([...plan.command])
  const container = await planned.start()
  const tell = async (verb: string) => {
    const status = await ask('POST', `/containers/${container.getId()}/${verb}`, START_MS)
    // 304: it is already as asked; 409: it is not in the state that the verb ends.
    if (status === undefined || (status >= 400 && status !== 409)) throw new Error(`Docker: ${verb} answered ${status}`)
  }
  const controls: Controls = {
    stop: async () => {
      await tell('unpause')
      await container.stop()
    },
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
  await untilUp()
  return { host: container.getHost(), port: plan.port, controls }
}
