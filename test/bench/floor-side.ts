// The floor under an exchange, as a side: the same requests, over records that are copies of ours.
import { randomBytes } from 'node:crypto'
import { answersOf, type Ours } from './ours.ts'
import { eyesOn, type Peer, startPeer } from './peer.ts'
import type { Side } from './rounds.ts'

export interface FloorSide {
  readonly side: Side & { readonly redisPid: number }
  /** One more process over the same Redis. */
  startAnother(): Promise<Peer>
  stop(): Promise<void>
}

export async function startFloor(ours: Ours): Promise<FloorSide> {
  const [id = ''] = await ours.approved(1, 'bearer')
  const before = await recordOf(ours, id)
  const [answer = {}] = await answersOf(ours.port, ours.exchanges([id], 'bearer', false))
  const after = await recordOf(ours, id)
  const token = String(answer.access_token)
  const env = () => ({
    BENCH_CALLER_JWK: JSON.stringify(ours.issuerKey.jwk),
    BENCH_CLAIMS: Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    BENCH_ANSWER: JSON.stringify(answer),
    BENCH_HEAD: after.head,
    BENCH_EVENT: after.event,
  })
  const peer = await startPeer('floor', env)
  const redis = eyesOn(peer)
  const fill = async (ids: readonly string[]): Promise<void> => {
    const filled = redis.pipeline()
    for (const one of ids) {
      filled.set(`f:ask:${one}`, before.ask)
      if (before.decisions.length > 0) filled.rpush(`f:decisions:${one}`, ...before.decisions)
      filled.hset(`f:head:${one}`, { version: '2', status: 'approved', head: before.head })
    }
    await filled.exec()
  }
  return {
    side: {
      name: 'floor: node:http, one load, one commit, two signatures',
      port: peer.port,
      pid: peer.pid,
      redisPid: peer.redisPid,
      prepare: async (count) => {
        const ids = Array.from({ length: count }, () => `g0-${randomBytes(13).toString('hex')}`)
        await fill(ids)
        return ours.exchanges(ids, 'bearer', false)
      },
    },
    startAnother: () => startPeer('floor', env, peer.redis),
    stop: async () => {
      redis.disconnect()
      await peer.stop()
    },
  }
}

/** What lies in Redis of one grant, and its newest event. */
async function recordOf({ redis }: Ours, id: string) {
  const [ask, decisions, head] = [
    await redis.get(`{writ:0}:ask:${id}`),
    await redis.lrange(`{writ:0}:decisions:${id}`, 0, -1),
    await redis.hgetall(`{writ:0}:head:${id}`),
  ]
  const entry = (head.ev ?? '').split(',').at(-1) ?? ''
  const [found] = await redis.xrange('{writ:0}:events', entry, entry)
  const event = found?.[1][found[1].indexOf('event') + 1] ?? ''
  return { ask: ask ?? '', decisions, head: head.head ?? '', event }
}
