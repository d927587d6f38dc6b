// Role × route × state, every cell over a socket: what each part in the house is answered at each row of ROUTES on a grant in each state.
// The tables below are the whole expectation. What a refusal leaves behind is nothing: not one commit.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventOf } from '../../src/broker/change.ts'
import { standingVotes } from '../../src/domain/decision.ts'
import { advance, type Grant, inStatus, type Step } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, formatInstant, hours, milliseconds, minutes } from '../../src/domain/instant.ts'
import { ROUTES, type Route } from '../../src/http/routes.ts'
import { CAST, castDirectory, castPolicy, ROLES, type Role } from '../support/cast.ts'
import { register } from '../support/passkeys.ts'
import { asking, attempt, HOME, type World, world } from '../support/world.ts'
import type { Received } from './door.ts'
import { bodies, type RealDoor, realDoor } from './real-door.ts'

const STATES = [
  'pending',
  'scheduled',
  'open',
  'issuing',
  'active',
  'ending',
  'stuck',
  'denied',
  'withdrawn',
  'lapsed',
  'ended',
] as const
type State = (typeof STATES)[number]

/** Refusals as the tables call them; any other small word is a code or a status itself. */
const CODES: Readonly<Record<string, string>> = {
  '-': 'grant_not_found',
  '401': 'unauthenticated',
  no: 'not_permitted',
  own: 'own_request',
  exec: 'not_executor',
  policy: 'policy_refused',
  nobody: 'nobody_can_decide',
  voted: 'already_decided',
  status: 'wrong_status',
  early: 'window_not_open',
  none: 'invalid_request',
  key: 'step_up_required',
  used: 'uses_exhausted',
  unfrozen: 'freeze_not_found',
}
// A number is an answer's status. A cell in capitals is a row of the second table, where the state decides; SEEN and UNSEEN, OFFERED and
// NOTHING, OVER say what a list holds.
const BY_ROLE = `
                       | request | list   | view | events | questions | feed   | decide   | begin_step_up | close      | accept  | retract  | ask  | answer  | withdraw  | exchange  | complete  | revoke  | complete_each | revoke_each | freeze | freezes | lift_freeze | contain | containment | contained | passkeys | add_passkey | remove_passkey | offered | whoami | recover | accept_clock | revocations | acknowledge | report_uses | uses | canaries
requester              | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | CLOSES NOT | NO RISK | none     | no   | ANSWERS | WITHDRAWS | exec      | COMPLETES | REVOKES | ENDS OWN      | ENDS ANY    | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | 200  | no
her second account     | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | CLOSES NOT | NO RISK | none     | no   | ANSWERS | WITHDRAWS | exec      | COMPLETES | REVOKES | ENDS OWN      | ENDS ANY    | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | 200  | no
her own agent          | policy  | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | no         | no      | none     | no   | no      | no        | exec      | no        | no      | ENDS NONE     | ENDS NONE   | no     | no      | no          | no      | no          | no        | no       | no          | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
executor, a workload   | policy  | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | no         | no      | none     | no   | no      | no        | EXCHANGES | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | no     | no      | no          | no      | no          | no        | no       | no          | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
the executor's sponsor | policy  | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
owner                  | policy  | SEEN   | 200  | 200    | 200       | SEEN   | OWNER    | SIGNS         | CLOSES NOT | ACCEPTS | RETRACTS | ASKS | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
reviewer               | policy  | SEEN   | 200  | 200    | 200       | SEEN   | REVIEWER | KEYLESS       | CLOSES     | NO RISK | BACK     | ASKS | no      | no        | exec      | no        | REVOKES | ENDS NONE     | ENDS ANY    | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
another approver       | policy  | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | no        | no      | ENDS NONE     | ENDS NONE   | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
SOC                    | policy  | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | no        | REVOKES | ENDS NONE     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
auditor                | policy  | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | no        | no      | ENDS NONE     | ENDS NONE   | no     | 200     | no          | no      | 200         | 200       | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | 200  | no
operator               | policy  | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | 200     | 200          | 401         | 401         | 401         | -    | 200
plain colleague        | policy  | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | -    | no
vendor colleague       | 201     | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | -    | no
other tenant           | policy  | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | no     | no      | no          | no      | no          | no        | 200      | 201         | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | -    | no
an agent               | policy  | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | no     | no      | no          | no      | no          | no        | no       | no          | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | -    | no
a workload             | policy  | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | no     | no      | no          | no      | no          | no        | no       | no          | no             | NOTHING | 200    | no      | no           | 401         | 401         | 401         | -    | no
resource server        | 401     | 401    | 401  | 401    | 401       | 401    | 401      | 401           | 401        | 401     | 401      | 401  | 401     | 401       | 401       | 401       | 401     | 401           | 401         | 401    | 401     | 401         | 401     | 401         | 401       | 401      | 401         | 401            | 401     | 401    | 401     | 401          | 200         | 204         | -           | 401  | 401
anonymous              | 401     | 401    | 401  | 401    | 401       | 401    | 401      | 401           | 401        | 401     | 401      | 401  | 401     | 401       | 401       | 401       | 401     | 401           | 401         | 401    | 401     | 401         | 401     | 401         | 401       | 401      | 401         | 401            | 401     | 401    | 401     | 401          | 401         | 401         | 401         | 401  | 401
`
// Who is first to say no comes before the vote that was cast, and the status before what one might have been permitted in it; of an
// approved grant votes may still be asked again. The owner has denied what is denied; the reviewer has said nothing there.
const BY_STATE = `
          | pending | scheduled | open   | issuing | active | ending | stuck  | denied | withdrawn | lapsed | ended
OWNER     | 200     | voted     | voted  | voted   | voted  | voted  | voted  | voted  | status    | status | voted
REVIEWER  | 200     | voted     | voted  | voted   | voted  | voted  | voted  | status | status    | status | voted
SIGNS     | 201     | voted     | voted  | voted   | voted  | voted  | voted  | voted  | status    | status | voted
KEYLESS   | key     | voted     | voted  | voted   | voted  | voted  | voted  | status | status    | status | voted
CLOSES    | none    | 200       | 200    | status  | 200    | status | status | status | status    | status | status
CLOSES NOT| none    | none      | none   | status  | none   | status | status | status | status    | status | status
ACCEPTS   | 200     | 200       | 200    | status  | 200    | status | status | status | status    | status | status
NO RISK   | no      | no        | no     | status  | no     | status | status | status | status    | status | status
RETRACTS  | none    | 200       | 200    | 200     | 200    | 202    | 202    | status | none      | none   | 200
BACK      | none    | 200       | 200    | 200     | 200    | 202    | 202    | none   | none      | none   | 200
NO SEAT   | no      | no        | no     | status  | status | status | status | status | status    | status | status
ASKS      | 201     | no        | no     | no      | no     | no     | no     | no     | no        | no     | no
ANSWERS   | 201     | status    | status | status  | status | status | status | status | status    | status | status
WITHDRAWS | 200     | 200       | 200    | status  | status | status | status | status | 200       | status | status
EXCHANGES | status  | early     | 200    | used    | used   | status | status | status | status    | status | status
COMPLETES | status  | status    | status | 200     | 200    | 202    | 202    | 200    | 200       | 200    | 200
REVOKES   | 200     | 200       | 200    | 200     | 200    | 202    | 202    | 200    | 200       | 200    | 200
ENDS OWN  | 200     | 200       | 200    | 200     | 200    | 202    | 202    | OVER   | OVER      | OVER   | OVER
ENDS USED | no      | no        | no     | 200     | 200    | 202    | 202    | OVER   | OVER      | OVER   | OVER
ENDS ANY  | 200     | 200       | 200    | 200     | 200    | 202    | 202    | OVER   | OVER      | OVER   | OVER
ENDS NONE | no      | no        | no     | no      | no     | no     | no     | OVER   | OVER      | OVER   | OVER
`
// Guards that permit everything to everybody: what is still refused is a rule of the house, which no guard lifts.
const UNDER_ANY_GUARDS = `
                       | request | list   | view | events | questions | feed   | decide   | begin_step_up | close      | accept  | retract  | ask  | answer  | withdraw  | exchange  | complete  | revoke  | complete_each | revoke_each | freeze | freezes | lift_freeze | contain | containment | contained | passkeys | add_passkey | remove_passkey | offered | whoami | recover | accept_clock | revocations | acknowledge | report_uses | uses | canaries
requester              | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | CLOSES NOT | NO RISK | none     | no   | ANSWERS | WITHDRAWS | exec      | COMPLETES | REVOKES | ENDS OWN      | ENDS ANY    | 201    | 200     | unfrozen    | 202     | unfrozen    | unfrozen  | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
her second account     | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | CLOSES NOT | NO RISK | none     | no   | ANSWERS | WITHDRAWS | exec      | COMPLETES | REVOKES | ENDS OWN      | ENDS ANY    | 201    | 200     | unfrozen    | 202     | unfrozen    | unfrozen  | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
her own agent          | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | no         | no      | none     | no   | no      | no        | exec      | no        | no      | ENDS NONE     | ENDS NONE   | no     | no      | no          | no      | no          | no        | no       | no          | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | 200  | no
executor, a workload   | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | no         | no      | none     | no   | no      | no        | EXCHANGES | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | no     | no      | no          | no      | no          | no        | no       | no          | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | 200  | no
the executor's sponsor | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
owner                  | nobody  | SEEN   | 200  | 200    | 200       | SEEN   | OWNER    | SIGNS         | CLOSES NOT | ACCEPTS | RETRACTS | ASKS | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
reviewer               | nobody  | SEEN   | 200  | 200    | 200       | SEEN   | REVIEWER | KEYLESS       | CLOSES     | NO RISK | BACK     | ASKS | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
another approver       | 201     | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
SOC                    | 201     | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
auditor                | 201     | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
operator               | 201     | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
plain colleague        | 201     | SEEN   | 200  | 200    | 200       | SEEN   | NO SEAT  | NO SEAT       | CLOSES NOT | NO RISK | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | 201    | 200     | 200         | 202     | 200         | 200       | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | 200  | 200
vendor colleague       | 201     | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | 201    | 200     | unfrozen    | 202     | unfrozen    | unfrozen  | 200      | 201         | no             | OFFERED | 200    | 200     | 200          | 401         | 401         | 401         | -    | 200
other tenant           | policy  | UNSEEN | -    | -      | -         | UNSEEN | -        | -             | -          | -       | -        | -    | -       | -         | -         | -         | -       | -             | -           | 201    | 200     | unfrozen    | 202     | unfrozen    | unfrozen  | 200      | 201         | no             | NOTHING | 200    | 200     | 200          | 401         | 401         | 401         | -    | 200
an agent               | 201     | SEEN   | 200  | 200    | 200       | SEEN   | no       | no            | no         | no      | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | no     | no      | no          | no      | no          | no        | no       | no          | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | 200  | no
a workload             | 201     | SEEN   | 200  | 200    | 200       | SEEN   | own      | own           | no         | no      | none     | no   | no      | no        | exec      | COMPLETES | REVOKES | ENDS USED     | ENDS ANY    | no     | no      | no          | no      | no          | no        | no       | no          | no             | OFFERED | 200    | no      | no           | 401         | 401         | 401         | 200  | no
resource server        | 401     | 401    | 401  | 401    | 401       | 401    | 401      | 401           | 401        | 401     | 401      | 401  | 401     | 401       | 401       | 401       | 401     | 401           | 401         | 401    | 401     | 401         | 401     | 401         | 401       | 401      | 401         | 401            | 401     | 401    | 401     | 401          | 200         | 204         | -           | 401  | 401
anonymous              | 401     | 401    | 401  | 401    | 401       | 401    | 401      | 401           | 401        | 401     | 401      | 401  | 401     | 401       | 401       | 401       | 401     | 401           | 401         | 401    | 401     | 401         | 401     | 401         | 401       | 401      | 401         | 401            | 401     | 401    | 401     | 401          | 401         | 401         | 401         | 401  | 401
`

type Table = ReadonlyMap<string, ReadonlyMap<string, string>>
function table(text: string): Table {
  const [head = [], ...rows] = text
    .slice(1, -1)
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
  return new Map(
    rows.map(([name = '', ...cells]) => [name, new Map(head.slice(1).map((column, n) => [column, cells[n] ?? '']))]),
  )
}
const byState = table(BY_STATE)

/** What is asked with; ends by ticket, closures and risks name what this grant has. */
const asked = bodies({
  entitlement: 'orders-repair',
  actions: ['orders.repair'],
  task: { summary: 'Repair the orders' },
  window: { duration: '30m' },
  executor: { principal: 'report-job' },
})

let asks = 0
const ticketOf = (grant: Grant) => grant.ask.intent.ticket ?? { system: '', id: '' }
const conditionOf = (grant: Grant): string | undefined =>
  standingVotes(grant.decisions).flatMap(({ conditions }) => conditions)[0]?.id
/** The owner takes the risk of whatever stands in the way: of the review that is missing, or else of its condition. */
const risksOf = (grant: Grant) => {
  const condition = conditionOf(grant)
  const risk = condition === undefined ? 'review:security' : `condition:${condition}`
  return [{ risk, until: formatInstant(after(w.now(), hours(2))) }]
}
function bodyOf(role: Role, name: string, grant: Grant): unknown {
  if (name.endsWith('_each')) return { where: { ticket: ticketOf(grant) } }
  if (name === 'close') return { condition: conditionOf(grant) ?? 'abcdefghijkl', reason: 'done' }
  if (name === 'accept') return { accepts: risksOf(grant), reason: 'It is small.' }
  if ((name === 'decide' || name === 'begin_step_up') && role === 'owner')
    return { verdict: 'approve', reason: 'fine', accepts: risksOf(grant) }
  return asked[name]
}
const send = (role: Role, { method, path, name }: Route, grant: Grant): Promise<Received> => {
  const at = path.replace(':id', grant.id).replace(':n', '2').replace(':passkey', 'a2V5').replace(':freeze', frozen)
  const query = name === 'feed' ? `?limit=100&after=${places.get(grant.id)}` : ''
  // Each asking is another one: the same is taken once.
  const request = { ...(asked.request as object), task: { summary: 'Repair the orders', id: `task-${++asks}` } }
  return door.send(CAST[role], method, `${at}${query}`, name === 'request' ? request : bodyOf(role, name, grant))
}

let w: World
let door: RealDoor
/** Of the tenant that owns the target, and of nothing that is asked here. */
let frozen: string
beforeAll(async () => {
  w = await world()
  // The owner alone has a passkey.
  await register(w, 'olivia')
  door = await realDoor(w)
  frozen = (await w.broker.contain(w.as('sol'), { task: 'another-task' }, 'alarm', { freezes: true })).freeze.id
})
afterAll(() => door.stop())

const committed = async (): Promise<number> => (await w.store.read(HOME))?.seq ?? 0
const judgedNow = async () => ({ judgedUnder: await w.store.control(HOME) })
async function moved(step: Step): Promise<Grant> {
  await w.store.commit(step, await judgedNow())
  return step.grant
}

/** Where the feed was when each grant was filed. */
const places = new Map<string, string>()
/** A fresh grant in this state, by the verbs wherever a verb leads there without time passing. */
let reached = 0
async function grantIn(state: State): Promise<Grant> {
  const grant = await reach(state)
  // The feed tells of milliseconds that are over.
  w.advance(milliseconds(1))
  return grant
}

async function reach(state: State): Promise<Grant> {
  w.backend.up()
  const { next } = await w.store.feed(undefined, 1)
  const opensAt = state === 'scheduled' ? after(w.now(), minutes(60)) : w.now()
  const { grant: pending } = await w.broker.request(
    w.as('vera'),
    asking(w.now(), {
      entitlement: named.entitlement('orders-repair'),
      actions: ['orders.repair'],
      // Of one task so many would raise the tier.
      task: `task-${++reached}`,
      ticket: { system: 'desk', id: `CHG-${reached}` },
      executor: named.principal('report-job'),
      window: { opensAt, closesAt: after(opensAt, hours(1)) },
    }),
  )
  const { id } = pending
  places.set(id, next)
  const vote = (by: string, verdict: 'approve' | 'deny') =>
    w.broker.decide(w.as(by), id, { verdict, reason: 'read', digest: pending.ask.digest })
  await w.broker.ask(w.as('olivia'), id, 'Why tonight?')
  if (state === 'pending') return w.broker.view(w.as('vera'), id)
  if (state === 'denied') return vote('olivia', 'deny')
  if (state === 'withdrawn') return w.broker.withdraw(w.as('vera'), id, 'not needed')
  if (state === 'lapsed') return lapsed(await w.broker.view(w.as('vera'), id))
  const approved = await agreed(pending)
  if (state === 'scheduled' || state === 'open') return approved
  if (state === 'issuing') return claimed(approved)
  const { grant: active } = await w.broker.exchange(w.as('report-job'), id)
  if (state === 'active') return active
  if (state === 'ended') return w.broker.complete(w.as('report-job'), id, {})
  w.backend.down()
  const ending = await w.broker.revoke(w.as('sol'), id, 'alarm')
  return state === 'ending' ? ending : stuck(ending)
}

/** The reviewer says yes, if; the owner takes the risk of the if, and so decides. */
async function agreed({ id, ask: { digest } }: Grant): Promise<Grant> {
  const due = after(w.now(), hours(2))
  const conditions = [{ text: 'Watch the errors', owner: named.person('rob'), due }]
  const yes = { verdict: 'approve', reason: 'read', digest } as const
  const reviewed = await w.broker.decide(w.as('paula'), id, { ...yes, conditions })
  const accepts = [{ risk: `condition:${conditionOf(reviewed)}`, until: due }]
  return w.broker.decide(w.as('olivia'), id, { ...yes, accepts })
}

function lapsed(grant: Grant): Promise<Grant> {
  if (!inStatus(grant, 'pending')) throw new Error(`not pending but ${grant.head.status}`)
  const facts = { at: w.now(), reason: 'nobody decided' }
  return moved(advance(grant, { to: 'lapsed', facts, event: eventOf(grant.ask, 'lapsed', w.now(), 'clock') }))
}
/** Its maker has died, or is still at it. */
function claimed(grant: Grant): Promise<Grant> {
  if (!inStatus(grant, 'approved')) throw new Error(`not approved but ${grant.head.status}`)
  const deadline = after(w.now(), minutes(5))
  const mint = { n: 1, attempt: attempt('attempt-of-another'), key: undefined, claimedAt: w.now() }
  const event = eventOf(grant.ask, 'claimed', w.now(), 'report-job')
  const mints = [{ ...mint, status: 'claimed' as const, deadline }]
  return moved(advance(grant, { to: 'issuing', facts: grant.head.facts, mints, event }))
}
function stuck(grant: Grant): Promise<Grant> {
  if (!inStatus(grant, 'ending')) throw new Error(`not ending but ${grant.head.status}`)
  const facts = { ...grant.head.facts, stuckSince: w.now() }
  return moved(advance(grant, { to: 'stuck', facts, event: eventOf(grant.ask, 'stuck', w.now(), 'broker') }))
}

/** What is answered, in the words of the tables. */
function said(route: string, { id }: Grant, { status, body }: Received): string {
  if (status >= 400) return String(body.type).replace('urn:writ:error:', '')
  if (route === 'list') return body.grants.some((grant: { id: string }) => grant.id === id) ? 'SEEN' : 'UNSEEN'
  if (route === 'feed') return body.events.some((event: { grant: string }) => event.grant === id) ? 'SEEN' : 'UNSEEN'
  if (route === 'offered')
    return body.entitlements.some((one: { id: string }) => one.id === 'orders-repair') ? 'OFFERED' : 'NOTHING'
  if (!route.endsWith('_each')) return String(status)
  const [one, ...others] = body.grants
  expect(others).toEqual([])
  return one === undefined ? 'OVER' : (one.refused ?? String(status))
}

async function cellsOf(
  state: State,
  expected: Table,
): Promise<{ readonly wrong: readonly string[]; readonly cells: number }> {
  const wrong: string[] = []
  let cells = 0
  let grant = await grantIn(state)
  for (const role of ROLES) {
    for (const route of ROUTES) {
      const { name } = route
      const word = expected.get(role)?.get(name) ?? 'no such cell'
      const cell = byState.get(word)?.get(state) ?? word
      const wanted = CODES[cell] ?? cell
      const before = await committed()
      const answer = await send(role, route, grant)
      const found = said(name, grant, answer)
      cells += 1
      if (found !== wanted) wrong.push(`${role}, ${name}, ${state}: ${found} instead of ${wanted}`)
      const isMoved = (await committed()) !== before
      if (isMoved && answer.status >= 400)
        wrong.push(`${role}, ${name}, ${state}: refused, and yet something was committed`)
      // Only what was let in may have moved the grant; then the next cell gets a fresh one.
      if (isMoved && name !== 'request' && name !== 'freeze' && name !== 'contain') grant = await grantIn(state)
    }
  }
  return { wrong, cells }
}

const PERMIT_ALL = '@id("all") permit (principal, action, resource);'
const under = (policy: ReturnType<typeof castPolicy>) =>
  w.publish({
    policy: { ...policy, revision: w.book.current().policy.revision + 1 },
    directory: castDirectory(),
  })

describe.each([
  ['under the shipped guards', BY_ROLE, undefined],
  ['under guards that permit everything', UNDER_ANY_GUARDS, PERMIT_ALL],
])('role × route × state, %s', (_, text, guards) => {
  const expected = table(text)
  beforeAll(() => under(castPolicy(guards)))

  it('has a cell for every role and every route', () => {
    expect([...expected.keys()]).toEqual(ROLES)
    const names = ROUTES.map(({ name }) => name)
    for (const [role, row] of expected) expect([...row.keys()].toSorted(), role).toEqual(names.toSorted())
    for (const row of byState.values()) expect([...row.keys()]).toEqual(STATES)
  })
  it.each(STATES)('%s: every cell is as the table says, and a refusal commits nothing', async (state) => {
    const { wrong, cells } = await cellsOf(state, expected)
    expect(wrong).toEqual([])
    expect(cells).toBe(ROLES.length * ROUTES.length)
  })
})

it('a dry run is answered like the asking itself, to everybody, and files nothing', async () => {
  await under(castPolicy())
  const before = await committed()
  for (const role of ROLES) {
    const answer = await door.send(CAST[role], 'POST', '/v1/grants?dryRun=true', asked.request)
    const cell = table(BY_ROLE).get(role)?.get('request') ?? ''
    const code = String(answer.body?.type).replace('urn:writ:error:', '')
    expect([role, answer.status < 400 ? answer.status : code]).toEqual([role, cell === '201' ? 200 : CODES[cell]])
  }
  expect(await committed()).toBe(before)
})

const ask = async (role: Role, route: Route, grant: Grant): Promise<string> =>
  said(route.name, grant, await send(role, route, grant))

describe('what a row names', () => {
  /** Somebody to whom only this action opens the door, and when. */
  const BY_GUARD: Partial<Record<string, readonly [Role, State]>> = {
    Approve: ['owner', 'pending'],
    Exchange: ['executor, a workload', 'open'],
    close: ['reviewer', 'open'],
  }
  it.each(
    ROUTES.filter(({ action }) => action !== 'own' && action !== 'server').map(
      (route) => [route.name, route.action, route] as const,
    ),
  )('%s is judged by %s: where all else is permitted, forbidding it shuts the door', async (_, action, route) => {
    const [role, state] = BY_GUARD[route.name] ?? BY_GUARD[action] ?? ['auditor', 'active']
    await under(castPolicy(PERMIT_ALL))
    const [first, second] = [await grantIn(state), await grantIn(state)]
    expect(await ask(role, route, first)).toMatch(/^(2..|SEEN|OFFERED)$/)
    await under(castPolicy(`${PERMIT_ALL} @id("shut") forbid (principal, action == Action::"${action}", resource);`))
    expect(await ask(role, route, second)).not.toMatch(/^(2..|SEEN|OFFERED)$/)
  })

  const OURS = ['requester', 'executor, a workload', "the executor's sponsor"] as const
  it.each(OURS)('where the guards let nobody look or end, the %s still does', async (role) => {
    await under(
      castPolicy(`@id("go-on") permit (principal, action in [Action::"Request", Action::"Exchange", Action::"Approve"], resource);
        @id("shut") forbid (principal, action in [Action::"ReadGrant", Action::"Complete", Action::"Revoke"], resource);`),
    )
    const answers = async (by: Role, name: string) => {
      const route = ROUTES.find((row) => row.name === name)
      if (route === undefined) throw new Error(`no route ${name}`)
      return ask(by, route, await grantIn('active'))
    }
    expect(
      await Promise.all(['list', 'view', 'events', 'questions', 'feed'].map((name) => answers(role, name))),
    ).toEqual(['SEEN', '200', '200', '200', 'SEEN'])
    for (const name of ['complete', 'revoke']) {
      expect(await answers(role, name)).toBe('200')
      // Who decides must see what waits for them; ending is another question.
      expect(await answers('owner', name)).toBe('not_permitted')
      expect(await answers('SOC', name)).toBe('grant_not_found')
    }
  })
})
