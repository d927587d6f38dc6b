// Who is who: aliases, sponsors and criteria, over random directories. The claim of this file: nobody is ever taken for another person,
// and one human with many accounts is always one person.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { conflictOf } from '../../src/domain/duties.ts'
import { named } from '../../src/domain/ids.ts'
import { personsBehind } from '../../src/domain/principal.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { compileDirectory, type PeopleDirectory } from '../../src/identity/directory.ts'
import { type AgentEntry, compilePeople, type People, type PersonEntry } from '../../src/identity/people.ts'
import { compiled, shippedDirectory } from '../support/directory.ts'

/** Milliseconds; many runs on a busy machine. */
const SLOW = 60_000

const NO_CLIENTS = 'revision: 1\n'
const NOBODY = compiled(compileClients(NO_CLIENTS, 'clients.yaml', () => ''))
type Filled = 'groups' | 'active' | 'standingAccess'
/** Straight from values: for many runs. That the files mean the same is shown in config.test.ts and in the first property. */
const directoryOfValues = (people: {
  readonly persons: Readonly<Record<string, Omit<PersonEntry, 'id' | Filled> & Partial<Pick<PersonEntry, Filled>>>>
  readonly agents: Readonly<
    Record<string, Omit<AgentEntry, 'id' | Filled | 'manifest'> & Partial<Pick<AgentEntry, Filled>>>
  >
}): PeopleDirectory => {
  const entries = <T>(all: Readonly<Record<string, T>>) =>
    Object.entries(all).map(([id, entry]) => ({ id, groups: [], active: true, standingAccess: [], ...entry }))
  const value: People = {
    file: 'people.yaml',
    revision: 1,
    persons: entries(people.persons),
    agents: entries(people.agents).map((agent) => ({ ...agent, manifest: undefined })),
    groups: {},
    line: () => 1,
  }
  return compiled(compileDirectory(value, NOBODY))
}
const directoryOf = (people: unknown, clients: unknown = { revision: 1 }): PeopleDirectory =>
  // JSON is YAML, so random directories need no writer of their own.
  compiled(
    compileDirectory(
      compiled(compilePeople(JSON.stringify(people), 'people.yaml')),
      compiled(compileClients(JSON.stringify(clients), 'clients.yaml', () => '')),
    ),
  )

/** Distinct accounts dealt out to persons and agents; each agent has sponsors among the persons. */
const graph = fc
  .record({
    persons: fc.integer({ min: 1, max: 6 }),
    agents: fc.integer({ min: 0, max: 4 }),
    subjects: fc.uniqueArray(
      fc
        .oneof(
          fc.string({ minLength: 1, maxLength: 12 }),
          fc.constantFrom(
            'vera',
            'VERA',
            'Vera',
            'ｖera',
            'véra',
            've\u0301ra',
            'vera+x',
            'vera@a.example',
            'constructor',
            'null',
            '1',
          ),
        )
        .filter((text) => !/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u.test(text)),
      { minLength: 1, maxLength: 14 },
    ),
    deal: fc.array(fc.nat(), { minLength: 14, maxLength: 14 }),
    sponsors: fc.array(fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), { minLength: 4, maxLength: 4 }),
  })
  .map(({ persons, agents, subjects, deal, sponsors }) => {
    const owners = [
      ...Array.from({ length: persons }, (_, n) => `p${n}`),
      ...Array.from({ length: agents }, (_, n) => `a${n}`),
    ]
    const owned = subjects.map((subject, n) => ({
      subject,
      issuer: n % 3 === 0 ? 'idp' : 'login',
      owner: owners[(deal[n] ?? 0) % owners.length] ?? 'p0',
    }))
    const accountsOf = (owner: string) =>
      owned.filter((one) => one.owner === owner).map(({ issuer, subject }) => ({ issuer, subject }))
    const sponsorsOf = (n: number) => [...new Set((sponsors[n] ?? [0]).map((m) => `p${m % persons}`))]
    return {
      owned,
      sponsorsOf,
      people: {
        revision: 1,
        persons: Object.fromEntries(
          owners
            .filter((id) => id.startsWith('p'))
            .map((id) => [id, { name: id, tenant: 'acme', accounts: accountsOf(id) }]),
        ),
        agents: Object.fromEntries(
          owners
            .filter((id) => id.startsWith('a'))
            .map((id) => [id, { tenant: 'acme', sponsors: sponsorsOf(Number(id.slice(1))), accounts: accountsOf(id) }]),
        ),
      },
    }
  })

const TRICKS: readonly ((text: string) => string)[] = [
  (text) => text.toUpperCase(),
  (text) => text.toLowerCase(),
  (text) => text.normalize('NFKC'),
  (text) => text.normalize('NFD'),
  (text) => `${text}\u200b`,
  (text) => `\u2060${text}`,
  (text) => `${text}\u0000`,
  (text) => ` ${text}`,
  (text) => `${text}+tag`,
  (text) => `${text}@acme.example`,
  (text) => text.replace('i', 'ı').replace('a', 'а'),
  (text) => `login ${text}`,
]

describe('accounts', () => {
  it(
    'lead to the person or agent they are entered for, and to nobody else, in every random directory',
    () => {
      fc.assert(
        fc.property(graph, ({ people, owned, sponsorsOf }) => {
          const directory = directoryOf(people)
          for (const { issuer, subject, owner } of owned) {
            const found = directory.resolve(issuer, { sub: subject })?.principal
            expect(found?.id).toBe(owner)
            if (found === undefined) continue
            expect(personsBehind(found).toSorted()).toEqual(
              owner.startsWith('p') ? [owner] : sponsorsOf(Number(owner.slice(1))).toSorted(),
            )
          }
        }),
        { numRuns: 500 },
      )
    },
    SLOW,
  )

  it(
    'never let somebody approve their own, whichever two accounts they use, their agents included',
    () => {
      let pairs = 0
      fc.assert(
        fc.property(graph, ({ people, owned }) => {
          const directory = directoryOfValues(people)
          const principals = owned.flatMap(
            ({ issuer, subject }) => directory.resolve(issuer, { sub: subject })?.principal ?? [],
          )
          for (const asking of principals)
            for (const deciding of principals) {
              pairs += 1
              const shared = personsBehind(asking).some((person) => personsBehind(deciding).includes(person))
              const mayDecide = !shared && deciding.kind === 'person'
              if (
                (conflictOf(deciding, { requester: asking, executor: asking, authors: [] }) === undefined) !==
                mayDecide
              )
                throw new Error(`${asking.id} asks, ${deciding.id} decides`)
            }
        }),
        { numRuns: 4_000 },
      )
      expect(pairs).toBeGreaterThan(50_000)
    },
    SLOW,
  )

  it(
    'are compared exactly: another spelling is nobody, unless it is entered itself',
    () => {
      fc.assert(
        fc.property(graph, fc.constantFrom(...TRICKS), ({ people, owned }, trick) => {
          const directory = directoryOfValues(people)
          for (const { issuer, subject } of owned) {
            const other = trick(subject)
            const entered = owned.find((one) => one.issuer === issuer && one.subject === other)
            expect(directory.resolve(issuer, { sub: other })?.principal.id).toBe(entered?.owner)
          }
        }),
        { numRuns: 2_000 },
      )
    },
    SLOW,
  )

  it('are of one issuer: the same subject at another issuer is nobody', () => {
    const directory = directoryOf({
      revision: 1,
      persons: { vera: { name: 'V', tenant: 'acme', accounts: [{ issuer: 'login', subject: 'vera' }] } },
    })
    expect(directory.resolve('login', { sub: 'vera' })?.principal.id).toBe('vera')
    for (const [issuer, sub] of [
      ['idp', 'vera'],
      ['', 'login vera'],
      ['login vera', ''],
      ['Login', 'vera'],
    ])
      expect(directory.resolve(issuer ?? '', { sub })).toBeUndefined()
  })

  it.each([[undefined], [null], [7], [['vera']], [{ toString: () => 'vera' }], ['constructor'], ['__proto__']])(
    'are nobody for the subject %j',
    async (sub) => {
      expect((await shippedDirectory()).resolve('login', { sub })).toBeUndefined()
    },
  )
})

/** Persons, and machines with sponsors among them, each active or not: who is there follows from nothing else. */
const switched = fc
  .record({
    persons: fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }),
    machines: fc.array(
      fc.record({
        kind: fc.constantFrom('agent', 'workload'),
        active: fc.boolean(),
        sponsors: fc.uniqueArray(fc.nat(5), { minLength: 1, maxLength: 4 }),
      }),
      { maxLength: 6 },
    ),
  })
  .map(({ persons, machines }) => ({
    persons: persons.map((active, n) => ({ id: `p${n}`, active })),
    machines: machines.map(({ sponsors, ...one }, n) => ({
      ...one,
      id: `m${n}`,
      sponsors: [...new Set(sponsors.map((s) => `p${s % persons.length}`))],
    })),
  }))
type Switched = typeof switched extends fc.Arbitrary<infer T> ? T : never

function switchedDirectory({ persons, machines }: Switched): PeopleDirectory {
  const byId = <T extends { readonly id: string }>(all: readonly T[], fields: (one: T) => object) =>
    Object.fromEntries(all.map((one) => [one.id, fields(one)]))
  const accountsOf = (id: string) => [{ issuer: 'login', subject: id }]
  const ofKind = (wanted: string) => machines.filter(({ kind }) => kind === wanted)
  return directoryOf(
    {
      revision: 1,
      persons: byId(persons, ({ id, active }) => ({
        name: id,
        tenant: 'acme',
        groups: ['all'],
        accounts: accountsOf(id),
        active,
      })),
      agents: byId(ofKind('agent'), ({ id, active, sponsors }) => ({
        tenant: 'acme',
        groups: ['all'],
        sponsors,
        accounts: accountsOf(id),
        active,
      })),
    },
    {
      revision: 1,
      workloads: byId(ofKind('workload'), ({ id, active, sponsors }) => ({
        tenant: 'acme',
        sponsors,
        issuer: 'login',
        match: { sub: id },
        active,
      })),
    },
  )
}

describe('whoever is switched off', () => {
  it(
    'is nobody, and so is a machine without an active sponsor; everybody else is there: over random sponsor graphs',
    () => {
      fc.assert(
        fc.property(switched, (graph) => {
          const directory = switchedDirectory(graph)
          const active = new Set(graph.persons.filter((one) => one.active).map(({ id }) => id))
          const expected = [
            ...graph.persons.map(({ id, active }) => [id, active ? undefined : 'inactive'] as const),
            ...graph.machines.map(({ id, active: own, sponsors }) => {
              const absence = sponsors.some((sponsor) => active.has(sponsor)) ? undefined : 'no_active_sponsor'
              return [id, own ? absence : 'inactive'] as const
            }),
          ]
          for (const [id, absence] of expected) {
            const principal = directory.principal(named.principal(id))
            const resolved = directory.resolve('login', { sub: id })?.principal
            expect([id, directory.absence(named.principal(id))]).toEqual([id, absence])
            expect([principal?.id, resolved?.id]).toEqual(absence === undefined ? [id, id] : [undefined, undefined])
            // That the entry is there is told to the log.
            expect(directory.candidates('login', { sub: id })).toEqual([id])
          }
          const there = expected.flatMap(([id, absence]) => (absence === undefined ? [id] : [])).toSorted()
          const gone = expected.flatMap(([id, absence]) => (absence === undefined ? [] : [id])).toSorted()
          expect(
            directory
              .principals()
              .map(({ id }) => id)
              .toSorted(),
          ).toEqual(there)
          expect(directory.inactive().toSorted()).toEqual(gone)
          expect(directory.entered()).toHaveLength(expected.length)
          expect(
            directory
              .persons()
              .map(({ id }) => id)
              .toSorted(),
          ).toEqual([...active].toSorted())
          const all = directory.group(named.tenant('acme'), named.group('all'))
          expect(all).toEqual({ administrative: false, members: active.size })
        }),
        { numRuns: 500 },
      )
    },
    SLOW,
  )

  it(
    'is a sponsor all the same: whoever answers for a machine never approves for it, active or not',
    () => {
      fc.assert(
        fc.property(switched, (graph) => {
          const directory = switchedDirectory(graph)
          for (const { id, sponsors } of graph.machines) {
            const machine = directory.entered().find((one) => one.id === id)
            if (machine === undefined) throw new Error(`${id} is not in the directory`)
            expect(personsBehind(machine)).toEqual(sponsors.toSorted())
            for (const sponsor of sponsors) {
              expect(directory.answeredForBy(named.person(sponsor))).toContain(id)
              const person = directory.entered().find((one) => one.id === sponsor)
              if (person !== undefined)
                expect(conflictOf(person, { requester: machine, executor: machine, authors: [] })?.person).toBe(sponsor)
            }
          }
        }),
        { numRuns: 500 },
      )
    },
    SLOW,
  )

  it('is told from who was never there', async () => {
    const directory = await shippedDirectory()
    for (const id of ['mallory', '', 'constructor', '__proto__', 'vera-admin', 'webshop-api'])
      expect(directory.absence(named.principal(id))).toBe('unknown')
    expect(directory.absence(named.principal('report-job'))).toBeUndefined()
    expect(directory.inactive()).toEqual([])
  })

  it('does not make a token that fits two workloads one of the other', () => {
    const workload = (match: object, active = true) => ({
      tenant: 'acme',
      sponsors: ['vera'],
      issuer: 'ci',
      match,
      active,
    })
    const directory = directoryOf(
      { revision: 1, persons: { vera: { name: 'V', tenant: 'acme', accounts: [] } } },
      { revision: 1, workloads: { one: workload({ a: '1' }), two: workload({ b: '1' }, false) } },
    )
    expect(directory.resolve('ci', { a: '1' })?.principal.id).toBe('one')
    expect(directory.resolve('ci', { a: '1', b: '1' })).toBeUndefined()
  })
})

describe('what is said of principals and groups', () => {
  const MANIFEST = 'sha-256:n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg'
  const person = (more: object = {}) => ({ name: 'N', tenant: 'acme', accounts: [], ...more })
  const agent = (more: object = {}) => ({ tenant: 'acme', sponsors: ['vera'], accounts: [], ...more })
  const workload = (more: object = {}) => ({
    tenant: 'acme',
    sponsors: ['vera'],
    issuer: 'ci',
    match: { a: '1' },
    ...more,
  })
  const of = (people: object, clients: object = {}) =>
    directoryOf({ revision: 1, persons: { vera: person() }, ...people }, { revision: 1, ...clients })

  it("is found by id: an agent's manifest, and standing access of every kind", () => {
    const directory = of(
      {
        persons: { vera: person({ standingAccess: ['db', 'web'] }) },
        agents: { bot: agent({ manifest: MANIFEST, standingAccess: ['db'] }), plain: agent() },
      },
      { workloads: { job: workload({ standingAccess: ['web'] }) } },
    )
    const access = ['vera', 'bot', 'plain', 'job', 'mallory', 'constructor'].map((id) =>
      ['db', 'web', 'constructor'].filter((target) => directory.hasStandingAccess(named.principal(id), target)).join(),
    )
    expect(access).toEqual(['db,web', 'db', '', 'web', '', ''])
    const manifests = ['bot', 'plain', 'vera', 'mallory'].map((id) => directory.manifestOf(named.principal(id)))
    expect(manifests).toEqual([MANIFEST, undefined, undefined, undefined])
  })

  it('is of one tenant: a group of the same name elsewhere is another', () => {
    const directory = of({
      persons: {
        vera: person({ groups: ['ops', 'dba'] }),
        rob: person({ groups: ['ops'], active: false }),
        gus: person({ groups: ['ops'], tenant: 'globex' }),
      },
      groups: { acme: { ops: { administrative: true }, dba: { administrative: false } } },
    })
    const group = (tenant: string, name: string) => directory.group(named.tenant(tenant), named.group(name))
    expect(group('acme', 'ops')).toEqual({ administrative: true, members: 1 })
    expect(group('acme', 'dba')).toEqual({ administrative: false, members: 1 })
    expect(group('globex', 'ops')).toEqual({ administrative: false, members: 1 })
    for (const [tenant, name] of [
      ['acme', 'constructor'],
      ['constructor', 'name'],
    ] as const)
      expect(group(tenant, name)).toEqual({ administrative: false, members: 0 })
  })

  it('is all in the digest, and what is as it is by default is not', () => {
    const ops = (more: object = {}) => ({ persons: { vera: person({ groups: ['ops'] }) }, ...more })
    const job = { workloads: { job: workload() } }
    const plain = of({ ...ops(), agents: { bot: agent() } }, job).digest
    const same = of(
      {
        persons: { vera: person({ groups: ['ops'], active: true, standingAccess: [] }) },
        agents: { bot: agent({ active: true, standingAccess: [] }) },
        groups: { acme: { ops: { administrative: false } } },
      },
      { workloads: { job: workload({ active: true, standingAccess: [] }) } },
    ).digest
    expect(same).toBe(plain)
    const others = [
      of({ persons: { vera: person({ groups: ['ops'], active: false }) }, agents: { bot: agent() } }, job),
      of({ persons: { vera: person({ groups: ['ops'], standingAccess: ['db'] }) }, agents: { bot: agent() } }, job),
      of({ ...ops(), agents: { bot: agent({ active: false }) } }, job),
      of({ ...ops(), agents: { bot: agent({ standingAccess: ['db'] }) } }, job),
      of({ ...ops(), agents: { bot: agent({ manifest: MANIFEST }) } }, job),
      of({ ...ops(), agents: { bot: agent({ manifest: MANIFEST.replace('n4', 'n5') }) } }, job),
      of({ ...ops({ groups: { acme: { ops: { administrative: true } } } }), agents: { bot: agent() } }, job),
      of({ ...ops(), agents: { bot: agent() } }, { workloads: { job: workload({ active: false }) } }),
      of({ ...ops(), agents: { bot: agent() } }, { workloads: { job: workload({ standingAccess: ['db'] }) } }),
    ].map(({ digest }) => digest)
    expect(new Set([plain, ...others]).size).toBe(others.length + 1)
  })
})

describe('workloads', () => {
  const deploy = {
    repository_id: '812345',
    environment: 'production',
    ref_protected: 'true',
    event_name: 'push',
    run_id: '7',
    sha: 'abc',
  }

  it('are told by every criterion together', async () => {
    const directory = await shippedDirectory()
    expect(directory.resolve('ci', deploy)?.principal.id).toBe('webshop-deploy')
    const { environment: _, ...build } = deploy
    expect(directory.resolve('ci', build)?.principal.id).toBe('webshop-build')
  })

  it.each<[string, Readonly<Record<string, unknown>>]>([
    ['another repository', { repository_id: '812346' }],
    ['the id as a number', { repository_id: 812345 }],
    ['the id in a list', { repository_id: ['812345'] }],
    ['the id with a space', { repository_id: '812345 ' }],
    ['the id in other digits', { repository_id: '８１２３４５' }],
    ['another environment', { environment: 'staging' }],
    ['the environment in capitals', { environment: 'Production' }],
    ['an environment that is null', { environment: null }],
    ['an environment that is empty', { environment: '' }],
    ['an unprotected branch', { ref_protected: 'false' }],
    ['a boolean where a text belongs', { ref_protected: true }],
    ['a pull request', { event_name: 'pull_request' }],
    ['a pull request from a fork', { event_name: 'pull_request_target' }],
    ['an event that is not named', { event_name: undefined }],
    ['an event that is a list', { event_name: ['push'] }],
    ['no run', { run_id: undefined }],
    ['an empty run', { run_id: '' }],
    ['a run that is a number', { run_id: 7 }],
  ])('are nobody with %s', async (_, changes) => {
    expect((await shippedDirectory()).resolve('ci', { ...deploy, ...changes })).toBeUndefined()
  })

  it('are nobody at another issuer', async () => {
    expect((await shippedDirectory()).resolve('login', deploy)).toBeUndefined()
  })

  it('that a token fits both are nobody, and the two are named', () => {
    const workload = (match: object) => ({ tenant: 'acme', sponsors: ['vera'], issuer: 'ci', match })
    const directory = directoryOf(
      { revision: 1, persons: { vera: { name: 'V', tenant: 'acme', accounts: [{ issuer: 'ci', subject: 'x' }] } } },
      { revision: 1, workloads: { one: workload({ a: '1' }), two: workload({ b: '1' }) } },
    )
    expect(directory.resolve('ci', { a: '1' })?.principal.id).toBe('one')
    expect(directory.resolve('ci', { a: '1', b: '1' })).toBeUndefined()
    expect(directory.candidates('ci', { a: '1', b: '1' })).toEqual(['one', 'two'])
    expect(directory.resolve('ci', { a: '1', sub: 'x' })).toBeUndefined()
  })

  it(
    'found at compile time to overlap are exactly those that some token fits both',
    () => {
      const claim = fc.constantFrom('a', 'b', 'c')
      const value = fc.constantFrom('1', '2')
      const criteria = fc
        .record({
          match: fc.dictionary(claim, value, { minKeys: 1, maxKeys: 2 }),
          not: fc.dictionary(
            claim,
            value.map((one) => [one]),
            { maxKeys: 1 },
          ),
          absent: fc.uniqueArray(claim, { maxLength: 1 }),
        })
        .filter(
          ({ match, not, absent }) =>
            absent.every((one) => !(one in match) && !(one in not)) &&
            Object.entries(not).every(([one, [v]]) => match[one] !== v),
        )
      const some = [undefined, '1', '2', '3']
      const tokens = some.flatMap((a) => some.flatMap((b) => some.map((c) => ({ a, b, c }))))
      fc.assert(
        fc.property(criteria, criteria, (one, two) => {
          const workload = (fields: object) => ({ tenant: 'acme', sponsors: ['vera'], issuer: 'ci', ...fields })
          const clients = compileClients(
            JSON.stringify({ revision: 1, workloads: { one: workload(one), two: workload(two) } }),
            'clients.yaml',
            () => '',
          )
          const people = compiled(
            compilePeople('revision: 1\npersons: { vera: { name: V, tenant: acme, accounts: [] } }', 'people.yaml'),
          )
          const directory = compiled(compileDirectory(people, compiled(clients)))
          const given = (token: Readonly<Record<string, string | undefined>>) =>
            Object.fromEntries(Object.entries(token).filter(([, v]) => v !== undefined))
          const overlap = tokens.some((token) => directory.candidates('ci', given(token)).length > 1)
          expect(clients.ok && clients.warnings.length > 0).toBe(overlap)
        }),
        { numRuns: 1_000 },
      )
    },
    SLOW,
  )
})

describe('the account of a resource server', () => {
  const KEYS = JSON.stringify({
    keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', alg: 'EdDSA' }],
  })
  const server = (more: object = {}) => ({
    tenant: 'acme',
    audiences: ['https://api.example'],
    jwksFile: 'api.jwks.json',
    algorithms: ['EdDSA'],
    account: { issuer: 'login', subject: 'api-account' },
    ...more,
  })
  const person = { name: 'V', tenant: 'acme', accounts: [{ issuer: 'login', subject: 'vera' }] }
  const joined = (clients: object) =>
    compileDirectory(
      compiled(compilePeople(JSON.stringify({ revision: 1, persons: { vera: person } }), 'people.yaml')),
      compiled(compileClients(JSON.stringify({ revision: 1, ...clients }), 'clients.yaml', () => KEYS)),
      { issuers: ['login', 'ci'] },
    )

  it('is found by exactly its issuer and subject, and is no principal', () => {
    const directory = compiled(joined({ resourceServers: { api: server() } }))
    expect(directory.serverOf('login', { sub: 'api-account' })?.id).toBe('api')
    for (const [issuer, claims] of [
      ['ci', { sub: 'api-account' }],
      ['login', { sub: 'API-account' }],
      ['login', { sub: ['api-account'] }],
      ['login', {}],
      ['login', { sub: 'vera' }],
    ] as const)
      expect(directory.serverOf(issuer, claims)).toBeUndefined()
    expect(directory.resolve('login', { sub: 'api-account' })).toBeUndefined()
  })

  it('is nobody’s where the token fits a workload as well', () => {
    const one = { tenant: 'acme', sponsors: ['vera'], issuer: 'login', match: { role: 'job' } }
    const directory = compiled(joined({ workloads: { one }, resourceServers: { api: server() } }))
    expect(directory.serverOf('login', { sub: 'api-account', role: 'job' })).toBeUndefined()
  })

  it.each([
    ['a person’s', { resourceServers: { api: server({ account: { issuer: 'login', subject: 'vera' } }) } }],
    [
      'a workload’s',
      {
        workloads: { one: { tenant: 'acme', sponsors: ['vera'], issuer: 'login', match: { sub: 'api-account' } } },
        resourceServers: { api: server() },
      },
    ],
    ['another’s', { resourceServers: { api: server(), desk: server({ audiences: ['https://desk.example'] }) } }],
    ['of an unknown issuer', { resourceServers: { api: server({ account: { issuer: 'nobody', subject: 'x' } }) } }],
  ])('is refused when it is %s', (_, clients) => {
    const result = joined(clients)
    expect(result.ok).toBe(false)
    expect(!result.ok && result.problems[0]?.message).toMatch(/^resourceServers\.(api|desk)\.account/)
  })

  it('is in the digest, and its absence is not', () => {
    const digests = [{ account: undefined }, {}, { account: { issuer: 'ci', subject: 'api-account' } }].map(
      (more) => compiled(joined({ resourceServers: { api: server(more) } })).digest,
    )
    expect(new Set(digests).size).toBe(3)
  })
})

describe('the digest', () => {
  it('says the same for the same directory in another order, with other comments and other names for people', () => {
    const one = `revision: 1
persons:
  vera: { name: Vera, tenant: acme, groups: [a, b], accounts: [{ issuer: login, subject: x }, { issuer: login, subject: y }] }
  rob: { name: Rob, tenant: acme, accounts: [] }
`
    const other = `# a comment
revision: 1
persons:
  rob:
    accounts: []
    tenant: acme
    name: Robert
  vera: { groups: [b, a], accounts: [{ subject: y, issuer: login }, { issuer: login, subject: x }], name: Vera, tenant: acme }
`
    const digest = (text: string) =>
      compiled(
        compileDirectory(
          compiled(compilePeople(text, 'people.yaml')),
          compiled(compileClients(NO_CLIENTS, 'clients.yaml', () => '')),
        ),
      ).digest
    expect(digest(one)).toBe(digest(other))
    expect(digest(one)).toMatch(/^sha-256:[A-Za-z0-9_-]{43}$/)
    for (const changed of [
      one.replace('[a, b]', '[a]'),
      one.replace('subject: y', 'subject: z'),
      one.replace('rob:', 'bob:'),
      one.replace('tenant: acme', 'tenant: acmo'),
    ])
      expect(digest(changed)).not.toBe(digest(one))
  })

  it('says something else for other criteria, sponsors or audiences', () => {
    const people = {
      revision: 1,
      persons: { vera: { name: 'V', tenant: 'acme', accounts: [] }, rob: { name: 'R', tenant: 'acme', accounts: [] } },
    }
    const workload = {
      tenant: 'acme',
      sponsors: ['vera'],
      issuer: 'ci',
      match: { a: '1' },
      not: { b: ['2'] },
      absent: ['c'],
      session: 'run',
      facts: ['sha'],
    }
    const digests = [
      workload,
      { ...workload, sponsors: ['rob'] },
      { ...workload, sponsors: ['rob', 'vera'] },
      { ...workload, match: { a: '2' } },
      { ...workload, not: {} },
      { ...workload, absent: [] },
      { ...workload, session: 'job' },
      { ...workload, facts: [] },
      { ...workload, issuer: 'login' },
    ].map((one) => directoryOf(people, { revision: 1, workloads: { one } }).digest)
    expect(new Set(digests).size).toBe(digests.length)
  })
})

describe('the directory', () => {
  it('knows every principal by id, and nobody else', async () => {
    const directory = await shippedDirectory()
    expect(directory.principal(named.principal('triage-agent'))).toMatchObject({
      kind: 'agent',
      sponsors: ['sam'],
      tenant: 'northwind',
    })
    expect(directory.principal(named.principal('vera'))).toMatchObject({
      kind: 'person',
      person: 'vera',
      groups: ['vendor-engineers'],
    })
    for (const id of ['mallory', '', 'constructor', '__proto__', 'vera-admin', 'webshop-api'])
      expect(directory.principal(named.principal(id))).toBeUndefined()
  })

  it('cannot be changed by whoever holds it', async () => {
    const directory = await shippedDirectory()
    const vera = directory.principal(named.principal('vera'))
    expect([
      Object.isFrozen(directory),
      Object.isFrozen(vera),
      Object.isFrozen(vera?.groups),
      Object.isFrozen(directory.persons()),
    ]).toEqual([true, true, true, true])
  })
})
