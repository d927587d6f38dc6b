// Load, judge, commit, and again if somebody else was faster or the rules moved in between. Every verb that moves a grant goes through here.
// Invariant: what is committed was judged against the very version and the very control record that the store still holds.
import { BrokerError, isBrokerError, notFound } from '../domain/errors.ts'
import type { EventType, GrantEvent } from '../domain/events.ts'
import type { Ask, Grant, Step } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Control, Guard, Loaded, Ports, Receipt } from './ports.ts'

export interface Changed {
  readonly grant: Grant
  readonly receipt: Receipt | undefined
}
/** A step to commit, or the grant as it is where there is nothing left to do. */
export type Move = { readonly step: Step; readonly guard?: Guard } | { readonly done: Grant }

const TRIES = 8

/** Runs `attempt` on the grant as loaded, up to eight times while another writer wins the race or the rules move. */
export async function change(
  p: Pick<Ports, 'grants'>,
  id: GrantId,
  attempt: (loaded: Loaded) => Move | Promise<Move>,
): Promise<Changed> {
  return again(async () => {
    const loaded = await p.grants.load(id)
    if (loaded === undefined) throw notFound()
    return commitMove(p, await attempt(loaded))
  })
}

/**
 * The same for ending, which goes on while the store is recovering and asks no control record. A grant that was read a moment ago is taken as it
 * was: where somebody was faster, the store refuses the step, and it is read anew.
 */
export async function changeToEnd(
  p: Pick<Ports, 'grants'>,
  of: GrantId | Grant,
  attempt: (grant: Grant) => Move | Promise<Move>,
): Promise<Changed> {
  let known = typeof of === 'string' ? undefined : of
  const id = typeof of === 'string' ? of : of.id
  return again(async () => {
    const grant = known ?? (await p.grants.loadToEnd(id))
    known = undefined
    if (grant === undefined) throw notFound()
    return commitMove(p, await attempt(grant))
  })
}

async function commitMove(p: Pick<Ports, 'grants'>, move: Move): Promise<Changed> {
  if ('done' in move) return { grant: move.done, receipt: undefined }
  return { grant: move.step.grant, receipt: await p.grants.commit(move.step, move.guard) }
}

/** Repeats on `store_conflict` and `stale`: somebody else moved first, so everything is read and judged anew. */
export async function again<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await attempt()
    } catch (thrown) {
      const raced = isBrokerError(thrown, 'store_conflict') || isBrokerError(thrown, 'stale')
      if (!raced || left <= 1) throw thrown
    }
  }
}

/** The event of a step. Every event names the ask's digest and the policy it was judged under. */
export const eventOf = (
  ask: Ask,
  type: EventType,
  at: Instant,
  by: string,
  details: GrantEvent['details'] = {},
  control?: Control,
): GrantEvent => ({
  v: 1,
  type,
  grant: ask.id,
  at,
  by,
  digest: ask.digest,
  policyDigest: control?.policyDigest ?? ask.policy.digest,
  details,
})

/** For commits after which nothing leaves the broker: the witness hears of them, and its failure stops issuing, not this. */
export async function witness(p: Pick<Ports, 'seal'>, receipt: Receipt | undefined): Promise<void> {
  if (receipt === undefined) return
  await p.seal.seal(receipt).catch((thrown: unknown) => {
    if (!isBrokerError(thrown, 'log_unavailable')) throw thrown
  })
}

export const wrongStatus = (grant: Grant, wanted: string, nextAction: string): BrokerError =>
  new BrokerError('wrong_status', `The grant is ${grant.head.status}; ${wanted}.`, {
    nextAction,
    facts: { status: grant.head.status },
  })
