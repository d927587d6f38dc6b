// Twenty thousand hostile requests to the shipped broker on a real Redis; before them the good ones that they stem from, each let in where it may be.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { closeStage } from '../support/leak-scan.ts'
import { operationsOf } from './fields.ts'
import { oracle } from './oracle.ts'
import { type RawClient, rawClient } from './raw-client.ts'
import { requestOf } from './requests.ts'
import { clean, hostileRun } from './run.ts'
import { isForm, ROLES, type Role, rowOf } from './samples.ts'
import { type StageTarget, stageTarget } from './stage-target.ts'

const REQUESTS = 20_000

let target: StageTarget
let client: RawClient
beforeAll(async () => {
  target = await stageTarget()
  client = rawClient(target.port)
})
afterAll(async () => {
  client.close()
  await closeStage(target.stage)
  await target.stop()
})

/** Samples that nobody is let in with here, and why. */
const NEVER: readonly string[] = [
  // Nobody of this stage has a passkey.
  ...['begin_step_up 0', 'begin_step_up 1', 'begin_step_up 2', 'begin_step_up 3', 'remove_passkey 0'],
  // A second page, of what has none; and a time of which no list tells.
  ...['contained 1', 'status_list 1'],
  // Of a task that no grant is of.
  ...['complete_each 1', 'revoke_each 1'],
]
let n = 0
async function sent(operation: ReturnType<typeof operationsOf>[number], role: Role, which: number) {
  const subject = target.subject(role)
  const assertion = role === 'resource server' ? target.assertion() : subject
  const seed = await target.seed(operation.id)
  // Numbers that the run does not use.
  n += 1
  const sample = rowOf(operation.id).samples({ seed, n: 1e9 + n, now: Date.now(), subject, assertion })[which] ?? {}
  const request = requestOf(operation, sample, isForm(operation) ? undefined : target.authorization(role))
  const got = await client.send(request)
  if (got.status < 300 && operation.method === 'POST') target.spoiled(operation.id)
  expect(oracle(target.document)({ operation, request, secrets: [] }, got)).toEqual([])
  return got
}

it('the good ones that they stem from are let in, from every role that may and from no other', async () => {
  const wrong: string[] = []
  for (const operation of operationsOf(target.document)) {
    const { may, samples } = rowOf(operation.id)
    for (const role of ROLES) {
      const { status, text } = await sent(operation, role, 0)
      if (status < 300 !== may.includes(role)) wrong.push(`${operation.id} by ${role}: ${status} ${text.slice(0, 300)}`)
    }
    const seed = await target.seed(operation.id)
    const all = samples({ seed, n: 0, now: 0, subject: '', assertion: '' })
    for (const [which, { by }] of all.entries()) {
      const { status, text } = await sent(operation, by ?? may[0] ?? 'requester', which)
      const isNever = NEVER.includes(`${operation.id} ${which}`)
      if (status < 300 === isNever) wrong.push(`${operation.id}, sample ${which}: ${status} ${text.slice(0, 300)}`)
    }
  }
  expect(wrong).toEqual([])
}, 180_000)

it('twenty thousand hostile requests find nothing: no 5xx, no change of state, no answer that the document does not know', async () => {
  const report = await hostileRun(target, { requests: REQUESTS, seed: 1 })
  expect(report.findings).toEqual([])
  expect(clean(report)).toBe(true)
  expect([report.requests, report.covered]).toEqual([REQUESTS, REQUESTS])
  // Hostile indeed, and not refused before anybody looked: for its content, and by somebody who would have been let in.
  expect(report.byStatus['400']).toBeGreaterThan(REQUESTS / 2)
  expect(report.byStatus['429'] ?? 0).toBe(0)
  expect(report.accepted.moving).toBeGreaterThan(500)
  process.stdout.write(`hostile: ${JSON.stringify({ ...report, byRoute: undefined })}\n`)
}, 600_000)
