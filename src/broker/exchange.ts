// Turn an approved grant into a credential: judge, sign or claim, commit, seal, answer, in the order of DESIGN.md §6.
// The only verb that sees a secret. Stop after any line and `end` still knows what to close.
import { revocabilityOf } from '../domain/entitlement.ts'
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type Grant, inStatus } from '../domain/grant.ts'
import type { AttemptId, GrantId } from '../domain/ids.ts'
import { after, type Duration, earliest, type Instant, instant, latest, seconds } from '../domain/instant.ts'
import { isReleased, type LiveMint, type Mint, mintsOf, nextNumber, restLeft, usesTaken } from '../domain/mint.ts'
import type { Caller } from '../domain/principal.ts'
import { reveal, type Secret } from '../domain/secret.ts'
import { checkCanary } from './canary.ts'
import { change, eventOf, type Move } from './change.ts'
import { type Claimed, claimMint, endLost, makeVaultCredential } from './exchange-vault.ts'
import { type Credential, type Exchanged, type ExchangePorts, issuedStep, sealOrSay, windowClosing } from './issue.ts'
import { freezesOf, judgeExchange, known } from './judge.ts'
import type { Control, Loaded, TokenFacts } from './ports.ts'
import { mayView } from './view.ts'

/** How long a lost answer can be asked for again with the same attempt and key. */
export const SAME_ATTEMPT = seconds(60)
/** Each repetition is an event of its grant for ever: whoever asks again and again is told to stop. */
const MOST_VERSIONS = 200

type Way =
  | {
      readonly kind: 'jwt'
      readonly token: Secret<string>
      readonly mint: LiveMint & { kind: 'jwt' }
    }
  | { readonly kind: 'claimed'; readonly claimed: Claimed }
  | { readonly kind: 'replace'; readonly mint: LiveMint }

/**
 * One credential for this grant, or the refusal. The same attempt with the same key within a minute gets the same `jwt`, or one replacement login.
 * `accepts` is shown the grant as soon as it is found that the caller may see it, each time that it is judged, and throws where the door wants another one.
 */
export const exchange =
  (p: ExchangePorts) =>
  async (
    caller: Caller,
    id: GrantId,
    given?: AttemptId,
    accepts: (grant: Grant) => void = () => undefined,
  ): Promise<Exchanged> => {
    const attempt = given ?? p.newAttemptId()
    let way: Way | undefined
    const { grant, receipt } = await change(p, id, async (loaded) => {
      const chosen = await chooseWay(p, loaded, caller, attempt, accepts)
      way = chosen.way
      return chosen.move
    })
    if (way === undefined) throw new Error('an exchange without a way')
    if (way.kind === 'jwt') {
      if (receipt === undefined) throw new Error('a token without a commit')
      await sealOrSay(p, receipt, attempt)
      return { grant, mint: way.mint, credential: jwtCredential(way, grant) }
    }
    if (way.kind === 'replace') {
      await endLost(p, caller, id, way.mint)
      // Judged anew from the start: the try is known, and its login is gone.
      return exchange(p)(caller, id, attempt, accepts)
    }
    return makeVaultCredential(p, caller, way.claimed)
  }

interface Chosen {
  readonly way: Way
  readonly move: Move
}

async function chooseWay(
  p: ExchangePorts,
  loaded: Loaded,
  caller: Caller,
  attempt: AttemptId,
  accepts: (grant: Grant) => void,
): Promise<Chosen> {
  const { grant, control } = loaded
  const rules = p.rules(control)
  // The executor who was somebody at the door, and is nobody under the rules in force, is told why; others are told that there is no such grant.
  if (caller.principal.id === grant.ask.intent.executor.principal)
    known(rules.directory, caller.principal.id, 'executor')
  if (!mayView(rules, caller.principal, grant)) throw notFound()
  accepts(grant)
  const freezes = await freezesOf(p, loaded)
  const now = p.now()
  await judgeExchange(p, rules, grant, caller, now, freezes)
  await checkCanary(p, rules.policy.entitlement(grant.ask.intent.entitlement))
  const tried = mintsOf(grant.head.mints, attempt, boundKey(grant, caller))
  const last = tried.at(-1)
  if (last !== undefined) return repeat(p, grant, control, caller, { last, mints: tried.length }, now)
  if (usesTaken(grant.head.mints) >= grant.ask.intent.credential.uses) throw usedUp(grant)
  if (grant.ask.credential.kind === 'jwt') return chooseJwt(p, grant, control, caller, attempt, now)
  return claimLogin(p, grant, control, caller, attempt, now)
}

/** The key that a mint keeps: none where it is a bearer's, whatever key the caller happens to show. */
const boundKey = ({ ask: { credential } }: Grant, { key }: Caller): Caller['key'] =>
  credential.kind === 'jwt' && credential.sender === 'bearer' ? undefined : key

const usedUp = (grant: Grant): BrokerError =>
  new BrokerError(
    'uses_exhausted',
    `This grant gives ${grant.ask.intent.credential.uses} credential(s), and all have been handed out.`,
    {
      nextAction: 'Ask for a new grant, or for more uses next time.',
    },
  )

/**
 * The same attempt again: the answer was lost. A token is signed once more with the same jti, iat and exp, and that it was given again is
 * committed and sealed like the first time: the first seal may be what failed. A login is ended, and then made once more.
 */
async function repeat(
  p: ExchangePorts,
  grant: Grant,
  control: Control,
  caller: Caller,
  { last, mints }: { readonly last: Mint; readonly mints: number },
  now: Instant,
): Promise<Chosen> {
  if (now >= after(last.claimedAt, SAME_ATTEMPT)) throw usedUp(grant)
  if (grant.version >= MOST_VERSIONS) {
    throw new BrokerError('too_many_requests', 'This attempt has been repeated too often.', {
      nextAction: 'Keep the answer you get; ask for a new grant.',
    })
  }
  const isLogin = grant.ask.credential.kind === 'vault'
  if (isLogin && mints > 1) throw usedUp(grant)
  // The lost one would go on beside its replacement.
  if (last.status === 'live' && last.kind === 'vault' && revocabilityOf(grant.ask.credential) === 'expiry')
    throw new BrokerError('uses_exhausted', 'What was handed out cannot be ended, so it is not replaced.', {
      nextAction: 'Ask for a new grant.',
    })
  if (isLogin && last.status === 'closed') return claimLogin(p, grant, control, caller, last.attempt, now)
  if (last.status !== 'live' || !inStatus(grant, 'active')) throw atWork(grant)
  if (last.kind === 'vault') {
    await mayTry(p, grant, now)
    return { way: { kind: 'replace', mint: last }, move: { done: grant } }
  }
  const token = await p.tokens.sign(factsOf(grant, control, last), last.key)
  const details = { mint: last.n, jti: last.jti, kind: last.kind, again: true }
  const event = eventOf(grant.ask, 'issued', now, caller.principal.id, details, control)
  const step = advance(grant, { to: 'active', facts: grant.head.facts, event })
  const guard = { notAfter: grant.ask.intent.window.closesAt, judgedUnder: control }
  return { way: { kind: 'jwt', token, mint: last }, move: { step, guard } }
}

const atWork = (grant: Grant): BrokerError =>
  new BrokerError('wrong_status', 'This attempt is still being worked on.', {
    nextAction: 'Try the same attempt again in a second.',
    facts: { status: grant.head.status },
  })

async function claimLogin(
  p: ExchangePorts,
  grant: Grant,
  control: Control,
  caller: Caller,
  attempt: AttemptId,
  now: Instant,
): Promise<Chosen> {
  // Only what can be ended is begun: ending has a road of its own, which after an outage may be back later than ours. A claim whose
  // next step cannot be written would cost the grant.
  await p.grants.loadToEnd(grant.id)
  await mayTry(p, grant, now)
  // What was asked on the way took time, and the making has its own from here on.
  return claimMint(grant, control, caller, attempt, p.now())
}

/**
 * Each claim that is given back is two events of this grant for ever: while it is known that nothing has changed, none is begun, and the
 * more of them were given back, the more rarely it is tried.
 */
async function mayTry(p: ExchangePorts, { ask: { credential }, head }: Grant, now: Instant): Promise<void> {
  if (credential.kind !== 'vault' || !head.mints.some(isReleased)) return
  const rest = restLeft(head.mints, now)
  if (rest !== undefined) throw restsNow(rest)
  await p.credentials.reach(credential)
}

const restsNow = (left: Duration): BrokerError =>
  new BrokerError('vault_unavailable', 'The last tries of this grant all came to nothing.', {
    nextAction: 'Try again after as long as Retry-After says. If it stays so, the operators see why in the log.',
    facts: { retryAfter: Math.ceil(left / 1_000), reason: 'tried_in_vain' },
  })

async function chooseJwt(
  p: ExchangePorts,
  grant: Grant,
  control: Control,
  caller: Caller,
  attempt: AttemptId,
  now: Instant,
): Promise<Chosen> {
  const { credential, intent } = grant.ask
  if (credential.kind !== 'jwt') throw new Error('not a jwt')
  if (credential.sender === 'dpop' && caller.key === undefined) {
    throw new BrokerError('invalid_request', 'This credential is bound to a key, and none was shown.', {
      nextAction: 'Send a DPoP proof (RFC 9449) in the DPoP header.',
      facts: { member: 'DPoP' },
    })
  }
  const expiresAt = wholeSecond(earliest(after(now, credential.maxLife), intent.window.closesAt))
  if (expiresAt - now < seconds(1)) throw windowClosing()
  const unsigned = {
    n: nextNumber(grant.head.mints),
    attempt,
    key: boundKey(grant, caller),
    claimedAt: now,
    status: 'live' as const,
    kind: 'jwt' as const,
    jti: p.newTokenId(),
    issuedAt: now,
    expiresAt,
  }
  const facts = factsOf(grant, control, unsigned)
  const token = await p.tokens.sign(facts, unsigned.key)
  const mint = { ...unsigned, fingerprint: p.sha256(reveal(token)) }
  const step = issuedStep(grant, mint, now, caller, control)
  const guard = { notAfter: intent.window.closesAt, judgedUnder: control }
  return { way: { kind: 'jwt', token, mint }, move: { step, guard } }
}

/** JWT times are whole seconds; rounded down, so that a token never outlives its window. */
const wholeSecond = (at: Instant): Instant => instant(Math.floor(at / 1_000) * 1_000)

const factsOf = (
  grant: Grant,
  control: Control,
  mint: { readonly jti: string; readonly issuedAt: Instant; readonly expiresAt: Instant },
): TokenFacts => ({
  grant,
  audience: grant.ask.audience,
  subject: grant.ask.intent.executor.principal,
  jti: mint.jti,
  issuedAt: mint.issuedAt,
  notBefore: latest(grant.ask.intent.window.opensAt, wholeSecond(mint.issuedAt)),
  expiresAt: mint.expiresAt,
  policyDigest: control.policyDigest,
})

const jwtCredential = (way: Way & { kind: 'jwt' }, grant: Grant): Credential => ({
  kind: 'jwt',
  token: way.token,
  tokenType: way.mint.key === undefined ? 'Bearer' : 'DPoP',
  audience: grant.ask.audience,
  expiresAt: way.mint.expiresAt,
})
