// Role × route × state, every cell over a socket: what each part in the house is answered at each row of ROUTES on a grant in each state.
// The tables below are the whole expectation. What a refusal leaves behind is nothing: not one commit.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventOf } from '../../src/broker/change.ts'
import { advance, type Grant, inStatus, type Step } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { after, hours, minutes } from '../../src/domain/instant.ts'
import { ROUTES } from '../../src/http/routes.ts'
import { CAST, castDirectory, castPolicy, ROLES, type Role } from '../support/cast.ts'
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

// A number is an answer's status, a word a refusal's code. A cell in capitals depends on the state, and is a row of the second table.
const BY_ROLE = `
                       | request        | list   | view            | decide          | withdraw        | exchange        | complete        | revoke          | events          | offered | recover       | accept_clock
requester              | 201            | SEEN   | 200             | own_request     | WITHDRAWS       | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | not_permitted | not_permitted
her second account     | 201            | SEEN   | 200             | own_request     | WITHDRAWS       | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | not_permitted | not_permitted
her own agent          | policy_refused | SEEN   | 200             | own_request     | not_permitted   | not_executor    | not_permitted   | not_permitted   | 200             | NOTHING | not_permitted | not_permitted
executor, a workload   | policy_refused | SEEN   | 200             | own_request     | not_permitted   | EXCHANGES       | COMPLETES       | REVOKES         | 200             | NOTHING | not_permitted | not_permitted
the executor's sponsor | policy_refused | SEEN   | 200             | own_request     | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | NOTHING | not_permitted | not_permitted
owner                  | policy_refused | SEEN   | 200             | OWNER           | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | NOTHING | not_permitted | not_permitted
reviewer               | policy_refused | SEEN   | 200             | REVIEWER        | not_permitted   | not_executor    | not_permitted   | REVOKES         | 200             | NOTHING | not_permitted | not_permitted
another approver       | policy_refused | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | not_permitted   | not_permitted   | 200             | NOTHING | not_permitted | not_permitted
SOC                    | policy_refused | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | not_permitted   | REVOKES         | 200             | NOTHING | not_permitted | not_permitted
auditor                | policy_refused | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | not_permitted   | not_permitted   | 200             | NOTHING | not_permitted | not_permitted
operator               | policy_refused | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | NOTHING | 200           | 200
plain colleague        | policy_refused | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | NOTHING | not_permitted | not_permitted
vendor colleague       | 201            | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | OFFERED | not_permitted | not_permitted
other tenant           | policy_refused | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | NOTHING | not_permitted | not_permitted
an agent               | policy_refused | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | NOTHING | not_permitted | not_permitted
a workload             | policy_refused | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | NOTHING | not_permitted | not_permitted
resource server        | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated
anonymous              | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated
`
// Whoever is first to say no, or has voted, is told so; a status is named before what one might have been permitted in it.
const BY_STATE = `
          | pending       | scheduled       | open            | issuing         | active          | ending          | stuck           | denied          | withdrawn    | lapsed       | ended
OWNER     | 200           | already_decided | already_decided | already_decided | already_decided | already_decided | already_decided | already_decided | wrong_status | wrong_status | already_decided
REVIEWER  | 200           | already_decided | already_decided | already_decided | already_decided | already_decided | already_decided | wrong_status    | wrong_status | wrong_status | already_decided
NO_SEAT   | not_permitted | wrong_status    | wrong_status    | wrong_status    | wrong_status    | wrong_status    | wrong_status    | wrong_status    | wrong_status | wrong_status | wrong_status
WITHDRAWS | 200           | 200             | 200             | wrong_status    | wrong_status    | wrong_status    | wrong_status    | wrong_status    | 200          | wrong_status | wrong_status
EXCHANGES | wrong_status  | window_not_open | 200             | uses_exhausted  | uses_exhausted  | wrong_status    | wrong_status    | wrong_status    | wrong_status | wrong_status | wrong_status
COMPLETES | wrong_status  | wrong_status    | wrong_status    | 200             | 200             | 202             | 202             | 200             | 200          | 200          | 200
REVOKES   | 200           | 200             | 200             | 200             | 200             | 202             | 202             | 200             | 200          | 200          | 200
`
// Guards that permit everything to everybody: what is still refused is a rule of the house, which no guard lifts.
const UNDER_ANY_GUARDS = `
                       | request        | list   | view            | decide          | withdraw        | exchange        | complete        | revoke          | events          | offered | recover       | accept_clock
requester              | 201            | SEEN   | 200             | own_request     | WITHDRAWS       | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
her second account     | 201            | SEEN   | 200             | own_request     | WITHDRAWS       | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
her own agent          | 201            | SEEN   | 200             | own_request     | not_permitted   | not_executor    | not_permitted   | not_permitted   | 200             | OFFERED | not_permitted | not_permitted
executor, a workload   | 201            | SEEN   | 200             | own_request     | not_permitted   | EXCHANGES       | COMPLETES       | REVOKES         | 200             | OFFERED | not_permitted | not_permitted
the executor's sponsor | 201            | SEEN   | 200             | own_request     | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
owner                  | nobody_can_decide | SEEN | 200            | OWNER           | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
reviewer               | nobody_can_decide | SEEN | 200            | REVIEWER        | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
another approver       | 201            | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
SOC                    | 201            | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
auditor                | 201            | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
operator               | 201            | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
plain colleague        | 201            | SEEN   | 200             | NO_SEAT         | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | 200           | 200
vendor colleague       | 201            | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | OFFERED | 200           | 200
other tenant           | policy_refused | UNSEEN | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | grant_not_found | NOTHING | 200           | 200
an agent               | 201            | SEEN   | 200             | not_permitted   | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | not_permitted | not_permitted
a workload             | 201            | SEEN   | 200             | own_request     | not_permitted   | not_executor    | COMPLETES       | REVOKES         | 200             | OFFERED | not_permitted | not_permitted
resource server        | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated
anonymous              | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated | unauthenticated
`

type Table = ReadonlyMap<string, ReadonlyMap<string, string>>
function table(text: string): Table {
  const [head = [], ...rows] = text
    .trim()
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
  const columns = head.length === rows[0]?.length ? head.slice(1) : head
  return new Map(
    rows.map(([name = '', ...cells]) => [name, new Map(columns.map((column, n) => [column, cells[n] ?? '']))]),
  )
}
const byState = table(BY_STATE)

/** What is asked with. */
const BODIES = bodies({
  entitlement: 'orders-repair',
  actions: ['orders.repair'],
  task: { summary: 'Repair the orders' },
  window: { duration: '30m' },
  executor: { principal: 'report-job' },
})

let w: World
let door: RealDoor
beforeAll(async () => {
  w = await world()
  door = await realDoor(w)
})
afterAll(() => door.stop())

const committed = async (): Promise<number> => (await w.store.read(HOME))?.seq ?? 0
const judgedNow = async () => ({ judgedUnder: await w.store.control(HOME) })
async function moved(step: Step): Promise<Grant> {
  await w.store.commit(step, await judgedNow())
  return step.grant
}

/** A fresh grant in this state, by the verbs wherever a verb leads there without time passing. */
async function grantIn(state: State): Promise<Grant> {
  w.backend.up()
  const opensAt = state === 'scheduled' ? after(w.now(), minutes(60)) : w.now()
  const pending = await w.broker.request(
    w.as('vera'),
    asking(w.now(), {
      entitlement: named.entitlement('orders-repair'),
      actions: ['orders.repair'],
      executor: named.principal('report-job'),
      window: { opensAt, closesAt: after(opensAt, hours(1)) },
    }),
  )
  const { id } = pending
  const vote = (by: string, verdict: 'approve' | 'deny') =>
    w.broker.decide(w.as(by), id, { verdict, reason: 'read', digest: pending.ask.digest })
  if (state === 'pending') return pending
  if (state === 'denied') return vote('olivia', 'deny')
  if (state === 'withdrawn') return w.broker.withdraw(w.as('vera'), id, 'not needed')
  if (state === 'lapsed') return lapsed(pending)
  await vote('olivia', 'approve')
  const approved = await vote('paula', 'approve')
  if (state === 'scheduled' || state === 'open') return approved
  if (state === 'issuing') return claimed(approved)
  const { grant: active } = await w.broker.exchange(w.as('report-job'), id)
  if (state === 'active') return active
  if (state === 'ended') return w.broker.complete(w.as('report-job'), id, {})
  w.backend.down()
  const ending = await w.broker.revoke(w.as('sol'), id, 'alarm')
  return state === 'ending' ? ending : stuck(ending)
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
function said(route: string, grant: Grant, { status, body }: Received): string {
  if (status >= 400) return String(body.type).replace('urn:writ:error:', '')
  if (route === 'list') return body.grants.some(({ id }: { id: string }) => id === grant.id) ? 'SEEN' : 'UNSEEN'
  if (route === 'offered')
    return body.entitlements.some(({ id }: { id: string }) => id === 'orders-repair') ? 'OFFERED' : 'NOTHING'
  return String(status)
}

async function cellsOf(
  state: State,
  expected: Table,
): Promise<{ readonly wrong: readonly string[]; readonly cells: number }> {
  const wrong: string[] = []
  let cells = 0
  let grant = await grantIn(state)
  for (const role of ROLES) {
    for (const { method, path, name } of ROUTES) {
      const word = expected.get(role)?.get(name) ?? 'no such cell'
      const wanted = byState.get(word)?.get(state) ?? word
      const before = await committed()
      const answer = await door.send(CAST[role], method, path.replace(':id', grant.id), BODIES[name])
      const found = said(name, grant, answer)
      cells += 1
      if (found !== wanted) wrong.push(`${role}, ${name}, ${state}: ${found} instead of ${wanted}`)
      const isMoved = (await committed()) !== before
      if (isMoved && answer.status >= 400)
        wrong.push(`${role}, ${name}, ${state}: refused, and yet something was committed`)
      // Only what was let in may have moved the grant; then the next cell gets a fresh one.
      if (isMoved && name !== 'request') grant = await grantIn(state)
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

const ask = async (role: Role, { method, path, name }: (typeof ROUTES)[number], grant: Grant): Promise<string> =>
  said(name, grant, await door.send(CAST[role], method, path.replace(':id', grant.id), BODIES[name]))

describe('what a row names', () => {
  /** Somebody to whom only this action opens the door, and when. */
  const BY_GUARD: Partial<Record<string, readonly [Role, State]>> = {
    Approve: ['owner', 'pending'],
    Exchange: ['executor, a workload', 'open'],
  }
  it.each(ROUTES.filter(({ action }) => action !== 'own').map((route) => [route.name, route.action, route] as const))(
    '%s is judged by %s: where all else is permitted, forbidding it shuts the door',
    async (_, action, route) => {
      const [role, state] = BY_GUARD[action] ?? ['auditor', 'active']
      await under(castPolicy(PERMIT_ALL))
      const [first, second] = [await grantIn(state), await grantIn(state)]
      expect(await ask(role, route, first)).toMatch(/^(2..|SEEN|OFFERED)$/)
      await under(castPolicy(`${PERMIT_ALL} @id("shut") forbid (principal, action == Action::"${action}", resource);`))
      expect(await ask(role, route, second)).not.toMatch(/^(2..|SEEN|OFFERED)$/)
    },
  )

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
    expect(await Promise.all(['list', 'view', 'events'].map((name) => answers(role, name)))).toEqual([
      'SEEN',
      '200',
      '200',
    ])
    for (const name of ['complete', 'revoke']) {
      expect(await answers(role, name)).toBe('200')
      // Who decides must see what waits for them; ending is another question.
      expect(await answers('owner', name)).toBe('not_permitted')
      expect(await answers('SOC', name)).toBe('grant_not_found')
    }
  })
})
