// The pages as HTTP: what they are sent with, and from whom an answer of theirs is taken. What a browser makes of them is a journey.
import { request } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { POLICY } from '../../src/console/endpoint.ts'
import type { SoftPasskey } from '../support/authenticator.ts'
import { type ConsoleDoor, consoleDoor } from '../support/console-door.ts'
import { askForPasskeys, ceremonyOf, register } from '../support/passkeys.ts'
import { login } from '../support/world.ts'

let door: ConsoleDoor
let paulas: SoftPasskey
beforeAll(async () => {
  door = await consoleDoor()
  await askForPasskeys(door.on, 'security')
  paulas = await register(door.on, 'paula')
})
afterAll(() => door.stop())

interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}
const send = (method: string, path: string, headers: Readonly<Record<string, string>> = {}, body = ''): Promise<Got> =>
  new Promise((resolve, reject) => {
    const req = request(`${door.url}${path}`, { method, agent: false, headers }, (res) => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('end', () =>
        resolve({ status: res.statusCode ?? 0, headers: res.headers, text: Buffer.concat(chunks).toString() }),
      )
    })
    req.on('error', reject)
    req.end(body)
  })

const begun = async () => {
  const { on } = door
  const grant = await on.file(on.as('vera'), login(on.now()))
  const ballot = { verdict: 'approve', reason: 'read', digest: undefined } as const
  const page = await on.broker.beginStepUp(on.as('paula'), grant.id, { act: 'vote', ballot })
  return { grant, path: new URL(page.url).pathname, text: page.statement, id: ceremonyOf(page) }
}
const decisionsOf = async (id: Awaited<ReturnType<typeof begun>>['grant']['id']) =>
  (await door.on.store.load(id))?.grant.decisions.length

describe('a page', () => {
  it('goes out under the strict content policy, to be stored, framed, guessed at and told of by nobody', async () => {
    const { path } = await begun()
    const got = await send('GET', path)
    expect(got.status).toBe(200)
    expect(got.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    })
    expect(got.headers['set-cookie']).toBeUndefined()
    expect(got.text).not.toMatch(/<script(?! src="\/step-up\.js" defer>)|<style|\son\w+=|\sstyle=/i)
  })

  it('is a refusal under the same policy where it is over, used, or never was; the three look the same', async () => {
    const { path } = await begun()
    await send('POST', path, { 'content-type': 'application/json', ...OURS() }, '{}')
    const pages = await Promise.all(
      [path, `/step-up/${'x'.repeat(43)}`, '/step-up/short', `/passkeys/${'x'.repeat(43)}`].map((at) =>
        send('GET', at),
      ),
    )
    for (const { status, headers } of pages) expect([status, headers['content-security-policy']]).toEqual([404, POLICY])
    expect(new Set(pages.slice(0, 2).map(({ text }) => text)).size).toBe(1)
  })

  it('changes nothing by being looked at, also when somebody asks for another method in a header', async () => {
    const { path, grant } = await begun()
    for (const method of ['GET', 'HEAD'])
      expect((await send(method, path, { 'x-http-method-override': 'POST' })).status).toBe(200)
    expect((await send('GET', path)).status).toBe(200)
    expect(await decisionsOf(grant.id)).toBe(0)
  })

  it('has a script and a style sheet that are files', async () => {
    const [script, style] = [await send('GET', '/step-up.js'), await send('GET', '/step-up.css')]
    expect([script.headers['content-type'], style.headers['content-type']]).toEqual([
      'text/javascript; charset=utf-8',
      'text/css; charset=utf-8',
    ])
    expect(script.text).not.toMatch(/innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(/)
  })
})

const OURS = (): Readonly<Record<string, string>> => ({ origin: door.url, 'sec-fetch-site': 'same-origin' })
const JSON_TYPE = { 'content-type': 'application/json' }

describe('what is sent to a page', () => {
  let on: Awaited<ReturnType<typeof begun>>
  beforeEach(async () => {
    on = await begun()
  })
  const answer = () => JSON.stringify(paulas.response(on.text))

  const REFUSED: readonly (readonly [string, number, () => Readonly<Record<string, string>>])[] = [
    [
      'from another origin',
      403,
      () => ({ ...JSON_TYPE, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }),
    ],
    [
      'from another origin that says it is the same site',
      403,
      () => ({ ...JSON_TYPE, ...OURS(), origin: 'https://evil.example' }),
    ],
    ['from no origin', 403, () => ({ ...JSON_TYPE, 'sec-fetch-site': 'same-origin' })],
    ['from an opaque origin', 403, () => ({ ...JSON_TYPE, ...OURS(), origin: 'null' })],
    ['from another port', 403, () => ({ ...JSON_TYPE, ...OURS(), origin: 'http://localhost:1' })],
    ['without Sec-Fetch-Site', 403, () => ({ ...JSON_TYPE, origin: door.url })],
    ['from a site beside this one', 403, () => ({ ...JSON_TYPE, ...OURS(), 'sec-fetch-site': 'same-site' })],
    ['by an address that somebody typed', 403, () => ({ ...JSON_TYPE, ...OURS(), 'sec-fetch-site': 'none' })],
    ['as a form', 415, () => ({ 'content-type': 'application/x-www-form-urlencoded', ...OURS() })],
    ['as a form with files', 415, () => ({ 'content-type': 'multipart/form-data; boundary=x', ...OURS() })],
    ['as plain text, as a form can send it', 415, () => ({ 'content-type': 'text/plain', ...OURS() })],
    ['without a type', 415, () => OURS()],
    [
      'with another method in a header, from elsewhere',
      403,
      () => ({ ...JSON_TYPE, 'x-http-method-override': 'POST' }),
    ],
  ]
  it.each(REFUSED)('%s is refused with %d, and the ceremony stays unused', async (_, status, headers) => {
    expect((await send('POST', on.path, headers(), answer())).status).toBe(status)
    expect(await decisionsOf(on.grant.id)).toBe(0)
    const got = await send('POST', on.path, { ...JSON_TYPE, ...OURS() }, answer())
    expect([got.status, JSON.parse(got.text).done]).toEqual([200, 'decided'])
  })

  it.each(['PUT', 'PATCH', 'DELETE', 'OPTIONS'])('by %s has no meaning', async (method) => {
    expect((await send(method, on.path, OURS())).status).toBe(405)
  })

  it('counts once; then the page is over', async () => {
    const body = answer()
    const first = await send('POST', on.path, { ...JSON_TYPE, ...OURS() }, body)
    const second = await send('POST', on.path, { ...JSON_TYPE, ...OURS() }, body)
    expect([first.status, second.status, JSON.parse(second.text).type]).toEqual([
      200,
      404,
      'urn:writ:error:ceremony_over',
    ])
    expect(await decisionsOf(on.grant.id)).toBe(1)
  })

  it('that is no JSON, or too large, leaves the ceremony as it was', async () => {
    const sent = ['', '{', '{"id":"a","id":"b"}', '['.repeat(100), `"${'x'.repeat(40_000)}"`]
    for (const text of sent)
      expect([400, 413]).toContain((await send('POST', on.path, { ...JSON_TYPE, ...OURS() }, text)).status)
    expect((await send('POST', on.path, { ...JSON_TYPE, ...OURS() }, answer())).status).toBe(200)
  })
})
