// Somebody with a hand in Redis: an approval that was altered, copied from another grant, or put back after it was taken back gives nothing.
// Everything here is written into Redis behind the broker's back, and then asked of the broker over HTTP.
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, type Json, proofKey, type Who } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { closeStage } from '../support/leak-scan.ts'

let stage: DevStage
let broker: BrokerProcess
let redis: Redis
let agent: Who
let lena: Who

beforeAll(async () => {
  stage = await openStage({ vault: false })
  broker = await stage.startBroker()
  redis = new Redis(stage.redis.url)
  agent = { token: await stage.idp.agentToken('triage-agent'), key: proofKey() }
  lena = { token: await stage.idp.personToken('lena') }
}, 120_000)
afterAll(async () => {
  redis?.disconnect()
  await closeStage(stage)
})

interface Asked {
  readonly id: string
  readonly path: string
  readonly digest: string
}
async function asked(summary: string): Promise<Asked> {
  const { status, body } = await client(broker.url).post(agent, '/v1/grants', {
    entitlement: 'ticket-triage',
    actions: ['tickets.update'],
    task: { summary },
    window: { duration: '30m' },
    credential: { uses: 5 },
  })
  expect(status).toBe(201)
  return { id: body.id, path: `/v1/grants/${body.id}`, digest: body.digest }
}
const approve = ({ path, digest }: Asked) =>
  client(broker.url).post(lena, `${path}/decisions`, { verdict: 'approve', reason: 'fine', digest })
const exchange = ({ path }: Asked) => client(broker.url).post(agent, `${path}/exchange`, {})
async function approved(summary: string): Promise<Asked> {
  const grant = await asked(summary)
  expect((await approve(grant)).body.status).toBe('approved')
  return grant
}

const keysOf = async ({
  id,
}: Asked): Promise<{ readonly ask: string; readonly decisions: string; readonly head: string }> => {
  const head = (await redis.keys(`*:head:${id}`))[0] ?? fail(`no head of ${id}`)
  const key = (what: string): string => head.replace(':head:', `:${what}:`)
  return { head, ask: key('ask'), decisions: key('decisions') }
}
const fail = (why: string): never => {
  throw new Error(why)
}
const decisionsOf = async (grant: Asked): Promise<readonly Json[]> =>
  (await redis.lrange((await keysOf(grant)).decisions, 0, -1)).map((text) => JSON.parse(text))
/** Puts these decisions in place of the stored ones, and says so in the head. */
async function putDecisions(grant: Asked, decisions: readonly Json[]): Promise<void> {
  const keys = await keysOf(grant)
  await redis.del(keys.decisions)
  if (decisions.length > 0) await redis.rpush(keys.decisions, ...decisions.map((one) => JSON.stringify(one)))
  await redis.hset(keys.head, 'decisions', decisions.length)
}
/** What an exchange says of it; the control is that the same grant is exchanged when everything is put back. */
async function refusedWith(grant: Asked, decisions: readonly Json[]): Promise<void> {
  const before = await decisionsOf(grant)
  await putDecisions(grant, decisions)
  const answer = await exchange(grant)
  expect([answer.status, answer.said, answer.body.facts.limit]).toEqual([422, 'refused: policy_refused', 'approval'])
  await putDecisions(grant, before)
  expect((await exchange(grant)).said).toBe('ok')
}

it('a decision of which any member is altered gives nothing', { timeout: 120_000 }, async () => {
  const grant = await approved('altered')
  const [vote = {}] = await decisionsOf(grant)
  const others: Json = {
    by: 'sol',
    verdict: 'deny',
    seat: 'security',
    reason: 'another reason',
    at: vote.at + 1,
    digest: `sha-256:${'A'.repeat(43)}`,
    textsDigest: `sha-256:${'A'.repeat(43)}`,
    policyDigest: `sha-256:${'A'.repeat(43)}`,
    peopleDigest: `sha-256:${'A'.repeat(43)}`,
    checklist: ['found'],
    evidence: [{ kind: 'note', text: 'a note' }],
    conditions: [{ id: 'abcdefghijkl', text: 'x', owner: 'rob', due: vote.at }],
    accepts: [{ risk: 'review:security', until: vote.at }],
    deputyFor: 'olivia',
    signature: vote.signature.replace(/.$/, (last: string) => (last === 'A' ? 'B' : 'A')),
  }
  for (const [member, value] of Object.entries(others)) {
    const before = await decisionsOf(grant)
    await putDecisions(grant, [{ ...vote, [member]: value }])
    const answer = await exchange(grant)
    expect([member, answer.said]).toEqual([member, 'refused: policy_refused'])
    await putDecisions(grant, before)
  }
  expect((await exchange(grant)).said).toBe('ok')
})

it('a vote of another grant gives nothing, and none at all gives nothing', async () => {
  const other = await approved('other')
  const grant = await approved('this one')
  await refusedWith(grant, await decisionsOf(other))
  await refusedWith(grant, [])
})

it('an approval that was taken back gives nothing, also put back by hand with the status that it had', async () => {
  const grant = await approved('taken back')
  const keys = await keysOf(grant)
  const before = await redis.hgetall(keys.head)
  const votes = await decisionsOf(grant)
  const back = await client(broker.url).post(lena, `${grant.path}/retractions`, { reason: 'too early' })
  expect([back.status, back.body.status]).toEqual([200, 'withdrawn'])
  expect((await exchange(grant)).said).toBe('refused: wrong_status')
  const retracted = await decisionsOf(grant)
  expect(retracted.map(({ act }) => act)).toEqual(['vote', 'retract'])
  // The status as it was, and the very vote once more behind the retraction.
  await redis.hset(keys.head, { status: before.status, head: before.head })
  await putDecisions(grant, [...retracted, ...votes])
  const answer = await exchange(grant)
  expect([answer.said, answer.body.facts.limit]).toEqual(['refused: policy_refused', 'approval'])
})

it('a vote cast through the API a second time on what was taken back is refused', async () => {
  const grant = await approved('once more')
  await client(broker.url).post(lena, `${grant.path}/retractions`, { reason: 'no' })
  expect((await approve(grant)).said).toBe('refused: wrong_status')
})

it('an ask of which a field or a text is altered after the vote gives nothing', { timeout: 120_000 }, async () => {
  const grant = await approved('the ask')
  const { ask } = await keysOf(grant)
  const before = (await redis.get(ask)) ?? fail('no ask')
  const stored: Json = JSON.parse(before)
  const { intent, texts } = stored
  const edits: Readonly<Record<string, Json>> = {
    target: { intent: { ...intent, target: 'payments-db' } },
    scope: { intent: { ...intent, scope: ['queue:all'] } },
    dataTypes: { intent: { ...intent, dataTypes: ['pii'] } },
    destination: { intent: { ...intent, destination: 'elsewhere' } },
    window: { intent: { ...intent, window: { ...intent.window, closesAt: intent.window.closesAt + 1 } } },
    uses: { intent: { ...intent, credential: { ...intent.credential, uses: 6 } } },
    impact: { intent: { ...intent, impact: { ...intent.impact, regulated: true } } },
    exposure: { intent: { ...intent, exposure: { segment: 'all', from: 0, to: 1, rollbackCriteria: '' } } },
    summary: { texts: { ...texts, summary: 'another summary' } },
    objective: { texts: { ...texts, objective: 'another objective' } },
    expectedOutcome: { texts: { ...texts, expectedOutcome: 'another outcome' } },
    rollback: { texts: { ...texts, rollback: 'another rollback' } },
  }
  for (const [name, edit] of Object.entries(edits)) {
    const value = { ...stored, ...edit }
    await redis.set(ask, JSON.stringify(value))
    const answer = await exchange(grant)
    expect([name, answer.said, answer.body.facts?.limit]).toEqual([name, 'refused: policy_refused', 'digest'])
  }
  // Another order of members is no change.
  await redis.set(
    ask,
    JSON.stringify({ ...stored, intent: Object.fromEntries(Object.entries(stored.intent).reverse()) }),
  )
  expect((await exchange(grant)).said).toBe('ok')
  await redis.set(ask, before)
})
