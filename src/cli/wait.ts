// Waiting for a grant by long polls. Invariant: a wait ends by what was waited for or by its own time, and says which; a broker that
// restarts meanwhile does not end it.
import { type GrantAnswer, waitAnswer } from '../http/wire.ts'
import type { Client } from './client.ts'
import type { Context } from './command.ts'
import { usage } from './failure.ts'
import { statusShown } from './show-grant.ts'
import { shown } from './shown.ts'

export interface Waited {
  readonly grant: GrantAnswer
  /** The answer of the broker as it came last. */
  readonly raw: unknown
  readonly timedOut: boolean
}

const LONGEST_POLL_S = 30
const DEFAULT_WAIT_S = 3_600

/** Seconds of `--wait[=seconds]`; undefined where it is not there. */
export function waitSeconds({ given }: Pick<Context, 'given'>): number | undefined {
  if (!given.has('wait')) return undefined
  const text = given.text('wait')
  if (text === undefined) return DEFAULT_WAIT_S
  if (!/^\d{1,6}$/.test(text) || Number(text) === 0) throw usage('--wait takes whole seconds: --wait=60.')
  return Number(text)
}

export async function waitFor(
  context: Pick<Context, 'machine' | 'progress' | 'paint'>,
  client: Client,
  id: string,
  wanted: { readonly seconds: number; readonly until: (grant: GrantAnswer) => boolean },
): Promise<Waited> {
  const { machine, progress, paint } = context
  const started = machine.now()
  const end = started + wanted.seconds * 1_000
  let { value: grant, raw } = await client.get(`/v1/grants/${id}`, waitAnswer)
  try {
    while (!wanted.until(grant)) {
      const left = Math.ceil((end - machine.now()) / 1_000)
      if (left <= 0) return { grant, raw, timedOut: true }
      const seconds = Math.min(LONGEST_POLL_S, left)
      const since = Math.round((machine.now() - started) / 1_000)
      progress(shown`${statusShown(grant, paint)}, waiting ${since} s …  (Ctrl-C stops the wait, not the grant)`)
      const path = `/v1/grants/${id}?wait=${seconds}&for=status&since=${grant.status}`
      const answer = await client.get(path, waitAnswer, { waitMs: seconds * 1_000 })
      grant = answer.value
      raw = answer.raw
    }
    return { grant, raw, timedOut: false }
  } finally {
    progress(undefined)
  }
}

export const isDecided = ({ status }: GrantAnswer): boolean => status !== 'pending'
export const isOver = ({ status }: GrantAnswer): boolean => ['denied', 'withdrawn', 'lapsed', 'ended'].includes(status)
export const isUsable = (grant: GrantAnswer): boolean => isDecided(grant) && !grant.scheduled

/**
 * What `show --wait` waits for: a decision, where there is none; else until the grant is in the hands of somebody, its window open or its end
 * confirmed. Nothing is waited for that has come already, so that a script cannot be too late to wait.
 */
export const settledFrom = (from: GrantAnswer): ((grant: GrantAnswer) => boolean) =>
  from.status === 'pending' ? isDecided : isSettled
const isSettled = (grant: GrantAnswer): boolean =>
  isOver(grant) || grant.status === 'active' || (grant.status === 'approved' && !grant.scheduled)
