// Whatever becomes of an answer on its way, nobody who had a hand in the change is left out of what is told, and the token is told nobody.
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Author } from '../../src/broker/ports.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { openForges } from '../../src/forge/forges.ts'
import { certificateFor } from '../support/certificate.ts'
import { codeOf } from '../support/code-of.ts'
import { type ForgeServer, type Reply, type Route, startForgeServer } from '../support/forge-server.ts'
import { type ForgeStage, forgeStage, TOKEN } from '../support/forge-stage.ts'
import { EXPECTED, SQUASHED } from '../support/forge-story.ts'
import { REPOSITORY, startGithub } from '../support/github-server.ts'
import { PROJECT, startGitlab } from '../support/gitlab-server.ts'
import { until } from '../support/until.ts'

const KINDS = [
  { kind: 'github', start: startGithub, base: '/api/v3', repository: REPOSITORY },
  { kind: 'gitlab', start: startGitlab, base: '/api/v4', repository: PROJECT },
] as const

describe.each(KINDS)('an answer of $kind', ({ kind, start, base, repository }) => {
  let server: ForgeServer
  let on: ForgeStage
  let routes: readonly (readonly [string, Route])[]
  beforeAll(async () => {
    server = await start(TOKEN)
    routes = [...server.routes]
    on = forgeStage(kind, () => `${server.url}${base}`)
  })
  afterAll(async () => {
    await server.stop()
    on.stop()
  })
  afterEach(() => {
    server.setInstead(undefined)
    for (const [path, route] of routes) server.routes.set(path, route)
    writeFileSync(on.tokenFile, `${TOKEN}\n`)
  })
  const nobodyWaits = () => until('no connection waits', 5_000, async () => server.waiting() === 0, 5)
  const change = { forge: 'forge', repository, sha: SQUASHED }
  const ask = (more?: Parameters<ForgeStage['open']>[0]) => on.open(more).authorsOf(change)
  /** The refusal, with everything that hangs on it. */
  const refusalOf = async (asked: Promise<unknown>): Promise<BrokerError> => {
    const thrown = await asked.catch((one: unknown) => one)
    if (!(thrown instanceof BrokerError)) throw new Error(`no refusal: ${inspect(thrown)}`)
    expect(inspect(thrown, { depth: 10, showHidden: true })).not.toContain(TOKEN)
    return thrown
  }
  const namesAll = (authors: readonly Author[]): boolean =>
    EXPECTED.every(([id]) => authors.some(({ account }) => account.subject === id))

  const limited = { 'x-ratelimit-remaining': '0', 'retry-after': '60' }
  it.each<readonly [string, Reply]>([
    ['401', { status: 401, body: { message: 'Bad credentials' } }],
    ['403, too often', { status: 403, headers: limited, body: { message: 'API rate limit exceeded' } }],
    ['429', { status: 429, headers: limited, body: {} }],
    ['500', { status: 500, body: { message: 'Server Error' } }],
    ['502 of a proxy', { status: 502, raw: '<html>Bad Gateway</html>', body: '' }],
    ['204', { status: 204, raw: '', body: '' }],
    ['202, still at it', { status: 202, body: [] }],
    ['nothing', { raw: '', body: '' }],
    ['half of the JSON', { raw: '[{"sha":"aaaa', body: '' }],
    ['half of what was promised', { raw: `[${' '.repeat(10_000)}]`, body: '', cut: true }],
    ['a page of HTML', { raw: '<html></html>', body: '' }],
    ['bytes that are no text', { raw: Buffer.from([0x5b, 0x22, 0xff, 0xfe, 0x22, 0x5d]), body: '' }],
    ['another shape', { body: { message: 'hello' } }],
    ['more than 2 MiB', { raw: `[${' '.repeat(2 * 1024 * 1024)}]`, body: '' }],
  ])('that is %s is none: the forge does not answer', async (_, reply) => {
    server.setInstead(() => reply)
    expect((await refusalOf(ask())).code).toBe('forge_unavailable')
  })

  it.each([404, 409, 410, 422])('that is %d says that there is no such thing', async (status) => {
    server.setInstead(() => ({ status, body: { message: 'Not Found' } }))
    expect((await refusalOf(ask())).code).toBe('authors_unknown')
  })

  it.each([301, 302, 303, 307, 308])(
    'that leads elsewhere (%d) is not followed, so no token goes there',
    async (status) => {
      let came = 0
      const trap = createServer((socket) => {
        came += 1
        socket.destroy()
      })
      await new Promise<void>((settle) => {
        trap.listen(0, '127.0.0.1', settle)
      })
      const address = trap.address()
      const port = typeof address === 'object' ? address?.port : undefined
      server.setInstead(() => ({ status, headers: { location: `http://127.0.0.1:${port}/` }, body: {} }))
      expect((await refusalOf(ask())).code).toBe('authors_unknown')
      expect(came).toBe(0)
      await new Promise((settle) => {
        trap.close(settle)
      })
    },
  )

  it('that names another place for its next page is not followed there', async () => {
    for (const [path, route] of routes)
      server.routes.set(path, (query) => {
        const reply = route(query)
        const link = reply?.headers?.link?.replaceAll(/<https:[^?]*/g, '<https://evil.example/x')
        return reply === undefined || link === undefined ? reply : { ...reply, headers: { link } }
      })
    expect(namesAll(await ask())).toBe(true)
  })

  it('that does not come in time is none, and nobody waits for it any longer', async () => {
    server.setInstead(() => undefined)
    expect((await refusalOf(ask({ deadlineMs: 200 }))).code).toBe('forge_unavailable')
    await nobodyWaits()
  })

  it('that comes for one call and not for the next is none', async () => {
    const last = [...server.routes.keys()].find((path) => /(activity|events)$/.test(path))
    if (last === undefined) throw new Error('the server has activities')
    server.routes.set(last, () => undefined)
    expect((await refusalOf(ask({ deadlineMs: 300 }))).code).toBe('forge_unavailable')
    await nobodyWaits()
  })

  it('that is long with what nobody reads is read all the same', async () => {
    for (const [path, route] of routes)
      server.routes.set(path, (query) => {
        const reply = route(query)
        return reply && { ...reply, raw: `${JSON.stringify(reply.body)}${' '.repeat(200_000)}` }
      })
    expect(namesAll(await ask())).toBe(true)
  })

  it('is none where nobody listens, or there is no usable token', async () => {
    expect((await refusalOf(ask({ api: 'http://127.0.0.1:1' }))).code).toBe('forge_unavailable')
    server.asked.length = 0
    for (const text of ['', '\n', `${TOKEN}\nX-Injected: yes`, `${TOKEN} ${TOKEN}`, 'ghp_café', 'x'.repeat(5_000)]) {
      writeFileSync(on.tokenFile, text)
      expect((await refusalOf(ask())).code).toBe('forge_unavailable')
    }
    expect(server.asked).toEqual([])
  })

  it('comes after a token was changed, without a new start', async () => {
    const forges = on.open()
    writeFileSync(on.tokenFile, 'another')
    expect((await refusalOf(forges.authorsOf(change))).code).toBe('forge_unavailable')
    writeFileSync(on.tokenFile, TOKEN)
    expect(namesAll(await forges.authorsOf(change))).toBe(true)
  })

  it('is asked for with the token in no address', async () => {
    server.asked.length = 0
    await ask()
    expect(server.asked.length).toBeGreaterThan(3)
    expect(server.asked.every((path) => path.startsWith('GET ') && !path.includes(TOKEN))).toBe(true)
  })

  it('is remembered for half a minute, once for all who ask; a refusal is not', async () => {
    let time = 0
    const forges = on.open({ ticks: () => time })
    server.asked.length = 0
    await Promise.all([forges.authorsOf(change), forges.authorsOf(change), forges.authorsOf(change)])
    expect(new Set(server.asked).size).toBe(server.asked.length)
    time = 29_999
    server.setInstead(() => ({ status: 500, body: {} }))
    expect(namesAll(await forges.authorsOf(change))).toBe(true)
    time = 30_000
    await refusalOf(forges.authorsOf(change))
    server.setInstead(undefined)
    expect(namesAll(await forges.authorsOf(change))).toBe(true)
  })

  it('is waited for by so many questions at most, however many commits are asked about, and then there is room again', async () => {
    const forges = on.open({ deadlineMs: 300 })
    server.setInstead(() => undefined)
    server.asked.length = 0
    const shas = Array.from({ length: 100 }, (_, n) => n.toString(16).padStart(40, '0'))
    const codes = await Promise.all(shas.map((sha) => codeOf(forges.authorsOf({ ...change, sha }))))
    expect(new Set(codes)).toEqual(new Set(['forge_unavailable']))
    const commits = new Set(server.asked.flatMap((path) => shas.filter((sha) => path.includes(sha))))
    expect(commits.size).toBeGreaterThan(0)
    expect(commits.size).toBeLessThanOrEqual(32)
    server.setInstead(undefined)
    expect(namesAll(await forges.authorsOf(change))).toBe(true)
    await nobodyWaits()
  })

  it('is forgotten with the table under which it came', async () => {
    const settings = { kind, name: 'forge', api: `${server.url}${base}`, tokenFile: on.tokenFile, ca: undefined }
    let table = new Map([['forge', settings]])
    const forges = openForges({ table: () => table, ticks: () => 0 })
    expect(namesAll(await forges.authorsOf(change))).toBe(true)
    table = new Map([['forge', { ...settings, api: 'http://127.0.0.1:1' }]])
    expect((await refusalOf(forges.authorsOf(change))).code).toBe('forge_unavailable')
    table = new Map()
    expect((await refusalOf(forges.authorsOf(change))).code).toBe('authors_unknown')
  })

  it('that lacks any one member, or has null there, names everybody or refuses', async () => {
    server.asked.length = 0
    await ask()
    const paths = [...new Set(server.asked.map((line) => new URL(line.slice(4), 'http://x').pathname))]
    let refused = 0
    let tried = 0
    for (const path of paths) {
      const route = server.routes.get(path)
      if (route === undefined) throw new Error(`no route for ${path}`)
      for (const [at, edit] of editsOf(bodyOf(route, path))) {
        server.routes.set(path, (query) => {
          const reply = route(query)
          return reply && { ...reply, body: edited(reply.body, at, edit) }
        })
        const answer = await ask().catch(async (thrown: unknown) => void (await refusalOf(Promise.reject(thrown))))
        tried += 1
        if (answer === undefined) refused += 1
        else if (!namesAll(answer)) expect(`${path} ${at.join('.')} ${edit}`).toBe('somebody is left out')
      }
      server.routes.set(path, route)
    }
    // Most members are noise; those that are used must have been among what was tried.
    expect(refused).toBeGreaterThan(40)
    expect(tried).toBeGreaterThan(refused)
  })
})

type Edit = 'gone' | 'null'
type Place = readonly (string | number)[]

const bodyOf = (route: Route, path: string): unknown =>
  route(
    new URLSearchParams({ sha: SQUASHED, ref: 'refs/heads/rounding', action: 'pushed', before: '2027', search: '' }),
  )?.body ?? path

/** Every member of objects, in every element of lists. */
function placesOf(value: unknown, here: Place = []): readonly Place[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = [...here, Array.isArray(value) ? Number(key) : key]
    return [...(Array.isArray(value) ? [] : [at]), ...placesOf(inner, at)]
  })
}
const editsOf = (body: unknown): readonly (readonly [Place, Edit])[] =>
  placesOf(body).flatMap((at) => (['gone', 'null'] as const).map((edit) => [at, edit] as const))

function edited(value: unknown, at: Place, edit: Edit): unknown {
  const copy: unknown = structuredClone(value)
  let inner = copy
  for (const step of at.slice(0, -1)) inner = Reflect.get(Object(inner), step)
  const [last = ''] = at.slice(-1)
  if (edit === 'gone') Reflect.deleteProperty(Object(inner), last)
  else Reflect.set(Object(inner), last, null)
  return copy
}

describe('a forge over TLS', () => {
  const own = certificateFor('localhost')

  it.each<readonly [string, string | undefined, boolean]>([
    ['whose certificate the configured authority signed is asked', own.cert, true],
    ['whose certificate nobody signed whom we trust gets no token', undefined, false],
    ['whose certificate another authority signed gets no token', certificateFor('localhost').cert, false],
  ])('%s', async (_, ca, isAsked) => {
    const server = await startForgeServer(TOKEN, own)
    const on = forgeStage('github', () => server.url)
    const forges = on.open(ca === undefined ? {} : { ca })
    const asked = forges.authorsOf({ forge: 'forge', repository: REPOSITORY, sha: SQUASHED })
    // It has nothing, so whoever reaches it learns that there is no such commit.
    expect(await codeOf(asked)).toBe(isAsked ? 'authors_unknown' : 'forge_unavailable')
    expect(server.asked.length > 0).toBe(isAsked)
    await server.stop()
    on.stop()
  })
})
