// The API document: every route is in it, a linter that is not ours finds nothing, and its examples are what the routes take.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { describe, expect, it } from 'vitest'
import { openApiDocument } from '../../src/http/openapi.ts'
import { ABOUT } from '../../src/http/openapi-about.ts'
import { ROUTES } from '../../src/http/routes.ts'
import { askBody } from '../../src/http/wire.ts'
import { documented, type Exchanged, openApiCheck } from '../support/openapi-check.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const document = openApiDocument('https://writ.example')

describe('the API document', () => {
  it('is without error and warning to a linter that is not ours', () => {
    const folder = mkdtempSync(join(tmpdir(), 'writ-openapi-'))
    const file = join(folder, 'openapi.json')
    writeFileSync(file, JSON.stringify(document))
    const lint = ['lint', file, '--config', join(ROOT, 'test/support/redocly.yaml'), '--format', 'json']
    const quiet = { REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', CI: 'true' }
    try {
      const said = execFileSync(process.execPath, [join(ROOT, 'node_modules/@redocly/cli/bin/cli.js'), ...lint], {
        env: { ...process.env, ...quiet },
        stdio: ['ignore', 'pipe', 'pipe'],
        encoding: 'utf8',
      })
      expect(JSON.parse(said)).toMatchObject({ totals: { errors: 0, warnings: 0, ignored: 0 } })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('has every route, under its name, and says something about each', () => {
    const missing = ROUTES.filter(({ method, path, name }) => documented(document, method, path)?.operationId !== name)
    expect(missing.map(({ name }) => name)).toEqual([])
    expect(ROUTES.filter(({ name }) => ABOUT[name] === undefined).map(({ name }) => name)).toEqual([])
  })

  it.each(ROUTES.flatMap((route) => (route.body === undefined ? [] : [{ ...route, body: route.body }])))(
    'shows for $name only bodies that the route takes, and at least one',
    ({ name, body }) => {
      const examples = Object.entries(ABOUT[name]?.examples ?? {})
      expect(examples.length).toBeGreaterThan(0)
      for (const [what, { value }] of examples) expect([what, body.safeParse(value).success]).toEqual([what, true])
    },
  )

  it('says of every character of the first plane what the broker says', () => {
    const ajv = new Ajv2020({ strict: false, validateSchema: false })
    ajv.addSchema({ ...document, $id: 'writ' })
    const shown = ajv.compile({ $ref: 'writ#/components/schemas/Asking/properties/task' })
    const { task } = askBody.shape
    const differing: string[] = []
    for (let code = 0; code < 0xd800; code += 1) differing.push(...judge(code))
    for (let code = 0xe000; code <= 0xffff; code += 1) differing.push(...judge(code))
    expect(differing).toEqual([])

    function judge(code: number): readonly string[] {
      const asked = { summary: `a${String.fromCharCode(code)}` }
      return shown(asked) === task.safeParse(asked).success ? [] : [code.toString(16)]
    }
  })
})

describe('the check of answers', () => {
  const check = openApiCheck(document)
  const alive: Exchanged = {
    method: 'GET',
    path: '/healthz?x=1',
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', 'x-request-id': 'r-1', date: 'now' },
    text: '{"alive":true}',
  }
  const problem = (status: number, type: string): Partial<Exchanged> => ({
    status,
    headers: { ...alive.headers, 'content-type': 'application/problem+json' },
    text: JSON.stringify({ type: `urn:writ:error:${type}`, title: 'No', status, detail: 'No.', requestId: 'r-1' }),
  })
  const list = { path: '/v1/grants' }

  it('finds nothing in an answer as documented', () => {
    expect(check(alive)).toEqual([])
    expect(check({ ...alive, method: 'HEAD', text: '' })).toEqual([])
    expect(check({ ...alive, ...list, ...problem(400, 'malformed') })).toEqual([])
    expect(check({ ...alive, path: '/v1/nothing', ...problem(404, 'no_such_route') })).toEqual([])
    expect(check({ ...alive, method: 'PUT', ...list, ...problem(405, 'method_not_allowed') })).toEqual([])
  })

  it.each<[string, Partial<Exchanged>]>([
    ['a status', { status: 201 }],
    ['a member', { text: '{"alive":true,"more":1}' }],
    ['a type', { text: '{"alive":"yes"}' }],
    ['a missing member', { text: '{}' }],
    ['a media type', { headers: { ...alive.headers, 'content-type': 'text/html' } }],
    ['a header', { headers: { ...alive.headers, 'x-powered-by': 'express' } }],
    ['a missing header', { headers: { ...alive.headers, 'x-request-id': undefined } }],
    ['a refusal under another status', { ...list, ...problem(400, 'not_permitted') }],
    ['a refusal that a read has not', { ...list, ...problem(412, 'revision_mismatch') }],
    ['a refusal that nobody knows', { ...list, ...problem(400, 'of_my_own') }],
    ['a challenge that is missing', { ...list, ...problem(401, 'unauthenticated') }],
    ['an address', { path: '/healthz/x' }],
    ['a method', { method: 'DELETE' }],
  ])('finds %s that the document has not', (_, changed) => {
    expect(check({ ...alive, ...changed })).not.toEqual([])
  })
})
