// The verbs bound to their ports: the whole of what a door may call.
import { complete } from './complete.ts'
import { decide } from './decide.ts'
import { completeEach, revokeEach } from './end-each.ts'
import { exchange } from './exchange.ts'
import { introspect } from './introspect.ts'
import { feed, list } from './list.ts'
import type { Ports } from './ports.ts'
import { answer, ask, questions } from './question.ts'
import { explain, request } from './request.ts'
import { revoke } from './revoke.ts'
import { sweep } from './sweep.ts'
import { events, offered, view } from './view.ts'
import { withdraw } from './withdraw.ts'

export const broker = (p: Ports) => ({
  request: request(p),
  explain: explain(p),
  decide: decide(p),
  withdraw: withdraw(p),
  exchange: exchange(p),
  complete: complete(p),
  revoke: revoke(p),
  completeEach: completeEach(p),
  revokeEach: revokeEach(p),
  view: view(p),
  list: list(p),
  feed: feed(p),
  events: events(p),
  questions: questions(p),
  ask: ask(p),
  answer: answer(p),
  offered: offered(p),
  introspect: introspect(p),
  sweep: sweep(p),
})

export type Broker = ReturnType<typeof broker>

export type { Introspected } from './introspect.ts'
export type { Credential, Exchanged } from './issue.ts'
export type { Question } from './question.ts'
export type { Asking, Explained, Filed } from './request.ts'
export type { Swept } from './sweep.ts'
