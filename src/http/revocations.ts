// What `/v1` tells resource servers and hears from them: the feed of ended grants, how far each instance has read it, and the uses of credentials.
// Invariant: a sign of life is only written where the store was read; where it could not be, the answer is a problem and the stream is over.
import type { z } from 'zod'
import type { Broker } from '../broker/broker.ts'
import type { Told, ToldRevocation } from '../broker/revocations.ts'
import { BrokerError } from '../domain/errors.ts'
import type { Digest, PrincipalId } from '../domain/ids.ts'
import { formatInstant, type Instant, parseInstant } from '../domain/instant.ts'
import type { Use } from '../domain/use.ts'
import { type Answer, type Incoming, json } from './endpoint.ts'
import { lastEventId, STREAM_LIMITS, wantsEvents, writeEvents } from './event-stream.ts'
import { type GrantsPorts, idOf } from './grants.ts'
import type { Waiters } from './wait.ts'
import type { acksBody, reportedAnswer, revocationsAnswer, revocationsQuery, usesBody } from './wire.ts'

export interface RevocationsPorts extends GrantsPorts {
  /** Of those who listen; apart from those who wait for a grant. */
  readonly listeners: Waiters
}

/** One call of a resource server, its input parsed. */
export interface ServerCall<B, Q> {
  readonly server: string
  readonly incoming: Incoming
  readonly body: B
  readonly query: Q
}

/** A sign of life comes at least every two seconds: the rest of them is for reading and writing. */
const ALIVE_MS = 1_500

const toldOf = ({ grant, audience, at, status, position }: ToldRevocation) => ({
  grant,
  audience,
  at: formatInstant(at),
  status,
  position,
})

export const revocations = async (
  p: RevocationsPorts,
  { server, incoming, query }: ServerCall<unknown, z.infer<typeof revocationsQuery>>,
): Promise<Answer> => {
  const begin = beginningOf(incoming, query)
  const gone = incoming.gone()
  if (wantsEvents(incoming)) {
    // Looked at once before anything is written, so that a refusal is an answer of its own.
    const first = await p.broker.revocations(server, begin, { waitMs: 0, gone })
    const leave = p.listeners.enter(listener(server))
    return stream(p.broker, server, first, leave)
  }
  const leave = query.wait === undefined || query.wait === 0 ? () => undefined : p.listeners.enter(listener(server))
  try {
    const told = await p.broker.revocations(server, begin, { waitMs: (query.wait ?? 0) * 1_000, gone })
    return json(200, {
      revocations: told.revocations.map(toldOf),
      position: told.position,
      timed_out: told.timedOut,
    } satisfies z.infer<typeof revocationsAnswer>)
  } finally {
    leave()
  }
}

/** Nobody in the directory has such a name. */
const listener = (server: string): PrincipalId => `server:${server}` as PrincipalId

function beginningOf(incoming: Incoming, { after, since }: z.infer<typeof revocationsQuery>) {
  const seen = lastEventId(incoming) ?? after
  if (seen !== undefined) return { after: seen }
  const at = since === undefined ? undefined : parseInstant(since)
  return at === undefined ? {} : { since: at }
}

const messagesOf = (told: Told) => [
  ...told.revocations.map((one) => ({ id: one.position, event: 'revocation', data: toldOf(one) })),
  { id: told.position, event: 'position', data: { position: told.position, at: formatInstant(told.until) } },
]

const stream = (broker: Pick<Broker, 'revocations'>, server: string, first: Told, leave: () => void): Answer => ({
  status: 200,
  media: 'text/event-stream',
  text: '',
  stream: (out) =>
    writeEvents(out, STREAM_LIMITS.longestMs, leave, async (write, over) => {
      let told = first
      await write(messagesOf(told))
      while (!out.gone.aborted && !over()) {
        told = await broker.revocations(server, { after: told.position }, { waitMs: ALIVE_MS, gone: out.gone })
        if (out.gone.aborted) return
        await write(messagesOf(told))
      }
    }),
})

export const acknowledge = async (
  p: RevocationsPorts,
  { server, body }: ServerCall<z.infer<typeof acksBody>, unknown>,
): Promise<Answer> => {
  await p.broker.acknowledge(server, body.position, body.consumer)
  return { status: 204, media: 'application/json', text: '' }
}

export const reportUses = async (
  p: RevocationsPorts,
  { server, incoming, body }: ServerCall<z.infer<typeof usesBody>, unknown>,
): Promise<Answer> => {
  const { accepted, repeated, misuse } = await p.broker.reportUses(server, idOf(incoming), body.uses.map(useOf))
  return json(200, { accepted, repeated, misuse: misuse.length } satisfies z.infer<typeof reportedAnswer>)
}

const useOf = (use: z.infer<typeof usesBody>['uses'][number]): Use => ({
  id: use.id,
  at: timeOf(use.at),
  credential: use.credential,
  outcome: use.outcome,
  reason: use.outcome === 'refused' ? use.reason : undefined,
  action: use.action,
  target: use.target,
  argumentDigest: use.argumentDigest as Digest | undefined,
})

function timeOf(text: string): Instant {
  const at = parseInstant(text)
  if (at !== undefined) return at
  throw new BrokerError('invalid_request', 'A time cannot be read.', { facts: { member: 'at' } })
}
