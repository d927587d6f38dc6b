// The verbs as the model has them, each a program over the state: who may, when, and what becomes of it. A `yield` stands where the real verb
// has committed, or read, and others may come in between.
import {
  AGENTS_USE_WITHIN,
  AUTO_WITHIN,
  behind,
  DECIDE_WITHIN,
  END_TRY,
  type Entitlement,
  ESCALATE_WITHIN,
  HORIZON,
  isFinal,
  isLogin,
  MAKING,
  MAX_LIFE,
  MOST_PENDING_OF_OWNER,
  MOST_PENDING_OF_REQUESTER,
  OWNER,
  type Person,
  REVIEWERS,
  type Rule,
  ruleOf,
  SAME_TRY,
  SECOND,
  SOC,
  SPONSOR,
  STRANGER,
  TRIES_BEFORE_STUCK,
  USE_WITHIN,
  type Who,
  waitAfter,
} from './rules.ts'
import {
  deadlineOf,
  type FreezeState,
  find,
  type GrantState,
  lease,
  type MintState,
  type Program,
  put,
  type RulesState,
  type Run,
  refuse,
  type Selector,
  type Start,
  step,
  type Vote,
} from './state.ts'

/** By which broker: its clock may run behind the store's, and its files may be those of the beginning. */
export interface Hand {
  readonly behindMs: number
  readonly old: boolean
}
/** A verb that is one step. */
const atOnce = (work: (run: Run) => void): Start =>
  function* (run): Program {
    work(run)
    yield* []
  }
export const PLAIN: Hand = { behindMs: 0, old: false }
/** What the clock of its broker says. */
const nowAt = ({ state }: Run, { behindMs }: Hand): number => state.now - behindMs

// ---- Who is somebody, and what they may see

const isOn = ({ off }: RulesState, who: Who): boolean => !off.includes(behind(who))
const partiesOf = (grant: Parties): readonly Who[] => [grant.requester, grant.executor]
type Parties = Pick<GrantState, 'requester' | 'executor'>
const hasPart = (who: Who, grant: Parties): boolean => partiesOf(grant).map(behind).includes(behind(who))

function maySee(rules: RulesState, who: Who, grant: GrantState): boolean {
  if (!isOn(rules, who)) return false
  if (partiesOf(grant).includes(who)) return true
  // The agent of a party looks; every person of the tenant reads.
  return who === 'bot' ? partiesOf(grant).includes(SPONSOR) : who !== STRANGER
}
const answersFor = (rules: RulesState, who: Who, party: Who): boolean =>
  who !== 'bot' && isOn(rules, party) && behind(party) === who
const isParty = (rules: RulesState, who: Who, grant: GrantState): boolean =>
  partiesOf(grant).some((party) => party === who || answersFor(rules, who, party))

function checkParties(rules: RulesState, grant: Parties): void {
  if (!partiesOf(grant).every((party) => isOn(rules, party))) refuse('not_permitted')
}
function rulesInForce({ state }: Run, { old }: Hand): RulesState {
  if (old && state.rules.revision > 0) refuse('policy_outdated')
  return state.rules
}

// ---- Freezes

const matches = ({ person, agent, entitlement }: Selector, on: Parties & Pick<GrantState, 'entitlement'>): boolean =>
  (person === undefined || partiesOf(on).map(behind).includes(person)) &&
  (agent === undefined || partiesOf(on).includes(agent)) &&
  (entitlement === undefined || on.entitlement === entitlement)

/** One that is in force stops whatever matches; one that was lifted goes on killing what was born before it. */
function checkFreeze({ state }: Run, on: Parties & Pick<GrantState, 'entitlement'>, born?: number): void {
  const stops = ({ selector, lifted, at }: FreezeState): boolean =>
    matches(selector, on) && (!lifted || (born !== undefined && born <= at))
  if (state.freezes.some(stops)) refuse('frozen')
}

// ---- Filing

export interface Filing {
  readonly name: number
  readonly entitlement: Entitlement
  readonly executor: Who
  /** From now. */
  readonly opensIn: number
  readonly lasts: number
  readonly uses: number
  /** An action that the entitlement has not got. */
  readonly foreign: boolean
}

export const file = (hand: Hand, who: Who, asked: Filing): Start =>
  function* filing(run): Program {
    const rules = rulesInForce(run, hand)
    const now = nowAt(run, hand)
    const opensAt = run.state.now + asked.opensIn
    const closesAt = opensAt + asked.lasts
    if (!isOn(rules, who)) refuse('not_permitted')
    const rule = ruleOf(rules.edition, asked.entitlement)
    if (rule === undefined || who === STRANGER) return refuse('policy_refused')
    if (!isOn(rules, asked.executor)) refuse('invalid_request')
    checkAsked(rule, asked, { now, opensAt, closesAt })
    const parties = { requester: who, executor: asked.executor, entitlement: asked.entitlement }
    checkFreeze(run, parties)
    if (!rule.auto && !canBeDecided(rules, rule, parties)) refuse('nobody_can_decide')
    if (run.state.now >= closesAt) refuse('window_closed')
    if (!rule.auto) checkRoom(run, who)
    const decideBy = Math.min(now + (rule.auto ? AUTO_WITHIN : DECIDE_WITHIN), closesAt)
    run.state = { ...run.state, order: run.state.order + 1 }
    const bare = { votes: [], said: 0, escalated: false, useBy: undefined, mints: [], attempts: 0, retryAt: undefined }
    put(run, {
      ...bare,
      ...parties,
      name: asked.name,
      login: isLogin(asked.entitlement),
      opensAt,
      closesAt,
      uses: asked.uses,
      auto: rule.auto,
      reviewers: rule.reviewers,
      decideBy,
      lapsesAt: rule.auto ? decideBy : Math.min(decideBy + ESCALATE_WITHIN, closesAt),
      born: run.state.order,
      status: 'pending',
      version: 1,
      outcome: undefined,
      event: 'filed',
      due: decideBy,
    })
    yield
    if (rule.auto) approveByPolicy(run, hand, find(run, asked.name))
  }

function checkAsked(
  { maxDuration, maxUses }: Rule,
  { uses, foreign }: Filing,
  { now, opensAt, closesAt }: { readonly now: number; readonly opensAt: number; readonly closesAt: number },
): void {
  if (closesAt <= opensAt) refuse('policy_refused')
  if (now >= closesAt) refuse('window_closed')
  if (closesAt - opensAt > maxDuration || opensAt - now > HORIZON) refuse('policy_refused')
  if (foreign || uses > maxUses) refuse('policy_refused')
}

const isFree = (rules: RulesState, who: Person, on: Parties): boolean => isOn(rules, who) && !hasPart(who, on)
const freeReviewers = (rules: RulesState, on: Parties): readonly Who[] =>
  REVIEWERS.filter((who) => who !== 'bot' && isFree(rules, who, on))
const canBeDecided = (rules: RulesState, { reviewers }: Rule, on: Parties): boolean =>
  isFree(rules, OWNER, on) && freeReviewers(rules, on).length >= reviewers

/** So that nobody who decides is flooded. */
function checkRoom({ state }: Run, who: Who): void {
  const waiting = [...state.grants.values()].filter(({ status, auto }) => status === 'pending' && !auto)
  const own = waiting.filter(({ requester }) => behind(requester) === behind(who))
  if (own.length >= MOST_PENDING_OF_REQUESTER || waiting.length >= MOST_PENDING_OF_OWNER) refuse('too_many_pending')
}

function approveByPolicy(run: Run, hand: Hand, grant: GrantState): void {
  if (grant.status !== 'pending') return
  const rules = rulesInForce(run, hand)
  checkParties(rules, grant)
  checkFreeze(run, grant, grant.born)
  if (run.state.now >= grant.closesAt) refuse('window_closed')
  const vote: Vote = { by: 'policy', seat: 'policy', verdict: 'approve', takenBack: false }
  step(run, grant, 'approved', {
    status: 'approved',
    votes: [vote],
    said: 1,
    useBy: useBy(grant, nowAt(run, hand)),
  })
}
const useBy = ({ executor, opensAt }: GrantState, approvedAt: number): number =>
  Math.max(opensAt, approvedAt) + (executor === 'bot' ? AGENTS_USE_WITHIN : USE_WITHIN)

// ---- Deciding

/** How many reviewers the rule at filing asks for, and how many today's does; both must be had. */
function asked(rules: RulesState, grant: GrantState): readonly number[] {
  const today = ruleOf(rules.edition, grant.entitlement)
  return [...(grant.auto ? [] : [grant.reviewers]), ...(today === undefined || today.auto ? [] : [today.reviewers])]
}
const standing = ({ votes }: Pick<GrantState, 'votes'>): readonly Vote[] => votes.filter(({ takenBack }) => !takenBack)

/** What is missing besides the owner, and whether the owner is. */
function missing(rules: RulesState, grant: GrantState, votes: readonly Vote[]) {
  const counts = (seat: Vote['seat']): number => {
    const yes = votes.filter((vote) => vote.seat === seat && vote.verdict === 'approve')
    const free = yes.filter(({ by }) => by !== 'policy' && isFree(rules, by, grant))
    return new Set(free.map(({ by }) => by)).size
  }
  const isRefused = votes.some(({ seat, verdict }) => seat === 'security' && verdict === 'deny')
  const besides = asked(rules, grant).some((needed) => needed > counts('security') || (needed > 0 && isRefused))
  return { besides, owner: counts('owner') === 0 }
}
function isDecided(rules: RulesState, grant: GrantState): boolean {
  const { besides, owner } = missing(rules, grant, standing(grant))
  return asked(rules, grant).length > 0 && !besides && !owner
}

export const decide = (hand: Hand, who: Who, name: number, verdict: Vote['verdict']): Start =>
  atOnce((run) => {
    const grant = find(run, name)
    const rules = rulesInForce(run, hand)
    const now = nowAt(run, hand)
    if (!maySee(rules, who, grant)) refuse('grant_not_found')
    checkParties(rules, grant)
    if (hasPart(who, grant) || who === 'bot') return refuse('own_request')
    if (standing(grant).some(({ by }) => by === who)) refuse('already_decided')
    const { status } = grant
    if (status !== 'pending' && status !== 'approved') refuse('wrong_status')
    if (ruleOf(rules.edition, grant.entitlement) === undefined) refuse('policy_refused')
    const seat = seatOf(rules, grant, who)
    if (verdict === 'approve') checkFreeze(run, grant, grant.born)
    const vote: Vote = { by: who, seat, verdict, takenBack: false }
    const votes = [...grant.votes, vote]
    const noted = { votes, said: grant.said + 1 }
    if (verdict === 'deny') {
      if (status !== 'pending') refuse('wrong_status')
      if (seat === 'owner') step(run, grant, 'denied', { status: 'denied', ...noted })
      else step(run, grant, 'review_denied', noted)
      return
    }
    const after = missing(rules, grant, [...standing(grant), vote])
    if (seat === 'owner' && after.besides) refuse('policy_refused')
    if (status === 'approved' && isDecided(rules, grant)) refuse('wrong_status')
    if (run.state.now >= (status === 'approved' ? grant.closesAt : grant.lapsesAt)) refuse('window_closed')
    if (status === 'approved' || after.besides || after.owner) step(run, grant, 'approval_added', noted)
    else step(run, grant, 'approved', { status: 'approved', ...noted, useBy: useBy(grant, now) })
  })

function seatOf(rules: RulesState, grant: GrantState, who: Person): Vote['seat'] {
  const needed = asked(rules, grant)
  if (who === OWNER && needed.length > 0) return 'owner'
  return REVIEWERS.includes(who) && needed.some((many) => many > 0) ? 'security' : refuse('not_permitted')
}

export const withdraw = (who: Who, name: number): Start =>
  atOnce((run) => {
    const grant = find(run, name)
    const rules = run.state.loaded
    if (!maySee(rules, who, grant)) refuse('grant_not_found')
    if (who !== grant.requester && !answersFor(rules, who, grant.requester)) refuse('not_permitted')
    if (grant.status === 'withdrawn') return
    if (grant.status !== 'pending' && grant.status !== 'approved') refuse('wrong_status')
    step(run, grant, 'withdrawn', { status: 'withdrawn' })
  })

const takenBack = (grant: GrantState, who: Who) => {
  const words = standing(grant).filter(({ by }) => by === who).length
  const votes = grant.votes.map((vote) => (vote.by === who ? { ...vote, takenBack: true } : vote))
  return { votes, said: grant.said + words }
}

export const retract = (who: Who, name: number): Start =>
  function* retracting(run): Program {
    const grant = find(run, name)
    const hasWord = standing(grant).some(({ by }) => by === who)
    if (!hasWord && !maySee(run.state.loaded, who, grant)) refuse('grant_not_found')
    const before = grant.votes.some(({ by }) => by === who)
    if (!hasWord && !before) refuse('invalid_request')
    if (!hasWord) return yield* endRetracted(run, grant, who)
    const change = takenBack(grant, who)
    if (grant.status === 'pending') step(run, grant, 'decision_withdrawn', change)
    else if (grant.status === 'approved') step(run, grant, 'decision_withdrawn', { status: 'withdrawn', ...change })
    else if (isFinal(grant.status) && grant.status !== 'ended') refuse('wrong_status')
    else yield* endRetracted(run, grant, who)
  }
function* endRetracted(run: Run, { name, status }: GrantState, who: Who): Program {
  if (status !== 'issuing' && status !== 'active') return
  yield
  yield* end(run, name, 'revoked', (grant) => takenBack(grant, who))
}

// ---- Exchanging

const isReleased = ({ status, released }: MintState): boolean => status === 'closed' && released
const triesOf = ({ mints }: GrantState): readonly string[] => [
  ...new Set(mints.filter((mint) => !isReleased(mint)).map(({ attempt, keyed }) => `${attempt} ${keyed}`)),
]

export interface Exchanging {
  readonly who: Who
  readonly name: number
  readonly attempt: string
  /** Shows the key that a grant of the agent is bound to. */
  readonly keyed: boolean
}

function judge(run: Run, hand: Hand, grant: GrantState, { who, keyed }: Exchanging): void {
  const rules = rulesInForce(run, hand)
  const now = nowAt(run, hand)
  if (who !== grant.executor) refuse('not_executor')
  if (grant.executor === 'bot' && !keyed) refuse('unauthenticated')
  const { status, closesAt, opensAt } = grant
  if (status !== 'approved' && status !== 'active' && status !== 'issuing') refuse('wrong_status')
  if (now >= closesAt) refuse('window_closed')
  if (status === 'approved' && grant.useBy !== undefined && now >= grant.useBy) refuse('window_closed')
  if (now < opensAt) refuse('window_not_open')
  checkParties(rules, grant)
  checkFreeze(run, grant, grant.born)
  const rule = ruleOf(rules.edition, grant.entitlement)
  if (rule === undefined || grant.uses > rule.maxUses || closesAt - opensAt > rule.maxDuration) refuse('policy_refused')
  if (!grant.auto && !isDecided(rules, grant)) refuse('policy_refused')
}

export const exchange = (hand: Hand, by: Exchanging): Start =>
  function* exchanging(run): Program {
    const grant = find(run, by.name)
    const rules = rulesInForce(run, hand)
    const now = nowAt(run, hand)
    if (by.who === grant.executor && !isOn(rules, by.who)) refuse('not_permitted')
    if (!maySee(rules, by.who, grant)) refuse('grant_not_found')
    judge(run, hand, grant, by)
    const tried = grant.mints.filter(
      (mint) => !isReleased(mint) && mint.attempt === by.attempt && mint.keyed === (by.keyed && grant.login),
    )
    const last = tried.at(-1)
    if (last !== undefined) {
      if (now >= last.claimedAt + SAME_TRY) refuse('uses_exhausted')
      if (grant.login && tried.length > 1) refuse('uses_exhausted')
      if (!(grant.login && last.status === 'closed')) {
        if (last.status !== 'live' || grant.status !== 'active') refuse('wrong_status')
        if (grant.login) {
          mayTry(run, grant, now)
          return yield* replace(run, hand, by, last)
        }
        checkInTime(run, grant)
        step(run, grant, 'issued', {})
        return sealed(run)
      }
    } else if (triesOf(grant).length >= grant.uses) refuse('uses_exhausted')
    if (grant.login) return yield* makeLogin(run, hand, by, grant)
    const expiresAt = Math.floor(Math.min(now + MAX_LIFE, grant.closesAt) / SECOND) * SECOND
    if (expiresAt - now < SECOND) refuse('window_closing')
    checkInTime(run, grant)
    const mint = newMint(grant, { ...by, keyed: false }, now)
    step(run, grant, 'issued', {
      status: 'active',
      mints: [...grant.mints, { ...mint, status: 'live', deadline: undefined, expiresAt }],
    })
    sealed(run)
  }

/** By the store's own clock, whatever the broker's says. */
function checkInTime({ state }: Run, { closesAt }: GrantState): void {
  if (state.now >= closesAt) refuse('window_closed')
}
function sealed({ state }: Run): void {
  if (!state.sealUp) refuse('log_unavailable')
}
const newMint = ({ mints }: GrantState, { attempt, keyed }: Exchanging, now: number): MintState => ({
  n: Math.max(0, ...mints.map(({ n }) => n)) + 1,
  attempt,
  keyed,
  claimedAt: now,
  status: 'claimed',
  deadline: now + MAKING,
  maker: undefined,
  handedOut: false,
  released: false,
  releasedAt: undefined,
  expiresAt: undefined,
})

/** What was given back rests, and is asked about first. */
function mayTry(run: Run, grant: GrantState, now: number): void {
  if (!grant.mints.some(isReleased)) return
  if (now < restsUntil(grant) && now >= Math.max(...grant.mints.map(({ releasedAt = 0 }) => releasedAt)))
    refuse('vault_unavailable')
  if (!run.state.backendUp) refuse('vault_unavailable')
}
/** After three tries in a row that were given back each further one waits: a second, two, four, up to a minute. */
function restsUntil({ mints }: GrantState): number {
  const [last, ...others] = mints.toSorted((a, b) => b.n - a.n)
  if (last?.releasedAt === undefined) return 0
  const before = others.filter((one) => !isReleased(one)).map(({ n }) => n)
  const inARow = last.n - Math.max(0, ...before)
  return inARow <= 3 ? 0 : last.releasedAt + Math.min(60, 2 ** (inARow - 4)) * SECOND
}

function* makeLogin(run: Run, hand: Hand, by: Exchanging, grant: GrantState): Program {
  const now = nowAt(run, hand)
  mayTry(run, grant, now)
  if (grant.closesAt - now < 10 * SECOND) refuse('window_closing')
  if (grant.status === 'issuing') refuse('wrong_status')
  checkInTime(run, grant)
  const mint = newMint(grant, by, now)
  const status = grant.status === 'approved' ? 'issuing' : 'active'
  step(run, grant, 'claimed', { status, mints: [...grant.mints.filter((one) => !isReleased(one)), mint] })
  yield
  if (!run.state.backendUp) {
    release(run, hand, by.name, mint)
    refuse('vault_unavailable')
  }
  if (!moveMint(run, by.name, mint.n, 'claimed', 'opened', (one) => ({ ...one, status: 'opened' })))
    return yield* abandon(run, hand, by.name, mint.n, 'wrong_status')
  yield
  const left = run.state.grants.get(by.name)
  if (left === undefined || !stands(left, mint.n, 'opened'))
    return yield* abandon(run, hand, by.name, mint.n, 'wrong_status')
  const refusal = refusalOf(() => {
    judge(run, hand, left, by)
    checkInTime(run, left)
  })
  if (refusal !== undefined) return yield* abandon(run, hand, by.name, mint.n, refusal)
  const live = { ...mint, status: 'live' as const, deadline: undefined }
  const mints = [...left.mints.filter(({ n }) => n !== mint.n), live]
  step(run, left, 'issued', { status: 'active', mints })
  if (!run.state.sealUp) return yield* abandon(run, hand, by.name, mint.n, 'log_unavailable')
}

function refusalOf(work: () => void): string | undefined {
  try {
    work()
    return undefined
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}
const stands = (grant: GrantState, n: number, status: MintState['status']): boolean =>
  (grant.status === 'issuing' || grant.status === 'active') &&
  grant.mints.some((mint) => mint.n === n && mint.status === status)
const withMint = (grant: GrantState, n: number, to: (mint: MintState) => MintState): readonly MintState[] =>
  grant.mints.map((mint) => (mint.n === n ? to(mint) : mint))

/** False where grant or mint do not stand any more. */
function moveMint(
  run: Run,
  name: number,
  n: number,
  from: MintState['status'],
  event: string,
  to: (mint: MintState) => MintState,
): boolean {
  const grant = find(run, name)
  if (!stands(grant, n, from)) return false
  step(run, grant, event, { mints: withMint(grant, n, to) })
  return true
}

/** The backend said no before anything was made: the use is given back. */
function release(run: Run, hand: Hand, name: number, { n }: MintState): void {
  const grant = find(run, name)
  if (!stands(grant, n, 'claimed')) return
  const mints = withMint(grant, n, (mint) => closed(mint, nowAt(run, hand)))
  step(run, grant, 'released', { status: grant.status === 'issuing' ? 'approved' : grant.status, mints })
}

/** `releasedAt`: where its use is given back. */
const closed = (mint: MintState, releasedAt?: number): MintState => ({
  ...mint,
  status: 'closed',
  deadline: undefined,
  maker: undefined,
  released: releasedAt !== undefined,
  releasedAt,
})
const closing = (mint: MintState, deadline: number): MintState => ({
  ...mint,
  status: 'closing',
  deadline,
  handedOut: mint.status === 'closing' ? mint.handedOut : mint.status === 'live',
  maker: mint.status === 'closing' ? mint.maker : mint.status === 'opened' ? mint.deadline : undefined,
  expiresAt: undefined,
})

/** Its secret never left: the first making ends the grant, a later one only itself. */
function* abandon(run: Run, hand: Hand, name: number, n: number, code: string): Program {
  yield
  const grant = find(run, name)
  const own = grant.mints.find((mint) => mint.n === n)
  if (own !== undefined && own.status !== 'closed' && !isFinal(grant.status) && grant.status !== 'approved') {
    const through = { ...closing(own, nowAt(run, hand) + MAKING), handedOut: false, maker: undefined }
    const left = step(run, grant, 'mint_closing', { mints: withMint(grant, n, () => through) })
    yield
    if (left.status === 'issuing') yield* end(run, name, 'failed', undefined, hand)
    else if (left.status === 'active') yield* finishClosing(run, left, hand)
    else yield* retryEnd(run, name, hand)
  }
  refuse(code)
}

/** A lost answer: the login is ended first, then one is made in its place. */
function* replace(run: Run, hand: Hand, by: Exchanging, lost: MintState): Program {
  yield
  const before = find(run, by.name)
  const stood = before.status === 'active' && before.mints.some(({ n, status }) => n === lost.n && status === 'live')
  const grant = stood
    ? step(run, before, 'mint_closing', {
        mints: withMint(before, lost.n, (mint) => closing(mint, nowAt(run, hand) + MAKING)),
      })
    : before
  yield
  const cleared = yield* finishClosing(run, grant, hand)
  if (!cleared.mints.some(({ n, status }) => n === lost.n && status === 'closed')) refuse('not_confirmed')
  yield
  yield* exchange(hand, by)(run)
}

// ---- Ending

const canClose = (run: Run, hand: Hand, { maker }: MintState): boolean =>
  run.state.backendUp && (maker === undefined || nowAt(run, hand) >= maker)

/** Closes what is on its way out in a grant that lives on. */
function* finishClosing(run: Run, base: GrantState, hand = PLAIN): Generator<undefined, GrantState> {
  if (base.status !== 'active') return base
  const gone = base.mints.filter((mint) => mint.status === 'closing' && canClose(run, hand, mint))
  if (gone.length === 0) return base
  yield
  const grant = find(run, base.name)
  if (grant.status !== 'active') return grant
  const mints = grant.mints.map((mint) => {
    const found = gone.find(({ n }) => n === mint.n)
    return mint.status === 'closing' && found !== undefined
      ? closed(mint, found.handedOut ? undefined : nowAt(run, hand))
      : mint
  })
  return step(run, grant, 'mint_closed', { mints })
}

type Said = (grant: GrantState) => Partial<Pick<GrantState, 'votes' | 'said'>>

/** The one road: `ending`, every mint closed and confirmed, `ended`. A token leaves nothing, so it takes one step. */
export function* end(run: Run, name: number, outcome: string, said: Said = () => ({}), hand = PLAIN): Program {
  const grant = find(run, name)
  if (isFinal(grant.status) || grant.status === 'ending' || grant.status === 'stuck') return
  if (grant.status === 'pending') refuse('wrong_status')
  if (grant.status === 'active' && !grant.login) {
    endToken(run, grant, outcome, said(grant))
    return
  }
  const begun = beginEnd(run, grant, outcome, nowAt(run, hand) + END_TRY, said(grant), hand)
  yield
  yield* closeAndConfirm(run, begun, hand)
}
const endToken = (run: Run, grant: GrantState, outcome: string, said: ReturnType<Said> = {}): GrantState =>
  step(run, grant, 'ended', { status: 'ended', outcome, mints: grant.mints.map(closedAlready), ...said })
const closedAlready = (mint: MintState): MintState => (mint.status === 'closed' ? mint : closed(mint))

const beginEnd = (
  run: Run,
  grant: GrantState,
  outcome: string,
  retryAt: number,
  said: ReturnType<Said> = {},
  hand = PLAIN,
): GrantState =>
  step(run, grant, 'ending', {
    status: 'ending',
    outcome,
    attempts: 0,
    retryAt,
    mints: grant.mints.map((mint) => (mint.status === 'closed' ? mint : closing(mint, nowAt(run, hand) + END_TRY))),
    ...said,
  })

function* retryEnd(run: Run, name: number, hand = PLAIN): Program {
  const grant = find(run, name)
  if (grant.status !== 'ending' && grant.status !== 'stuck') return
  yield* closeAndConfirm(run, grant, hand)
}

/** What was tried is written only where nobody else has gone on with it meanwhile. */
function* closeAndConfirm(run: Run, base: GrantState, hand: Hand): Program {
  const mints = base.mints.map((mint) => (mint.status === 'closed' || !canClose(run, hand, mint) ? mint : closed(mint)))
  const failed = mints.some(({ status }) => status !== 'closed')
  yield
  const grant = find(run, base.name)
  if (grant.version !== base.version) return
  if (!failed) {
    step(run, grant, 'ended', { status: 'ended', mints, retryAt: undefined })
    return
  }
  const attempts = base.attempts + 1
  const next = { attempts, retryAt: nowAt(run, hand) + waitAfter(attempts), mints }
  if (base.status === 'stuck') {
    if (mints.some((mint, n) => mint.status !== base.mints[n]?.status)) step(run, grant, 'end_delayed', next)
  } else if (attempts < TRIES_BEFORE_STUCK) step(run, grant, 'end_delayed', next)
  else step(run, grant, 'stuck', { status: 'stuck', ...next })
}

export const complete = (who: Who, name: number): Start =>
  function* completing(run): Program {
    const grant = find(run, name)
    const rules = run.state.loaded
    if (!maySee(rules, who, grant)) refuse('grant_not_found')
    if (!isParty(rules, who, grant) && !(who === OWNER && !grant.auto)) refuse('not_permitted')
    if (grant.status === 'pending' || grant.status === 'approved') refuse('wrong_status')
    yield
    yield* end(run, name, 'completed')
  }

export const revoke = (who: Who, name: number): Start =>
  function* revoking(run): Program {
    const grant = find(run, name)
    const rules = run.state.loaded
    if (!maySee(rules, who, grant)) refuse('grant_not_found')
    const isNamed = (who === OWNER && !grant.auto) || SOC.includes(who)
    if (!isParty(rules, who, grant) && !isNamed) refuse('not_permitted')
    yield
    const now = find(run, name)
    if (now.status === 'pending') {
      step(run, now, 'denied', { status: 'denied' })
      return
    }
    if (isFinal(now.status)) return
    yield
    yield* end(run, name, 'revoked')
  }

// ---- The certain end

/** What is due in this lane by the store's clock is leased, looked at, and lapsed or ended. */
export const sweep = (login: boolean): Start =>
  function* sweeping(run): Program {
    const { now } = run.state
    const due = [...run.state.grants.values()].filter(
      (grant) => grant.login === login && grant.due !== undefined && grant.due <= now,
    )
    for (const grant of due) lease(run, grant, now + END_TRY)
    yield
    const loaded = due.map(({ name }) => find(run, name))
    yield
    for (const base of loaded) lapseOrEnd(run, base)
    for (const base of loaded) {
      if (!['issuing', 'ending', 'stuck'].includes(base.status) && !(base.status === 'active' && base.login)) continue
      const deadline = base.status === 'ending' || base.status === 'stuck' ? now : deadlineOf(base)
      if (deadline === undefined || deadline > now + SECOND) continue
      yield
      yield* endOverdue(run, base, Math.max(now, deadline))
    }
  }

/** What needs no backend. Refused by the store where somebody was faster. */
function lapseOrEnd(run: Run, base: GrantState): void {
  const now = Math.max(run.state.now, deadlineOf(base) ?? 0)
  const grant = find(run, base.name)
  if (grant.version !== base.version || (deadlineOf(base) ?? Infinity) > run.state.now + SECOND) return
  if (base.status === 'pending' && !base.escalated && !base.auto && now < base.lapsesAt)
    step(run, base, 'escalated', { escalated: true })
  else if (base.status === 'pending' || base.status === 'approved') step(run, base, 'lapsed', { status: 'lapsed' })
  else if (base.status === 'active' && !base.login) endToken(run, base, 'expired')
}

function* endOverdue(run: Run, base: GrantState, now: number): Program {
  const outcome = now >= base.closesAt ? 'expired' : 'failed'
  if (base.status === 'ending' || base.status === 'stuck') return yield* retryEnd(run, base.name)
  if (base.status === 'issuing' || now >= base.closesAt) return yield* end(run, base.name, outcome)
  const grant = find(run, base.name)
  const isLate = ({ status, deadline: until }: MintState): boolean =>
    (status === 'claimed' || status === 'opened') && until !== undefined && until <= now
  const left =
    grant.status === 'active' && grant.mints.some(isLate)
      ? step(run, grant, 'mint_closing', {
          mints: grant.mints.map((mint) => (isLate(mint) ? closing(mint, now + END_TRY) : mint)),
        })
      : grant
  yield
  yield* finishClosing(run, left)
}

// ---- Whoever is nobody any more, and what is contained

export const offboard: Start = function* offboarding(run): Program {
  if (run.state.loaded.off.length === 0) return
  yield
  const { off } = run.state.rules
  const gone: readonly Who[] = [...off, ...(off.includes(SPONSOR) ? ['bot' as const] : [])]
  for (const party of gone) {
    const theirs = [...run.state.grants.values()].filter((grant) => partiesOf(grant).includes(party))
    for (const { name, status } of theirs) {
      if (!['pending', 'approved', 'issuing', 'active'].includes(status)) continue
      yield
      const grant = find(run, name)
      if (grant.status === 'pending' || grant.status === 'approved') {
        step(run, grant, 'lapsed', { status: 'lapsed' })
        continue
      }
      if (grant.status !== 'issuing' && grant.status !== 'active') continue
      yield
      yield* end(run, name, 'revoked')
    }
  }
}

export interface Freezing {
  readonly name: number
  readonly selector: Selector
  readonly contains: boolean
  /** Without, only what is there now is dead. */
  readonly freezes: boolean
}
export const freeze = (who: Who, { name, selector, contains, freezes }: Freezing): Start =>
  function* freezing(run): Program {
    checkSoc(run.state.loaded, who)
    yield
    run.state = { ...run.state, order: run.state.order + 1 }
    const made: FreezeState = { name, selector, by: who, contains, lifted: !freezes, at: run.state.order }
    run.state = { ...run.state, freezes: [...run.state.freezes, made] }
  }
function checkSoc(rules: RulesState, who: Who): void {
  if (!isOn(rules, who) || !SOC.includes(who)) refuse('not_permitted')
}

export const lift = (hand: Hand, who: Who, name: number): Start =>
  atOnce((run) => {
    const rules = rulesInForce(run, hand)
    checkSoc(rules, who)
    const found = run.state.freezes.find((one) => one.name === name)
    if (found === undefined) refuse('freeze_not_found')
    if (found.lifted) return
    // Of what is not there any more nobody knows how much it mattered.
    const { entitlement } = found.selector
    if (entitlement !== undefined && ruleOf(rules.edition, entitlement) === undefined && who === found.by)
      refuse('not_permitted')
    const freezes = run.state.freezes.map((one) => (one.name === name ? { ...one, lifted: true } : one))
    run.state = { ...run.state, freezes }
  })

/** Ends what each containment matches and was born before it, as far as it needs no backend; the sweep goes on with the rest. */
export const cleanUp: Start = function* cleaning(run): Program {
  const containments = run.state.freezes.filter(({ contains }) => contains)
  for (const login of [false, true])
    for (const { selector, at } of containments) {
      yield
      for (const grant of run.state.grants.values())
        if (grant.login === login && grant.born <= at && matches(selector, grant)) stop(run, grant)
    }
}
function stop(run: Run, grant: GrantState): void {
  if (grant.status === 'pending') step(run, grant, 'denied', { status: 'denied' })
  else if (grant.status === 'active' && !grant.login) endToken(run, grant, 'revoked')
  else if (['approved', 'issuing', 'active'].includes(grant.status)) {
    const begun = beginEnd(run, grant, 'revoked', run.state.now)
    if (begun.mints.every(({ status }) => status === 'closed'))
      step(run, begun, 'ended', { status: 'ended', retryAt: undefined })
  }
}

/** New rules: the brokers have them first, then they are in force. */
export const publish = (next: Omit<RulesState, 'revision'>): Start =>
  function* publishing(run): Program {
    const loaded = { ...next, revision: run.state.loaded.revision + 1 }
    run.state = { ...run.state, loaded }
    yield
    run.state = { ...run.state, rules: loaded }
  }
