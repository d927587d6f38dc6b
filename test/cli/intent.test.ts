// What is shown is what is hashed: every member of an intent moves its digest and is seen by people, and an asking is held against what the
// broker made of it, without asking the broker.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { semantic } from '../../src/domain/intent.ts'
import { FLAGS } from '../../src/domain/risk.ts'
import { type GrantAnswer, grantAnswer } from '../../src/http/wire.ts'
import { grantIn } from '../doors/door.ts'
import { type Bench, bench, wireGrant } from './bench.ts'

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

let on: Bench
let folder: string
/** Everything that an intent can hold. */
let full: GrantAnswer
beforeAll(async () => {
  on = await bench()
  folder = mkdtempSync(join(tmpdir(), 'writ-intent-'))
  const { intent } = wireGrant('pending', on.url)
  full = wireGrant('pending', on.url, {
    intent: {
      ...intent,
      executor: { principal: 'report-job', key: 'A'.repeat(43) },
      manifests: { requester: `sha-256:${'B'.repeat(43)}`, executor: `sha-256:${'C'.repeat(43)}` },
      session: 'run-1',
      dataTypes: ['pii'],
      destination: 'warehouse',
      plan: { digest: `sha-256:${'D'.repeat(43)}`, mediaType: 'application/json' },
    },
  })
})
beforeEach(() => on.routes({}))
afterAll(async () => {
  await on.stop()
  rmSync(folder, { recursive: true })
})

const OTHER: Readonly<Record<string, Json>> = {
  changeClass: 'emergency',
  kind: 'vault',
  opensAt: '2026-11-21T21:00:00.000Z',
  closesAt: '2026-11-21T22:30:00.000Z',
}
const other = (name: string, value: Json): Json => {
  if (OTHER[name] !== undefined) return OTHER[name]
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') return value + 1
  return `${String(value)}x`
}
/** The value with one leaf changed, for each leaf. */
function changes(value: Json, name = '', path = ''): readonly (readonly [path: string, value: Json])[] {
  if (typeof value !== 'object' || value === null) return [[path, other(name, value)]]
  if (Array.isArray(value)) return [[path, [...value, 'x']]]
  return Object.entries(value).flatMap(([member, inner]) =>
    changes(inner, member, path === '' ? member : `${path}.${member}`).map(
      ([where, changed]) => [where, { ...value, [member]: changed }] as const,
    ),
  )
}
const changed = () => changes(JSON.parse(JSON.stringify(full.intent)) as Json)

describe('every member of the intent', () => {
  it('is shown on the wire, as it is hashed', () => {
    const leaves = changed().map(([path]) => path)
    const hashed = Object.entries(semantic(grantIn('pending').ask.intent)).flatMap(([name, value]) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? Object.keys(value).map((member) => `${name}.${member}`)
        : [name],
    )
    for (const member of hashed) expect(leaves).toContain(member === 'plan' ? 'plan.digest' : member)
    for (const flag of FLAGS) expect(leaves).toContain(`impact.${flag}`)
    // The sample leaves nothing out that the wire can show.
    const names = Object.keys(grantAnswer.shape.intent.shape)
    expect([...new Set(leaves.map((path) => path.split('.')[0] ?? ''))].toSorted()).toEqual(names.toSorted())
  })

  it('does not fit when it is another, is told to whoever looks, and is not voted on', async () => {
    const lines = (out: string) => out.split('\n').filter((line) => !line.includes('DOES NOT FIT'))
    const seen = async (grant: GrantAnswer) => {
      on.routes({ [`GET /v1/grants/${grant.id}`]: () => ({ body: grant }) })
      return on.run(['show', grant.id])
    }
    const right = await seen(full)
    expect([right.code, right.out.includes('reckoned here too')]).toEqual([EXIT.ok, true])
    for (const [path, intent] of changed()) {
      const forged = { ...full, intent: intent as GrantAnswer['intent'] }
      const { code, out } = await seen(forged)
      expect([path, code, out.includes('DOES NOT FIT')]).toEqual([path, EXIT.refused, true])
      // What moves the digest can be seen, besides that it does not fit.
      expect([path, lines(out).some((line) => !right.out.includes(line))]).toEqual([path, true])
      const vote = await on.run(['approve', full.id, '--reason', 'x'])
      expect([path, vote.code, on.received.filter(({ method }) => method === 'POST')]).toEqual([path, EXIT.refused, []])
    }
  })
})

describe('an asking against what was filed', () => {
  const write = (name: string, value: unknown): string => {
    const file = join(folder, name)
    writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value))
    return file
  }
  const asking = (change: object = {}) => {
    const { intent } = full
    return {
      entitlement: intent.entitlement,
      actions: intent.actions,
      scope: intent.scope,
      dataTypes: intent.dataTypes,
      destination: intent.destination,
      credential: { uses: intent.credential.uses },
      task: { id: intent.task, summary: 'Add a column' },
      impact: intent.impact,
      exposure: intent.exposure,
      plan: intent.plan,
      ticket: intent.ticket,
      window: intent.window,
      executor: intent.executor,
      ...change,
    }
  }
  const against = (change: object = {}, more: readonly string[] = []) =>
    on.run(['intent', 'digest', write('ask.json', asking(change)), '--filed', write('filed.json', full), ...more])

  it('is the same digest where the broker filed what was asked, in YAML and of a dry run too', async () => {
    const same = await against()
    expect([same.code, same.out]).toEqual([EXIT.ok, `${full.digest}\n`])
    const yaml = write(
      'ask.yaml',
      `entitlement: ${full.intent.entitlement}\nactions: [db.migrate]\ntask: { summary: a, id: migrate }\nwindow: { duration: 60m }\n`,
    )
    const dry = write('dry.json', { grants: [{ digest: 'x', intent: full.intent }] })
    // It leaves out what was filed: that is another intent.
    expect((await on.run(['intent', 'digest', yaml, '--filed', dry])).code).toBe(EXIT.refused)
    const window = full.intent.window
    const long = `${(Date.parse(window.closesAt) - Date.parse(window.opensAt)) / 60_000}m`
    expect((await against({ window: { duration: long } })).code).toBe(EXIT.ok)
    expect(on.received).toEqual([])
  })

  it.each([
    ['another action', { actions: ['db.drop'] }],
    ['another scope', { scope: [] }],
    ['other data', { dataTypes: [] }],
    ['another destination', { destination: '' }],
    ['more uses', { credential: { uses: 2 } }],
    ['another task', { task: { id: 'other', summary: 'a' } }],
    ['more impact', { impact: { irreversible: true } }],
    ['a wider stage', { exposure: { segment: 'eu', from: 0, to: 11, rollbackCriteria: 'errors rise' } }],
    ['no plan', { plan: undefined }],
    ['another ticket', { ticket: { system: 'desk', id: 'CHG-2' } }],
    ['a longer window', { window: { duration: '61m' } }],
    ['another executor', { executor: { principal: 'vera' } }],
    ['a higher class', { changeClass: 'emergency' }],
  ])('is another digest where it asked for %s', async (_, change) => {
    const { code, out } = await against(change)
    expect(code).toBe(EXIT.refused)
    expect(out).toMatch(/^sha-256:/)
    expect(out).not.toContain(full.digest)
  })

  it('is held against the plan that lies here', async () => {
    const plan = write('tfplan.json', '{}')
    const digest = 'sha-256:RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o'
    expect((await against({}, ['--plan', plan])).code).toBe(EXIT.refused)
    const filed = wireGrant('pending', on.url, {
      intent: { ...full.intent, plan: { digest, mediaType: 'application/json' } },
    })
    const same = await on.run(['intent', 'digest', write('planned.json', filed), '--plan', plan])
    expect([same.code, same.out]).toEqual([EXIT.ok, `${filed.digest}\n`])
    writeFileSync(plan, '{ }')
    expect((await on.run(['intent', 'digest', write('planned.json', filed), '--plan', plan])).code).toBe(EXIT.refused)
  })

  it('needs what the broker answered to this very asking', async () => {
    const ask = write('ask.json', asking())
    for (const args of [
      [ask],
      [ask, '--filed', write('none.json', {})],
      [
        ask,
        '--filed',
        write('other.json', wireGrant('pending', on.url, { intent: { ...full.intent, entitlement: 'other' } })),
      ],
      [write('half.yaml', 'entitlement: a\n'), '--filed', write('filed.json', full)],
      [join(folder, 'no-such-file'), '--filed', write('filed.json', full)],
    ])
      expect((await on.run(['intent', 'digest', ...args])).code, args.join(' ')).toBe(EXIT.usage)
  })
})
