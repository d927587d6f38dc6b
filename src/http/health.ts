// For those who run the broker: is the process alive, may it take traffic, and its figures. Invariant: a check that fails, hangs or
// throws makes the broker not ready, and the answer names the check and the line that mends it.
import { isBrokerError } from '../domain/errors.ts'
import { type Answer, type Endpoint, type Incoming, json, NO_BODY } from './endpoint.ts'
import { problem } from './problem.ts'

export interface Check {
  /** `redis`, `control`, `policy`, `clock`, `keys`, `witness`, `sweep`, `queue`, `vault`, `inventory`. */
  readonly name: string
  /** What an operator does about it, as one line. */
  readonly mend: string
  /** It is told, and the broker takes traffic all the same. */
  readonly warnsOnly?: boolean
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
      const { failing, warnings } = partsOf(await readiness())
      const ready = failing.length === 0
      const body = { ready, failing, ...(warnings.length === 0 ? {} : { warnings }) }
      return json(ready ? 200 : 503, body, ready ? {} : { 'Retry-After': '2' })
    }),
    get('/metrics', async () => {
      const failing = partsOf(await readiness()).failing.map(({ name }) => name)
      return { status: 200, ...(await p.metrics(failing)) }
    }),
  ]
}

interface Failing {
  readonly name: string
  readonly why: string
  readonly mend: string
}
type Failed = Failing & { readonly warnsOnly: boolean }

function partsOf(results: readonly (Failed | undefined)[]) {
  const told = results.flatMap((result) => result ?? [])
  const shown = (warnsOnly: boolean): readonly Failing[] =>
    told.filter((one) => one.warnsOnly === warnsOnly).map(({ name, why, mend }) => ({ name, why, mend }))
  return { failing: shown(false), warnings: shown(true) }
}

async function run({ name, mend, check, warnsOnly = false }: Check, limitMs: number): Promise<Failed | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, limitMs, `no answer within ${limitMs} ms`)
  })
  try {
    const why = await Promise.race([check(), late])
    return why === undefined ? undefined : { name, why, mend, warnsOnly }
  } catch (thrown) {
    // Only a refusal's own message is made to be shown.
    return { name, why: isBrokerError(thrown) ? thrown.message : 'the check failed', mend, warnsOnly }
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
