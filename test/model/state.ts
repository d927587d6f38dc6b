// What the model knows: grants, freezes, rules and the clock, as values; and how a program of the model goes step by step. A program yields
// wherever a real verb lets others in, so that one and the same program tells what may be left when a broker dies in it, and what two
// brokers at once may make of it.
import { type Edition, type Entitlement, isFinal, type Person, type Status, type Who } from './rules.ts'

export interface Vote {
  readonly by: Person | 'policy'
  readonly seat: 'owner' | 'security' | 'policy'
  readonly verdict: 'approve' | 'deny'
  readonly takenBack: boolean
}
export interface MintState {
  readonly n: number
  readonly attempt: string
  readonly keyed: boolean
  readonly claimedAt: number
  readonly status: 'claimed' | 'opened' | 'live' | 'closing' | 'closed'
  readonly deadline: number | undefined
  /** Until then its maker may still be at it. */
  readonly maker: number | undefined
  readonly handedOut: boolean
  readonly released: boolean
  /** Only of what was given back: from then on the next try may have to wait. */
  readonly releasedAt: number | undefined
  readonly expiresAt: number | undefined
}
export interface GrantState {
  readonly name: number
  readonly entitlement: Entitlement
  readonly login: boolean
  readonly requester: Who
  readonly executor: Who
  readonly opensAt: number
  readonly closesAt: number
  readonly uses: number
  readonly auto: boolean
  /** Reviewers that the rule at filing asks for. */
  readonly reviewers: number
  readonly decideBy: number
  readonly lapsesAt: number
  readonly born: number
  readonly status: Status
  readonly version: number
  readonly votes: readonly Vote[]
  /** How many statements are stored. */
  readonly said: number
  readonly escalated: boolean
  readonly useBy: number | undefined
  readonly mints: readonly MintState[]
  readonly attempts: number
  readonly retryAt: number | undefined
  readonly outcome: string | undefined
  /** What the last step is told as. */
  readonly event: string
  /** As it stands in the set of deadlines: that of the record, or the end of a lease. */
  readonly due: number | undefined
}
export interface Selector {
  readonly person?: Person
  readonly agent?: 'bot'
  readonly entitlement?: Entitlement
}
export interface FreezeState {
  readonly name: number
  readonly selector: Selector
  readonly by: Who
  readonly contains: boolean
  readonly lifted: boolean
  readonly at: number
}
export interface RulesState {
  readonly edition: Edition
  readonly off: readonly Person[]
  /** Rises with every change. */
  readonly revision: number
}
export interface State {
  readonly now: number
  /** In force, and as loaded in the brokers; they differ for a moment only. */
  readonly rules: RulesState
  readonly loaded: RulesState
  readonly grants: ReadonlyMap<number, GrantState>
  readonly freezes: readonly FreezeState[]
  /** Births and freezes stand in one order. */
  readonly order: number
  readonly backendUp: boolean
  readonly sealUp: boolean
}

/** One run of a program: the state as it goes, and every state that each grant went through. */
export interface Run {
  state: State
  readonly trail: Map<number, GrantState[]>
}
export type Program = Generator<undefined, void, void>
export type Start = (run: Run) => Program

/** What a verb refuses with. */
export class Refused extends Error {}
export function refuse(code: string): never {
  throw new Refused(code)
}

export const deadlineOf = (grant: Omit<GrantState, 'due'>): number | undefined => {
  const { status, closesAt, mints } = grant
  if (isFinal(status)) return undefined
  if (status === 'pending') return grant.escalated ? grant.lapsesAt : Math.min(grant.decideBy, closesAt)
  if (status === 'approved') return Math.min(grant.useBy ?? closesAt, closesAt)
  if (status === 'ending' || status === 'stuck') return grant.retryAt
  return Math.min(closesAt, ...mints.flatMap((mint) => (mint.status === 'closed' ? [] : (mint.deadline ?? []))))
}

/** The next version of a grant, told as `event`. */
export function step(
  run: Run,
  grant: GrantState,
  event: string,
  change: Partial<Omit<GrantState, 'version' | 'event' | 'due'>>,
): GrantState {
  const next = { ...grant, ...change, version: grant.version + 1, event }
  return put(run, { ...next, due: deadlineOf(next) })
}
/** Without a version of its own: a lease. */
export function lease(run: Run, grant: GrantState, due: number): void {
  put(run, { ...grant, due })
}
export function put(run: Run, grant: GrantState): GrantState {
  run.state = { ...run.state, grants: new Map([...run.state.grants, [grant.name, grant]]) }
  run.trail.set(grant.name, [...(run.trail.get(grant.name) ?? []), grant])
  return grant
}
export const find = (run: Run, name: number): GrantState => {
  const grant = run.state.grants.get(name)
  if (grant === undefined) return refuse('grant_not_found')
  return grant
}

/** How it ended, by the word that a caller is told: `ok`, or the code of the refusal. */
export interface Told {
  readonly state: State
  readonly trail: ReadonlyMap<number, readonly GrantState[]>
  readonly results: readonly string[]
}

/** What these programs at once may come to: one outcome for each order of their steps, up to `most` of them. */
export function* outcomes(state: State, starts: readonly Start[], most = 20_000): Generator<Told, void> {
  const waiting: (readonly number[])[] = [[]]
  for (let tried = 0; tried < most; tried += 1) {
    const order = waiting.pop()
    if (order === undefined) return
    const { told, more } = goes(state, starts, order)
    waiting.push(...more)
    yield told
  }
}

/** One run in this order of steps, then the first first; and the orders that branch off from there. */
function goes(state: State, starts: readonly Start[], order: readonly number[]) {
  const run: Run = { state, trail: new Map() }
  const programs = starts.map((start) => start(run))
  const results: string[] = starts.map(() => '')
  const taken: number[] = []
  const more: (readonly number[])[] = []
  for (;;) {
    const open = results.flatMap((result, n) => (result === '' ? [n] : []))
    const [first] = open
    if (first === undefined) break
    const chosen = order[taken.length] ?? first
    if (taken.length >= order.length) for (const other of open.slice(1)) more.push([...taken, other])
    taken.push(chosen)
    results[chosen] = advanced(programs[chosen])
  }
  return { told: { state: run.state, trail: run.trail, results }, more }
}
function advanced(program: Program | undefined): string {
  try {
    return program?.next().done === false ? '' : 'ok'
  } catch (thrown) {
    if (thrown instanceof Refused) return thrown.message
    throw thrown
  }
}
