// Server-sent events (WHATWG HTML §9.2): look for what is new, write it, look again. Invariant: a stream is bounded in time, so that no token
// outlives itself by it, and counts among those who wait; what each look may show is judged at that look.
import { isBrokerError } from '../domain/errors.ts'
import type { PrincipalId } from '../domain/ids.ts'
import type { Answer, Incoming, Outlet } from './endpoint.ts'
import { paused, type Waiters } from './wait.ts'

export interface Message {
  /** Where to go on after it: what the client sends as Last-Event-ID. */
  readonly id: string
  readonly event: string
  readonly data: unknown
}
export interface Look {
  readonly messages: readonly Message[]
  /** Where the next look begins. */
  readonly next: string
  /** Nothing can follow any more. */
  readonly over: boolean
}
export interface StreamLimits {
  readonly lookEveryMs: number
  readonly aliveEveryMs: number
  /** After this the client comes again, and shows its token again. */
  readonly longestMs: number
}
export const STREAM_LIMITS: StreamLimits = { lookEveryMs: 400, aliveEveryMs: 15_000, longestMs: 300_000 }

export const wantsEvents = (incoming: Incoming): boolean =>
  incoming
    .header('accept')
    .some((value) => value.split(',').some((one) => /^text\/event-stream\s*(;|$)/i.test(one.trim())))

/** The id of the last event that the client has seen, if it says so. */
export const lastEventId = (incoming: Incoming): string | undefined => {
  const [sent] = incoming.header('last-event-id')
  return sent === undefined || sent === '' ? undefined : sent
}

/** `first` has been looked at already, so that a refusal is an answer of its own. Throws `too_many_requests`. */
export function eventStream(
  waiters: Waiters,
  who: PrincipalId,
  first: Look,
  look: (after: string) => Promise<Look>,
  limits: StreamLimits = STREAM_LIMITS,
): Answer {
  const leave = waiters.enter(who)
  return {
    status: 200,
    media: 'text/event-stream',
    text: '',
    stream: (out) =>
      writeEvents(out, limits.longestMs, leave, async (write, over) => {
        let silentMs = 0
        let seen = first
        while (!out.gone.aborted) {
          if (seen.messages.length > 0) {
            await write(seen.messages)
            silentMs = 0
          } else if (silentMs >= limits.aliveEveryMs) {
            await out.write(': alive\n\n')
            silentMs = 0
          }
          if (seen.over || over()) return
          if (!(await paused(limits.lookEveryMs, out.gone))) return
          silentMs += limits.lookEveryMs
          seen = await look(seen.next)
        }
      }),
  }
}

/**
 * The frame of every stream: it begins with when to come again, is over after its time, and ends with the code of a refusal. `over` says that it
 * is time: by time and not by looks, as a reader who is slow to take what is written must not stay the longer for it.
 */
export async function writeEvents(
  { write }: Outlet,
  longestMs: number,
  leave: () => void,
  run: (write: (messages: readonly Message[]) => Promise<void>, over: () => boolean) => Promise<void>,
): Promise<void> {
  let late = false
  const timer = setTimeout(() => {
    late = true
  }, longestMs)
  try {
    await write(`retry: 1000\n\n`)
    await run(
      (messages) => write(messages.map(printed).join('')),
      () => late,
    )
  } catch (thrown) {
    // Whatever it is, the client comes again; only a refusal's code is for it to know.
    if (!isBrokerError(thrown)) throw thrown
    await write(`event: problem\ndata: ${JSON.stringify({ type: `urn:writ:error:${thrown.code}` })}\n\n`)
  } finally {
    clearTimeout(timer)
    leave()
  }
}

/** JSON has no line breaks of its own, and ids and names are ours: nothing can end a message early. */
const printed = ({ id, event, data }: Message): string =>
  `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`
