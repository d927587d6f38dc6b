// Bare express with one GET, as a side: the same form asked, an answer of the same bytes.
import { createHash } from 'node:crypto'
import { requestBytes } from './load.ts'
import { eyesOn, startPeer } from './peer.ts'
import type { Side } from './rounds.ts'

export interface ExpressSide {
  readonly side: Side
  stop(): Promise<void>
}

/** `answer`: what it says of each of these tokens. */
export async function startExpress(tokens: readonly string[], answer: object): Promise<ExpressSide> {
  const peer = await startPeer('express')
  const redis = eyesOn(peer)
  const filled = redis.pipeline()
  for (const token of tokens) filled.set(`token:${nameOf(token)}`, JSON.stringify(answer))
  await filled.exec()
  redis.disconnect()
  const ask = (token: string): Buffer =>
    requestBytes(
      'POST',
      '/introspect',
      { 'content-type': 'application/x-www-form-urlencoded' },
      new URLSearchParams({ token }).toString(),
    )
  return {
    side: {
      name: 'express, one GET',
      port: peer.port,
      pid: peer.pid,
      redisPid: peer.redisPid,
      prepare: async (count) => Array.from({ length: count }, (_, n) => ask(tokens[n % tokens.length] ?? '')),
    },
    stop: () => peer.stop(),
  }
}

/** As an opaque token would be looked up: by its digest. */
const nameOf = (token: string): string => createHash('sha256').update(token).digest('base64url')
