// The verbs bound to their ports: the whole of what a door may call.
import { complete } from './complete.ts'
import { decide } from './decide.ts'
import { evenly } from './evenly.ts'
import { exchange } from './exchange.ts'
import { introspect } from './introspect.ts'
import type { Ports } from './ports.ts'
import { request } from './request.ts'
import { revoke } from './revoke.ts'
import { sweep } from './sweep.ts'
import { events, list, offered, view } from './view.ts'
import { withdraw } from './withdraw.ts'

export const broker = (p: Ports) => ({
  request: request(p),
  decide: evenly(p, decide(p)),
  withdraw: evenly(p, withdraw(p)),
  exchange: evenly(p, exchange(p)),
  complete: evenly(p, complete(p)),
  revoke: evenly(p, revoke(p)),
  view: evenly(p, view(p)),
  list: list(p),
  events: evenly(p, events(p)),
  offered: offered(p),
  introspect: introspect(p),
  sweep: sweep(p),
})

export type Broker = ReturnType<typeof broker>

export type { Action } from '../policy/policy.ts'
export type { Introspected } from './introspect.ts'
export type { Credential, Exchanged } from './issue.ts'
export type { Asking } from './request.ts'
export type { Swept } from './sweep.ts'
