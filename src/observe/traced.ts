// Ports and verbs with a span around each call, and otherwise the ones they wrap. Made only where traces are on.
import type { Ports } from '../broker/ports.ts'
import { isGrantId } from '../domain/ids.ts'
import {
  type Around,
  CANARY_CALLS,
  type CallFacts,
  CEREMONY_CALLS,
  CONTAINMENT_CALLS,
  CREDENTIAL_CALLS,
  FORGE_CALLS,
  FREEZE_CALLS,
  PASSKEY_CALLS,
  REVOCATION_CALLS,
  SEAL_CALLS,
  STORE_CALLS,
  TIMETABLE_CALLS,
  told,
  USE_CALLS,
} from './calls.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { OnSpans, System, Traces } from './traces.ts'

export function tracedPorts(ports: Ports, traces: Traces): Ports {
  const around =
    (system: System): Around =>
    (call, facts, work) =>
      traces.within(system, call, facts, work, LOOKS.includes(call) ? isEmpty : undefined)
  return {
    ...ports,
    grants: told(ports.grants, STORE_CALLS, around('redis')),
    freezes: told(ports.freezes, FREEZE_CALLS, around('redis')),
    containments: told(ports.containments, CONTAINMENT_CALLS, around('redis')),
    revocations: told(ports.revocations, REVOCATION_CALLS, around('redis')),
    uses: told(ports.uses, USE_CALLS, around('redis')),
    credentials: told(ports.credentials, CREDENTIAL_CALLS, around('vault')),
    canaries: told(ports.canaries, CANARY_CALLS, around('redis')),
    forges: told(ports.forges, FORGE_CALLS, around('forge')),
    passkeys: told(ports.passkeys, PASSKEY_CALLS, around('redis')),
    ceremonies: told(ports.ceremonies, CEREMONY_CALLS, around('redis')),
    seal: told(ports.seal, SEAL_CALLS, around('witness')),
    timetable: told(ports.timetable, TIMETABLE_CALLS, around('queue')),
    control: tracedCall(ports.control, 'control', traces),
  }
}

/** What is asked again and again, and mostly finds nothing. */
const LOOKS: readonly string[] = ['claimDue', 'under', 'read']

/** One call to Redis that is no method of a port. */
export const tracedCall =
  <Args extends readonly unknown[], T>(call: (...args: Args) => Promise<T>, name: string, traces: Traces) =>
  (...args: Args): Promise<T> =>
    traces.within('redis', name, {}, () => call(...args))

/** A look that found nothing is no news: neither the claim of what is due, twice a second and lane, nor the sweep itself, nor that nothing is frozen. */
const isEmpty = (answer: unknown): boolean =>
  Array.isArray(answer)
    ? answer.length === 0
    : typeof answer === 'object' && answer !== null && 'revocations' in answer && isEmpty(answer.revocations)
const isIdleSweep = (answer: unknown): boolean =>
  typeof answer === 'object' &&
  answer !== null &&
  'done' in answer &&
  answer.done === 0 &&
  'failed' in answer &&
  isEmpty(answer.failed)

/** What a verb answers that has found nothing to do or to tell. */
const IDLE: Readonly<Record<string, (answer: unknown) => boolean>> = { sweep: isIdleSweep, revocations: isEmpty }

/** Verbs by their names. Of what a verb is called with only the id of a grant is told, and the lane of a sweep. */
export function tracedVerbs<Verbs extends object>(verbs: Verbs, traces: Traces): Verbs {
  const traced = Object.entries(verbs).map(([name, verb]) => {
    const factsOf = (args: readonly unknown[]): CallFacts => {
      const grant = args.find((arg): arg is string => typeof arg === 'string' && isGrantId(arg))
      const [lane] = name === 'sweep' ? args : []
      return { ...(grant === undefined ? {} : { grant }), ...(typeof lane === 'string' ? { lane } : {}) }
    }
    const call = (...args: readonly unknown[]) =>
      traces.within('verb', name, factsOf(args), () => verb(...args), IDLE[name])
    return [name, call]
  })
  return { ...verbs, ...Object.fromEntries(traced) }
}

/** Spans are counted by what became of them. That a collector takes them no more is said once, and once that it does again. */
export function spansWatch(figures: Metrics, log: Log): OnSpans {
  let delivered = true
  return (result, count) => {
    figures.count('trace_spans_total', { result }, count)
    if (result === 'dropped' || delivered === (result === 'sent')) return
    delivered = !delivered
    log(
      delivered ? 'info' : 'warn',
      delivered ? 'traces are delivered again' : 'the collector does not take the traces',
    )
  }
}
