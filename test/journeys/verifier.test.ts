// The verifier library against the shipped broker: what the broker signs is accepted once and for its plan, and what was revoked, or cannot be
// known, is refused. The ways of knowing that this broker does not serve are left out, by name.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { client, type Json, type ProofKey, proofKey, tokenExchange } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { ROUTES } from '../../src/http/routes.ts'
import {
  planDigest,
  type Revocation,
  type Verdict,
  type Verifier,
  type VerifierOptions,
  verifier,
} from '../../src/verifier/index.ts'
import { eventually } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'

const DESK = 'https://desk.northwind.example'
const WEBSHOP = 'https://webshop.northwind.example'
const serves = (method: string, path: string): boolean =>
  ROUTES.some((route) => route.method === method && route.path === path)
const HAS_FEED = serves('GET', '/v1/revocations')
const HAS_USES = serves('POST', '/v1/grants/:id/uses')

let stage: DevStage
let broker: BrokerProcess
const open: Verifier[] = []
beforeAll(async () => {
  stage = await openStage({ vault: false })
  broker = await stage.startBroker(0)
}, 120_000)
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
})
afterAll(() => closeStage(stage))

const at = (
  server: 'desk-api' | 'webshop-api',
  revocation: Revocation,
  over: Partial<VerifierOptions> = {},
): Verifier => {
  const audience = server === 'desk-api' ? DESK : WEBSHOP
  const made = verifier({
    issuer: stage.url,
    audience,
    publicUrl: audience,
    client: stage.resourceServer(server),
    revocation,
    reports: HAS_USES ? { everyMs: 50 } : false,
    ...over,
  })
  open.push(made)
  return made
}

interface Held {
  readonly id: string
  readonly token: string
  readonly key: ProofKey
  readonly url: string
}
let tasks = 0
/** A token of the triage agent, approved by lena and exchanged. */
async function triage(): Promise<Held> {
  const to = client(stage.url)
  const agent = { token: await stage.idp.agentToken('triage-agent'), key: proofKey() }
  const asked = await to.post(agent, '/v1/grants', {
    entitlement: 'ticket-triage',
    actions: ['tickets.update'],
    task: { id: `triage-${++tasks}`, summary: 'Label the open tickets of today' },
    window: { duration: '15m' },
  })
  const path = `/v1/grants/${asked.body.id}`
  const lena = { token: await stage.idp.personToken('lena') }
  await to.post(lena, `${path}/decisions`, { verdict: 'approve', reason: 'fine for today' })
  const got = await to.post(agent, `${path}/exchange`)
  expect(got.said).toBe('ok')
  return { id: asked.body.id, token: got.body.credential.token, key: agent.key, url: `${DESK}/labels` }
}
/** A deploy token for this plan, approved by rob. */
async function release(plan: string): Promise<Held> {
  const to = client(stage.url)
  const key = proofKey()
  const sha = 'b'.repeat(40)
  const runId = String(7_000 + ++tasks)
  const pipeline = { token: await stage.idp.ciToken({ job: 'deploy', sha, runId }), key }
  const asked = await to.post(pipeline, '/v1/grants', {
    entitlement: 'webshop-deploy',
    actions: ['deploy'],
    scope: [`commit:${sha}`],
    task: { id: `run-${runId}`, summary: 'Deploy', rollback: 'Deploy the former commit' },
    plan: { digest: planDigest(plan), mediaType: 'application/json' },
    window: { duration: '30m' },
  })
  const rob = { token: await stage.idp.personToken('rob') }
  const vote = { verdict: 'approve', reason: 'release 42', digest: asked.body.digest }
  await to.post(rob, `/v1/grants/${asked.body.id}/decisions`, vote)
  const got = await tokenExchange(to, await stage.idp.ciToken({ job: 'deploy', sha, runId }), asked.body.id, key)
  expect(got.said).toBe('ok')
  return { id: asked.body.id, token: got.body.access_token, key, url: `${WEBSHOP}/labels` }
}
const revoke = async ({ id }: Held): Promise<void> => {
  const sol = { token: await stage.idp.personToken('sol') }
  const cut = await client(stage.url).post(sol, `/v1/grants/${id}/revoke`, { reason: 'alarm 4711' })
  expect([200, 202]).toContain(cut.status)
}
const show = async ({ id }: Held): Promise<Json> => {
  const sol = { token: await stage.idp.personToken('sol') }
  return (await client(stage.url).get(sol, `/v1/grants/${id}`)).body
}

const request = ({ token, key, url }: Held, by = key) => ({
  method: 'POST',
  target: new URL(url).pathname,
  authorization: [`DPoP ${token}`],
  dpop: [by.proof('POST', url, token)],
})
const code = (verdict: Verdict): string => (verdict.ok ? 'ok' : verdict.code)
const asked = async (writ: Verifier, held: Held): Promise<string> => code(await writ.verify(request(held)))

describe('by introspection', () => {
  const introspection = { by: 'introspection' } as const

  it('a token of the broker is accepted with a proof of its key, each proof once, and with no other key', async () => {
    const writ = at('desk-api', introspection)
    const held = await triage()
    const once = request(held)
    expect(await writ.verify(once)).toMatchObject({
      ok: true,
      credential: { grant: held.id, executor: 'triage-agent', actions: ['tickets.update'], jkt: held.key.thumbprint },
    })
    expect(code(await writ.verify(once))).toBe('replay')
    expect(code(await writ.verify(request(held, proofKey())))).toBe('wrong_key')
    expect(code(await writ.verify({ ...request(held), authorization: [`Bearer ${held.token}`] }))).toBe('no_proof')
    expect(await asked(at('webshop-api', introspection), held)).toBe('wrong_audience')
  })

  it('after a revoke the next request is refused', async () => {
    const writ = at('desk-api', introspection)
    const [held, other] = [await triage(), await triage()]
    expect(await asked(writ, held)).toBe('ok')
    await revoke(held)
    expect(await asked(writ, held)).toBe('ended')
    expect(await asked(writ, other)).toBe('ok')
  })

  it('the plan that was approved is carried out, and no other', async () => {
    const plan = '{"image":"webshop@sha256:1"}'
    const writ = at('webshop-api', introspection)
    const held = await release(plan)
    expect(code(await writ.verify(request(held), { plan: planDigest(plan), needs: 'deploy' }))).toBe('ok')
    expect(code(await writ.verify(request(held), { plan: planDigest(`${plan} `) }))).toBe('wrong_plan')
    expect(code(await writ.verify(request(held), { needs: 'tickets.update' }))).toBe('not_granted')
  })

  it('while the broker does not answer it is not known, and nothing is accepted', async () => {
    const writ = at('desk-api', introspection, { timeout: 500 })
    const held = await triage()
    expect(await asked(writ, held)).toBe('ok')
    broker.freeze()
    expect(await asked(writ, held)).toBe('stale')
    broker.thaw()
    await eventually(
      'it answers again',
      () => asked(writ, held),
      (seen) => seen === 'ok',
      10_000,
    )
  })
})

describe.runIf(HAS_FEED)('by the revocation feed', () => {
  it('a connected one refuses within a second of the revoke, one that is cut off once its knowledge is too old; the grant shows both', async () => {
    const proxy = await tcpProxy({ host: '127.0.0.1', port: Number(new URL(stage.url).port) })
    const through = stage.url.replace(/:\d+$/, `:${proxy.port}`)
    const near = at('desk-api', { by: 'feed', instance: 'desk-near' })
    const far = at(
      'desk-api',
      { by: 'feed', instance: 'desk-far' },
      {
        fetch: (input, init) => fetch(String(input).replace(stage.url, through), init),
      },
    )
    expect([await near.ready(20_000), await far.ready(20_000)]).toEqual([true, true])
    const held = await triage()
    expect([await asked(near, held), await asked(far, held)]).toEqual(['ok', 'ok'])
    await eventually(
      'both are known there',
      () => near.figures().staleness,
      (ms) => ms < 3_000,
      5_000,
    )
    proxy.hold(true)
    const cutAt = performance.now()
    await revoke(held)
    const revokedAt = performance.now()
    await eventually(
      'the connected one refuses',
      () => asked(near, held),
      (seen) => seen === 'ended',
      3_000,
      10,
    )
    const heardMs = performance.now() - revokedAt
    expect(heardMs).toBeLessThan(1_000)
    const { reach } = await eventually(
      'one acknowledged',
      () => show(held),
      ({ reach }) => reach?.acknowledged === 1,
      5_000,
    )
    expect(reach).toMatchObject({ consumers: 2, acknowledged: 1, pending: ['desk-api/desk-far'] })
    await eventually(
      'the other knows nothing any more',
      () => asked(far, held),
      (seen) => seen === 'stale',
      7_000,
      20,
    )
    const staleMs = performance.now() - cutAt
    expect(staleMs).toBeLessThan(5_500)
    console.log({ heardMs, staleMs, withinSeconds: reach.withinSeconds })
    proxy.hold(false)
    await eventually(
      'it hears of it',
      () => asked(far, held),
      (seen) => seen === 'ended',
      20_000,
    )
    await eventually(
      'both acknowledged',
      () => show(held),
      (grant) => grant.reach?.acknowledged === 2,
      10_000,
    )
    await proxy.close()
  }, 90_000)

  it('a broker that was killed and came back has lost nothing', async () => {
    const writ = at('desk-api', { by: 'feed', instance: 'desk-near' })
    await writ.ready(20_000)
    const [held, other] = [await triage(), await triage()]
    expect(await asked(writ, held)).toBe('ok')
    const second = await stage.startBroker(1)
    await broker.kill()
    const sol = { token: await stage.idp.personToken('sol') }
    const cut = await client(second.url, stage.url).post(sol, `/v1/grants/${held.id}/revoke`, { reason: 'alarm 4712' })
    expect([200, 202]).toContain(cut.status)
    broker = await stage.startBroker(0)
    await eventually(
      'it hears of it',
      () => asked(writ, held),
      (seen) => seen === 'ended',
      20_000,
    )
    expect(await asked(writ, other)).toBe('ok')
    await second.stop()
  }, 60_000)
})

describe.runIf(HAS_USES)('reports', () => {
  it('stand with the grant: each use, and each refusal as misuse', async () => {
    const writ = at('desk-api', { by: 'introspection' })
    const held = await triage()
    const told = { action: 'tickets.update', target: 'ticket 4711', argumentDigest: planDigest('{}') }
    writ.report(await writ.verify(request(held)), told)
    writ.report(await writ.verify(request(held, proofKey())), told)
    await revoke(held)
    writ.report(await writ.verify(request(held)), told)
    await eventually(
      'they are told',
      () => writ.figures().reports,
      ({ sent }) => sent === 3,
      10_000,
    )
    const sol = { token: await stage.idp.personToken('sol') }
    const { uses } = (await client(stage.url).get(sol, `/v1/grants/${held.id}/uses`)).body
    expect(uses.map((use: Json) => use.reason ?? use.outcome).sort()).toEqual(['ended', 'used', 'wrong_key'])
    expect(uses).toContainEqual(expect.objectContaining(told))
  })
})

describe('by status list', () => {
  // Before the broker had status lists its tokens named none.
  const hasStatus = async (): Promise<boolean> =>
    JSON.parse(Buffer.from((await triage()).token.split('.')[1] ?? '', 'base64url').toString()).status !== undefined

  it('a token that names a list is refused within its ttl, and one that names none is refused as not known', async () => {
    const writ = at('desk-api', { by: 'status' })
    const held = await triage()
    if (!(await hasStatus())) {
      expect(await asked(writ, held)).toBe('stale')
      return
    }
    expect(await asked(writ, held)).toBe('ok')
    await revoke(held)
    const before = performance.now()
    await eventually(
      'its list says so',
      () => asked(writ, held),
      (seen) => seen === 'ended',
      40_000,
      250,
    )
    console.log({ statusMs: performance.now() - before })
  }, 60_000)
})
