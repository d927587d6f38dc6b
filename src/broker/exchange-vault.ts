// The vault half of an exchange: claim, open an empty hold, keep it, make the login under it, commit, seal, answer.
// Invariant: whatever line this stops after, the mint's ids alone are enough for `end` to close it, and nothing has left the broker.
import { canonical } from '../domain/canonical.ts'
import { laneOf } from '../domain/entitlement.ts'
import { BrokerError, isBrokerError, notFound } from '../domain/errors.ts'
import { advance, type Grant, inStatus } from '../domain/grant.ts'
import type { AttemptId, GrantId } from '../domain/ids.ts'
import { after, between, type Duration, earliest, type Instant, seconds } from '../domain/instant.ts'
import {
  type ClaimedMint,
  type ClosedMint,
  type ClosingMint,
  closed,
  closing,
  isKept,
  type Lease,
  type LiveMint,
  MINT_DEADLINE,
  type Mint,
  nextNumber,
  type OpenedMint,
} from '../domain/mint.ts'
import type { Caller } from '../domain/principal.ts'
import { reveal, type Secret } from '../domain/secret.ts'
import { change, changeToEnd, eventOf, type Move, witness } from './change.ts'
import { closeMint, end, finishClosing, planOf, retryEnd } from './end.ts'
import { type Exchanged, type ExchangePorts, issuedStep, sealOrSay, windowClosing } from './issue.ts'
import { freezesOf, judgeExchange } from './judge.ts'
import type { Control, Hold, MintPlan, Receipt, VaultSecret } from './ports.ts'

/** The longest that making the login itself takes (backends.yaml caps it): it is not begun later than this before the deadline. */
const LONGEST_ISSUE: Duration = seconds(15)
/** Under this much window no login is begun (Vault's own margins eat the rest). */
const LEAST_LEFT: Duration = seconds(10)

export interface Claimed {
  readonly id: GrantId
  readonly mint: ClaimedMint
  readonly plan: MintPlan
  readonly closesAt: Instant
  readonly control: Control
}

/** The claim: of any number of racers one passes, by the version. */
export function claimMint(
  grant: Grant,
  control: Control,
  caller: Caller,
  attempt: AttemptId,
  now: Instant,
): { readonly way: { readonly kind: 'claimed'; readonly claimed: Claimed }; readonly move: Move } {
  const { closesAt } = grant.ask.intent.window
  if (closesAt - now < LEAST_LEFT) throw windowClosing()
  const n = nextNumber(grant.head.mints)
  const mint: ClaimedMint = {
    n,
    attempt,
    key: caller.key,
    claimedAt: now,
    status: 'claimed',
    deadline: after(now, MINT_DEADLINE),
  }
  const plan = planOf(grant, n)
  if (plan === undefined) throw new Error('claimed a credential without a backend')
  // Of what was given back the events tell; while a backend refuses again and again, the grant would grow by each try.
  const mints = [...grant.head.mints.filter((one) => isKept(one, now)), mint]
  const event = eventOf(grant.ask, 'claimed', now, caller.principal.id, { mint: n }, control)
  const guard = { notAfter: closesAt, judgedUnder: control }
  const way = { kind: 'claimed' as const, claimed: { id: grant.id, mint, plan, closesAt, control } }
  if (inStatus(grant, 'approved')) {
    return { way, move: { step: advance(grant, { to: 'issuing', facts: grant.head.facts, mints, event }), guard } }
  }
  if (inStatus(grant, 'active'))
    return { way, move: { step: advance(grant, { to: 'active', facts: grant.head.facts, mints, event }), guard } }
  throw new BrokerError('wrong_status', 'Another exchange of this grant is under way.', {
    nextAction: 'Try again in a second.',
    facts: { status: grant.head.status },
  })
}

/** From the claim to the answer. On any failure the mint is closed, or given back where nothing was made, and the failure is thrown. */
export async function makeVaultCredential(p: ExchangePorts, caller: Caller, claimed: Claimed): Promise<Exchanged> {
  const { plan, mint } = claimed
  await p.timetable.at(laneOf(plan.credential), mint.deadline)
  const hold = await openHold(p, claimed)
  const made: Made = { hold, lease: undefined }
  try {
    const opened: OpenedMint = { ...mint, status: 'opened', accessor: hold.accessor }
    await witness(p, await moveMint(p, claimed, 'claimed', opened, 'opened'))
    await p.credentials.keep(hold, between(p.now(), claimed.closesAt))
    // Whoever ends this grant meanwhile waits for the deadline before it believes that nothing more will come.
    if (after(p.now(), LONGEST_ISSUE) > mint.deadline) throw tooSlow()
    const { lease, secret } = await p.credentials.issue(hold, plan, between(p.now(), claimed.closesAt))
    made.lease = lease
    const live = liveMint(p, claimed, hold, lease, secret)
    const { grant, receipt } = await commitLive(p, caller, claimed, live)
    await sealOrSay(p, receipt, mint.attempt)
    return { grant, mint: live, credential: { kind: 'vault', secret, leaseId: lease.id, expiresAt: live.expiresAt } }
  } catch (thrown) {
    await abandon(p, claimed, made)
    throw thrown
  }
}

/** What exists at the backend so far: whoever gives up must leave word of all of it. */
interface Made {
  readonly hold: Hold | undefined
  lease: Lease | undefined
}

const tooSlow = (): BrokerError =>
  new BrokerError('vault_unavailable', 'Vault answers too slowly to make a credential in time.', {
    nextAction: 'Try again shortly.',
  })

async function openHold(p: ExchangePorts, claimed: Claimed): Promise<Hold> {
  try {
    return await p.credentials.open(claimed.plan)
  } catch (thrown) {
    // A definite no means that nothing exists: the claim is given back and the approval stays good. Anything else is unknown.
    const definite = isBrokerError(thrown) && thrown.facts.definite === true
    await (definite ? release(p, claimed) : abandon(p, claimed, { hold: undefined, lease: undefined }))
    throw thrown
  }
}

const liveMint = (
  p: ExchangePorts,
  { mint, plan, closesAt }: Claimed,
  hold: Hold,
  lease: Lease,
  secret: Secret<VaultSecret>,
): LiveMint & { kind: 'vault' } => {
  const issuedAt = p.now()
  return {
    n: mint.n,
    attempt: mint.attempt,
    key: mint.key,
    claimedAt: mint.claimedAt,
    status: 'live',
    kind: 'vault',
    accessor: hold.accessor,
    lease,
    issuedAt,
    expiresAt: earliest(after(issuedAt, seconds(lease.durationSeconds)), closesAt),
    fingerprint: p.sha256(fingerprinted(plan, hold, reveal(secret))),
  }
}

/**
 * A password that Vault made at random is long enough that its hash gives nothing away. What another path gives may be weak or the same for
 * years: with the hold's token, which nobody keeps, its hash is of this mint alone and cannot be guessed.
 */
const fingerprinted = (plan: MintPlan, hold: Hold, secret: VaultSecret): string =>
  plan.credential.engine === 'database'
    ? `${secret.username}:${secret.password}`
    : `${reveal(hold.token)} ${canonical({ ...secret })}`

/** Judged once more under what is true now, then committed under exactly that. */
async function commitLive(
  p: ExchangePorts,
  caller: Caller,
  claimed: Claimed,
  live: LiveMint,
): Promise<{ readonly grant: Grant; readonly receipt: Receipt }> {
  const { grant, receipt } = await change(p, claimed.id, async (loaded) => {
    const { grant, control } = loaded
    const freezes = await freezesOf(p, loaded)
    const now = p.now()
    expectMint(grant, live.n, 'opened')
    await judgeExchange(p, p.rules(control), grant, caller, now, freezes)
    return {
      step: issuedStep(grant, live, now, caller, control),
      guard: { notAfter: claimed.closesAt, judgedUnder: control },
    }
  })
  if (receipt === undefined) throw new Error('a live mint without a commit')
  return { grant, receipt }
}

function expectMint(grant: Grant, n: number, status: Mint['status']): void {
  const mint = grant.head.mints.find((candidate) => candidate.n === n)
  if (mint?.status === status && inStatus(grant, 'issuing', 'active')) return
  throw new BrokerError('wrong_status', `The grant is ${grant.head.status}; this exchange was ended meanwhile.`, {
    nextAction: 'Show the grant to see what became of it.',
    facts: { status: grant.head.status },
  })
}

/** Writes the next state of one mint, whatever else happened to the grant meanwhile, as long as it and the mint still stand. */
async function moveMint(
  p: ExchangePorts,
  claimed: Claimed,
  from: Mint['status'],
  to: Mint,
  type: 'opened' | 'released',
  back: 'approved' | undefined = undefined,
): Promise<Receipt | undefined> {
  const { receipt } = await changeToEnd(p, claimed.id, (grant) => {
    expectMint(grant, to.n, from)
    const mints = grant.head.mints.map((mint) => (mint.n === to.n ? to : mint))
    const event = eventOf(grant.ask, type, p.nowToEnd(), 'broker', { mint: to.n })
    if (inStatus(grant, 'issuing') && back !== undefined) {
      return { step: advance(grant, { to: back, facts: grant.head.facts, mints, event }) }
    }
    if (inStatus(grant, 'issuing'))
      return { step: advance(grant, { to: 'issuing', facts: grant.head.facts, mints, event }) }
    if (inStatus(grant, 'active'))
      return { step: advance(grant, { to: 'active', facts: grant.head.facts, mints, event }) }
    throw notFound()
  })
  return receipt
}

/** The backend said no before anything existed: the use is given back and the approval stays good. */
async function release(p: ExchangePorts, claimed: Claimed): Promise<void> {
  const at = p.nowToEnd()
  const released = closed(claimed.mint, at, { asked: 'backend', answer: 'refused before anything was made', at }, true)
  const receipt = await moveMint(p, claimed, 'claimed', released, 'released', 'approved').catch(() => undefined)
  await witness(p, receipt)
}

/**
 * Ends a mint whose secret never left: the first one ends the grant as failed, a later one only itself. It first leaves word of everything
 * that was made, because whoever ended the grant meanwhile could not have known of it, and says that its maker is through.
 * Never throws: the deadline stands behind it.
 */
async function abandon(p: ExchangePorts, claimed: Claimed, made: Made): Promise<void> {
  try {
    const { grant } = await changeToEnd(p, claimed.id, (grant) => leaveWord(p, claimed, made, grant))
    const mint = grant.head.mints.find(({ n }) => n === claimed.mint.n)
    if (mint?.status !== 'closing') await closeMint(p, grant, throughWith(claimed.mint, made, p.nowToEnd()))
    else if (inStatus(grant, 'issuing')) await end(p, claimed.id, NOT_MADE)
    else if (inStatus(grant, 'active')) await finishClosing(p, grant)
    else await retryEnd(p, claimed.id)
  } catch {
    // The store is out of reach: the hold dies by itself, and the sweep finds the mint by its deadline.
  }
}

const NOT_MADE = { outcome: 'failed', by: 'broker', reason: 'the credential could not be made' } as const

/** The mint as its maker leaves it: with everything that exists, and nothing more to come. */
const throughWith = (mint: Exclude<Mint, ClosedMint>, { hold, lease }: Made, now: Instant): ClosingMint => {
  const marked = closing(mint, after(now, MINT_DEADLINE))
  return {
    ...marked,
    accessor: hold?.accessor ?? marked.accessor,
    lease: lease ?? marked.lease,
    handedOut: false,
    makerUntil: undefined,
  }
}

function leaveWord(p: ExchangePorts, claimed: Claimed, made: Made, grant: Grant): Move {
  const now = p.nowToEnd()
  const own = grant.head.mints.find(({ n }) => n === claimed.mint.n)
  if (own === undefined || own.status === 'closed') return { done: grant }
  const mints = grant.head.mints.map((mint) => (mint.n === own.n ? throughWith(own, made, now) : mint))
  const details = {
    mint: own.n,
    reason: NOT_MADE.reason,
    ...(made.lease === undefined ? {} : { lease: made.lease.id }),
  }
  const change = { mints, event: eventOf(grant.ask, 'mint_closing', now, 'broker', details) }
  if (inStatus(grant, 'issuing')) return { step: advance(grant, { to: 'issuing', facts: grant.head.facts, ...change }) }
  if (inStatus(grant, 'active')) return { step: advance(grant, { to: 'active', facts: grant.head.facts, ...change }) }
  if (inStatus(grant, 'ending')) return { step: advance(grant, { to: 'ending', facts: grant.head.facts, ...change }) }
  if (inStatus(grant, 'stuck')) return { step: advance(grant, { to: 'stuck', facts: grant.head.facts, ...change }) }
  return { done: grant }
}

/**
 * A lost answer: the first login is ended and confirmed gone, so that another can be made under the same attempt. Its use stays taken
 * throughout: nobody else can slip in between.
 */
export async function endLost(p: ExchangePorts, caller: Caller, id: GrantId, lost: LiveMint): Promise<void> {
  const { grant } = await changeToEnd(p, id, (grant) => {
    const mint = grant.head.mints.find((candidate) => candidate.n === lost.n)
    if (!inStatus(grant, 'active') || mint === undefined || mint.status !== 'live') return { done: grant }
    const at = p.nowToEnd()
    const mints = grant.head.mints.map((other) =>
      other.n === lost.n ? closing(mint, after(at, MINT_DEADLINE)) : other,
    )
    const event = eventOf(grant.ask, 'mint_closing', at, caller.principal.id, {
      mint: lost.n,
      reason: 'its answer was lost',
    })
    return { step: advance(grant, { to: 'active', facts: grant.head.facts, mints, event }) }
  })
  const cleared = await finishClosing(p, grant)
  if (cleared.head.mints.some((mint) => mint.n === lost.n && mint.status === 'closed')) return
  throw new BrokerError('not_confirmed', 'The lost login is not confirmed gone yet, so no other is made.', {
    nextAction: 'Try the same attempt again in a few seconds.',
  })
}
