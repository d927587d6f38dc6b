// A delayed BullMQ job per grant: what it costs to add, to keep and to run.
import { setTimeout as pause } from 'node:timers/promises'
import { cpuUs } from './gauge.ts'
import { eyesOn, type Peer, startPeer } from './peer.ts'
import { usedMemory } from './planting.ts'

export interface Added {
  readonly seconds: number
  /** Of Redis, for each job that waits. */
  readonly bytesEach: number
  /** Worker and Redis together, for each job, so far. */
  readonly cpuUsEach: number
}
export interface Fired {
  readonly p50: number
  readonly p99: number
  /** From the first that was due to the last that was done. */
  readonly drainedMs: number
  readonly cpuUsEach: number
}
export interface JobsSide {
  readonly peer: Peer
  add(many: number, from: number, spreadMs: number): Promise<Added>
  /** Of those that were added last, once all are done. */
  fired(many: number, from: number, withinMs: number): Promise<Fired>
  hz(hz: number): Promise<void>
  stop(): Promise<void>
}

export async function startJobs(): Promise<JobsSide> {
  const peer = await startPeer('jobs')
  const redis = eyesOn(peer)
  const ask = async (path: string): Promise<unknown> => {
    const answer = await fetch(`http://127.0.0.1:${peer.port}${path}`)
    if (!answer.ok) throw new Error(`the jobs say: ${await answer.text()}`)
    return answer.json()
  }
  const used = (): number => cpuUs(peer.pid) + cpuUs(peer.redisPid)
  let before = 0
  return {
    peer,
    add: async (many, from, spreadMs) => {
      const [cpu, memory, started] = [used(), await usedMemory(redis), performance.now()]
      await ask(`/add?many=${many}&from=${from}&spreadMs=${spreadMs}`)
      before = used()
      return {
        seconds: (performance.now() - started) / 1_000,
        bytesEach: ((await usedMemory(redis)) - memory) / many,
        cpuUsEach: (before - cpu) / many,
      }
    },
    fired: async (many, from, withinMs) => {
      for (;;) {
        const state = Object(await ask('/state'))
        if (state.fired >= many)
          return {
            p50: Number(state.p50),
            p99: Number(state.p99),
            drainedMs: Number(state.lastAt) - from,
            cpuUsEach: (used() - before) / many,
          }
        if (Date.now() > from + withinMs) throw new Error(`of ${many} jobs ${state.fired} were done in time`)
        await pause(100)
      }
    },
    hz: async (hz) => void (await redis.config('SET', 'hz', hz)),
    stop: async () => {
      redis.disconnect()
      await peer.stop()
    },
  }
}
