// What needs a passkey, at the terminal: the page is the broker's own, what is signed on it is what was shown here, and the command waits.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.ts'
import type { GrantAnswer } from '../../src/http/wire.ts'
import { type Bench, bench, problem, type Routes, type Running, type Sent, wireGrant } from './bench.ts'

let on: Bench
let grant: GrantAnswer
beforeAll(async () => {
  on = await bench()
  grant = wireGrant('pending', on.url)
})
afterAll(() => on.stop())

const ok = (body: unknown) => (): Sent => ({ body })
const AT = '2026-12-01T22:00:00.000Z'
const SCREEN: Running = { terminal: { errors: true, output: true, input: true }, env: { NO_COLOR: '1' } }
const soon = () => new Date(Date.now() + 60_000).toISOString()

describe('a decision that needs a passkey', () => {
  let looks: number
  beforeEach(() => {
    looks = 0
  })
  const signed = (): GrantAnswer => ({
    ...grant,
    status: 'approved',
    decisions: [{ act: 'vote', by: 'olivia', as: 'owner', verdict: 'approve', reason: 'fine', at: AT, passkey: true }],
  })
  const statement = (digest: string = grant.digest, of = grant.id) =>
    JSON.stringify({ typ: 'writ/decision/v1', grant: of, decision: { by: 'olivia', at: Date.parse(AT), digest } })
  const routes = (begun: object = {}): Routes => ({
    [`GET /v1/grants/${grant.id}`]: () => {
      looks += 1
      return { body: looks > 2 ? signed() : grant }
    },
    [`POST /v1/grants/${grant.id}/decisions`]: () => problem('step_up_required', 401),
    [`POST /v1/grants/${grant.id}/ceremonies`]: () => ({
      status: 201,
      body: { url: `${on.url}/step-up/page`, expiresAt: soon(), statement: statement(), ...begun },
    }),
  })
  const APPROVE = () => ['approve', grant.id, '--reason', 'fine']

  it('is signed on the page, which is opened where somebody sits here, and told when it counts', async () => {
    on.routes(routes())
    const { code, out, err, browsed } = await on.run(APPROVE(), SCREEN)
    expect([code, browsed]).toEqual([EXIT.ok, [`${on.url}/step-up/page`]])
    expect(err).toContain(`${on.url}/step-up/page`)
    expect(out).toContain('approved')
    const begun = on.received.find(({ path }) => path.endsWith('/ceremonies'))
    expect(begun?.body).toEqual({ verdict: 'approve', reason: 'fine' })
    expect(begun?.headers['if-match']).toBe(`"${grant.digest}"`)
  })

  it('has its page printed and nothing opened where that is wanted, or where nobody sits here', async () => {
    on.routes(routes())
    const quiet = await on.run([...APPROVE(), '--no-browser'], SCREEN)
    expect([quiet.code, quiet.browsed]).toEqual([EXIT.ok, []])
    looks = 0
    const piped = await on.run([...APPROVE(), '--json'])
    expect([piped.code, piped.browsed, JSON.parse(piped.out).status]).toEqual([EXIT.ok, [], 'approved'])
    for (const { err } of [quiet, piped]) expect(err).toContain(`${on.url}/step-up/page`)
  })

  it.each([
    ['another digest', () => ({ statement: statement(`sha-256:${'x'.repeat(43)}`) })],
    ['another grant', () => ({ statement: statement(grant.digest, `g0-${'z'.repeat(26)}`) })],
    ['nothing that can be read', () => ({ statement: 'approve' })],
    ['what is shown elsewhere', () => ({ url: 'https://evil.example/step-up/page' })],
    ['what is no address of the web', () => ({ url: 'javascript:alert(1)' })],
  ])('is not opened where the broker wants signed %s', async (_, begun) => {
    on.routes(routes(begun()))
    const { code, browsed, err } = await on.run(APPROVE(), SCREEN)
    expect([code, browsed]).toEqual([EXIT.refused, []])
    expect(err).not.toContain('evil.example')
  })

  it('that was not signed in time is not done', async () => {
    on.routes({ ...routes({ expiresAt: new Date(0).toISOString() }), [`GET /v1/grants/${grant.id}`]: ok(grant) })
    expect((await on.run(APPROVE(), SCREEN)).code).toBe(EXIT.notYet)
  })

  it('that is refused for another reason begins nothing', async () => {
    on.routes({ ...routes(), [`POST /v1/grants/${grant.id}/decisions`]: () => problem('own_request', 403) })
    const { code, browsed } = await on.run(APPROVE(), SCREEN)
    expect([code, browsed, on.received.some(({ path }) => path.endsWith('/ceremonies'))]).toEqual([
      EXIT.forbidden,
      [],
      false,
    ])
  })
})

describe('writ passkey', () => {
  const LAPTOP = { id: 'bGFwdG9w', name: 'laptop', registeredAt: AT, transports: ['internal'] }
  const PHONE = { id: 'cGhvbmU', name: 'phone', registeredAt: AT, transports: ['hybrid'] }
  const page = () => ({ status: 201, body: { url: `${on.url}/passkeys/page`, expiresAt: soon() } })
  /** The list before, and from the third look on the one after. */
  const lists = (before: object[], after: object[]) => {
    let looks = 0
    return () => {
      looks += 1
      return { body: { passkeys: looks > 2 ? after : before } }
    }
  }

  it('lists what there is, and says how to begin where there is none', async () => {
    on.routes({ 'GET /v1/passkeys': ok({ passkeys: [LAPTOP] }) })
    expect((await on.run(['passkey', 'list'])).out).toMatch(/^laptop .*bGFwdG9w$/m)
    on.routes({ 'GET /v1/passkeys': ok({ passkeys: [] }) })
    expect(await on.run(['passkey', 'list'])).toMatchObject({
      code: EXIT.ok,
      err: expect.stringContaining('writ passkey add'),
    })
  })

  it('registers one on its page, and removes one', async () => {
    on.routes({ 'GET /v1/passkeys': lists([LAPTOP], [LAPTOP, PHONE]), 'POST /v1/passkeys/ceremonies': page })
    const added = await on.run(['passkey', 'add', 'phone'], SCREEN)
    expect(added).toMatchObject({ code: EXIT.ok, out: 'Registered: phone.\n', browsed: [`${on.url}/passkeys/page`] })
    expect(on.received.find(({ method }) => method === 'POST')?.body).toEqual({ name: 'phone' })
    on.routes({ 'GET /v1/passkeys': lists([LAPTOP, PHONE], [PHONE]), 'POST /v1/passkeys/bGFwdG9w/remove': page })
    const removed = await on.run(['passkey', 'remove', 'bGFwdG9w', '--no-browser'], SCREEN)
    expect(removed).toMatchObject({ code: EXIT.ok, out: 'Removed: laptop.\n', browsed: [] })
  })

  it('does nothing where words are missing or strange', async () => {
    on.routes({})
    for (const args of [
      ['passkey'],
      ['passkey', 'add'],
      ['passkey', 'list', 'x'],
      ['passkey', 'remove'],
      ['passkey', 'x', 'y'],
    ])
      expect([args, (await on.run(args)).code]).toEqual([args, EXIT.usage])
    expect(on.received).toEqual([])
  })
})
