// A verifier that never asks about a token: it goes by the status list that the token names. Brokers, Redis, keys and sockets are real; what
// reads token, list and signature is not ours.
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, type Who } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, eventually, type Reports, reports } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const TTL = 2

let stage: DevStage
let one: BrokerProcess
let other: BrokerProcess
let play: Actors
let desk: Reports

beforeAll(async () => {
  stage = await openStage({ vault: false })
  const env = { WRIT_STATUS_TTL: `${TTL}s` }
  ;[one, other] = await Promise.all([stage.startBroker(0, { env }), stage.startBroker(1, { env })])
  play = actors(stage)
  desk = reports(stage, play)
}, 120_000)
afterAll(() => closeStage(stage))

/** What a verifier does that knows the draft and nothing of us: by way of this broker, whichever the public URL leads to. */
async function statusAt(
  broker: BrokerProcess,
  token: string,
): Promise<{ readonly status: number; readonly uri: string }> {
  const { idx, uri } = getStatusListFromJWT(token)
  const answer = await fetch(uri.replace(stage.url, broker.url), { headers: { accept: 'application/statuslist+jwt' } })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/statuslist+jwt'])
  const text = await answer.text()
  const keys = createRemoteJWKSet(new URL(`${broker.url}/oauth2/jwks`))
  const { payload } = await jwtVerify(text, keys, {
    typ: 'statuslist+jwt',
    algorithms: ['ES256'],
    issuer: stage.url,
    subject: uri,
  })
  expect(payload.ttl).toBe(TTL)
  expect(payload.exp).toBe((payload.iat ?? 0) + 2 * TTL)
  const [, maxAge = ''] = /^public, max-age=(\d+)$/.exec(answer.headers.get('cache-control') ?? '') ?? []
  expect(Number(maxAge)).toBeLessThanOrEqual(TTL)
  return { status: getListFromStatusListJWT(text).getStatus(idx), uri }
}

async function issued(window = 300): Promise<{ readonly id: string; readonly token: string; readonly who: Who }> {
  const { report } = await desk.filed(one.url, window)
  const got = await desk.exchange(other.url, report)
  expect(got.said).toBe('ok')
  return { id: report.id, token: got.body.credential.token, who: { ...(await play.who('dana')), key: report.key } }
}

it('a token is VALID in its list from the start, and INVALID at every broker as soon as its revocation is answered', async () => {
  const revoked = await issued()
  const stays = await issued()
  for (const broker of [one, other])
    expect([(await statusAt(broker, revoked.token)).status, (await statusAt(broker, stays.token)).status]).toEqual([
      0, 0,
    ])
  const answer = await client(one.url, stage.url).post(revoked.who, `/v1/grants/${revoked.id}/revoke`, {
    reason: 'alarm',
  })
  expect(answer.said).toBe('ok')
  for (const broker of [one, other])
    expect([(await statusAt(broker, revoked.token)).status, (await statusAt(broker, stays.token)).status]).toEqual([
      1, 0,
    ])
  // What may remain after it is what the entitlement lets a verifier remember, and that is not less than the list's ttl.
  const { residueUntil, endedAt } = answer.body.facts
  expect(Date.parse(residueUntil) - Date.parse(endedAt)).toBeGreaterThanOrEqual(TTL * 1_000)
})

it('a verifier that fetches the list again when its ttl is over sees a revocation within it', async () => {
  const { id, token, who } = await issued()
  let kept = { ...(await statusAt(other, token)), at: performance.now() }
  const looks = async (): Promise<number> => {
    if (performance.now() - kept.at >= TTL * 1_000) kept = { ...(await statusAt(other, token)), at: performance.now() }
    return kept.status
  }
  expect(await looks()).toBe(0)
  await client(one.url, stage.url).post(who, `/v1/grants/${id}/revoke`, { reason: 'alarm' })
  const since = performance.now()
  await eventually('refused by the list', looks, (status) => status === 1, 10_000)
  // The look itself takes a moment.
  expect(performance.now() - since).toBeLessThan(TTL * 1_000 + 1_000)
})

it('a token whose window has closed is INVALID too, once the end is committed', async () => {
  const { token } = await issued(3)
  expect((await statusAt(one, token)).status).toBe(0)
  await eventually(
    'over',
    async () => (await statusAt(one, token)).status,
    (status) => status === 1,
    15_000,
  )
})

it('every list is named where the metadata says, and there is no other', async () => {
  const { token } = await issued()
  const { uri } = getStatusListFromJWT(token)
  const metadata = await (await fetch(`${one.url}/.well-known/oauth-authorization-server`)).json()
  const { status_list_aggregation_endpoint: all } = metadata as { status_list_aggregation_endpoint: string }
  expect(all).toBe(`${stage.url}/status`)
  const { status_lists: lists } = (await (await fetch(all.replace(stage.url, other.url))).json()) as {
    status_lists: string[]
  }
  expect(lists).toEqual([uri])
  expect((await fetch(`${one.url}/status/0-7`)).status).toBe(404)
})
