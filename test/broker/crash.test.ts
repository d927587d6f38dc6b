// The test of the product: a broker that dies at any effect, before it or just after, leaves nothing alive that the sweep does not end,
// and has answered nothing that the witness has not sealed.
import { describe, expect, it } from 'vitest'
import { broker, type Exchanged } from '../../src/broker/broker.ts'
import { deadlineOf, type Grant } from '../../src/domain/grant.ts'
import { minutes } from '../../src/domain/instant.ts'
import { isTerminal } from '../../src/domain/lifecycle.ts'
import { dyingPorts } from '../support/crash.ts'
import { attempt, KEY, type World, world } from '../support/world.ts'

interface Scene {
  /** Brings the world to where the process begins. */
  prepare(w: World): Promise<Grant>
  /** What the process does before or while it dies. */
  run(w: World, verbs: ReturnType<typeof broker>, grant: Grant): Promise<Exchanged | undefined>
}

const SCENES: Record<string, Scene> = {
  'exchanging a token': {
    prepare: (w) => w.approvedToken(),
    run: (w, verbs, grant) => verbs.exchange(w.as('triage-agent', { key: KEY }), grant.id, attempt('attempt-one')),
  },
  'exchanging a login': {
    prepare: (w) => w.approvedLogin(),
    run: (w, verbs, grant) => verbs.exchange(w.as('vera'), grant.id, attempt('attempt-one')),
  },
  'exchanging a second login': {
    prepare: async (w) => {
      const grant = await w.approvedLogin(2)
      await w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one'))
      return grant
    },
    run: (w, verbs, grant) => verbs.exchange(w.as('vera'), grant.id, attempt('attempt-two')),
  },
  'replacing a lost login': {
    prepare: async (w) => {
      const grant = await w.approvedLogin()
      await w.broker.exchange(w.as('vera'), grant.id, attempt('attempt-one'))
      return grant
    },
    run: (w, verbs, grant) => verbs.exchange(w.as('vera'), grant.id, attempt('attempt-one')),
  },
  'making a login that the backend refuses half-way': {
    prepare: async (w) => {
      w.backend.fault('issue', 'fail')
      return w.approvedLogin()
    },
    run: async (w, verbs, grant) => {
      await verbs.exchange(w.as('vera'), grant.id).catch(() => undefined)
      return undefined
    },
  },
  'completing a login': {
    prepare: async (w) => {
      const grant = await w.approvedLogin()
      await w.broker.exchange(w.as('vera'), grant.id)
      return grant
    },
    run: async (w, verbs, grant) => {
      await verbs.complete(w.as('vera'), grant.id, { done: 'yes' })
      return undefined
    },
  },
  'revoking a token': {
    prepare: async (w) => {
      const grant = await w.approvedToken()
      await w.broker.exchange(w.as('triage-agent', { key: KEY }), grant.id)
      return grant
    },
    run: async (w, verbs, grant) => {
      await verbs.revoke(w.as('sol'), grant.id, 'alarm')
      return undefined
    },
  },
  'sweeping a login whose window has closed': {
    prepare: async (w) => {
      const grant = await w.approvedLogin()
      await w.broker.exchange(w.as('vera'), grant.id)
      w.advance(minutes(61))
      return grant
    },
    run: async (_, verbs) => {
      await verbs.sweep('vault-main')
      return undefined
    },
  },
}

/** How many effects the scene has when nothing goes wrong. */
async function lengthOf(scene: Scene): Promise<number> {
  const w = await world()
  const grant = await scene.prepare(w)
  const dying = dyingPorts(w.ports, Number.POSITIVE_INFINITY, 'before')
  await scene.run(w, broker(dying.ports), grant)
  return dying.effects()
}

async function crashAt(scene: Scene, n: number, when: 'before' | 'after', nativeExpiry: boolean): Promise<void> {
  const w = await world({ nativeExpiry })
  const grant = await scene.prepare(w)
  const dying = dyingPorts(w.ports, n, when)
  const answered = await scene.run(w, broker(dying.ports), grant).catch(() => undefined)
  if (answered !== undefined) await expectSealed(w, answered)
  await expectDeadline(w, grant)
  // Everybody else goes on: the sweep of another broker, until the window and every lease of the dead one are over.
  await w.settle(minutes(64))
  await w.settle(minutes(2))
  const after = await w.store.loadToEnd(grant.id)
  expect(after && isTerminal(after.head.status), `${after?.head.status}`).toBe(true)
  expect(w.backend.liveSecrets()).toEqual([])
  expect(w.backend.holds()).toEqual([])
  expect(after?.head.mints.every((mint) => mint.status === 'closed')).toBe(true)
}

/** The very commit that made the mint live is on record outside the store. */
async function expectSealed(w: World, { mint, grant }: Exchanged): Promise<void> {
  const issued = (await w.store.events(grant.id)).filter(
    (event) => event.type === 'issued' && event.details.mint === mint.n,
  )
  expect(issued).toHaveLength(1)
  expect(w.seal.sealed.map(({ seq }) => seq)).toContain(issued[0]?.seq)
}

async function expectDeadline(w: World, { id }: Grant): Promise<void> {
  const grant = await w.store.loadToEnd(id)
  if (grant === undefined || isTerminal(grant.head.status)) return
  expect(deadlineOf(grant), grant.head.status).toBeDefined()
}

describe.each(Object.entries(SCENES))('a broker that dies while %s', (name, scene) => {
  it.each(['before', 'after'] as const)('leaves nothing alive, whichever effect it dies %s', async (when) => {
    const length = await lengthOf(scene)
    expect(length, name).toBeGreaterThan(2)
    for (let n = 1; n <= length; n += 1) await crashAt(scene, n, when, true)
  })

  it('leaves nothing alive even if no lease ever ends by itself', async () => {
    const length = await lengthOf(scene)
    for (let n = 1; n <= length; n += 1)
      for (const when of ['before', 'after'] as const) await crashAt(scene, n, when, false)
  })
})

describe('the crash harness', () => {
  it('finds a leak when the record comes after the effect', async () => {
    const w = await world({ nativeExpiry: false })
    const grant = await w.approvedLogin()
    // A broker that makes the login without recording its mint first: the planted bug.
    const plan = {
      grant: grant.id,
      mint: `${grant.id}-1` as never,
      digest: grant.ask.digest,
      entitlement: grant.ask.intent.entitlement,
      credential: grant.ask.credential as never,
    }
    const hold = await w.backend.source.open(plan)
    await w.backend.source.keep(hold, minutes(60))
    await w.backend.source.issue(hold, plan, minutes(60))
    await w.settle(minutes(64))
    expect(w.backend.liveSecrets().length + w.backend.leases().length).toBeGreaterThan(0)
  })

  it('sees more than ten effects in an exchange through a backend', async () => {
    expect(await lengthOf(SCENES['exchanging a login'] as Scene)).toBeGreaterThan(10)
  })
})
