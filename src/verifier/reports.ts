// Tells the broker of each use and each refusal. Invariant: a report never holds a request up nor fails it; each has an id of its own, so that
// sending it again changes nothing; and what had to be dropped is counted, and the count is told to the broker as a use of its own.
import { age, type Moment, moment } from './keys.ts'
import { backoffMs, type Machine, pause } from './machine.ts'
import type { About, ReportedReason } from './refusal.ts'
import type { Problem } from './standing.ts'
import type { Wire } from './wire.ts'

export interface Use {
  readonly about: About
  /** Absent: it was used. */
  readonly refusedAs?: ReportedReason
  readonly action: string
  readonly target: string
  /** `sha-256:` and base64url, of the arguments. */
  readonly argumentDigest?: string
}
export interface ReportOptions {
  /** So many wait at most. */
  readonly most: number
  /** Reports are gathered for so long. */
  readonly everyMs: number
  readonly timeoutMs: number
}
export interface ReportFigures {
  readonly waiting: number
  /** That the broker has. */
  readonly sent: number
  /** Thrown away because too many waited. */
  readonly dropped: number
  /** Thrown away because the broker does not take them: the grant is not one for this resource server, or is no more. */
  readonly unwanted: number
}
export interface Reports {
  add(use: Use): void
  figures(): ReportFigures
  /** Sends what waits; settles when it is sent, or when the time is over. Then nothing is taken any more. */
  close(withinMs: number): Promise<void>
}

interface Report {
  readonly grant: string
  readonly body: {
    readonly id: string
    readonly at: string
    readonly credential: string
    readonly outcome: 'used' | 'refused'
    readonly reason?: ReportedReason
    readonly action: string
    readonly target: string
    readonly argumentDigest?: string
  }
}
interface Dropped {
  readonly id: string
  readonly credential: string
  count: number
}

const A_CALL = 100
const LONGEST_PAUSE_MS = 30_000
const MOST_GRANTS_WITH_DROPS = 1_000
/** A use with this action says how many reports about this grant were dropped: its target is their number. */
export const DROPPED_ACTION = 'writ.reports-dropped'

export function reporter(
  wire: Pick<Wire, 'ask' | 'issuer'>,
  machine: Machine,
  options: ReportOptions,
  problem: Problem,
): Reports {
  // Apart, because whoever sends refused credentials must not push out the reports of uses.
  const uses: Report[] = []
  const refusals: Report[] = []
  const drops = new Map<string, Dropped>()
  const closing = new AbortController()
  let sent = 0
  let dropped = 0
  let unwanted = 0
  let isClosed = false
  let mostInACall = A_CALL
  let sending: Promise<void> | undefined
  let wake: AbortController | undefined

  const drop = (record: Report | undefined): void => {
    if (record === undefined) return
    dropped += 1
    const known = drops.get(record.grant)
    if (known !== undefined) known.count += 1
    else if (drops.size < MOST_GRANTS_WITH_DROPS)
      drops.set(record.grant, { id: machine.newId(), credential: record.body.credential, count: 1 })
  }

  /** Up to a hundred about the grant whose report is the oldest. */
  const nextCall = ():
    | { readonly grant: string; readonly records: readonly Report[]; readonly lost: Dropped | undefined }
    | undefined => {
    const first = uses[0] ?? refusals[0]
    const grant = first?.grant ?? drops.keys().next().value
    if (grant === undefined) return undefined
    const lost = drops.get(grant)
    const records = [...uses, ...refusals]
      .filter((record) => record.grant === grant)
      .slice(0, lost ? Math.max(1, mostInACall - 1) : mostInACall)
    return { grant, records, lost }
  }
  const take = (records: readonly Report[]): void => {
    const gone = new Set(records)
    for (const queue of [uses, refusals]) {
      const left = queue.filter((record) => !gone.has(record))
      queue.splice(0, queue.length, ...left)
    }
  }

  const postpone = (records: readonly Report[]): void => {
    const gone = new Set(records)
    for (const queue of [uses, refusals]) {
      const [later, sooner] = [queue.filter((one) => gone.has(one)), queue.filter((one) => !gone.has(one))]
      queue.splice(0, queue.length, ...sooner, ...later)
    }
  }

  /** Undefined when that is settled, for good or bad; otherwise how long the broker wants to be left alone. */
  const send = async (call: NonNullable<ReturnType<typeof nextCall>>): Promise<number | undefined> => {
    const { grant, records, lost } = call
    const count = lost?.count ?? 0
    const told = lost && {
      // With the count, so that a later one with more is another report.
      id: `${lost.id.slice(0, 50)}.${count}`,
      at: new Date(machine.now()).toISOString(),
      credential: lost.credential,
      outcome: 'used',
      action: DROPPED_ACTION,
      target: String(count),
    }
    const { status, headers } = await wire.ask(`${wire.issuer}/v1/grants/${encodeURIComponent(grant)}/uses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ uses: [...records.map(({ body }) => body), ...(told === undefined ? [] : [told])] }),
      timeoutMs: options.timeoutMs,
      longest: 65_536,
      asClient: true,
      signal: closing.signal,
    })
    // Not for us, not stored any more, or not understood: no repetition changes that.
    const isFinal = [400, 404, 409, 410, 413, 415, 422].includes(status)
    if (status !== 200 && !isFinal) {
      problem('reports', new Error(`the uses were answered with status ${status}`))
      // What may be wrong with this grant alone must not stop the others: they are tried first.
      if (status >= 500 && status !== 503) postpone(records)
      const seconds = Number(headers.get('retry-after') ?? 0)
      return Number.isFinite(seconds) ? Math.min(Math.max(seconds * 1_000, 0), LONGEST_PAUSE_MS) : 0
    }
    if (status === 400 && records.length > 1) {
      // One of them may be what is not understood: the others shall not go with it.
      mostInACall = Math.ceil(records.length / 2)
      return 0
    }
    mostInACall = Math.min(A_CALL, mostInACall * 2)
    if (isFinal) {
      unwanted += records.length
      problem('reports', new Error(`the broker does not take uses of this grant (status ${status})`))
    } else sent += records.length
    take(records)
    if (lost !== undefined && lost.count === count) drops.delete(grant)
    else if (lost !== undefined) drops.set(grant, { ...lost, id: machine.newId(), count: lost.count - count })
    return undefined
  }

  const run = async (): Promise<void> => {
    let failures = 0
    while (!closing.signal.aborted) {
      const call = nextCall()
      if (call === undefined) return
      let waitMs: number | undefined
      try {
        waitMs = await send(call)
      } catch (thrown) {
        if (closing.signal.aborted) return
        problem('reports', thrown)
        waitMs = 0
      }
      failures = waitMs === undefined ? 0 : failures + 1
      if (waitMs !== undefined)
        await pause(Math.max(waitMs, backoffMs(failures, machine.jitter(), LONGEST_PAUSE_MS)), closing.signal)
    }
  }
  const begin = (): void => {
    if (sending !== undefined || closing.signal.aborted) return
    sending = (async () => {
      wake = new AbortController()
      if (!isClosed) await pause(options.everyMs, wake.signal)
      wake = undefined
      await run()
    })().finally(() => {
      sending = undefined
      // What came while the last call was on its way.
      if (nextCall() !== undefined) begin()
    })
  }

  return {
    add: ({ about, refusedAs, action, target, argumentDigest }) => {
      if (isClosed) {
        dropped += 1
        return
      }
      const queue = refusedAs === undefined ? uses : refusals
      queue.push({
        grant: about.grant,
        body: {
          id: machine.newId(),
          at: new Date(machine.now()).toISOString(),
          credential: about.jti,
          outcome: refusedAs === undefined ? 'used' : 'refused',
          ...(refusedAs === undefined ? {} : { reason: refusedAs }),
          action: shortened(action, 200),
          target: shortened(target, 500),
          ...(argumentDigest !== undefined && DIGEST.test(argumentDigest) ? { argumentDigest } : {}),
        },
      })
      // The oldest goes, of the refusals as long as there are any.
      if (uses.length + refusals.length > options.most) drop(refusals.shift() ?? uses.shift())
      begin()
    },
    figures: () => ({ waiting: uses.length + refusals.length, sent, dropped, unwanted }),
    close: async (withinMs) => {
      isClosed = true
      wake?.abort()
      const since: Moment = moment(machine)
      while (sending !== undefined && age(machine, since) < withinMs) {
        const over = new AbortController()
        await Promise.race([sending, pause(Math.max(0, withinMs - age(machine, since)), over.signal)])
        over.abort()
      }
      closing.abort()
      await sending
      dropped += uses.length + refusals.length
      uses.length = 0
      refusals.length = 0
    },
  }
}

const DIGEST = /^sha-256:[A-Za-z0-9_-]{43}$/
/** What shows nothing of itself or moves what stands beside it: the broker takes no such text. */
const UNSEEN =
  /\p{C}|[\u2028\u2029\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0]|\u034f|[\u180b-\u180d\u180f]|[\ufe00-\ufe0f]|[\u{e0100}-\u{e01ef}]/gu

/** As the broker takes it: one line that shows something, not longer than that. */
function shortened(text: string, longest: number): string {
  const shown = text.slice(0, longest).toWellFormed().replace(UNSEEN, '\ufffd').slice(0, longest)
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(shown) ? shown : '-'
}
