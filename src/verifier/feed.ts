// Knowledge by the broker's revocation feed: an event stream, or long polling where no stream comes through. Invariant: `live` is said only
// of a token that was issued after our knowledge begins, while a position that the broker named is at most `maxStaleness` old; and a
// position is acknowledged only after everything up to it is refused here.
import { type Message, messagesIn } from './event-stream.ts'
import { age, type Moment, moment } from './keys.ts'
import { backoffMs, type Machine, pause } from './machine.ts'
import { type Revoked, revokedGrants } from './revoked.ts'
import { ENDED, type Knowledge, LIVE, type Problem, unknown } from './standing.ts'
import { isObject, isText, type JsonObject, strictObject } from './strict-jws.ts'
import { instantOf } from './verify.ts'
import type { Answer, Wire } from './wire.ts'

export interface FeedOptions {
  readonly maxStalenessMs: number
  /** The name under which this instance acknowledges: unique among the instances of this resource server, and the same after a restart. */
  readonly consumer: string
  readonly longestLifeMs: number
  readonly mostRevoked: number
}
interface Position {
  readonly text: string
  /** When, by our clocks, it was certainly not yet out of date. */
  readonly asOf: Moment
}

const LONGEST_ANSWER = 4 * 1_048_576
/** A backlog is long, a page of it is not; the clocks of both sides may differ by this much. */
const MARGIN_MS = 5 * 60_000
const TIMEOUT_MS = 5_000
const LONGEST_PAUSE_MS = 2_000
/** The broker tells of many at once in pages of some hundred. After so many at a time there may be more, so no position counts. */
const MAYBE_MORE = 100
/** A sign of life comes every two seconds; a stream that is silent for so long is begun anew, before what is known becomes too old. */
const SILENCE_MS = 3_000
/** After two streams that brought nothing, as behind a proxy that keeps them back: polling for so long. */
const POLL_FOR_MS = 60_000
/** An unchanged position is acknowledged again, so that the broker sees that we are there. */
const ACKNOWLEDGE_AGAIN_MS = 60_000

export function byFeed(
  wire: Pick<Wire, 'ask' | 'open' | 'issuer'>,
  machine: Machine,
  options: FeedOptions,
  problem: Problem,
): Knowledge {
  const { maxStalenessMs, longestLifeMs } = options
  const url = `${wire.issuer}/v1/revocations`
  const closing = new AbortController()
  const revoked: Revoked = revokedGrants({
    now: machine.monotonic,
    keepMs: longestLifeMs + MARGIN_MS,
    most: options.mostRevoked,
  })
  /** From when on every revocation is known, in the broker's time. */
  let begins = 0
  let resumeAt: string | undefined
  let confirmed: Position | undefined
  let brokerClock: { readonly at: number; readonly monotonic: number } | undefined
  let isFull = false
  let announceReady: () => void = () => undefined
  const ready = new Promise<void>((settle) => {
    announceReady = settle
  })
  const acks = acknowledger(wire, machine, options.consumer, closing.signal, problem)

  const apply = (value: JsonObject | undefined): void => {
    if (!isText(value?.grant, 128)) throw new Error('the feed told of a revocation without a grant')
    if (!revoked.add(value.grant)) {
      // What cannot be remembered cannot be refused: nothing is known any more.
      isFull = true
      throw new Error('there is no room for more revoked grants')
    }
  }
  const confirm = (text: string, asOf: Moment): void => {
    if (isFull) return
    resumeAt = text
    // Streams and polls do not overlap, but one may be dated earlier than the one before: knowledge does not age by it.
    if (confirmed === undefined || asOf.monotonic >= confirmed.asOf.monotonic) confirmed = { text, asOf }
    announceReady()
    acks.acknowledge(text)
  }
  /** Where to go on, or from when on if nothing is known yet. */
  const whence = (): Record<string, string> => {
    if (resumeAt !== undefined) return { after: resumeAt }
    const since = machine.now() - longestLifeMs - MARGIN_MS
    begins = since + MARGIN_MS
    confirmed = undefined
    return { since: new Date(since).toISOString() }
  }
  const refusedBy = (status: number): Error => {
    // A position that the broker does not know is of a store that is no more: everything is read again.
    if ([400, 404, 409, 410, 422].includes(status)) resumeAt = undefined
    return new Error(`the feed answered with status ${status}`)
  }

  const stream = async (): Promise<boolean> => {
    // A stream begins where everything before it is known, so that what it names first is not out of a backlog.
    for (let page = await ask(0); !page.isEnd; ) page = await ask(0)
    const one = new AbortController()
    const stop = (): void => one.abort()
    closing.signal.addEventListener('abort', stop, { once: true })
    const sent = moment(machine)
    const from = whence()
    let watch = setTimeout(stop, SILENCE_MS)
    const heard = (): void => {
      clearTimeout(watch)
      watch = setTimeout(stop, SILENCE_MS)
    }
    try {
      const response = await wire.open(`${url}?${new URLSearchParams(from)}`, {
        headers: {
          accept: 'text/event-stream',
          ...(from.after === undefined ? {} : { 'last-event-id': from.after }),
        },
        asClient: true,
        timeoutMs: TIMEOUT_MS,
        signal: one.signal,
      })
      if (response.status === 406) return false
      if (response.status !== 200) throw refusedBy(response.status)
      if (!/^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '') || response.body === null)
        return false
      const dated = datedBy(machine, sent)
      let positions = 0
      let many = 0
      for await (const message of messagesIn(response.body, heard)) {
        if (message.event === 'revocation') {
          apply(strictObject(message.data))
          resumeAt = message.id
          many += 1
        } else if (message.event === 'position') {
          const { position, at } = positionOf(message)
          resumeAt = position
          if (many < MAYBE_MORE) {
            brokerClock = { at, monotonic: machine.monotonic() }
            confirm(position, dated(at))
          }
          many = 0
          positions += 1
        } else if (message.event === 'problem') throw new Error('the feed told of a problem and ended')
      }
      return positions > 0
    } finally {
      clearTimeout(watch)
      one.abort()
      closing.signal.removeEventListener('abort', stop)
    }
  }

  /** One question, dated by when it was asked. Only an answer that says that there is nothing more confirms anything. */
  const ask = async (wait: number): Promise<{ readonly isEnd: boolean }> => {
    const sent = moment(machine)
    const answer = await wire.ask(`${url}?${new URLSearchParams({ ...whence(), wait: String(wait) })}`, {
      headers: { accept: 'application/json' },
      asClient: true,
      timeoutMs: wait * 1_000 + TIMEOUT_MS,
      longest: LONGEST_ANSWER,
      signal: closing.signal,
    })
    if (answer.status !== 200) throw refusedBy(answer.status)
    const { revocations, position, isEnd } = pageOf(answer)
    for (const one of revocations) apply(one)
    resumeAt = position
    if (isEnd) confirm(position, sent)
    return { isEnd }
  }

  const poll = async (until: number): Promise<void> => {
    // So short that one question after the other keeps the knowledge young.
    const longestWait = Math.min(30, Math.floor(maxStalenessMs / 2_500))
    let wait = 0
    while (!closing.signal.aborted && machine.monotonic() < until) {
      const { isEnd } = await ask(wait)
      if (isEnd && longestWait === 0) await pause(maxStalenessMs / 4, closing.signal)
      wait = isEnd ? longestWait : 0
    }
  }

  const run = async (): Promise<void> => {
    let failures = 0
    let silentStreams = 0
    while (!closing.signal.aborted) {
      try {
        // A stream's signs of life come every two seconds: too seldom for who wants to be younger.
        if (maxStalenessMs < 4_000) await poll(Number.POSITIVE_INFINITY)
        else if (silentStreams < 2) {
          if (await stream()) {
            silentStreams = 0
            failures = 0
          } else silentStreams += 1
        } else {
          await poll(machine.monotonic() + POLL_FOR_MS)
          silentStreams = 0
        }
      } catch (thrown) {
        if (closing.signal.aborted) return
        failures += 1
        if (thrown instanceof Error && thrown.name === 'AbortError') silentStreams += 1
        problem('feed', thrown)
      }
      if (staleness() < maxStalenessMs) failures = Math.min(failures, 1)
      if (failures > 0) await pause(backoffMs(failures, machine.jitter(), LONGEST_PAUSE_MS), closing.signal)
    }
  }
  const staleness = (): number =>
    confirmed === undefined || isFull ? Number.POSITIVE_INFINITY : age(machine, confirmed.asOf)
  const running = run()

  return {
    of: async (credential) => {
      // What is known to have ended stays so however old the knowledge is.
      if (revoked.has(credential.grant)) return ENDED
      const old = staleness()
      if (old === Number.POSITIVE_INFINITY) return unknown('Nothing is known yet of what was revoked.')
      if (old > maxStalenessMs) return unknown('What is known of what was revoked is too old.')
      if (credential.issuedAt < begins)
        return unknown('The credential was issued before it began to be known what was revoked.')
      return LIVE
    },
    brokerTime: () =>
      brokerClock === undefined ? undefined : brokerClock.at + machine.monotonic() - brokerClock.monotonic,
    staleness,
    ready: () => ready,
    close: async () => {
      closing.abort()
      announceReady()
      await running
      await acks.settled()
    },
  }
}

/**
 * Dates what a stream says by our own clock, without trusting that both clocks agree, and so that a stream that reaches us late is late.
 * The first time that it names is not before our question, so what it says at its own time `at` was true at the question + (at − first),
 * or later.
 */
function datedBy(machine: Pick<Machine, 'now' | 'monotonic'>, sent: Moment): (at: number) => Moment {
  let first: number | undefined
  return (at) => {
    first ??= at
    const received = moment(machine)
    const behind = Math.max(0, received.monotonic - (sent.monotonic + Math.max(0, at - first)))
    return { monotonic: received.monotonic - behind, wall: received.wall - behind }
  }
}

function positionOf({ id, data }: Message): { readonly position: string; readonly at: number } {
  const value = strictObject(data)
  const at = instantOf(value?.at)
  if (!isText(value?.position, 4_096) || value.position !== id || at === undefined)
    throw new Error('the feed told of a position that cannot be read')
  return { position: value.position, at }
}

function pageOf({ text }: Answer) {
  const { revocations, position, timed_out: timedOut } = strictObject(text) ?? {}
  if (!Array.isArray(revocations) || !revocations.every(isObject) || !isText(position, 4_096))
    throw new Error('the feed gave an answer that cannot be read')
  // Nothing, and not because the reading was cut short.
  return { revocations, position, isEnd: revocations.length === 0 && timedOut === true }
}

/** Says to the broker up to where everything is refused here: the newest position only, one at a time, and again what did not get there. */
function acknowledger(
  wire: Pick<Wire, 'ask' | 'issuer'>,
  machine: Machine,
  consumer: string,
  closing: AbortSignal,
  problem: Problem,
) {
  let wanted: string | undefined
  let told: { readonly position: string; readonly at: Moment } | undefined
  let telling: Promise<void> | undefined

  const isTold = (): boolean =>
    wanted === undefined || (told?.position === wanted && age(machine, told.at) < ACKNOWLEDGE_AGAIN_MS)
  const tell = async (): Promise<void> => {
    let failures = 0
    while (!closing.aborted && wanted !== undefined && !isTold()) {
      const position = wanted
      try {
        const { status } = await wire.ask(`${wire.issuer}/v1/revocations/acks`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ position, consumer }),
          asClient: true,
          timeoutMs: TIMEOUT_MS,
          longest: 65_536,
          signal: closing,
        })
        if (status !== 204) throw new Error(`the acknowledgement was answered with status ${status}`)
        told = { position, at: moment(machine) }
        failures = 0
      } catch (thrown) {
        if (closing.aborted) return
        failures += 1
        problem('acknowledgement', thrown)
        await pause(backoffMs(failures, machine.jitter(), LONGEST_PAUSE_MS), closing)
      }
    }
  }
  return {
    acknowledge: (position: string): void => {
      wanted = position
      if (telling !== undefined || isTold()) return
      telling = tell().finally(() => {
        telling = undefined
      })
    },
    settled: async (): Promise<void> => {
      await telling
    },
  }
}
