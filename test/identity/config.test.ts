// people.yaml, clients.yaml and issuers.yaml: strict, and everything that is wrong at once, with the line where it is wrong.
import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { named } from '../../src/domain/ids.ts'
import { compileClients } from '../../src/identity/clients.ts'
import type { Compiled } from '../../src/identity/config-file.ts'
import { compileDirectory } from '../../src/identity/directory.ts'
import { compileIssuers, loginFor } from '../../src/identity/issuers.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { identitySchemas } from '../../src/identity/schemas.ts'
import { compiled, shippedDirectory, someJwks } from '../support/directory.ts'

const config = (name: string): Promise<string> => readFile(new URL(`../../config/${name}`, import.meta.url), 'utf8')
const lines = (result: Compiled<unknown>): readonly number[] =>
  result.ok ? [] : result.problems.map(({ line }) => line)
const people = (text: string) => compilePeople(text, 'people.yaml')
const clients = (text: string) => compileClients(text, 'clients.yaml', someJwks)
const issuers = (text: string) => compileIssuers(text, 'issuers.yaml', someJwks)

describe('the shipped files', () => {
  it('compile without a problem or a warning, together', async () => {
    const results = [
      people(await config('people.yaml')),
      clients(await config('clients.yaml')),
      issuers(await config('issuers.yaml')),
    ]
    expect(results.map((result) => result.ok && result.warnings)).toEqual([[], [], []])
    expect((await shippedDirectory()).persons()).toHaveLength(10)
  })

  it('have examples in their comments that compile as they stand there', async () => {
    const text = (await config('people.yaml')).replace(/^( *)# (standingAccess|active|manifest|groups):/gm, '$1$2:')
    const marked = text.replace(/^# ( +(northwind|operators):)/gm, '$1')
    const directory = compiled(
      compileDirectory(compiled(people(marked)), compiled(clients(await config('clients.yaml')))),
    )
    const id = (name: string) => named.principal(name)
    expect(directory.inactive()).toEqual(['sam', 'triage-agent'])
    expect(directory.absence(id('triage-agent'))).toBe('no_active_sponsor')
    expect(directory.manifestOf(id('triage-agent'))).toBe(MANIFEST)
    expect(directory.hasStandingAccess(id('olivia'), 'payments-db')).toBe(true)
    expect(directory.group(named.tenant('northwind'), named.group('operators')).administrative).toBe(true)
  })

  it('have JSON Schemas that are in step with the code', async () => {
    for (const [name, schema] of Object.entries(identitySchemas()))
      expect([name, JSON.parse(await config(name))]).toEqual([name, JSON.parse(JSON.stringify(schema))])
  })
})

const PEOPLE = `revision: 1
persons:
  vera:
    name: Vera
    tenant: acme
    accounts:
      - { issuer: login, subject: vera }
  olivia:
    name: Olivia
    tenant: northwind
    groups: [dba]
    accounts: []
agents:
  bot:
    tenant: acme
    sponsors: [vera]
    accounts: [{ issuer: login, subject: bot }]
`

const MANIFEST = 'sha-256:n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg'

describe('people.yaml', () => {
  it('is compiled into an immutable value', () => {
    const value = compiled(people(PEOPLE))
    expect(value.persons.map(({ id }) => id)).toEqual(['vera', 'olivia'])
    expect(Object.isFrozen(value.persons[0]?.accounts[0])).toBe(true)
  })

  it('shows every problem at once, each with its line', () => {
    const text = `revision: 0
persons:
  Vera:
    name: Vera
    tenant: acme
    accounts: []
  olivia:
    name: "Olivia\\u202e"
    tenant: North Wind
    grups: [dba]
    accounts:
      - { issuer: login, subject: 7 }
      - { issuer: login, subject: "a", mail: x }
agents:
  bot:
    tenant: acme
    sponsors: []
    accounts: []
extra: true
`
    const result = people(text)
    expect([...new Set(lines(result))].sort((a, b) => a - b)).toEqual([1, 3, 8, 9, 10, 12, 13, 17, 19])
  })

  it.each([
    ['an account of two persons', PEOPLE.replace('accounts: []', 'accounts: [{ issuer: login, subject: vera }]'), 12],
    ['an account of a person and an agent', PEOPLE.replace('subject: bot', 'subject: vera'), 17],
    [
      'the same account twice in one person',
      PEOPLE.replace(
        '      - { issuer: login, subject: vera }\n',
        '      - { issuer: login, subject: vera }\n      - { issuer: login, subject: vera }\n',
      ),
      8,
    ],
    ['an unknown sponsor', PEOPLE.replace('[vera]', '[mallory]'), 16],
    ['an agent as sponsor', PEOPLE.replace('[vera]', '[bot]'), 16],
    ['the same sponsor twice', PEOPLE.replace('[vera]', '[vera, vera]'), 16],
    ['an agent with the id of a person', PEOPLE.replace('  bot:', '  olivia:'), 14],
    ['the same key twice', PEOPLE.replace('  olivia:', '  vera:'), 8],
    ['an alias', PEOPLE.replace('groups: [dba]', 'groups: *x'), 11],
    ['an anchor', PEOPLE.replace('groups: [dba]', 'groups: &x [dba]'), 11],
    ['a tag', PEOPLE.replace('name: Olivia', 'name: !!str Olivia'), 9],
    ['a merge key', PEOPLE.replace('    groups: [dba]', '    <<: { groups: [dba] }'), 11],
    ['a subject with a zero-width character', PEOPLE.replace('subject: bot', 'subject: "bot\u200b"'), 17],
    ['a subject that is a number', PEOPLE.replace('subject: bot', 'subject: 1234'), 17],
    ['a subject that is null', PEOPLE.replace('subject: bot', 'subject: ~'), 17],
    ['no revision', PEOPLE.replace('revision: 1\n', ''), 1],
    ['a revision that is a text', PEOPLE.replace('revision: 1', 'revision: "1"'), 1],
    ['a person named __proto__', PEOPLE.replace('  olivia:', '  __proto__:'), 8],
    ['broken YAML', PEOPLE.replace('groups: [dba]', 'groups: [dba'), 12],
    ['two documents', `${PEOPLE}---\n${PEOPLE}`, 18],
    ['active as a text', PEOPLE.replace('groups: [dba]', 'active: "no"'), 11],
    ['active as nothing', PEOPLE.replace('groups: [dba]', 'active: ~'), 11],
    ['a target twice', PEOPLE.replace('groups: [dba]', 'standingAccess: [db, db]'), 11],
    ['a target that is no name', PEOPLE.replace('groups: [dba]', 'standingAccess: [DB 1]'), 11],
    ['a manifest of a person', PEOPLE.replace('groups: [dba]', `manifest: ${MANIFEST}`), 11],
    ['a manifest that is no digest', PEOPLE.replace('sponsors: [vera]', 'sponsors: [vera]\n    manifest: v2'), 17],
    ['a group of no tenant', `${PEOPLE}groups:\n  dba: { administrative: true }\n`, 19],
    ['a group of which nothing is said', `${PEOPLE}groups:\n  northwind:\n    dba: {}\n`, 20],
    ['a group of which something else is said', `${PEOPLE}groups:\n  northwind:\n    dba: { owner: olivia }\n`, 20],
  ])('is refused with %s, and the line is said', (_, text, line) => {
    expect(people(text).ok).toBe(false)
    expect(lines(people(text))).toContain(line)
  })

  it.each(['', '[]', 'null', '42', '- a', '"text"'])('is refused when it is %j', (text) => {
    expect(people(text).ok).toBe(false)
  })

  it('warns of two persons whose accounts differ only as a reader would not see, and keeps them apart', () => {
    const result = people(PEOPLE.replace('accounts: []', 'accounts: [{ issuer: login, subject: VERA }]'))
    expect(result.ok && result.warnings.map(({ line }) => line)).toEqual([12])
  })
})

const CLIENTS = `revision: 1
workloads:
  deploy:
    tenant: northwind
    sponsors: [vera]
    issuer: ci
    match: { repository_id: "812345", environment: production }
    not: { event_name: [pull_request] }
    session: run_id
  build:
    tenant: northwind
    sponsors: [vera]
    issuer: ci
    match: { repository_id: "812345" }
    absent: [environment]
resourceServers:
  api:
    tenant: northwind
    audiences: [https://api.example]
    jwksFile: api.jwks.json
    algorithms: [ES256]
`

describe('clients.yaml', () => {
  it('compiles without a warning when a claim keeps the workloads apart', () => {
    const result = clients(CLIENTS)
    expect(result.ok && result.warnings).toEqual([])
  })

  it('warns of workloads that one token could match both', () => {
    const result = clients(CLIENTS.replace('    absent: [environment]\n', ''))
    expect(result.ok && result.warnings.map(({ line }) => line)).toEqual([10])
  })

  it.each([
    [
      'a name as a criterion',
      CLIENTS.replace('match: { repository_id: "812345" }', 'match: { repository: northwind/webshop }'),
      14,
    ],
    [
      'a mail address as a criterion',
      CLIENTS.replace('match: { repository_id: "812345" }', 'match: { email: a@b.example }'),
      14,
    ],
    ['no criterion', CLIENTS.replace('match: { repository_id: "812345" }', 'match: {}'), 14],
    [
      'a number as a value',
      CLIENTS.replace('match: { repository_id: "812345" }', 'match: { repository_id: 812345 }'),
      14,
    ],
    [
      'a boolean as a value',
      CLIENTS.replace('match: { repository_id: "812345" }', 'match: { ref_protected: true }'),
      14,
    ],
    ['a claim both there and absent', CLIENTS.replace('absent: [environment]', 'absent: [repository_id]'), 15],
    [
      'a claim with a value and without it',
      CLIENTS.replace('not: { event_name: [pull_request] }', 'not: { environment: [production] }'),
      8,
    ],
    ['no sponsor', CLIENTS.replace('sponsors: [vera]', 'sponsors: []'), 5],
    ['a symmetric algorithm', CLIENTS.replace('[ES256]', '[HS256]'), 21],
    ['the algorithm none', CLIENTS.replace('[ES256]', '[none]'), 21],
    ['no algorithm', CLIENTS.replace('[ES256]', '[]'), 21],
    ['no keys', CLIENTS.replace('    jwksFile: api.jwks.json\n', ''), 17],
    [
      'keys in two places',
      CLIENTS.replace('jwksFile: api.jwks.json', 'jwksFile: api.jwks.json\n    jwks: { keys: [{}] }'),
      17,
    ],
    ['a key that is none', CLIENTS.replace('jwksFile: api.jwks.json', 'jwks: { keys: [{ kty: oct, k: AAAA }] }'), 20],
    ['a resource server with the id of a workload', CLIENTS.replace('  api:', '  deploy:'), 17],
    ['a setting that does not exist', CLIENTS.replace('session: run_id', 'sesion: run_id'), 9],
    ['active as a text', CLIENTS.replace('session: run_id', 'active: "no"'), 9],
    ['a target that is no name', CLIENTS.replace('session: run_id', 'standingAccess: [DB 1]'), 9],
  ])('is refused with %s, and the line is said', (_, text, line) => {
    expect(clients(text).ok).toBe(false)
    expect(lines(clients(text))).toContain(line)
  })

  it('is refused when a file of keys cannot be read, without what the file holds', () => {
    const unreadable = compileClients(CLIENTS, 'clients.yaml', () => {
      throw new Error('no such file')
    })
    expect(lines(unreadable)).toEqual([20])
    const wrong = compileClients(CLIENTS, 'clients.yaml', () => 'do-not-repeat-this')
    expect(lines(wrong)).toEqual([20])
    expect(JSON.stringify(wrong)).not.toContain('do-not-repeat-this')
  })
})

describe('both files together', () => {
  const join = (peopleText: string, clientsText: string, names?: readonly string[]) =>
    compileDirectory(compiled(people(peopleText)), compiled(clients(clientsText)), names && { issuers: names })

  it('have a revision that is the sum of theirs, so that raising either raises it', () => {
    const at = (one: number, other: number) =>
      compiled(
        join(PEOPLE.replace('revision: 1', `revision: ${one}`), CLIENTS.replace('revision: 1', `revision: ${other}`)),
      ).revision
    expect([at(1, 1), at(2, 1), at(1, 2), at(40, 2)]).toEqual([2, 3, 3, 42])
  })

  it.each([
    ['a sponsor who is nobody', PEOPLE, CLIENTS.replace('[vera]', '[mallory]'), 5],
    ['an agent as sponsor', PEOPLE, CLIENTS.replace('[vera]', '[bot]'), 5],
    ['a workload with the id of a person', PEOPLE, CLIENTS.replace('  build:', '  vera:'), 10],
    ['a resource server with the id of an agent', PEOPLE, CLIENTS.replace('  api:', '  bot:'), 17],
    [
      "a person's account as the criterion of a workload",
      PEOPLE,
      CLIENTS.replace('issuer: ci\n    match: { repository_id: "812345" }', 'issuer: login\n    match: { sub: vera }'),
      14,
    ],
    ['an issuer of a workload that does not exist', PEOPLE, CLIENTS.replace('issuer: ci', 'issuer: cy'), 6],
    ['a group that nobody is in', `${PEOPLE}groups:\n  northwind:\n    dbas: { administrative: true }\n`, CLIENTS, 20],
    ['a group of another tenant', `${PEOPLE}groups:\n  acme:\n    dba: { administrative: true }\n`, CLIENTS, 20],
    ['an issuer of an account that does not exist', PEOPLE.replace('issuer: login', 'issuer: logim'), CLIENTS, 7],
  ])('are refused with %s, and the line is said', (_, peopleText, clientsText, line) => {
    const result = join(peopleText, clientsText, ['login', 'ci'])
    expect(result.ok).toBe(false)
    expect(lines(result)).toContain(line)
  })
})

const ISSUERS = `issuers:
  login:
    url: https://login.example
    discovery: true
    algorithms: [ES256]
    types: [at+jwt]
  ci:
    url: https://ci.example
    jwksUri: https://ci.example/jwks
    types: [JWT]
    clockTolerance: 2s
`

describe('issuers.yaml', () => {
  it('has strict defaults', () => {
    const [login, ci] = compiled(issuers(ISSUERS))
    expect(login).toMatchObject({
      name: 'login',
      audience: undefined,
      keys: { from: 'discovery' },
      clockTolerance: 5_000,
      ignoredHeaders: [],
    })
    expect(ci).toMatchObject({
      algorithms: ['ES256', 'RS256', 'PS256', 'EdDSA'],
      clockTolerance: 2_000,
      keys: { from: 'address' },
    })
    expect(Object.isFrozen(ci?.algorithms)).toBe(true)
  })

  it('takes pinned keys from a file', () => {
    const [login] = compiled(issuers(ISSUERS.replace('discovery: true', 'jwksFile: login.jwks.json')))
    expect(login?.keys.from).toBe('file')
  })

  it('sends the command line to one issuer at most, and asks for a token for the broker', () => {
    const text = ISSUERS.replace('    discovery: true', '    discovery: true\n    cli: { clientId: writ-cli }')
    const login = {
      issuer: 'https://login.example',
      clientId: 'writ-cli',
      scope: 'openid',
      resource: 'https://writ.example',
    }
    expect(loginFor(compiled(issuers(text)), 'https://writ.example')).toEqual(login)
    expect(loginFor(compiled(issuers(ISSUERS)), 'https://writ.example')).toBeUndefined()
    const two = text.replace('    types: [JWT]', '    types: [JWT]\n    cli: { clientId: other }')
    expect(lines(issuers(two))).toHaveLength(1)
  })

  it('takes plain http in development only', () => {
    const text = ISSUERS.replace('https://login.example', 'http://127.0.0.1:3000')
    expect(lines(issuers(text))).toEqual([3])
    expect(compileIssuers(text, 'issuers.yaml', someJwks, { dev: true }).ok).toBe(true)
  })

  it.each([
    ['none', ISSUERS.replace('[ES256]', '[none]'), 5],
    ['a symmetric algorithm', ISSUERS.replace('[ES256]', '[ES256, HS256]'), 5],
    ['no algorithm', ISSUERS.replace('[ES256]', '[]'), 5],
    ['no type', ISSUERS.replace('[at+jwt]', '[]'), 6],
    ['no type setting', ISSUERS.replace('    types: [JWT]\n', ''), 7],
    ['two issuers with one URL', ISSUERS.replace('https://ci.example\n', 'https://login.example\n'), 8],
    ['no source of keys', ISSUERS.replace('    discovery: true\n', ''), 2],
    ['two sources of keys', ISSUERS.replace('jwksUri:', 'discovery: true\n    jwksUri:'), 7],
    ['discovery: false', ISSUERS.replace('discovery: true', 'discovery: false'), 4],
    ['more tolerance than 5 seconds', ISSUERS.replace('2s', '6s'), 11],
    ['a tolerance that is a number', ISSUERS.replace('2s', '2'), 11],
    ['a URL in capitals', ISSUERS.replace('https://ci.example\n', 'https://CI.example\n'), 8],
    ['a URL with a query', ISSUERS.replace('https://ci.example\n', 'https://ci.example/?a\n'), 8],
    ['a URL with a user', ISSUERS.replace('https://ci.example\n', 'https://u@ci.example\n'), 8],
    ['a file as a URL', ISSUERS.replace('https://ci.example/jwks', 'file:///etc/passwd'), 9],
    ['crit as an ignored header', ISSUERS.replace('clockTolerance: 2s', 'ignoredHeaders: [crit]'), 11],
    ['jku as an ignored header', ISSUERS.replace('clockTolerance: 2s', 'ignoredHeaders: [jku]'), 11],
    ['no issuer', 'issuers: {}\n', 1],
  ])('is refused with %s, and the line is said', (_, text, line) => {
    expect(issuers(text).ok).toBe(false)
    expect(lines(issuers(text))).toContain(line)
  })
})
