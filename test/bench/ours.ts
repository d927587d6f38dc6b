// The shipped broker under measurement: a process of its own as `npm start` starts it, its own Redis as it demands it, nothing switched off. What is
// exchanged was asked for and approved over HTTP, by the same broker, by its owner.

import { randomUUID } from 'node:crypto'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { redisPidOf } from './gauge.ts'
import { assertionOf, type KeyPair, keyPair, nowSeconds, proofOf, signed } from './issuer.ts'
import { fire, requestBytes } from './load.ts'

const CONFIG = fileURLToPath(new URL('../../config', import.meta.url))
const ISSUER = 'https://issuer.bench.example'
export const AUDIENCE = 'https://target.bench.example'
const SERVER = 'bench-api'
/** How often a reading is exchanged. */
export const USES = 4
/** Of what is prepared: enough to keep a broker busy. */
const AT_ONCE = 16
/** More would only wait in the broker. */
const LOGINS_AT_ONCE = 8

/**
 * Two kinds of the same change: a token for whoever holds it, and one that is bound to a key. And a reading that the policy itself approves, a few
 * times each: for load beside what is measured, because it costs one request less to prepare.
 */
const ENTITLEMENTS = (['bearer', 'dpop'] as const)
  .map(
    (sender) => `
  bench-${sender}:
    title: Deploy the bench
    tenant: northwind
    tier: elevated
    target: { id: bench, environment: production, audience: ${AUDIENCE} }
    actions: { deploy: deploy }
    scopes: ["commit:*"]
    credential: { kind: jwt, sender: ${sender}, maxLife: 15m }
    approval:
      owner: rob
    limits: { maxDuration: 4h }
`,
  )
  .join('')
const READING = `
  bench-read:
    title: Read the bench
    tenant: northwind
    tier: low
    target: { id: bench, environment: production, audience: ${AUDIENCE} }
    actions: { read: read }
    credential: { kind: jwt, sender: bearer, maxLife: 15m }
    approval: auto
    limits: { maxDuration: 4h, maxUses: ${USES} }
`
const WORKLOAD = `
  bench-runner:
    tenant: northwind
    sponsors: [dana]
    issuer: bench
    match:
      sub: bench-runner
`
const RESOURCE_SERVER = `
  ${SERVER}:
    tenant: northwind
    audiences: [${AUDIENCE}]
    jwksFile: ${SERVER}.jwks.json
    algorithms: [ES256]
    account: { issuer: bench, subject: ${SERVER}-account }
`
const GUARDS = `
@id("bench-runner-deploys")
permit (
  principal == Workload::"bench-runner",
  action in [Action::"Request", Action::"Exchange"],
  resource
)
when { [Entitlement::"bench-bearer", Entitlement::"bench-dpop"].contains(resource) };

@id("bench-runner-reads")
permit (
  principal == Workload::"bench-runner",
  action in [Action::"Request", Action::"Exchange", Action::"AutoApprove"],
  resource == Entitlement::"bench-read"
);
`
const ISSUERS = `issuers:
  bench:
    url: ${ISSUER}
    jwksFile: bench.jwks.json
    algorithms: [ES256]
    types: [at+jwt]
    maximalAge: 1h
    maximalLife: 1h
`

export type Sender = 'bearer' | 'dpop'

export interface Ours {
  readonly stage: DevStage
  readonly broker: BrokerProcess
  readonly port: number
  readonly pid: number
  readonly redisPid: number
  readonly redis: Redis
  readonly maxmemory: string
  readonly issuerKey: KeyPair
  readonly proofKey: KeyPair
  readonly serverKey: KeyPair
  /** A token of the runner's that nobody has shown. */
  runnerToken(): string
  /** A token of this person's. */
  personToken(login: string): string
  /** So many grants, asked for by the runner and approved by their owner. */
  approved(many: number, sender: Sender, window?: string): Promise<readonly string[]>
  /** One asking for such a grant. */
  filing(sender: Sender, window?: string): Buffer
  /** So many requests for exchanges of readings, each reading in turn, and each as often as it may be used. */
  readings(many: number): Promise<readonly Buffer[]>
  /** So many database logins, asked for by vera, approved by olivia and exchanged. */
  logins(many: number): Promise<readonly string[]>
  /** One request for each of them, by whom they were given to. */
  completions(logins: readonly string[]): readonly Buffer[]
  /** One request for each of them; `known`: all with one token, which the broker has seen before. */
  exchanges(grants: readonly string[], sender: Sender, known: boolean): readonly Buffer[]
  /** Asked by the resource server. */
  introspection(token: string): Buffer
  /** The same with an assertion that is good once, of no token at all. */
  provenQuestion(): Buffer
  /** How the resource server authenticates there. */
  readonly serverAuthentication: string
  startAnother(n: number): Promise<BrokerProcess>
  stop(): Promise<void>
}

export interface OursOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly vault?: boolean
  readonly redisMemory?: string
}

export async function startOurs({ env = {}, vault = false, redisMemory = '6gb' }: OursOptions = {}): Promise<Ours> {
  const stage = await openStage({ vault })
  const redisPid = redisPidOf(stage.redis)
  if (vault) await stage.bringVault()
  const [issuerKey, serverKey, proofKey] = [keyPair(), keyPair(), keyPair()]
  const config = writeConfig(stage.dir, issuerKey, serverKey)
  const redis = new Redis(stage.redis.url)
  await redis.config('SET', 'maxmemory', redisMemory)
  const settings = {
    WRIT_CONFIG_DIR: config,
    WRIT_ISSUERS_FILE: join(config, 'issuers.yaml'),
    WRIT_CLIENTS_FILE: join(config, 'clients.yaml'),
    WRIT_MODE: 'dev',
    // Counted for every request, and wide enough for a machine that asks as fast as it can.
    WRIT_RATE_LIMIT: '100000000/1m',
    WRIT_RATE_LIMIT_ENDS: '100000000/1m',
    WRIT_MAX_PENDING_PER_REQUESTER: '100000',
    WRIT_MAX_PENDING_PER_OWNER: '100000',
    // As they are where nobody says otherwise; a stage for journeys does.
    WRIT_CANARY_EVERY: '1h',
    WRIT_DENIED_RESTS: '1h',
    ...env,
  }
  const broker = await stage.startBroker(0, { env: settings })
  const port = Number(new URL(broker.url).port)

  const tokenOf = (subject: string): string => {
    const iat = nowSeconds()
    return signed(
      { typ: 'at+jwt', kid: issuerKey.thumbprint },
      { iss: ISSUER, sub: subject, aud: stage.url, iat, exp: iat + 3_000, jti: randomUUID() },
      issuerKey,
    )
  }
  const runner = tokenOf('bench-runner')
  const vera = tokenOf('vera')
  const server = tokenOf(`${SERVER}-account`)
  const post = (path: string, token: string, body: object): Buffer =>
    requestBytes(
      'POST',
      path,
      { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      JSON.stringify(body),
    )

  const asking = (what: object, window: string): Buffer =>
    post('/v1/grants', runner, {
      ...what,
      task: { id: randomUUID(), summary: 'Deploy one commit', expectedOutcome: 'It runs', rollback: 'The last one' },
      window: { duration: window },
    })

  /** Which of them are approved. */
  const votedOn = async (filed: readonly (Answer | undefined)[], owner: string): Promise<readonly string[]> => {
    const token = tokenOf(owner)
    const there = filed.filter((one) => one !== undefined)
    const vote = (digest: unknown) => ({ verdict: 'approve', reason: 'go', digest })
    const votes = await answersOrBusy(
      port,
      there.map(({ id, digest }) => post(`/v1/grants/${id}/decisions`, token, vote(digest))),
    )
    return there.flatMap(({ id }, n) => (votes[n] === undefined ? [] : String(id)))
  }
  const migrating = (): Buffer => {
    const now = Date.now()
    const time = (ms: number): string => new Date(now + ms).toISOString()
    return post('/v1/grants', vera, {
      entitlement: 'payments-migrator',
      actions: ['db.migrate'],
      task: { id: randomUUID(), summary: 'A login', expectedOutcome: 'It ends', rollback: 'None' },
      ticket: { system: 'servicenow', id: 'CHG0040001' },
      window: { opensAt: time(0), closesAt: time(3_600_000) },
    })
  }
  const filing: Ours['filing'] = (sender, window = '2h') => {
    const scope = [`commit:${randomUUID().replaceAll('-', '')}`]
    return asking({ entitlement: `bench-${sender}`, actions: ['deploy'], scope }, window)
  }

  return {
    stage,
    broker,
    filing,
    port,
    pid: broker.pid,
    redisPid,
    redis,
    maxmemory: redisMemory,
    issuerKey,
    proofKey,
    serverKey,
    runnerToken: () => tokenOf('bench-runner'),
    personToken: tokenOf,
    approved: (many, sender, window = '2h') =>
      gathered(many, async (some) => {
        const asked = Array.from({ length: some }, () => filing(sender, window))
        return votedOn(await answersOrBusy(port, asked), 'rob')
      }),
    readings: async (many) => {
      const ids = await gathered(Math.ceil(many / USES), async (some) => {
        const what = { entitlement: 'bench-read', actions: ['read'], credential: { uses: USES } }
        const filed = await answersOrBusy(
          port,
          Array.from({ length: some }, () => asking(what, '3h')),
        )
        return filed.flatMap((one) => (one === undefined ? [] : String(one.id)))
      })
      return Array.from({ length: many }, (_, n) =>
        post(`/v1/grants/${ids[n % ids.length]}/exchange`, tokenOf('bench-runner'), {}),
      )
    },
    logins: (many) =>
      gathered(many, async (some) => {
        const filed = await answersOrBusy(
          port,
          Array.from({ length: some }, () => migrating()),
        )
        const ids = await votedOn(filed, 'olivia')
        const exchanges = ids.map((id) => post(`/v1/grants/${id}/exchange`, vera, {}))
        const issued = await answersOrBusy(port, exchanges, LOGINS_AT_ONCE)
        return ids.filter((_, n) => issued[n] !== undefined)
      }),
    completions: (logins) => logins.map((id) => post(`/v1/grants/${id}/complete`, vera, { result: {} })),
    exchanges: (grants, sender, known) =>
      grants.map((id) =>
        requestBytes(
          'POST',
          '/oauth2/token',
          {
            'content-type': 'application/x-www-form-urlencoded',
            ...(sender === 'dpop' ? { dpop: proofOf('POST', `${stage.url}/oauth2/token`, proofKey) } : {}),
          },
          new URLSearchParams({
            grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
            subject_token: known ? runner : tokenOf('bench-runner'),
            subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
            authorization_details: JSON.stringify([{ type: 'https://writ.dev/schemas/change/v1', identifier: id }]),
          }).toString(),
        ),
      ),
    introspection: (token) =>
      requestBytes(
        'POST',
        '/oauth2/introspect',
        { 'content-type': 'application/x-www-form-urlencoded', authorization: `Bearer ${server}` },
        new URLSearchParams({ token }).toString(),
      ),
    provenQuestion: () =>
      requestBytes(
        'POST',
        '/oauth2/introspect',
        { 'content-type': 'application/x-www-form-urlencoded' },
        new URLSearchParams({
          token: 'none',
          client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
          client_assertion: assertionOf(SERVER, stage.url, serverKey, serverKey.thumbprint),
        }).toString(),
      ),
    serverAuthentication: 'an access token of its own account, which the broker has seen before',
    startAnother: (n) => stage.startBroker(n, { env: settings }),
    stop: async () => {
      redis.disconnect()
      await stage.stop()
    },
  }
}

function writeConfig(dir: string, issuerKey: KeyPair, serverKey: KeyPair): string {
  const config = join(dir, 'bench-config')
  cpSync(CONFIG, config, { recursive: true })
  const append = (name: string, more: string): void => {
    const path = join(config, name)
    writeFileSync(path, readFileSync(path, 'utf8') + more)
  }
  const replace = (name: string, from: RegExp, to: string): void => {
    const path = join(config, name)
    const before = readFileSync(path, 'utf8')
    const after = before.replace(from, to)
    if (after === before) throw new Error(`${name} is not what the bench knows: ${from}`)
    writeFileSync(path, after)
  }
  append('entitlements.yaml', ENTITLEMENTS + READING)
  append('guards.cedar', GUARDS)
  // Everybody comes from the one issuer that the bench has the key of.
  replace('people.yaml', /issuer: login/g, 'issuer: bench')
  replace('clients.yaml', /issuer: (ci|login)/g, 'issuer: bench')
  replace('clients.yaml', /^workloads:$/m, `workloads:${WORKLOAD}`)
  replace('clients.yaml', /^resourceServers:[\s\S]*$/m, `resourceServers:${RESOURCE_SERVER}`)
  writeFileSync(join(config, 'issuers.yaml'), ISSUERS)
  const keys = ({ jwk, thumbprint }: KeyPair): string =>
    JSON.stringify({ keys: [{ ...jwk, kid: thumbprint, alg: 'ES256', use: 'sig' }] })
  writeFileSync(join(config, 'bench.jwks.json'), keys(issuerKey))
  writeFileSync(join(config, `${SERVER}.jwks.json`), keys(serverKey))
  return config
}

/** Tries until so many are there: on a busy machine one or another is refused. */
async function gathered(many: number, more: (some: number) => Promise<readonly string[]>): Promise<readonly string[]> {
  const ids: string[] = []
  for (let tries = 0; ids.length < many; tries += 1) {
    if (tries > 20) throw new Error(`this machine is too busy: ${ids.length} of ${many} could be prepared`)
    ids.push(...(await more(many - ids.length)))
  }
  return ids
}

type Answer = Readonly<Record<string, unknown>>

/** Sends all of them over a few connections; the answers in the order of the requests. Rejects at the first that is refused. */
export async function answersOf(
  port: number,
  requests: readonly Buffer[],
  connections = AT_ONCE,
): Promise<readonly Answer[]> {
  const answers = await answersOrBusy(port, requests, connections)
  const sure = answers.filter((one) => one !== undefined)
  if (sure.length < requests.length) throw new Error(`refused: ${requests.length - sure.length} times 503`)
  return sure
}

/** The same; undefined where the answer is 503, which is said of a store that is slow for a moment. */
async function answersOrBusy(
  port: number,
  requests: readonly Buffer[],
  connections = AT_ONCE,
): Promise<readonly (Answer | undefined)[]> {
  const answers: (Answer | undefined)[] = new Array(requests.length).fill(undefined)
  let refusal = ''
  await fire({
    port,
    connections,
    requests,
    over: () => refusal !== '',
    seen: ({ status, text }, place) => {
      if (status >= 200 && status < 300) answers[place] = JSON.parse(Buffer.from(text, 'latin1').toString('utf8'))
      else if (status !== 503) refusal = `${status} ${text}`
    },
  })
  if (refusal !== '') throw new Error(`refused: ${refusal}`)
  return answers
}
