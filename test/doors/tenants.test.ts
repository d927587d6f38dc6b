// Two tenants on one broker, over a socket: what is another tenant's is answered as what is not there, to the byte, and nothing that one
// tenant is told depends on whether the other one is there at all.
import { once } from 'node:events'
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Broker } from '../../src/broker/broker.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { freezeIdFrom, grantId, named } from '../../src/domain/ids.ts'
import { seconds } from '../../src/domain/instant.ts'
import { ROUTES, type Route } from '../../src/http/routes.ts'
import { digest } from '../support/sample-grants.ts'
import { accountOf, nameOf, PARTS, type Part, TENANTS, type Tenant, twoTenants } from '../support/two-tenants.ts'
import { asking, attempt, HOME, type World, world } from '../support/world.ts'
import { FORM_TYPE, type Received } from './door.ts'
import { bodies, type RealDoor, realDoor, tokenOf } from './real-door.ts'

const OTHER = { north: 'south', south: 'north' } as const

interface House {
  readonly w: World
  readonly door: RealDoor
  readonly grants: Readonly<Record<Tenant, readonly Grant[]>>
}

/** The verbs with ids that count for one tenant alone: chance must not tell the two houses apart. */
function verbsOf(w: World, tenant: Tenant): Broker {
  let made = 0
  const next = (letters: number): string => {
    made += 1
    const counted = made.toString().replace(/\d/g, (digit) => String.fromCharCode(97 + Number(digit)))
    return tenant.slice(0, 1) + counted.padStart(letters - 1, 'a')
  }
  return w.another({
    newGrantId: () => grantId(HOME, next(26)),
    newTokenId: () => next(12),
    newFreezeId: () => freezeIdFrom(Buffer.from(next(26))),
    newAttemptId: () => attempt(next(16)),
  })
}

/** One grant in each state that matters here, all for the same ticket and task; what tells them apart is the plan. */
async function* seeded(
  w: World,
  verbs: Broker,
  tenant: Tenant,
  name = 'house',
  task = 'task-1',
): AsyncGenerator<Grant> {
  let asked = 0
  const as = (part: Part) => w.as(nameOf(tenant, part))
  const file = async (executor: 'requester' | 'workload') => {
    const { grant } = await verbs.request(
      as('requester'),
      asking(w.now(), {
        entitlement: named.entitlement(`${tenant}-repair`),
        actions: ['repair'],
        task,
        ticket: { system: 'desk', id: 'CHG-1' },
        executor: named.principal(nameOf(tenant, executor)),
        plan: { digest: digest(`${name} ${++asked}`), mediaType: 'text/plain' },
      }),
    )
    return grant
  }
  const approved = async (executor: 'requester' | 'workload') => {
    const { id } = await file(executor)
    const vote = (by: 'owner' | 'reviewer') =>
      verbs.decide(as(by), id, { verdict: 'approve', reason: 'read', digest: undefined })
    await vote('reviewer')
    return vote('owner')
  }
  yield await file('requester')
  yield await approved('requester')
  const { id } = await approved('workload')
  yield (await verbs.exchange(as('workload'), id)).grant
  const { id: over } = await approved('workload')
  await verbs.exchange(as('workload'), over)
  yield await verbs.complete(as('workload'), over, {})
}

/**
 * A house with these tenants' grants, filed in turns; what is asked at its door gets ids of `home`. A crowd
 * of the other tenant's was there before, for the same ticket and task. */
async function house(tenants: readonly Tenant[], home: Tenant = 'north', crowd = 0): Promise<House> {
  const w = await world()
  await w.publish(twoTenants())
  const verbs = { north: verbsOf(w, 'north'), south: verbsOf(w, 'south') }
  const roads = tenants.map((tenant) => ({ tenant, road: seeded(w, verbs[tenant], tenant) }))
  const grants: Record<Tenant, Grant[]> = { north: [], south: [] }
  // Of 500 for one task in one tenant the next is critical.
  for (let n = 0; n < crowd; n += 1)
    await seeded(w, verbs[OTHER[home]], OTHER[home], `crowd ${n}`, n < 480 ? 'task-1' : 'task-2').next()
  // Whatever a freeze of theirs names, it is about what is theirs.
  if (crowd > 0) {
    const soc = w.as(nameOf(OTHER[home], 'soc'))
    await verbs[OTHER[home]].freeze(soc, { person: named.person(nameOf(home, 'requester')) }, 'theirs')
  }
  for (let walking = true; walking; ) {
    walking = false
    for (const { tenant, road } of roads) {
      const { value } = await road.next()
      if (value === undefined) continue
      grants[tenant].push(value)
      walking = true
    }
    w.advance(seconds(1))
  }
  return { w, door: await realDoor(w, verbs[home]), grants }
}

/** All that a client can see of an answer, without what names the request. */
const seen = ({ status, headers, text }: Received) => {
  const { date: _date, 'x-request-id': _id, 'content-length': _length, ...others } = headers
  return { status, headers: others, text: text.replace(/"requestId":"[^"]*"/, '"requestId":""') }
}
const bodiesIn = (tenant: Tenant) =>
  bodies({
    entitlement: `${tenant}-repair`,
    actions: ['repair'],
    task: { summary: 'Repair', id: 'task-1' },
    window: { duration: '30m' },
  })
/** What each route is asked with besides nothing. */
const QUERIES: Readonly<Record<string, readonly string[]>> = {
  list: [
    '',
    '?limit=1',
    '?limit=2',
    '?limit=100',
    '?limit=1&ticket=desk:CHG-1',
    '?task=task-1',
    '?status=ended,active',
    '?mine=true',
    '?waiting=true',
    '?target=orders&limit=1',
    ...TENANTS.flatMap((tenant) => [`?tenant=${tenant}`, `?entitlement=${tenant}-repair&limit=1`]),
  ],
  feed: ['', '?after=0.0-0', '?after=0.0-0&limit=2'],
}
const pathsOf = ({ path, name }: Route, grants: readonly Grant[]): readonly string[] =>
  (path.includes(':id') ? grants.map(({ id }) => path.replace(':id', id).replace(':n', '2')) : [path]).flatMap((at) =>
    (QUERIES[name] ?? ['']).map((query) => `${at}${query}`),
  )

/** The stream of what happens, as it comes. */
const streamed = (port: number, token: string) => {
  let text = ''
  const headers = { Authorization: `Bearer ${token}`, Accept: 'text/event-stream' }
  const req = request({ host: '127.0.0.1', port, path: '/v1/events', agent: false, headers })
  const answered = once(req, 'response').then(([res]) => {
    res.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
    return {
      text: () => text,
      until: async (holds: (text: string) => boolean) => {
        while (!holds(text)) await once(res, 'data')
      },
      close: () => req.destroy(),
    }
  })
  req.end()
  return answered
}

describe('another tenant’s grant', () => {
  let both: House
  beforeAll(async () => {
    both = await house(TENANTS)
  })
  afterAll(() => both.door.stop())

  const WITH_ID = ROUTES.filter(({ path, action }) => path.includes(':id') && action !== 'server')
  const everybody = TENANTS.flatMap((tenant) => PARTS.map((part) => [tenant, part] as const))
  const strangers = (id: string): readonly string[] => [
    `${id.slice(0, -3)}777`,
    id.replace('g0-', 'g9-'),
    id.toUpperCase(),
    `${id}a`,
    'not-an-id',
    '%2e%2e%2fgrants',
    '%00',
    'g0-'.padEnd(2_000, 'a'),
  ]

  it.each(everybody)(
    'is to the %s %s what is not there and what is no id at all: the same bytes, and nothing is done',
    async (tenant, part) => {
      const { w, door, grants } = both
      const wrong: string[] = []
      let cells = 0
      for (const { method, path, name } of WITH_ID) {
        const send = async (id: string, body = bodiesIn(tenant)[name]) =>
          seen(await door.send(accountOf(tenant, part), method, path.replace(':id', id).replace(':n', '2'), body))
        for (const grant of grants[OTHER[tenant]]) {
          const before = (await w.store.read(HOME))?.seq
          const foreign = await send(grant.id)
          expect(foreign, name).toMatchObject({ status: 404, text: expect.stringContaining('grant_not_found') })
          for (const id of strangers(grant.id)) {
            cells += 1
            if (JSON.stringify(await send(id)) !== JSON.stringify(foreign)) wrong.push(`${name} of ${id}`)
          }
          if (method === 'POST') {
            // What is wrong with a body is said before any grant is looked for, whoever's it is.
            const missing = await send(`${grant.id.slice(0, -3)}777`, { unknown: true })
            expect(await send(grant.id, { unknown: true })).toEqual(missing)
          }
          expect((await w.store.read(HOME))?.seq).toBe(before)
        }
      }
      expect(wrong).toEqual([])
      expect(cells).toBe(WITH_ID.length * 4 * 8)
    },
  )

  it.each(everybody)('is to the %s %s at the token endpoint what is not there', async (tenant, part) => {
    const { door, grants } = both
    const redeem = async (identifier: string) =>
      seen(
        await door.on.send('POST', '/oauth2/token', {
          headers: [FORM_TYPE],
          anonymous: true,
          body: new URLSearchParams({
            grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
            subject_token: tokenOf(accountOf(tenant, part)),
            subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
            authorization_details: JSON.stringify([{ type: 'https://writ.dev/schemas/change/v1', identifier }]),
          }).toString(),
        }),
      )
    for (const { id } of grants[OTHER[tenant]]) {
      const foreign = await redeem(id)
      expect(foreign).toMatchObject({ status: 400, text: expect.stringContaining('invalid_grant') })
      expect(await redeem(`${id.slice(0, -3)}777`)).toEqual(foreign)
    }
  })

  it('is waited for as long as what is not there: not at all', async () => {
    const { door, grants } = both
    const id = grants.south[0]?.id ?? ''
    const wait = async (of: string) =>
      seen(await door.send(accountOf('north', 'soc'), 'GET', `/v1/grants/${of}?wait=60&for=status&since=active`))
    expect(await wait(id)).toEqual(await wait(`${id.slice(0, -3)}777`))
  })

  it('is no stream either', async () => {
    const { door, grants } = both
    const open = async (id: string) =>
      seen(
        await door.on.send('GET', `/v1/grants/${id}/events`, {
          anonymous: true,
          headers: [
            ['Authorization', `Bearer ${tokenOf(accountOf('north', 'soc'))}`],
            ['Accept', 'text/event-stream'],
          ],
        }),
      )
    const id = grants.south[0]?.id ?? ''
    expect((await open(id)).status).toBe(404)
    expect(await open(id)).toEqual(await open(`${id.slice(0, -3)}777`))
  })

  it('moves no stream of what happens', async () => {
    const { w, door } = both
    const told = await streamed(door.on.port, tokenOf(accountOf('north', 'soc')))
    const file = async (tenant: Tenant) => {
      const entitlement = named.entitlement(`${tenant}-repair`)
      const { id } = await w.file(w.as(`${tenant}-requester`), asking(w.now(), { entitlement, actions: ['repair'] }))
      w.advance(seconds(1))
      return id
    }
    await told.until((text) => text.startsWith('retry:'))
    await file('south')
    const ours = await file('north')
    await file('south')
    await told.until((text) => text.includes(ours))
    told.close()
    expect(told.text().match(/^event: .*$/gm)).toEqual(['event: filed'])
    expect(told.text()).not.toContain('south')
  })

  it('cannot be reached by its own tenant’s words: its entitlement is offered to nobody else, nor its people', async () => {
    const { door } = both
    const ask = async (body: object) =>
      door.send(accountOf('north', 'requester'), 'POST', '/v1/grants', {
        ...(bodiesIn('north').request as object),
        ...body,
      })
    const answers = await Promise.all(['south-repair', 'no-such-repair'].map((entitlement) => ask({ entitlement })))
    expect(answers.map(({ status }) => status)).toEqual([422, 422])
    expect(seen(answers[0] as Received)).toEqual(seen(answers[1] as Received))
    const executors = await Promise.all(
      ['south-workload', 'no-such-workload'].map((principal) => ask({ executor: { principal } })),
    )
    expect(executors.map(({ status }) => status)).toEqual([400, 400])
    expect(seen(executors[0] as Received)).toEqual(seen(executors[1] as Received))
  })

  it('cannot be replaced, and trying it files nothing: as with what is not there', async () => {
    const { w, door, grants } = both
    const before = (await w.store.read(HOME))?.seq
    for (const query of ['', '?dryRun=true'])
      for (const { id } of grants.south) {
        const replace = async (replaces: string) => {
          const body = { ...(bodiesIn('north').request as object), replaces }
          return seen(await door.send(accountOf('north', 'requester'), 'POST', `/v1/grants${query}`, body))
        }
        const foreign = await replace(id)
        expect(foreign.status).toBe(404)
        expect(await replace(`${id.slice(0, -3)}777`)).toEqual(foreign)
      }
    expect((await w.store.read(HOME))?.seq).toBe(before)
  })

  it.each(['ticket', 'task'])(
    'is not ended by its %s, nor counted: alone there, it is what is not there',
    async (word) => {
      const { w, door, grants } = both
      const { id } = await w.file(
        w.as('south-requester'),
        asking(w.now(), {
          entitlement: named.entitlement('south-repair'),
          actions: ['repair'],
          ticket: { system: 'desk', id: 'SOUTH-1' },
          task: 'south-1',
          plan: { digest: digest(word), mediaType: 'text/plain' },
        }),
      )
      const where = (of: string) =>
        word === 'ticket' ? { ticket: { system: 'desk', id: of.toUpperCase() } } : { task: of }
      for (const part of PARTS)
        for (const path of ['/v1/completions', '/v1/revocations']) {
          const end = async (of: string) =>
            seen(await door.send(accountOf('north', part), 'POST', path, { where: where(of) }))
          const foreign = await end('south-1')
          expect(foreign.status).toBe(404)
          expect(await end('south-2')).toEqual(foreign)
        }
      expect((await w.store.loadToEnd(id))?.head.status).toBe('pending')
      // A ticket that both have: each ends its own.
      for (const grant of grants.south) expect((await w.store.loadToEnd(grant.id))?.version).toBe(grant.version)
    },
  )
})

/** Of an event's place only the millisecond: which of its commits this was is chance, as long as there is one of ours. */
const PLACE = /\b(0\.\d{13})-\d{1,14}\b/g

describe.each(TENANTS)('a house with a second tenant beside %s', (home) => {
  let alone: House
  let both: House
  beforeAll(async () => {
    alone = await house([home], home)
    // More than any one look of a list or of the feed reaches.
    both = await house(TENANTS, home, 600)
  })
  afterAll(() => Promise.all([alone.door.stop(), both.door.stop()]))

  /** Every part asks every route, on every grant of its own tenant, and lists to their last page; POSTs last, for they change what is there. */
  async function told({ door, grants }: House): Promise<readonly string[]> {
    const lines: string[] = []
    const ask = async (part: Part, { method, name }: Route, path: string) => {
      const answer = await door.send(accountOf(home, part), method, path, bodiesIn(home)[name])
      lines.push(`${part} ${method} ${path} ${JSON.stringify(seen(answer))}`.replaceAll(PLACE, '$1-n'))
      return answer
    }
    // The broker as a whole is nobody's: who operates it is told of all its commits.
    const rows = ROUTES.filter(({ action }) => action !== 'Operate' && action !== 'server')
    for (const route of rows.toSorted((a, b) => (a.method < b.method ? -1 : a.method > b.method ? 1 : 0)))
      for (const part of PARTS)
        for (const path of pathsOf(route, grants[home])) {
          const { body } = await ask(part, route, path)
          for (let page = body; page?.next !== undefined && page.events?.length !== 0; ) {
            const on = route.name === 'feed' ? 'after' : 'cursor'
            const at = new URL(path, 'http://writ.example')
            at.searchParams.set(on, page.next)
            page = (await ask(part, route, `${at.pathname}${at.search}`)).body
          }
        }
    return lines
  }

  it('tells everybody in it exactly what it would tell them alone, and leaves the other one as it was', async () => {
    const inBoth = await told(both)
    expect(inBoth).toEqual(await told(alone))
    expect(inBoth.length).toBeGreaterThan(ROUTES.length * PARTS.length)
    for (const grant of both.grants[OTHER[home]])
      expect(await both.w.store.loadToEnd(grant.id)).toEqual({
        ...grant,
        born: expect.any(Number),
        recorded: grant.decisions.length,
      })
  })
})
