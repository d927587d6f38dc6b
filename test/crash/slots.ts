// Several brokers behind one public URL, each in a slot of its own with a data folder that outlives it. Who is killed is started again in the
// same slot at once; meanwhile the others work. Invariant: a broker that ends without having been killed is told.
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../deploy/dev/running.ts'
import type { BrokerProcess, DevStage } from '../../deploy/dev/stage.ts'
import type { AimedSays, AimedTold } from '../support/aimed.ts'
import type { Point } from '../support/effect-points.ts'

const PROGRAM = fileURLToPath(new URL('../support/aimed-broker.ts', import.meta.url))

export interface Slot {
  readonly n: number
  /** Undefined while nobody is ready there. */
  url(): string | undefined
  /** Which broker that is: another one after each start. */
  life(): string | undefined
  /** The end of its log, without the requests that it refused: of those there are hundreds a second while it is not ready. */
  lastWords(): string
  /** Resolves when a broker is ready here. */
  ready(): Promise<void>
  /** Aims it at a point. `hit` resolves when it is dead there (`self`), or waits there (`other`). */
  aim(point: Point, who: 'self' | 'other'): { readonly hit: Promise<boolean> }
  tell(what: Exclude<AimedTold, { do: 'aim' }>['do']): void
  /** SIGKILL now. */
  kill(): Promise<void>
  /** Begins a new one in the place of the dead one; answers after how many milliseconds it was ready. */
  revive(): Promise<number>
}
export interface Slots {
  readonly all: readonly Slot[]
  readonly points: () => readonly Point[]
  /** Where clients can go now. */
  urls(): readonly string[]
  stop(): Promise<void>
}
export interface SlotsOptions {
  readonly stage: DevStage
  readonly many: number
  readonly env: Readonly<Record<string, string>>
  /** The last words of a broker that ended and was not killed, or of one that was, for whoever looks for secrets there. */
  readonly ended: (slot: number, how: 'killed' | 'by itself', output: string) => void
}

export async function openSlots({ stage, many, env, ended }: SlotsOptions): Promise<Slots> {
  const path = join(stage.dir, 'aim.sock')
  const points: Point[] = []
  const waiting = new Map<number, (socket: Socket) => void>()
  const there = new Map<Socket, () => void>()
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    createInterface({ input: socket }).on('line', (line) => {
      const said = JSON.parse(line) as AimedSays
      if (said.is === 'there') return there.get(socket)?.()
      if (points.length === 0) points.push(...said.points)
      waiting.get(said.slot)?.(socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))

  const begin = async (n: number, died: string, port: number): Promise<{ broker: BrokerProcess; socket: Socket }> => {
    rmSync(died, { force: true })
    const connected = new Promise<Socket>((resolve) => waiting.set(n, resolve))
    const own = { WRIT_TEST_AIM: path, WRIT_TEST_SLOT: String(n), WRIT_TEST_DIED: died }
    const broker = await stage.startBroker(n, { program: PROGRAM, port, env: { ...env, ...own } })
    return { broker, socket: await connected }
  }

  const slotOf = (n: number, port: number): Slot & { stop(): Promise<void> } => {
    const died = join(stage.dir, `died-${n}`)
    let now: { readonly broker: BrokerProcess; readonly socket: Socket; readonly gone: Promise<void> } | undefined
    let starting: Promise<void> = Promise.resolve()
    let killedByUs = false
    let stopping = false
    const start = async (): Promise<void> => {
      for (let tries = 1; ; tries += 1) {
        try {
          const { broker, socket } = await begin(n, died, port)
          killedByUs = false
          const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
          const begun = { broker, socket, gone }
          now = begun
          void gone.then(() => {
            if (now !== begun) return
            now = undefined
            if (stopping) return
            const how = killedByUs || existsSync(died) ? 'killed' : 'by itself'
            ended(n, how, broker.output())
          })
          return
        } catch (thrown) {
          // A start that met a dead Redis is tried again, as a supervisor would.
          if (stopping || tries === 5) throw thrown
        }
      }
    }
    const send = (told: AimedTold): void => void now?.socket.write(`${JSON.stringify(told)}\n`)
    const closed = (): Promise<void> => now?.gone ?? Promise.resolve()
    return {
      n,
      url: () => now?.broker.url,
      life: () => now && String(now.broker.pid),
      lastWords: () => {
        const lines = now?.broker.output().split('\n') ?? []
        return lines
          .filter((line) => !line.includes('"request refused or failed"'))
          .join('\n')
          .slice(-1_500)
      },
      ready: () => starting,
      aim: (point, who) => {
        const socket = now?.socket
        const gone = closed()
        const hit =
          who === 'self'
            ? gone.then(() => existsSync(died) && readFileSync(died, 'utf8') === point)
            : new Promise<boolean>((resolve) => {
                if (socket !== undefined) there.set(socket, () => resolve(true))
                void gone.then(() => resolve(false))
              })
        send({ do: 'aim', point, who })
        return { hit }
      },
      tell: (what) => send({ do: what }),
      kill: async () => {
        killedByUs = true
        await now?.broker.kill()
        await closed()
      },
      revive: () => {
        const from = performance.now()
        const started = start()
        starting = started
        return started.then(() => performance.now() - from)
      },
      stop: async () => {
        stopping = true
        await starting.catch(() => undefined)
        await now?.broker.stop()
      },
    }
  }
  const all: (Slot & { stop(): Promise<void> })[] = []
  for (let n = 0; n < many; n += 1) all.push(slotOf(n, n === 0 ? Number(new URL(stage.url).port) : await freePort()))
  // The first makes the keys that all of them share.
  for (const slot of all) await slot.revive()
  return {
    all,
    points: () => points,
    urls: () => all.flatMap((slot) => slot.url() ?? []),
    stop: async () => {
      await Promise.all(all.map((slot) => slot.stop()))
      server.close()
    },
  }
}
