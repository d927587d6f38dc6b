// Secrets rest nowhere. The whole story, and every failure we can make, with each token, proof, password and Vault secret remembered; then
// every sink is searched for them: Redis and all it was ever told, job data, logs, the witness, traces, figures, and the bodies of errors.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { client, proofKey, tokenExchange } from '../../deploy/dev/client.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { playDatabase, playTheEnd, playTokens, type Told } from '../../deploy/dev/story.ts'
import { type Collector, startCollector } from '../support/collector.ts'
import { leaksIn, redisAsText, type Sink, sinksOnDisk } from '../support/leak-scan.ts'
import { until } from '../support/until.ts'

const secrets = new Set<string>()
const errorBodies: Sink[] = []
const SECRET_MEMBERS = [
  'token',
  'access_token',
  'id_token',
  'password',
  'client_assertion',
  'subject_token',
  'secret_id',
  'client_token',
]
const plainFetch = globalThis.fetch

/** Remembers what goes over the wire, both ways: that is all that anybody outside ever holds. */
function remember(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  for (const [name, member] of Object.entries(value)) {
    if (typeof member === 'string' && SECRET_MEMBERS.includes(name)) secrets.add(member)
    remember(member)
  }
}

const listening: typeof fetch = async (input, init) => {
  const headers = new Headers(init?.headers)
  for (const name of ['authorization', 'dpop'])
    for (const part of headers.get(name)?.split(' ') ?? []) if (part.length > 20) secrets.add(part)
  const sent = typeof init?.body === 'string' ? init.body : ''
  for (const [name, value] of new URLSearchParams(sent)) if (SECRET_MEMBERS.includes(name)) secrets.add(value)
  const answer = await plainFetch(input, init)
  const text = await answer.clone().text()
  try {
    remember(JSON.parse(text))
  } catch {
    // Not JSON: nothing of ours.
  }
  if (answer.status >= 400) errorBodies.push({ name: `the answer ${answer.status} of ${String(input)}`, text })
  return answer
}

let stage: DevStage
let collector: Collector

beforeAll(async () => {
  globalThis.fetch = listening
  stage = await openStage({ vault: true })
  collector = await startCollector()
  for (const file of ['redis-url'])
    secrets.add(new URL(readFileSync(join(stage.dir, 'secrets', file), 'utf8')).password)
}, 120_000)

afterAll(async () => {
  globalThis.fetch = plainFetch
  await stage?.stop()
  await collector?.stop()
})

describe('the canary', () => {
  it('the story holds on real parts, from the first asking to the list of everything', {
    timeout: 180_000,
  }, async () => {
    const { vault } = await stage.bringVault()
    for (const file of ['vault-secret-id', 'inventory-secret-id', 'probe-password'])
      secrets.add(readFileSync(join(stage.dir, 'secrets', file), 'utf8'))
    secrets.add(vault.rootToken)
    await stage.startBroker(0, { env: { WRIT_OTLP_URL: collector.url } })
    const told: Told = { seen: {}, failures: [] }
    const quiet = stage.story(() => undefined)
    await playTokens(quiet, told)
    await playDatabase(quiet, told)
    await playTheEnd(quiet, told)
    expect(told).toMatchObject({ failures: [] })
    expect(told.seen).toMatchObject({
      dbLoginAfter: 'refused: 28P01',
      dbSessionsAfter: 0,
      dbTableKept: 'ok',
      afterRevoke: 'inactive',
      afterComplete: 'inactive',
    })
  })

  it('failures of every kind say no secret either', { timeout: 120_000 }, async () => {
    const to = client(stage.url)
    const vera = { token: await stage.idp.personToken('vera') }
    const olivia = { token: await stage.idp.personToken('olivia') }
    const ask = async (task: string): Promise<string> => {
      const asked = await to.post(vera, '/v1/grants', {
        entitlement: 'payments-migrator',
        actions: ['db.migrate'],
        task: { id: task, summary: 'canary' },
        ticket: { system: 'desk', id: 'CHG-1' },
        window: { duration: '20m' },
      })
      await to.post(olivia, `/v1/grants/${asked.body.id}/decisions`, { verdict: 'approve', reason: 'ok' })
      return asked.body.id
    }
    const [good, bad] = [await ask('canary-1'), await ask('canary-2')]
    expect((await to.post(vera, `/v1/grants/${good}/exchange`)).said).toBe('ok')
    const services = await stage.services()
    await services.vault.kill()
    expect((await to.post(vera, `/v1/grants/${bad}/exchange`)).status).toBeGreaterThanOrEqual(500)
    expect((await to.post(vera, `/v1/grants/${good}/complete`)).status).toBe(202)
    await services.vault.restart()
    await until(
      'the grant has ended',
      60_000,
      async () => (await to.get(vera, `/v1/grants/${good}`)).body.status === 'ended',
    )
    const stolen = { token: vera.token, key: proofKey() }
    await to.post({ token: `${vera.token.slice(0, -4)}AAAA` }, `/v1/grants/${good}/exchange`)
    await to.post(stolen, `/v1/grants/${good}/decisions`, {
      verdict: 'approve',
      reason: vera.token.slice(0, 5),
      nonsense: vera.token,
    })
    await tokenExchange(to, olivia.token, good, proofKey())
    await to.form('/oauth2/introspect', { token: vera.token, client_assertion: 'x', client_assertion_type: 'y' })
    await stage.redis.freeze()
    expect((await to.post(vera, `/v1/grants/${bad}/exchange`)).status).toBe(503)
    await stage.redis.thaw()
    expect(errorBodies.length).toBeGreaterThan(10)
  })

  it('and afterwards none is found in Redis, on its disk, in jobs, logs, the witness, traces, figures or any error', async () => {
    const figures = { name: 'figures', text: await plainFetch(`${stage.url}/metrics`).then((answer) => answer.text()) }
    const traces = collector.sinks()
    const sinks = [await redisAsText(stage.redis.url), ...sinksOnDisk(stage), ...traces, figures, ...errorBodies]
    const systems = new Set(collector.spans().map(({ name }) => name.split(' ')[0]))
    expect(systems).toEqual(new Set(['GET', 'POST', 'verb', 'redis', 'vault', 'witness', 'queue']))
    expect(collector.spans().some(({ name, failed }) => name === 'vault open' && failed)).toBe(true)
    expect(secrets.size).toBeGreaterThan(30)
    if (stage.redis.dir !== undefined) expect(sinks.some(({ name }) => name.includes('appendonly'))).toBe(true)
    expect(sinks.some(({ name }) => name.includes('broker-0.log'))).toBe(true)
    expect(leaksIn(sinks, secrets)).toEqual([])
  })

  it('the search finds a secret where one is', () => {
    const [one = ''] = secrets
    expect(leaksIn([{ name: 'here', text: `… ${one} …` }], secrets)).not.toEqual([])
    expect(leaksIn([{ name: 'here', text: 'hvs.CAESIJlWhLxkMZpC8p3tP5a9abcd' }], [])).toHaveLength(1)
    expect(
      leaksIn([{ name: 'here', text: '{"token":"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln"}' }], []),
    ).toHaveLength(1)
  })
})
