// Every act of a sequence as data that can be shown and shrunk; and for each what the model does and what is asked of the real broker.

import type { Asking } from '../../src/broker/broker.ts'
import { named } from '../../src/domain/ids.ts'
import { after, instant } from '../../src/domain/instant.ts'
import { NO_IMPACT } from '../../src/domain/risk.ts'
import type { Selector as RealSelector } from '../../src/domain/selector.ts'
import type { Direct } from './direct.ts'
import { actionOf } from './policy.ts'
import type { Edition, Person, Who } from './rules.ts'
import { isFinal } from './rules.ts'
import { type Actor, BOT_KEY, cleanedUp, offboarded, rulesOf, type Stage, span } from './stage.ts'
import type { FreezeState, GrantState, RulesState, Selector, Start, State } from './state.ts'
import {
  cleanUp,
  complete,
  decide,
  exchange,
  type Filing,
  file,
  freeze,
  type Hand,
  lift,
  offboard,
  publish,
  retract,
  revoke,
  sweep,
  withdraw,
} from './verbs.ts'

/** Somebody by the part they play in the grant, or by name. */
export type Role = Who | 'requester' | 'executor'
/** The n-th of the grants that are not over, the newest first; of all where `any` or where all are over. */
export interface Nth {
  readonly nth: number
  readonly any: boolean
}
type Of<Kind extends string, More = object> = { readonly kind: Kind } & More
export type Verb =
  | Of<'file', { readonly who: Who; readonly asked: Omit<Filing, 'name' | 'executor'>; readonly byBot: boolean }>
  | Of<'decide', { readonly who: Role; readonly verdict: 'approve' | 'deny'; readonly of: Nth }>
  | Of<'withdraw' | 'retract' | 'revoke' | 'complete', { readonly who: Role; readonly of: Nth }>
  | Of<'exchange', { readonly who: Role; readonly again: boolean; readonly keyed: boolean; readonly of: Nth }>
  | Of<'sweep', { readonly login: boolean }>
  | Of<'freeze' | 'contain', { readonly who: Who; readonly selector: Selector; readonly freezes: boolean }>
  | Of<'lift', { readonly who: Who; readonly nth: number }>
  | Of<'publish', { readonly edition: Edition | undefined; readonly off: readonly Person[] | undefined }>
  | Of<'offboard' | 'cleanUp'>

/** The broker that does it: as it should be, with a clock that is late, or with the files of the beginning. */
export type HandName = 'plain' | 'late' | 'old'
export type Act =
  | { readonly do: 'verb'; readonly verb: Verb; readonly by: HandName }
  | { readonly do: 'crash'; readonly verb: Verb; readonly at: number; readonly when: 'before' | 'after' }
  | { readonly do: 'race'; readonly verbs: readonly [Verb, Verb] }
  | { readonly do: 'ready'; readonly verb: Extract<Verb, { kind: 'file' }>; readonly exchanges: number }
  | { readonly do: 'crowd'; readonly verb: Extract<Verb, { kind: 'file' }>; readonly many: number }
  | { readonly do: 'outage'; readonly first: 'revoke' | 'again' | 'nothing'; readonly looks: number }
  | { readonly do: 'raised' }
  | { readonly do: 'reload' }
  | { readonly do: 'jump'; readonly ms: number }
  | { readonly do: 'jumpTo'; readonly ms: number }
  | { readonly do: 'backend' | 'seal'; readonly up: boolean }
  | { readonly do: 'direct'; readonly kind: Direct; readonly of: Nth }

/** A verb with everything chosen: its program, and the same asked of a broker. */
export interface Bound {
  readonly start: (hand: Hand) => Start
  perform(stage: Stage, actor: Actor): Promise<unknown>
}

const ENDS = { withdraw, retract, revoke, complete } as const

export function pickGrant(state: State, { nth, any }: Nth): GrantState | undefined {
  const all = [...state.grants.values()].toReversed()
  const open = all.filter(({ status }) => !isFinal(status))
  const from = any || open.length === 0 ? all : open
  return from[nth % Math.max(1, from.length)]
}
const pickFreeze = (state: State, nth: number): FreezeState | undefined =>
  state.freezes[nth % Math.max(1, state.freezes.length)]
const whoIs = (role: Role, grant: GrantState): Who =>
  role === 'requester' ? grant.requester : role === 'executor' ? grant.executor : role

/** Undefined where there is nothing yet that it could be about. `name` is that of whatever it makes. */
export function bound(verb: Verb, state: State, name: number): Bound | undefined {
  switch (verb.kind) {
    case 'file':
      return boundFiling(verb, name)
    case 'sweep':
      return {
        start: () => sweep(verb.login),
        perform: (_, { verbs }) => verbs.sweep(verb.login ? 'vault-main' : 'local'),
      }
    case 'offboard':
      return { start: () => offboard, perform: (_, actor) => offboarded(actor) }
    case 'cleanUp':
      return { start: () => cleanUp, perform: (_, actor) => cleanedUp(actor) }
    case 'freeze':
    case 'contain':
      return boundFreeze(verb, name)
    case 'lift':
      return boundLift(verb, state, name)
    case 'publish': {
      const rules = { edition: verb.edition ?? state.rules.edition, off: verb.off ?? state.rules.off }
      const next: RulesState = { ...rules, revision: state.rules.revision + 1 }
      // Compiled before, so that it takes no time when it counts.
      rulesOf(next)
      return { start: () => publish(rules), perform: (stage) => stage.publish(next) }
    }
    default: {
      const grant = pickGrant(state, verb.of)
      return grant && boundTo(verb, grant, name)
    }
  }
}

function boundTo(
  verb: Exclude<Verb, { kind: 'file' | 'sweep' | 'freeze' | 'contain' | 'lift' | 'publish' | 'offboard' | 'cleanUp' }>,
  grant: GrantState,
  made: number,
): Bound {
  const { name } = grant
  const who = whoIs(verb.who, grant)
  const reason = `because ${made}`
  switch (verb.kind) {
    case 'decide':
      return {
        start: (hand) => decide(hand, who, name, verb.verdict),
        perform: (stage, { verbs }) =>
          verbs.decide(stage.caller(who), stage.idOf(name), { verdict: verb.verdict, reason, digest: undefined }),
      }
    case 'exchange': {
      const attempt = (verb.again ? grant.mints.at(-1)?.attempt : undefined) ?? `attempt-${made}`
      const keyed = verb.keyed && who === 'bot'
      return {
        start: (hand) => exchange(hand, { who, name, attempt, keyed }),
        perform: (stage, actor) => stage.exchanged(actor, stage.caller(who, keyed), name, attempt),
      }
    }
    default:
      return {
        start: () => ENDS[verb.kind](who, name),
        perform: (stage, { verbs }) =>
          verb.kind === 'complete'
            ? verbs.complete(stage.caller(who), stage.idOf(name), { done: 'yes' })
            : verbs[verb.kind](stage.caller(who), stage.idOf(name), reason),
      }
  }
}

function boundFiling({ who, asked, byBot }: Extract<Verb, { kind: 'file' }>, name: number): Bound {
  const executor = byBot ? 'bot' : who
  return {
    start: (hand) => file(hand, who, { ...asked, name, executor }),
    perform: (stage, { verbs }) => verbs.request(stage.caller(who), askingOf(stage, asked, { name, executor })),
  }
}
function askingOf(
  stage: Stage,
  { entitlement, opensIn, lasts, uses, foreign }: Omit<Filing, 'name' | 'executor'>,
  { name, executor }: Making,
): Asking {
  const opensAt = after(stage.now(), span(opensIn))
  return {
    entitlement: named.entitlement(entitlement),
    actions: [foreign ? 'foreign.do' : actionOf(entitlement)],
    scope: [],
    dataTypes: [],
    destination: '',
    task: `task-${name}`,
    changeClass: 'normal',
    impact: NO_IMPACT,
    exposure: undefined,
    plan: undefined,
    ticket: undefined,
    window: { opensAt, closesAt: instant(opensAt + lasts) },
    uses,
    executor: named.principal(executor),
    executorKey: executor === 'bot' ? BOT_KEY : undefined,
    texts: { summary: 'a change', objective: '', expectedOutcome: '', rollback: '', ticketUrl: '', planUri: '' },
    replaces: undefined,
    more: [],
  }
}
type Making = Pick<Filing, 'name' | 'executor'>

const realSelector = ({ person, agent, entitlement }: Selector): RealSelector => ({
  ...(person === undefined ? {} : { person: named.person(person) }),
  ...(agent === undefined ? {} : { agent: named.principal(agent) }),
  ...(entitlement === undefined ? {} : { entitlement: named.entitlement(entitlement) }),
})
function boundFreeze(
  { kind, who, selector, freezes }: Extract<Verb, { kind: 'freeze' | 'contain' }>,
  name: number,
): Bound {
  const contains = kind === 'contain'
  const reason = `alarm ${name}`
  const asked = { name, selector, contains, freezes: freezes || !contains }
  return {
    start: () => freeze(who, asked),
    perform: (stage, { verbs }) =>
      contains
        ? verbs.contain(stage.caller(who), realSelector(selector), reason, { freezes })
        : verbs.freeze(stage.caller(who), realSelector(selector), reason),
  }
}
function boundLift({ who, nth }: Extract<Verb, { kind: 'lift' }>, state: State, made: number): Bound | undefined {
  const found = pickFreeze(state, nth)
  return (
    found && {
      start: (hand) => lift(hand, who, found.name),
      perform: (stage, { verbs }) =>
        verbs.liftFreeze(stage.caller(who), stage.freezeIdOf(found.name), `all clear ${made}`),
    }
  )
}
