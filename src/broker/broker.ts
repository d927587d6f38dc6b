// The verbs bound to their ports: the whole of what a door may call.
import { complete } from './complete.ts'
import { acceptRisks, closeCondition, prepareAcceptance, prepareClosure } from './conditions.ts'
import { contain, contained, containment, countContained } from './contain.ts'
import { decide, prepareVote } from './decide.ts'
import { completeEach, revokeEach } from './end-each.ts'
import { evenly } from './evenly.ts'
import { exchange } from './exchange.ts'
import { freeze, freezes, liftFreeze } from './freeze.ts'
import { introspect } from './introspect.ts'
import { feed, list } from './list.ts'
import { answerMisuse } from './misuse.ts'
import { addPasskey, finishPasskeyCeremony, listPasskeys, removePasskey, showPasskeyCeremony } from './passkeys.ts'
import type { Ports } from './ports.ts'
import { answer, ask, questions } from './question.ts'
import { explain, request } from './request.ts'
import { retract } from './retract.ts'
import { revocationVerbs } from './revocations.ts'
import { revoke } from './revoke.ts'
import { beginStepUp, finishStepUp, showStepUp } from './step-up.ts'
import { sweep } from './sweep.ts'
import { beside, reportUses, usesOf } from './uses.ts'
import { events, offered, view } from './view.ts'
import { withdraw } from './withdraw.ts'

export const broker = (p: Ports) => ({
  request: evenly(p, request(p)),
  explain: evenly(p, explain(p)),
  decide: evenly(p, decide(p)),
  prepareVote: evenly(p, prepareVote(p)),
  prepareClosure: evenly(p, prepareClosure(p)),
  prepareAcceptance: evenly(p, prepareAcceptance(p)),
  closeCondition: evenly(p, closeCondition(p)),
  acceptRisks: evenly(p, acceptRisks(p)),
  retract: evenly(p, retract(p)),
  withdraw: evenly(p, withdraw(p)),
  exchange: evenly(p, exchange(p)),
  complete: evenly(p, complete(p)),
  revoke: evenly(p, revoke(p)),
  completeEach: evenly(p, completeEach(p)),
  revokeEach: evenly(p, revokeEach(p)),
  freeze: freeze(p),
  liftFreeze: liftFreeze(p),
  freezes: freezes(p),
  contain: contain(p),
  containment: containment(p),
  contained: contained(p),
  countContained: countContained(p),
  view: evenly(p, view(p)),
  list: list(p),
  feed: feed(p),
  events: evenly(p, events(p)),
  questions: evenly(p, questions(p)),
  ask: evenly(p, ask(p)),
  answer: evenly(p, answer(p)),
  offered: offered(p),
  ...revocationVerbs(p),
  beside: beside(p),
  uses: evenly(p, usesOf(p)),
  reportUses: evenly(p, reportUses(p, answerMisuse(p))),
  introspect: introspect(p),
  beginStepUp: evenly(p, beginStepUp(p)),
  showStepUp: showStepUp(p),
  finishStepUp: finishStepUp(p),
  passkeys: listPasskeys(p),
  addPasskey: addPasskey(p),
  removePasskey: removePasskey(p),
  showPasskeyCeremony: showPasskeyCeremony(p),
  finishPasskeyCeremony: finishPasskeyCeremony(p),
  sweep: sweep(p),
})

export type Broker = ReturnType<typeof broker>

export type { Action } from '../policy/policy.ts'
export type { ContainedOne, Containment, Counted } from './contain.ts'
export type { Ballot } from './decide.ts'
export { useWithin } from './hearing.ts'
export type { Introspected } from './introspect.ts'
export type { Credential, Exchanged } from './issue.ts'
export type { Question } from './question.ts'
export type { Asking, Explained, Filed } from './request.ts'
export type { Told } from './revocations.ts'
export type { Swept } from './sweep.ts'
export type { Beside, Reported } from './uses.ts'
