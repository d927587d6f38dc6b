// Canaries: for each entitlement of a backend a real credential is made for nobody and ended, when the entitlement is loaded and from time to
// time. Invariants: its secret is never looked at; it is written down before it is made, and no second one is made while one is left; what could
// not be tried is not called broken.
import {
  CANARY_DIGEST,
  type Canary,
  type CanaryStep,
  canaryMint,
  forbids,
  type OpenCanary,
  ruleOf,
} from '../domain/canary.ts'
import type { Entitlement, VaultCredential } from '../domain/entitlement.ts'
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { AttemptId, EntitlementId } from '../domain/ids.ts'
import { after, between, type Duration, type Instant, latest, minutes, seconds, shortest } from '../domain/instant.ts'
import type { ClosingMint } from '../domain/mint.ts'
import type { MintPlan, Ports, Rules } from './ports.ts'

export type CanaryPorts = Pick<
  Ports,
  'canaries' | 'credentials' | 'control' | 'rules' | 'now' | 'nowToEnd' | 'newGrantId' | 'jitter' | 'sha256'
> & {
  /** How often each is made; what went wrong is tried again within a minute. */
  readonly every: Duration
  pause(span: Duration): Promise<void>
}

/** A canary dies by itself within this, whoever made it: its hold is kept no longer, and a login of its own not much. */
const LIFE: Duration = seconds(20)
const AGAIN: Duration = seconds(60)
/** Longer than one takes with every call at its limit; given back before, where all goes well. */
const TURN: Duration = minutes(4)
/** How often an end is tried before it is believed: a lock or a restart of the database is over by then. */
const TRIES = 4
const BETWEEN_TRIES: Duration = seconds(2)

type VaultEntitlement = Pick<Entitlement, 'id'> & { readonly credential: VaultCredential }

/** What comes from a backend, each at its own tier: a raised one is made in the same way, under a shorter cap. */
export const canaried = (policy: Pick<Rules['policy'], 'entitlements'>): readonly VaultEntitlement[] =>
  policy.entitlements().flatMap(({ id, credential }) => (credential.kind === 'vault' ? [{ id, credential }] : []))

/** Makes those that are due, one after the other, and resolves to what became of them. What another broker is at is left to it. */
export const canaryRound = (p: CanaryPorts) => async (): Promise<readonly Canary[]> => {
  const { policy } = p.rules(await p.control())
  const entitlements = canaried(policy)
  const last = new Map((await p.canaries.all()).map((canary) => [canary.entitlement, canary]))
  const done: Canary[] = []
  for (const entitlement of entitlements) {
    if (!isDue(p, entitlement, last.get(entitlement.id))) continue
    const canary = await inTurn(p, entitlement.id, async () => {
      // Another broker may have made it since.
      if (!isDue(p, entitlement, await p.canaries.last(entitlement.id))) return undefined
      return makeCanary(p, entitlement)
    })
    if (canary !== undefined) done.push(canary)
  }
  await endForgotten(p, entitlements)
  return done
}

const isDue = (p: CanaryPorts, { credential }: VaultEntitlement, last: Canary | undefined): boolean =>
  last === undefined || last.rule !== ruleOf(credential, p.sha256) || last.next <= p.now()

async function inTurn<T>(p: CanaryPorts, id: EntitlementId, work: () => Promise<T>): Promise<T | undefined> {
  if (!(await p.canaries.turn(id, TURN))) return undefined
  try {
    return await work()
  } finally {
    // A turn that cannot be given back is over by itself.
    await p.canaries.giveBack(id).catch(() => undefined)
  }
}

/** What is left of entitlements that are no more. */
async function endForgotten(p: CanaryPorts, entitlements: readonly VaultEntitlement[]): Promise<void> {
  const known = new Set(entitlements.map(({ id }) => id))
  for (const open of await p.canaries.open()) {
    if (known.has(open.entitlement)) continue
    await inTurn(p, open.entitlement, async () => {
      if ((await endCanary(p, open)) === undefined) await p.canaries.ended(open.entitlement)
    })
  }
}

interface Stop {
  readonly step: CanaryStep
  readonly reason: string
  /** Shown not to work; else it could not be tried. */
  readonly proven: boolean
}

/** Makes one and ends it, and keeps what became of it. */
export async function makeCanary(p: CanaryPorts, { id, credential }: VaultEntitlement): Promise<Canary> {
  const at = p.nowToEnd()
  const stop = await attempt(p, id, credential)
  const over = p.nowToEnd()
  const wait = stop === undefined ? p.every : shortest(p.every, AGAIN)
  const canary: Canary = {
    v: 1,
    entitlement: id,
    rule: ruleOf(credential, p.sha256),
    result: stop === undefined ? 'ok' : stop.proven ? 'failed' : 'unknown',
    step: stop?.step,
    reason: stop?.reason,
    at,
    took: between(at, latest(at, over)),
    next: spread(over, wait, p.jitter()),
  }
  await p.canaries.keep(canary)
  return canary
}

/** Somewhere in the last fifth before, so that those of one file part. */
const spread = (from: Instant, wait: Duration, jitter: number): Instant =>
  after(from, seconds(Math.round((wait * (0.8 + 0.2 * jitter)) / 1_000)))

async function attempt(p: CanaryPorts, id: EntitlementId, credential: VaultCredential): Promise<Stop | undefined> {
  const [left] = (await p.canaries.open()).filter(({ entitlement }) => entitlement === id)
  if (left !== undefined) {
    // What is left is the canary: another one would only be left beside it.
    const stop = await endCanary(p, left)
    if (stop !== undefined) return stop
    await p.canaries.ended(id)
  }
  let open: OpenCanary = {
    ...{ v: 1, entitlement: id, grant: p.newGrantId(), credential, since: p.nowToEnd() },
    ...{ accessor: undefined, lease: undefined },
  }
  const plan = planOf(open)
  const note = async (more: Partial<OpenCanary>): Promise<void> => {
    open = { ...open, ...more }
    await p.canaries.note(open)
  }
  await note({})
  const made = await tried(async () => {
    const hold = await p.credentials.open(plan)
    await note({ accessor: hold.accessor })
    await p.credentials.keep(hold, LIFE)
    const { lease } = await p.credentials.issue(hold, plan, lifeOf(credential))
    await note({ lease })
  })
  const ended = await endCanary(p, open)
  if (ended === undefined) await p.canaries.ended(id)
  if (made === undefined) return ended
  // That nothing could be made says more than that there was nothing to end.
  return ended?.proven === true ? ended : { step: 'make', ...made }
}

/** As short as it can be made: a path without a parameter for it gives what it gives, up to what is declared. */
const lifeOf = (credential: VaultCredential): Duration =>
  credential.engine === 'path' && credential.path.lifeParameter === undefined ? credential.maxLife : LIFE

/** Undefined once the backend has said that nothing is left. */
async function endCanary(p: CanaryPorts, open: OpenCanary): Promise<Stop | undefined> {
  const plan = planOf(open)
  const mint = closingOf(open)
  let stop: Stop | undefined
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (tries > 0) await p.pause(BETWEEN_TRIES)
    const closed = await tried(() => p.credentials.close(plan, mint))
    let gone = false
    const asked = await tried(async () => {
      gone = (await p.credentials.confirmGone(plan, mint)).gone
    })
    if (closed === undefined && asked === undefined && gone) return undefined
    if (closed !== undefined) stop = { step: 'end', ...closed }
    else if (asked !== undefined) stop = { step: 'confirm', ...asked }
    else stop = { step: 'confirm', reason: 'still_there', proven: true }
  }
  return stop
}

const planOf = ({ grant, entitlement, credential }: OpenCanary): MintPlan => {
  return { grant, mint: canaryMint(grant), digest: CANARY_DIGEST, entitlement, credential }
}

const closingOf = ({ since, accessor, lease }: OpenCanary): ClosingMint => ({
  ...{ n: 0, attempt: 'canary-0' as AttemptId, key: undefined, claimedAt: since },
  ...{ status: 'closing', deadline: since, accessor, lease, handedOut: false, makerUntil: undefined },
})

/** Why it did not work; undefined where it did. What is no refusal of a backend is nobody's answer, and goes on to whoever asked. */
async function tried(work: () => Promise<void>): Promise<Omit<Stop, 'step'> | undefined> {
  try {
    await work()
    return undefined
  } catch (thrown) {
    if (!isBrokerError(thrown) || !OF_BACKENDS.some((code) => code === thrown.code)) throw thrown
    const said = thrown.facts.reason
    const reason = typeof said === 'string' ? said : thrown.code
    return { reason, proven: isProof(thrown, reason) }
  }
}
const OF_BACKENDS = ['vault_refused', 'vault_unavailable', 'not_confirmed', 'window_closing']

/**
 * A refusal is one by Vault's own word, or by the database's: one of its five-letter codes, unless it says that it is starting, stopping,
 * overloaded or cut off. Whoever does not answer has refused nothing.
 */
const isProof = ({ code }: BrokerError, reason: string): boolean =>
  code === 'vault_refused' ||
  (code === 'not_confirmed' && (reason === 'revocation_failed' || /^(?!08|53|57|58|XX)[0-9A-Z]{5}$/.test(reason)))

/** Refuses what could not be ended afterwards, before anything is claimed. What could not be tried refuses nothing. */
export async function checkCanary(
  p: Pick<Ports, 'canaries' | 'sha256'>,
  /** As it is offered, at its own tier: that one is tried. */
  offered: Pick<Entitlement, 'id' | 'credential'> | undefined,
): Promise<void> {
  if (offered?.credential.kind !== 'vault') return
  const { id, credential } = offered
  if (!forbids(await p.canaries.last(id), credential, ruleOf(credential, p.sha256))) return
  throw new BrokerError('vault_refused', 'Ending what this entitlement gives does not work now, so nothing is given.', {
    nextAction: 'Tell the operator (writ doctor says what is wrong). The approval stays good: try again later.',
    facts: { definite: true, reason: 'canary_failed' },
  })
}
