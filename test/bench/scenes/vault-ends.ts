// S11: database logins ended by the broker, and by a plain loop of the very calls to Vault that such an end makes, as many at a time. Both end logins
// that the broker made, on one Vault, in turn.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { cpuUs } from '../gauge.ts'
import { fire, median } from '../load.ts'
import type { Ours } from '../ours.ts'
import { endsSince } from '../planting.ts'
import { round } from '../rounds.ts'
import type { Row, Scene } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

const LOGINS = 400
const QUICK_LOGINS = 10
/** How many ends the broker has under way at one backend unless backends.yaml says otherwise. */
const AT_ONCE = 8
/** More than are ended at a time, so that one always waits. */
const ASKING = 2 * AT_ONCE
const PATIENCE_MS = 300_000

export const S11: Scene = {
  id: 'S11',
  uses: ['vault'],
  measure: async (scope) => {
    const ours = await scope.stages.ours('vault')
    const many = scope.quick ? QUICK_LOGINS : LOGINS
    const [broker, loop]: [Row[], Row[]] = [[], []]
    for (let n = 0; n < scope.rounds; n += 1) {
      scope.say(`S11: round ${n + 1}: ${many} logins ended by the broker, ${many} by a loop`)
      const byBroker = async () => void broker.push(await endedByBroker(ours, many))
      const byLoop = async () => void loop.push(await endedByLoop(ours, many))
      for (const turn of n % 2 === 0 ? [byBroker, byLoop] : [byLoop, byBroker]) await turn()
    }
    const of = (rows: readonly Row[], name: string): number => median(rows.map((one) => one[name] ?? Number.NaN))
    return {
      numbers: { 'ends per second': of(broker, 'perSecond') / of(loop, 'perSecond') },
      sides: [
        {
          name: 'writ, complete',
          rounds: broker,
          median: { perSecond: of(broker, 'perSecond'), brokerUs: of(broker, 'brokerUs') },
        },
        { name: 'a loop of the same calls', rounds: loop, median: { perSecond: of(loop, 'perSecond') } },
      ],
      notes: [
        `${AT_ONCE} at a time on both sides; the loop: lease revoked with sync, hold revoked, role deleted, lease looked up`,
        'the broker asks PostgreSQL besides whether login and sessions are gone, and commits two states; the loop does not',
      ],
      effective: await effectiveOf(ours),
    }
  },
}

async function endedByBroker(ours: Ours, many: number): Promise<Row> {
  const ids = await ours.logins(many)
  const since = Date.now()
  const [started, cpu] = [performance.now(), cpuUs(ours.pid)]
  await completed(ours, ids)
  const ended = await allEnded(ours, ids, since)
  const tookMs = Math.max(...ids.map((id) => ended.get(id) ?? Number.NaN)) - since
  return {
    perSecond: round((many * 1_000) / tookMs, 1),
    brokerUs: round((cpuUs(ours.pid) - cpu) / many, 0),
    answeredMs: round(performance.now() - started, 0),
  }
}

/** Asks again where a busy machine answered 503; then it may have been taken before, and 409 says so. */
async function completed(ours: Ours, ids: readonly string[]): Promise<void> {
  let left = ids
  for (let tries = 0; left.length > 0; tries += 1) {
    const again: string[] = []
    const other: number[] = []
    await fire({
      port: ours.port,
      connections: ASKING,
      requests: ours.completions(left),
      seen: ({ status }, place) => {
        if (status === 503 && tries < 20) again.push(left[place] ?? '')
        else if (status > 299 && !(status === 409 && tries > 0)) other.push(status)
      },
    })
    if (other.length > 0) throw new Error(`a completion was refused: ${other.join(', ')}`)
    left = again
  }
}

async function allEnded(ours: Ours, ids: readonly string[], since: number): Promise<ReadonlyMap<string, number>> {
  for (;;) {
    const ended = await endsSince(ours.redis, since - 1_000)
    if (ids.every((id) => ended.has(id))) return ended
    if (Date.now() > since + PATIENCE_MS) throw new Error('not all logins were ended')
    await pause(100)
  }
}

async function endedByLoop(ours: Ours, many: number): Promise<Row> {
  const ids = await ours.logins(many)
  const made = await Promise.all(ids.map((id) => madeFor(ours, id)))
  const call = await loggedIn(ours)
  let next = 0
  const worker = async (): Promise<void> => {
    for (let one = made[next++]; one !== undefined; one = made[next++]) await end(call, one)
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  const tookMs = performance.now() - started
  // The broker finds that all of it is gone.
  const since = Date.now()
  await completed(ours, ids)
  await allEnded(ours, ids, since)
  return { perSecond: round((many * 1_000) / tookMs, 1) }
}

interface Made {
  readonly lease: string
  readonly accessor: string
  readonly role: string
}

/** What the broker has on record of the login: the same that it would end it by. */
async function madeFor({ redis }: Ours, id: string): Promise<Made> {
  const head = JSON.parse((await redis.hget(`{writ:0}:head:${id}`, 'head')) ?? '{}')
  const [mint] = head.mints
  const lease = String(mint.lease.id)
  return { lease, accessor: String(mint.accessor), role: lease.split('/')[2] ?? '' }
}

type Call = (method: string, path: string, body?: object) => Promise<number>

/** As the broker's own AppRole. */
async function loggedIn({ stage }: Ours): Promise<Call> {
  const { vault } = await stage.services()
  const secret = (name: string): string => readFileSync(join(stage.dir, 'secrets', name), 'utf8')
  const answer = await fetch(`${vault.addr}/v1/auth/approle/login`, {
    method: 'POST',
    body: JSON.stringify({ role_id: secret('vault-role-id'), secret_id: secret('vault-secret-id') }),
  })
  const token = String(Object(await answer.json()).auth?.client_token)
  return async (method, path, body) => {
    const reply = await fetch(`${vault.addr}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': token },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    await reply.arrayBuffer()
    return reply.status
  }
}

async function end(call: Call, { lease, accessor, role }: Made): Promise<void> {
  const statuses = [
    await call('POST', 'sys/leases/revoke', { lease_id: lease, sync: true }),
    await call('POST', 'auth/token/revoke-accessor', { accessor }),
    await call('DELETE', `database/roles/${role}`),
  ]
  const gone = await call('POST', 'sys/leases/lookup', { lease_id: lease })
  if (statuses.some((status) => status > 299) || gone !== 400)
    throw new Error(`Vault answered ${statuses.join(', ')}, and ${gone} when asked for the lease`)
}
