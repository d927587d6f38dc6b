// `--check` says everything that would stop the start, and opens nothing: no service runs here.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { check } from '../../src/check.ts'
import { certificateFor } from '../support/certificate.ts'
import { someJwks } from '../support/directory.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const all = mkdtempSync(join(tmpdir(), 'writ-check-'))
afterAll(() => rmSync(all, { recursive: true }))
let folder: string
let env: Record<string, string>

beforeEach(() => {
  folder = mkdtempSync(join(all, 'config-'))
  cpSync(join(ROOT, 'config'), folder, { recursive: true })
  mkdirSync(join(folder, 'resource-servers'))
  for (const [, file = ''] of readFileSync(join(folder, 'clients.yaml'), 'utf8').matchAll(/jwksFile: (\S+)/g))
    writeFileSync(join(folder, file), someJwks())
  env = {
    WRIT_PUBLIC_URL: 'https://broker.example',
    // Nothing listens there; nobody asks.
    WRIT_REDIS_URL: 'redis://127.0.0.1:1',
    WRIT_DATA_DIR: join(folder, 'data'),
    WRIT_KEYS_DIR: join(folder, 'keys'),
    WRIT_CONFIG_DIR: folder,
    WRIT_VAULT: 'off',
  }
})
const edit = (file: string, from: string, to: string): void => {
  const text = readFileSync(join(folder, file), 'utf8')
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
  writeFileSync(join(folder, file), text.replace(from, to))
}
const said = (): string => check(env).said.join('\n')
const run = (...options: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'src/main.ts'), ...options], {
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
    cwd: ROOT,
  })
  return { status, stdout, stderr }
}

describe('a verifier that may remember for less than a status list is kept', () => {
  it('stops nothing, and the line is named: its tokens name no list', () => {
    env.WRIT_STATUS_TTL = '2m'
    edit('entitlements.yaml', 'kind: jwt', 'kind: jwt, verifierCache: 10s')
    expect(check(env).ok).toBe(true)
    expect(said()).toMatch(
      /entitlements\.yaml:\d+: entitlements\.\S+\.credential\.verifierCache: shorter .*\(WRIT_STATUS_TTL, 2m\)/,
    )
    env.WRIT_STATUS_TTL = '10s'
    expect(said()).not.toContain('10s')
  })

  it('is no news where everybody introspects', () => {
    edit('entitlements.yaml', 'kind: jwt', 'kind: jwt, verifierCache: 0s')
    expect(said()).not.toContain('WRIT_STATUS_TTL')
  })
})

describe('forges, where WRIT_FORGES_FILE names them', () => {
  const lines = (): readonly string[] => said().match(/[a-z-]+\.yaml:\d+/g) ?? []
  beforeEach(() => {
    env.WRIT_FORGES_FILE = join(folder, 'forges.yaml')
    edit('people.yaml', '- { issuer: login, subject: dana }', '- { issuer: forge, subject: "101" }')
  })

  it('are names that an account can have, and only then', () => {
    expect(check(env).ok).toBe(true)
    delete env.WRIT_FORGES_FILE
    expect(check(env).ok).toBe(false)
    expect(lines()).toEqual([expect.stringMatching(/^people/)])
  })

  it('let no workload in', () => {
    edit('clients.yaml', 'issuer: ci', 'issuer: forge')
    expect(check(env).ok).toBe(false)
    expect(said()).toContain("there is no issuer 'forge'")
  })

  it('have no name that an issuer has', () => {
    edit('forges.yaml', '\n  forge:\n', '\n  ci:\n')
    expect(lines()).toContainEqual(expect.stringMatching(/^forges/))
  })

  it('are told about with everything else that is wrong', () => {
    edit('forges.yaml', 'kind: file', 'kind: files')
    edit('entitlements.yaml', '    tier: low\n', '    tier: low\n    colour: blue\n')
    // The accounts at a forge that could not be read are not told as wrong.
    expect(new Set(lines().map((line) => line.split('.')[0]))).toEqual(new Set(['forges', 'entitlements']))
  })

  it('must have the forge and a repository of every release', () => {
    const scopes = '    scopes: ["commit:*"]\n'
    const release = '    release: { forge: forge, repository: northwind/payments, scope: commit }\n'
    edit('entitlements.yaml', scopes, `${scopes}${release}`)
    expect(check(env).ok).toBe(true)
    edit('entitlements.yaml', 'forge: forge', 'forge: gitea')
    expect(said()).toContain('.release.forge: there is no forge gitea')
    edit('entitlements.yaml', 'forge: gitea, repository: northwind/payments', 'forge: forge, repository: payments')
    expect(said()).toContain('.release.repository: ')
  })

  it('must be there', () => {
    env.WRIT_FORGES_FILE = join(folder, 'not-there.yaml')
    expect(lines()).toContainEqual(expect.stringMatching(/^not-there/))
  })
})

describe('node src/main.ts --check', () => {
  it('exits 0 where broker and files can be used, and makes nothing', () => {
    const before = readdirSync(folder)
    expect(run('--check')).toMatchObject({ status: 0, stdout: 'settings and files can be used\n' })
    expect(readdirSync(folder)).toEqual(before)
  })

  it('exits 1 with the problems of the settings and of every file', () => {
    delete env.WRIT_PUBLIC_URL
    edit('entitlements.yaml', '    tier: low\n', '    tier: low\n    colour: blue\n')
    edit('people.yaml', '    groups: [dba]', '    groups: dba')
    const { status, stdout, stderr } = run('--check')
    expect([status, stdout]).toEqual([1, ''])
    for (const part of ['WRIT_PUBLIC_URL: ', `${folder}/entitlements.yaml:`, `${folder}/people.yaml:`])
      expect(stderr).toContain(part)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('is the only option there is', () => {
    expect([run('--chek').status, run('--check', 'more').status]).toEqual([1, 1])
  })
})

describe('the check', () => {
  it('is content with the shipped files', () => {
    expect(check(env)).toMatchObject({ ok: true })
  })

  it('reads no file where the settings that name them are wrong', () => {
    expect(check({ ...env, WRIT_MODE: 'x', WRIT_CONFIG_DIR: join(folder, 'not-there') }).said).toHaveLength(1)
  })

  it('wants backends that can be read where there are backends', () => {
    env.WRIT_VAULT = 'on'
    env.WRIT_BACKENDS_FILE = join(folder, 'not-there.yaml')
    expect(said()).toContain('not-there.yaml:1: this file cannot be read')
    delete env.WRIT_BACKENDS_FILE
    edit('backends.yaml', 'backends:', 'backend:')
    edit('people.yaml', '    groups: [dba]', '    groups: dba')
    expect(said()).toMatch(/backends\.yaml:\d+: [\s\S]*people\.yaml:\d+: /)
  })

  it('wants a first operator who is a person of the directory', () => {
    for (const [id, ok] of [
      ['oscar', true],
      ['vera', true],
      ['vera-agent', false],
      ['webshop-deploy', false],
      ['nobody', false],
    ] as const) {
      env.WRIT_FIRST_OPERATOR = id
      expect([id, check(env).ok, said().includes(`people.yaml:1: has no person '${id}'`)]).toEqual([id, ok, !ok])
    }
  })

  it('lets whoever the policy names be switched off, and says what is missing then', () => {
    env.WRIT_FIRST_OPERATOR = 'olivia'
    edit('people.yaml', '\n  olivia:\n', '\n  olivia:\n    active: false\n')
    const { ok, said } = check(env)
    expect(ok).toBe(true)
    expect(said.length).toBeGreaterThan(0)
    for (const warning of said) expect(warning).toMatch(/entitlements\.yaml:\d+: olivia is no longer active/)
  })

  it('says where standing access is declared to a target that nothing is about', () => {
    edit('people.yaml', '\n  olivia:\n', '\n  olivia:\n    standingAccess: [payments-db, payment-db]\n')
    const line = readFileSync(join(folder, 'people.yaml'), 'utf8')
      .split('\n')
      .findIndex((text) => text.includes('payment-db]'))
    const path = 'persons.olivia.standingAccess.1'
    expect(check(env)).toEqual({
      ok: true,
      said: [`${folder}/people.yaml:${line + 1}: ${path}: no entitlement is about a target 'payment-db'`],
    })
  })

  it('wants a certificate that can be used', () => {
    const [one, other] = [certificateFor('writ.example'), certificateFor('writ.example')]
    env.WRIT_TLS_CERT_FILE = join(folder, 'tls.crt')
    env.WRIT_TLS_KEY_FILE = join(folder, 'tls.key')
    expect(said()).toContain('tls.crt:1: ')
    writeFileSync(env.WRIT_TLS_CERT_FILE, one.cert)
    writeFileSync(env.WRIT_TLS_KEY_FILE, other.key)
    expect(said()).toContain('ERR_OSSL_X509_KEY_VALUES_MISMATCH')
    writeFileSync(env.WRIT_TLS_KEY_FILE, one.key)
    expect(check(env).ok).toBe(true)
  })
})
