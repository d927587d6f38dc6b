// The shipped broker as a process, on a real Redis, with the shipped rules and one entitlement that a person asks for, an owner and a reviewer
// decide on and a workload executes. Without Vault: hostile text ends at the door, and what ends at a backend has its own journeys. Limits of
// rate and of what may be pending are set far up, because an answer of 429 tests nothing.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { type Client, client, clientAssertion, introspect, type Json, type Who } from '../../deploy/dev/client.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { isDoc } from './fields.ts'
import { redisCommits, redisState } from './redis-state.ts'
import { AUDIENCE, askingOf, ENTITLEMENT, type Role, rowOf, type Seed, type SeedKind } from './samples.ts'
import type { Target } from './target.ts'

const CONFIG = fileURLToPath(new URL('../../config', import.meta.url))
const OURS = `
  ${ENTITLEMENT}:
    title: Export the stock
    tenant: northwind
    tier: elevated
    target: { id: stock, environment: production, audience: ${AUDIENCE} }
    actions: { stock.export: write }
    scopes: ["batch:*"]
    credential: { kind: jwt, sender: bearer, verifierCache: 1m }
    approval:
      owner: lena
      reviewers: [{ role: security, group: security, criteria: { modelled: The threats were modelled. } }]
    limits: { maxDuration: 4h }
`
const GUARDS = `
@id("dana-asks-for-exports")
permit (principal == Person::"dana", action == Action::"Request", resource == Entitlement::"${ENTITLEMENT}");
@id("report-job-exports")
permit (principal == Workload::"report-job", action == Action::"Exchange", resource == Entitlement::"${ENTITLEMENT}");
`
const PERSON: Partial<Record<Role, string>> = {
  requester: 'dana',
  owner: 'lena',
  reviewer: 'paula',
  SOC: 'sol',
  auditor: 'audra',
  operator: 'oscar',
  colleague: 'sam',
  'other tenant': 'vera',
}
/** CI's tokens live for five minutes. */
const TOKEN_MS = 200_000
const EMPTY: Seed = {
  id: `g0-${'b'.repeat(26)}`,
  digest: `sha-256:${'A'.repeat(43)}`,
  ticket: { system: 'desk', id: 'CHG-0' },
  condition: 'abcdefghijkl',
  question: '1',
  freeze: `f-${'a'.repeat(26)}`,
  jti: 'jti-1',
  token: 'a.a.a',
  list: '0-0',
  position: '0.0-1',
  place: '0-0',
  cursor: 'a',
}

export interface StageTarget extends Target {
  readonly stage: DevStage
  stop(): Promise<void>
}

export async function stageTarget(): Promise<StageTarget> {
  const stage = await openStage({ vault: false })
  try {
    return await onStage(stage)
  } catch (thrown) {
    await stage.stop()
    throw thrown
  }
}

async function onStage(stage: DevStage): Promise<StageTarget> {
  const config = join(stage.dir, 'config')
  cpSync(CONFIG, config, { recursive: true })
  for (const [name, more] of [
    ['entitlements.yaml', OURS],
    ['guards.cedar', GUARDS],
  ] as const)
    writeFileSync(join(config, name), readFileSync(join(config, name), 'utf8') + more)
  const broker = await stage.startBroker(0, {
    env: {
      WRIT_CONFIG_DIR: config,
      WRIT_RATE_LIMIT: '60000000/1m',
      WRIT_RATE_LIMIT_ENDS: '60000000/1m',
      WRIT_MAX_PENDING_PER_REQUESTER: '1000000',
      WRIT_MAX_PENDING_PER_OWNER: '1000000',
    },
  })
  const redis = new Redis(stage.redis.url)
  const document: unknown = await (await fetch(`${broker.url}/openapi.json`)).json()
  if (!isDoc(document)) throw new Error('no API document')
  const tokens = await freshTokens(stage)
  const server = stage.resourceServer('desk-api')
  const assertion = (): string => clientAssertion(server.id, stage.url, server)
  const who = (role: Role): Who => ({ token: tokens.of(role) })
  const seeds = seedMaker(client(broker.url, stage.url), who, { stage, assertion, broker: broker.url })
  const current = new Map<string, Promise<Seed>>()
  const stock = new Map<SeedKind, Seed[]>()
  let heard = 0
  return {
    stage,
    url: broker.url,
    port: Number(new URL(broker.url).port),
    document,
    authorization: (role) => {
      if (role === 'anonymous') return undefined
      return `Bearer ${role === 'resource server' ? assertion() : tokens.of(role)}`
    },
    subject: (role) => (role === 'resource server' ? assertion() : tokens.of(role)),
    assertion,
    oauth: { issuer: stage.url, server },
    seed: (operation) => {
      const { seed: kind } = rowOf(operation)
      const known = current.get(operation) ?? Promise.resolve(stock.get(kind)?.pop() ?? seeds(kind))
      current.set(operation, known)
      return known
    },
    ahead: async (operations) => {
      const wanted = new Map<SeedKind, number>()
      for (const operation of operations) {
        const { seed: kind } = rowOf(operation)
        if (kind !== 'nothing') wanted.set(kind, (wanted.get(kind) ?? 0) + 1)
      }
      const missing = [...wanted].flatMap(([kind, many]) => {
        const here = stock.get(kind) ?? []
        stock.set(kind, here)
        // About every second of them is refused after all.
        return Array.from({ length: Math.max(0, Math.ceil(many * 0.6) - here.length) }, () => kind)
      })
      await eachOf(missing, 8, async (kind) => {
        const seed = await seeds(kind)
        stock.get(kind)?.push(seed)
      })
    },
    spoiled: (operation) => {
      current.delete(operation)
    },
    refresh: tokens.refresh,
    state: () => redisState(redis),
    commits: () => redisCommits(redis),
    failures: () => {
      const lines = broker.output().split('\n')
      const fresh = lines.slice(heard).filter((line) => line.includes('"level":"error"'))
      heard = lines.length - 1
      return fresh
    },
    now: () => Date.now(),
    stop: async () => {
      redis.disconnect()
      await stage.stop()
    },
  }
}

async function eachOf<T>(all: readonly T[], width: number, work: (one: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let one = all[next++]; one !== undefined; one = all[next++]) await work(one)
  }
  await Promise.all(Array.from({ length: width }, worker))
}

async function freshTokens({ idp }: DevStage) {
  const known = new Map<Role, string>()
  let at = 0
  const refresh = async (): Promise<void> => {
    if (Date.now() - at < TOKEN_MS) return
    at = Date.now()
    for (const [role, login] of Object.entries(PERSON)) known.set(roleOf(role), await idp.personToken(login))
    known.set('agent', await idp.agentToken('triage-agent'))
    known.set('executor', await idp.workloadToken('report-job'))
    known.set('CI', await idp.ciToken({ job: 'deploy', sha: 'a'.repeat(40), runId: '1' }))
  }
  await refresh()
  return { refresh, of: (role: Role): string => known.get(role) ?? 'a.a.a' }
}
const roleOf = (name: string): Role => {
  const found = (Object.keys(PERSON) as readonly Role[]).find((role) => role === name)
  if (found === undefined) throw new Error(`no role ${name}`)
  return found
}

/** Makes things by the very routes that are tested, each by who may. */
function seedMaker(
  to: Client,
  who: (role: Role) => Who,
  { stage, assertion, broker }: { readonly stage: DevStage; assertion(): string; readonly broker: string },
): (kind: SeedKind) => Promise<Seed> {
  let n = 0
  const ok = async (asked: Promise<{ readonly said: string; readonly status: number; readonly body: Json }>) => {
    const answer = await asked
    if (answer.status === 503) throw new Unavailable()
    if (answer.said !== 'ok') throw new Error(`a seed was ${answer.said}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const frozen = async (path: string): Promise<Seed> => {
    n += 1
    const body = await ok(to.post(who('SOC'), path, { where: { task: `no-such-task-${n}` }, reason: 'a seed' }))
    return { ...EMPTY, freeze: body.id }
  }
  const votes = async (id: string, digest: string, kind: SeedKind): Promise<string> => {
    const until = new Date(Date.now() + 3 * 3_600_000).toISOString()
    const conditions = [{ text: 'Watch the errors', owner: 'rob', due: until }]
    const yes = { verdict: 'approve', reason: 'read', digest }
    const reviewed = await ok(
      to.post(who('reviewer'), `/v1/grants/${id}/decisions`, { ...yes, checklist: ['modelled'], conditions }),
    )
    const condition: string = reviewed.conditions[0].id
    if (kind === 'reviewed') return condition
    const accepts = [{ risk: `condition:${condition}`, until }]
    await ok(to.post(who('owner'), `/v1/grants/${id}/decisions`, { ...yes, accepts }))
    return condition
  }
  const made = async (kind: SeedKind): Promise<Seed> => {
    if (kind === 'nothing') return EMPTY
    if (kind === 'frozen') return frozen('/v1/freezes')
    if (kind === 'contained') return frozen('/v1/containments')
    const mine = ++n
    const ticket = { system: 'desk', id: `SEED-${mine}` }
    const asked = { ...askingOf({ n: 0, now: Date.now() }), ticket }
    const filed = await ok(
      to.post(who('requester'), '/v1/grants', { ...asked, task: { ...asked.task, id: `seed-${mine}` } }),
    )
    const seed: Seed = { ...EMPTY, id: filed.id, digest: filed.digest, ticket }
    if (kind === 'pending') return seed
    if (kind === 'asked') {
      const { questions } = await ok(to.post(who('owner'), `/v1/grants/${seed.id}/questions`, { text: 'Why?' }))
      return { ...seed, question: String(questions[0].n) }
    }
    const condition = await votes(seed.id, seed.digest, kind)
    if (kind !== 'active') return { ...seed, condition }
    const given = await ok(to.post(who('executor'), `/v1/grants/${seed.id}/exchange`))
    const feed = await ok(to.get(who('auditor'), '/v1/events?limit=1'))
    const page = await ok(to.get(who('auditor'), '/v1/grants?limit=1'))
    const heard = await ok(to.get({ token: assertion() }, '/v1/revocations'))
    const token: string = given.credential.token
    const server = stage.resourceServer('desk-api')
    const held = await introspect(client(broker), stage.url, server, token)
    if (held.body?.active !== true) throw new Error('a seed does not hold')
    return {
      ...seed,
      condition,
      token,
      jti: given.mint.jti,
      list: listOf(token),
      position: heard.position,
      place: feed.next,
      cursor: page.next ?? 'a',
    }
  }
  // On a machine that others use a Redis may be late; what was half made stays, and is nobody's.
  return async (kind) => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await made(kind)
      } catch (thrown) {
        if (!(thrown instanceof Unavailable) || tries === 10) throw thrown
        await pause(300)
      }
    }
  }
}
class Unavailable extends Error {}

/** The name of the status list that a token names. */
function listOf(token: string): string {
  const claims: Json = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
  return String(claims.status?.status_list?.uri ?? '/0-0').replace(/^.*\//, '')
}
