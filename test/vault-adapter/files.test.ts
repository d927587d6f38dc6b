// What is read and checked before anything is asked of Vault: the environment, backends.yaml, names and statements.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { grantId, mintId, named, shard } from '../../src/domain/ids.ts'
import { type CompiledBackends, compileBackends } from '../../src/vault/backends.ts'
import { assertSafeEnvironment, unsafeEnvironment } from '../../src/vault/environment.ts'
import { displayName, isMount, isSegment, loginName, policyName, roleName } from '../../src/vault/names.ts'
import { databaseStatements } from '../../src/vault/statements.ts'

describe('the environment', () => {
  it.each([
    { VAULT_SKIP_VERIFY: 'false' },
    { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    { DEBUG: '*' },
    { DEBUG: 'express:*,node-vault' },
    { DEBUG: 'node-*' },
    { DEBUG: 'ioredis:redis' },
    { DEBUG: 'IOREDIS:*' },
    { DEBUG: 'axios' },
    { NODE_DEBUG: 'fs,http' },
    { NODE_DEBUG: 'HTTP*' },
    { NODE_DEBUG: 'tls' },
    { NODE_OPTIONS: '--max-old-space-size=512 --tls-keylog=/tmp/keys' },
  ])('is refused with %j', (env) => {
    expect(unsafeEnvironment(env)).toHaveLength(1)
    expect(() => assertSafeEnvironment(env)).toThrow(Object.keys(env)[0])
  })

  it.each([
    {},
    { VAULT_SKIP_VERIFY: '' },
    { DEBUG: 'express:*,bullmq,-ioredis:*' },
    { NODE_DEBUG: 'fs' },
    { NODE_TLS_REJECT_UNAUTHORIZED: '1' },
  ])('is fine with %j', (env) => {
    expect(unsafeEnvironment(env)).toEqual([])
    assertSafeEnvironment(env)
  })

  it('names every problem at once and no value', () => {
    const env = { VAULT_SKIP_VERIFY: 'canary-value', DEBUG: '*' }
    expect(() => assertSafeEnvironment(env)).toThrow(/VAULT_SKIP_VERIFY[\s\S]*DEBUG/)
    expect(unsafeEnvironment(env).join()).not.toContain('canary-value')
  })
})

describe('backends.yaml', () => {
  const compile = (text: string, plainHttp = false): CompiledBackends =>
    compileBackends(text, {
      file: '/etc/writ/backends.yaml',
      plainHttp,
      readFile: (path) => {
        if (path !== '/etc/writ/ca.pem') throw new Error('absent')
        return 'a certificate'
      },
    })
  const minimal = `backends:
  vault-main:
    kind: vault
    address: https://vault.example:8200/
    caFile: ca.pem
    roleIdFile: role-id
    secretIdFile: /run/secrets/secret-id
    probes:
      payments: { host: db.example, database: payments, user: probe, passwordFile: probe, tls: { caFile: ca.pem } }
`
  const problemsOf = (compiled: CompiledBackends) =>
    compiled.ok ? [] : compiled.problems.map(({ line, message }) => [line, message.split(':')[0]])

  it('becomes complete settings, with paths from its own folder', () => {
    const compiled = compile(minimal)
    if (!compiled.ok) return expect.fail(JSON.stringify(compiled.problems))
    expect(compiled.value.get('vault-main')).toMatchObject({
      address: 'https://vault.example:8200',
      ca: 'a certificate',
      namespace: undefined,
      appRoleMount: 'approle',
      roleIdFile: '/etc/writ/role-id',
      secretIdFile: '/run/secrets/secret-id',
      tokenRole: 'writ',
      callTimeoutMs: 5_000,
    })
    expect(compiled.value.get('vault-main')?.probes.get('payments')).toEqual({
      host: 'db.example',
      port: 5_432,
      database: 'payments',
      user: 'probe',
      passwordFile: '/etc/writ/probe',
      tls: { ca: 'a certificate' },
      timeoutMs: 4_000,
    })
  })

  it('is read from the example that is shipped', () => {
    const file = new URL('../../config/backends.yaml', import.meta.url)
    const compiled = compileBackends(readFileSync(file, 'utf8'), {
      file: file.pathname,
      plainHttp: false,
      readFile: () => '',
    })
    expect(compiled).toMatchObject({ ok: true })
  })

  it('says everything that is wrong with it at once, each with its line', () => {
    const text = `backends:
  vault-main:
    kind: vault
    address: https://user:password@vault.example/path
    roleIdFile: role-id
    secretIdFile: secret-id
    callTimeoutMs: 60000
    skipVerify: true
    probes:
      payments: { host: 'a host', database: payments, user: probe, passwordFile: probe }
`
    expect(problemsOf(compile(text))).toEqual([
      [4, 'backends.vault-main.address'],
      [7, 'backends.vault-main.callTimeoutMs'],
      [10, 'backends.vault-main.probes.payments.host'],
      [8, 'backends.vault-main.skipVerify'],
    ])
  })

  it('refuses to send secrets in the clear to another machine, unless it is told that this is dev', () => {
    const plain = minimal.replace('https:', 'http:').replace(', tls: { caFile: ca.pem }', '')
    expect(problemsOf(compile(plain))).toEqual([
      [4, 'backends.vault-main.address'],
      [9, 'backends.vault-main.probes.payments'],
    ])
    expect(compile(plain, true).ok).toBe(true)
    expect(compile(plain.replace('vault.example', '127.0.0.1').replace('db.example', 'localhost')).ok).toBe(true)
  })

  it.each([
    ['a file that cannot be read', minimal.replace('caFile: ca.pem\n', 'caFile: absent.pem\n')],
    ['the same key twice', `${minimal}backends: {}\n`],
    ['an anchor', minimal.replace('kind: vault', 'kind: &k vault')],
    ['a tag', minimal.replace('kind: vault', 'kind: !!str vault')],
    ['another kind', minimal.replace('kind: vault', 'kind: aws')],
    ['a connection that is no path segment', minimal.replace('payments: {', '"../payments": {')],
    ['no YAML', 'backends: ['],
    ['nothing', ''],
  ])('refuses %s', (_, text) => {
    expect(compile(text).ok).toBe(false)
  })
})

describe('names and statements', () => {
  const grant = grantId(shard(9_999), 'abcdefghijklmnopqrstuvwxyz'.slice(0, 26))
  const mint = mintId(grant, 999)

  it('find everything of a mint from its ids, within what PostgreSQL keeps of a name', () => {
    const entitlement = named.entitlement('payments-migrator')
    expect(roleName(entitlement, mint)).toBe(`writ-payments-migrator-${mint}`)
    expect(policyName(entitlement)).toBe('writ-grant-payments-migrator')
    expect(loginName(mint)).toBe(`writ-${displayName(mint)}`)
    expect(loginName(mint).length).toBeLessThanOrEqual(63)
    expect(isSegment(roleName(named.entitlement('a'.repeat(32)), mint))).toBe(true)
  })

  it.each(['', '..', 'a/b', 'a%2fb', 'a.b', '*', '+', '-a', 'a b', 'ä', 'a\n'])(
    'never take %j as a part of a path',
    (text) => {
      expect(isSegment(text)).toBe(false)
    },
  )

  it.each(['team/database', 'database'])('take %j as a mount', (text) => expect(isMount(text)).toBe(true))
  it.each(['', '/database', 'a//b', 'a/../b'])('do not take %j as a mount', (text) => expect(isMount(text)).toBe(false))

  it('are pinned: the bytes that Vault is asked to run do not change unnoticed', () => {
    const { creation, revocation } = databaseStatements('payments_migrator', 'payments_owner')
    expect(creation).toMatchSnapshot()
    expect(revocation).toMatchSnapshot()
  })

  it.each(['', 'a"b', 'a b', "a'; DROP", '{{name}}', 'a'.repeat(64)])('never take %j as a role', (name) => {
    expect(() => databaseStatements(name, 'owner')).toThrow(RangeError)
    expect(() => databaseStatements('granted', name)).toThrow(RangeError)
  })
})
