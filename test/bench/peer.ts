// Starts a peer: a program of peers/ as a process of its own, on this Node with the options of ours, with a Redis of its own that is set up like ours.

import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { type RedisService, startRedis } from '../../deploy/dev/redis.ts'
import { freePort, launch, temporaryFolder } from '../../deploy/dev/running.ts'
import { nodeOptions } from '../../deploy/dev/stage.ts'
import { redisPidOf } from './gauge.ts'

export interface Peer {
  readonly port: number
  readonly pid: number
  readonly redisPid: number
  readonly redis: RedisService
  stop(): Promise<void>
}

export async function startPeer(
  name: 'oidc' | 'express' | 'floor' | 'jobs',
  env: (port: number) => Readonly<Record<string, string>> = () => ({}),
  shared?: RedisService,
): Promise<Peer> {
  const redis = shared ?? (await startRedis({ own: true, settings: ['--maxmemory', '6gb'] }))
  const redisPid = redisPidOf(redis)
  const folder = await temporaryFolder('peer')
  const port = await freePort()
  const running = await launch(join(folder.path, 'peer.log'), {
    command: process.execPath,
    args: [...nodeOptions(), fileURLToPath(new URL(`peers/${name}.ts`, import.meta.url))],
    env: {
      ...(process.env.PATH === undefined ? {} : { PATH: process.env.PATH }),
      NODE_ENV: 'production',
      BENCH_REDIS_URL: redis.url,
      BENCH_PORT: String(port),
      ...env(port),
    },
    cwd: folder.path,
    stopSignal: 'SIGTERM',
    orphanSignal: 'SIGKILL',
  })
  const stop = async (): Promise<void> => {
    await running.stop()
    if (shared === undefined) await redis.stop()
    folder.remove()
  }
  for (let tries = 0; !(await answers(port)); tries += 1) {
    if (running.hasExited() || tries > 200) {
      const said = running.output().slice(-2_000)
      await stop()
      throw new Error(`the peer ${name} did not start:\n${said}`)
    }
    await pause(50)
  }
  return { port, pid: running.pid, redisPid, redis, stop }
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const done = (is: boolean) => {
      socket.destroy()
      resolve(is)
    }
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })

/** A connection to look at a peer's Redis with. */
export const eyesOn = ({ redis }: Pick<Peer, 'redis'>): Redis => new Redis(redis.url)
