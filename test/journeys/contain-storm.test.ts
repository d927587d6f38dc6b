// A hundred thousand live tokens and a thousand live logins are contained with one command, while the broker is killed every two seconds. From the
// first answer on nothing of it holds; at the end everything has ended and is confirmed, counted once, and lifting the freeze revives nothing.
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, introspect, type Json } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { Grant } from '../../src/domain/grant.ts'
import type { GrantId } from '../../src/domain/ids.ts'
import { instant, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import { loadKeyRing } from '../../src/tokens/key-ring.ts'
import { tokenSigner } from '../../src/tokens/sign.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eachOf,
  eyes,
  NOTHING,
  type Reports,
  redisDo,
  reports,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { loadPlanted, plant } from '../support/storm.ts'

const TOKENS = 100_000
const LOGINS = 1_000
/** Tokens that are asked about, each with its own signature. */
const ASKED = 200
const UNBOUNDED = { WRIT_RATE_LIMIT: '60000/1s', WRIT_RATE_LIMIT_ENDS: '60000/1s' }

let stage: DevStage
let see: Eyes
let play: Actors
let report: Reports
let broker: BrokerProcess
const start = async (): Promise<void> => {
  broker = await stage.startBroker(0, { env: UNBOUNDED })
}

beforeAll(async () => {
  stage = await openStage({ vault: true })
  await redisDo(stage.redis.url, (redis) => redis.config('SET', 'maxmemory', '1gb'))
  see = eyes(await stage.bringVault())
  await start()
  play = actors(stage)
  report = reports(stage, play)
}, 120_000)
afterAll(() => closeStage(stage))

const soc = async () => play.who('sol')
const contained = async (body: object): Promise<Json> => client(broker.url).post(await soc(), '/v1/containments', body)
/** Undefined while the broker is dead. */
const look = async (id: string): Promise<Json | undefined> =>
  client(broker.url)
    .get(await soc(), `/v1/containments/${id}`)
    .then(
      ({ body, status }) => (status === 200 ? body : undefined),
      () => undefined,
    )

/** A token of a grant that was planted, as the broker would have signed it. */
async function tokenOf(grant: Grant, sign: ReturnType<typeof tokenSigner>['sign']): Promise<string> {
  const [mint] = grant.head.mints
  if (mint?.status !== 'live' || mint.kind !== 'jwt') throw new Error('no token is live')
  const { ask } = grant
  const issuedAt = instant(Date.now() - 2_000)
  const facts = {
    grant,
    audience: ask.audience,
    subject: ask.intent.requester,
    jti: mint.jti,
    issuedAt,
    notBefore: issuedAt,
    expiresAt: instant(Date.now() + 600_000),
    policyDigest: ask.policy.digest,
  }
  return reveal(await sign(facts, mint.key))
}
const activeOf = async (tokens: readonly string[]): Promise<number> => {
  const server = stage.resourceServer('reports-api')
  const answers = await eachOf(tokens.length, 16, async (n) =>
    introspect(client(broker.url), stage.url, server, tokens[n] ?? ''),
  )
  for (const { status } of answers) expect(status).toBe(200)
  return answers.filter(({ body }) => body.active).length
}

it(`${TOKENS} tokens and ${LOGINS} logins are dead from the first answer on, and each is ended and confirmed whatever is killed`, async () => {
  const filed = (await report.filed(broker.url, 3_600)).report
  const waiting = (await report.filed(broker.url, 3_600)).report
  expect((await report.exchange(broker.url, filed)).said).toBe('ok')
  const planted = await plant(stage.redis, filed.id as GrantId, TOKENS, Date.now() + 3_600_000)
  await eachOf(LOGINS, 6, () => play.issued(broker.url, 3_600))
  expect((await see.logins()).length).toBe(LOGINS)
  const ring = await loadKeyRing(`${stage.dir}/keys`, { now: () => instant(Date.now()) })
  const { sign } = tokenSigner({ ring, issuer: stage.url, statusTtl: seconds(30) })
  const picked = Array.from({ length: ASKED }, (_, n) => planted.ids[Math.floor((n * TOKENS) / ASKED)])
  const found = await loadPlanted(
    stage.redis,
    picked.filter((id) => id !== undefined),
  )
  const tokens = await Promise.all(found.map((grant) => tokenOf(grant, sign)))
  expect(await activeOf(tokens)).toBe(ASKED)
  const approved = await play.approved(broker.url, 3_600)

  const counting = performance.now()
  const counted = (
    await client(broker.url).post(await soc(), '/v1/containments?dryRun=true', {
      where: { tenant: 'northwind' },
      reason: 'INC-1',
    })
  ).body
  console.log(`dry run: ${JSON.stringify(counted)} in ${Math.round(performance.now() - counting)} ms`)
  expect(counted.matched).toBe(TOKENS + LOGINS + 3)

  const began = performance.now()
  const { status, body } = await contained({ where: { tenant: 'northwind' }, reason: 'INC-1' })
  expect(status).toBe(202)
  console.log(`first answer after ${Math.round(performance.now() - began)} ms`)
  // From here on, whatever has been ended so far.
  expect(await activeOf(tokens)).toBe(0)
  console.log(`${ASKED} introspections inactive within ${Math.round(performance.now() - began)} ms`)
  expect((await report.exchange(broker.url, waiting)).status).toBeGreaterThanOrEqual(400)
  expect((await play.exchange(broker.url, approved)).status).toBeGreaterThanOrEqual(400)
  await expect(play.approved(broker.url, 60)).rejects.toThrow('frozen')

  let kills = 0
  let second: Json | undefined
  const etas: number[] = []
  let seen: Json = body
  const deadline = performance.now() + 420_000
  while (seen?.done !== true) {
    if (performance.now() > deadline) throw new Error(`not done: ${JSON.stringify(seen)}`)
    await pause(2_000)
    await broker.kill()
    kills += 1
    await start()
    if (second === undefined) second = (await contained({ where: { environment: 'production' }, reason: 'INC-2' })).body
    seen = (await look(body.id)) ?? seen
    if (seen.etaSeconds !== undefined) etas.push(seen.etaSeconds)
    expect(await activeOf(tokens.slice(0, 10))).toBe(0)
  }
  console.log(
    `done after ${Math.round((performance.now() - began) / 100) / 10} s and ${kills} kills; etas ${etas.join(' ')}`,
  )
  expect(seen.progress).toMatchObject({ ending: 0, failing: 0, unreadable: 0 })
  expect(seen.progress.ended + seen.progress.stopped).toBe(TOKENS + LOGINS + 3)
  expect(etas.length).toBeGreaterThan(0)
  expect(await see.logins()).toEqual([])
  expect({ ...(await see.left()), leases: 0 }).toEqual(NOTHING)

  for (;;) {
    const other = await look(second?.id)
    if (other?.done === true) break
    if (performance.now() > deadline) throw new Error(`the second is not done: ${JSON.stringify(other)}`)
    await pause(200)
  }
  const lifts = [body.id, second?.id].map(async (id) =>
    client(broker.url).post(await soc(), `/v1/freezes/${id}/lift`, { reason: 'over' }),
  )
  for (const { status: lifted } of await Promise.all(lifts)) expect(lifted).toBe(200)
  expect(await activeOf(tokens)).toBe(0)
  expect((await play.exchange(broker.url, approved)).status).toBeGreaterThanOrEqual(400)
  await expect(play.approved(broker.url, 60)).resolves.toBeDefined()
}, 900_000)
