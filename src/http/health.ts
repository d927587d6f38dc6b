// For those who run the broker: is the process alive, may it take traffic, and its figures. Invariant: a check that fails, hangs or
// throws makes the broker not ready, and the answer names the check and the line that mends it.
import { isBrokerError } from '../domain/errors.ts'
import { type Answer, type Endpoint, type Incoming, json, NO_BODY } from './endpoint.ts'
import { problem } from './problem.ts'

export interface Check {
  /** `redis`, `control`, `policy`, `clock`, `keys`, `witness`, `sweep`, `queue`, `vault`. */
  readonly name: string
  /** What an operator does about it, as one line. */
  readonly mend: string
  /** Rejects, or resolves to what is wrong; resolves to undefined when all is well. What it says is shown, so it holds no secret. */
  check(): Promise<string | undefined>
}
export interface HealthPorts {
  readonly checks: readonly Check[]
  /** The text of all metrics, and its media type. It is told which checks fail now. */
  metrics(failing: readonly string[]): Promise<{ readonly text: string; readonly media: string }>
  /** How long a check may take; longer is a failure. */
  readonly checkMs: number
}

/** `/healthz`, `/readyz` and `/metrics`: mounted beside the rest, or on a listener of their own. */
export function healthEndpoints(p: HealthPorts): readonly Endpoint[] {
  const readiness = shared(() => Promise.all(p.checks.map((check) => run(check, p.checkMs))))
  const get = (path: string, answer: (incoming: Incoming) => Promise<Answer>): Endpoint => {
    return { method: 'GET', path, name: path.slice(1), takes: NO_BODY, answer, refuse: problem }
  }
  return [
    get('/healthz', async () => json(200, { alive: true })),
    get('/readyz', async () => {
      const failing = (await readiness()).flatMap((result) => result ?? [])
      const ready = failing.length === 0
      return json(ready ? 200 : 503, { ready, failing }, ready ? {} : { 'Retry-After': '2' })
    }),
    get('/metrics', async () => {
      const failing = (await readiness()).flatMap((result) => result?.name ?? [])
      return { status: 200, ...(await p.metrics(failing)) }
    }),
  ]
}

interface Failing {
  readonly name: string
  readonly why: string
  readonly mend: string
}

async function run({ name, mend, check }: Check, limitMs: number): Promise<Failing | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, limitMs, `no answer within ${limitMs} ms`)
  })
  try {
    const why = await Promise.race([check(), late])
    return why === undefined ? undefined : { name, why, mend }
  } catch (thrown) {
    // Only a refusal's own message is made to be shown.
    return { name, why: isBrokerError(thrown) ? thrown.message : 'the check failed', mend }
  } finally {
    clearTimeout(timer)
  }
}

/** One run at a time: whoever asks meanwhile gets the same answer, so that probes cannot pile up on a hanging backend. */
function shared<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= work().finally(() => {
      running = undefined
    })
    return running
  }
}
