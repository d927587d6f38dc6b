// The http door with the whole broker behind it, on memory ports. Who calls is resolved by the directory in force from the account that a
// token names; that a token is genuine is tested where that is checked.
import { acceptClock } from '../../src/broker/operate.ts'
import { recover, recovery, type Walks } from '../../src/broker/recover.ts'
import { publishedOf } from '../../src/broker/rulebook.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { named } from '../../src/domain/ids.ts'
import type { PeopleDirectory } from '../../src/identity/directory.ts'
import type { Account } from '../support/cast.ts'
import { HOME, type World } from '../support/world.ts'
import { JSON_TYPE, jwt, type Received, type Stage, stage } from './door.ts'

export interface RealDoor {
  readonly on: Stage
  /** One request by this account; by nobody where it is undefined. */
  send(who: Account | undefined, method: string, path: string, body?: unknown): Promise<Received>
  stop(): Promise<void>
}

/** For every route that takes a body one that nothing is wrong with, by the route's name. */
export const bodies = (asked: unknown): Readonly<Record<string, unknown>> => ({
  request: asked,
  decide: { verdict: 'approve', reason: 'fine' },
  close: { condition: 'abcdefghijkl', reason: 'done' },
  accept: { accepts: [{ risk: 'review:security', until: '2030-01-01T00:00:00Z' }], reason: 'It is small.' },
  retract: { reason: 'I had not seen the plan.' },
  begin_step_up: { verdict: 'approve', reason: 'fine' },
  add_passkey: { name: 'laptop' },
  remove_passkey: {},
  withdraw: { reason: 'not needed' },
  exchange: {},
  complete: {},
  revoke: { reason: 'alarm' },
  ask: { text: 'Why tonight?' },
  answer: { text: 'Nobody is there.' },
  complete_each: { where: { ticket: { system: 'desk', id: 'CHG-1' } } },
  revoke_each: { where: { ticket: { system: 'desk', id: 'CHG-1' } } },
  freeze: { where: { task: 'another-task' }, reason: 'alarm' },
  contain: { where: { task: 'another-task' }, reason: 'alarm' },
  lift_freeze: { reason: 'over' },
  recover: { reason: 'as it is' },
  accept_clock: { reason: 'as it is' },
})

export const tokenOf = ({ issuer, claims }: Account): string => jwt({ iss: issuer, ...claims })

export async function realDoor(w: World, verbs = w.broker): Promise<RealDoor> {
  const on = await stage({ perProcess: 100, perPrincipal: 100, firstMs: 5, mostMs: 10 })
  on.answer(verbs)
  on.state.authenticate = async (token, key) => {
    const { iss, ...claims } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
    const found = (w.book.current().directory as PeopleDirectory).resolve(iss, claims)
    if (found === undefined) throw new BrokerError('unauthenticated', 'The token is nobody’s.')
    return { principal: found.principal, key, session: '', facts: {} }
  }
  const walks: Walks = new Map()
  const operate = {
    // The cast's plain colleague: counts only where the guards let nobody operate, which is nowhere here.
    firstOperator: named.principal('sam'),
    ...w.ports,
    store: w.store,
    inventory: async () => undefined,
    acceptStore: (_: unknown, floor?: number) => w.store.accept(HOME, publishedOf(w.book.current()), floor),
    acceptClock: w.now,
    record: async () => undefined,
  }
  on.state.operations = {
    recover: recover(operate, walks),
    recovery: recovery(operate, walks),
    acceptClock: acceptClock(operate),
  }
  return {
    on,
    send: (who, method, path, body) => {
      on.state.now = w.now()
      const headers: (readonly [string, string])[] =
        who === undefined ? [] : [['Authorization', `Bearer ${tokenOf(who)}`]]
      if (body !== undefined) headers.push(JSON_TYPE)
      const sent = body === undefined ? {} : { body: JSON.stringify(body) }
      return on.send(method, path, { headers, anonymous: true, ...sent })
    },
    stop: on.stop,
  }
}
