// `writ policy` on the shipped configuration and on broken copies of it: the same verdicts and the same problems as the broker's own.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { runOn } from './bench.ts'

const CONFIG = fileURLToPath(new URL('../../config', import.meta.url))
let home: string
let folder: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'writ-policy-'))
  folder = join(home, 'config')
  cpSync(CONFIG, folder, { recursive: true })
})
afterEach(() => rmSync(home, { recursive: true }))

const run = async (...args: readonly string[]) => {
  const { code, out, err } = await runOn(['policy', ...args, '--json'], {}, home)
  return { code, err, answer: out === '' ? undefined : JSON.parse(out) }
}
const change = (name: string, from: string, to: string): void => {
  const text = readFileSync(join(folder, name), 'utf8')
  expect(text).toContain(from)
  writeFileSync(join(folder, name), text.replace(from, to))
}
const cases = (text: string): void => writeFileSync(join(folder, 'tests', 'guards.yaml'), text)

describe('writ policy check', () => {
  it('takes the shipped files, says that their forge is one for development, and which keys are not here', async () => {
    const { code, answer } = await run('check', CONFIG)
    expect(code).toBe(EXIT.ok)
    expect(answer).toMatchObject({ ok: true, problems: [], revision: 1 })
    expect(answer.warnings.map(({ file }: { readonly file: string }) => file)).toEqual([
      expect.stringContaining('forges.yaml'),
      expect.stringContaining('webshop-api.jwks.json'),
      expect.stringContaining('desk-api.jwks.json'),
      expect.stringContaining('reports-api.jwks.json'),
    ])
  })
  it('tells every problem of every file, with its line', async () => {
    change('entitlements.yaml', 'maxDuration: 8h', 'maxDurations: 8h')
    change('people.yaml', 'tenant: acme', 'tenants: acme')
    change('backends.yaml', 'kind: vault', 'kind: vaults')
    const { code, answer } = await run('check', folder)
    expect(code).toBe(EXIT.refused)
    const lines = answer.problems.map(
      ({ file, line }: { readonly file: string; readonly line: number }) =>
        `${file.slice(folder.length + 1)}:${line > 1}`,
    )
    expect(new Set(lines)).toEqual(new Set(['entitlements.yaml:true', 'people.yaml:true', 'backends.yaml:true']))
  })
  it('sees a backend that no file has, and takes a folder without backends', async () => {
    change('entitlements.yaml', 'backend: vault-main', 'backend: vault-other')
    expect((await run('check', folder)).code).toBe(EXIT.refused)
    rmSync(join(folder, 'backends.yaml'))
    expect((await run('check', folder)).code).toBe(EXIT.ok)
  })
  it('takes files from elsewhere, and http in development alone', async () => {
    const issuers = join(home, 'issuers.yaml')
    writeFileSync(
      issuers,
      readFileSync(join(folder, 'issuers.yaml'), 'utf8').replace(
        'https://login.northwind.example',
        'http://127.0.0.1:3000',
      ),
    )
    expect((await run('check', folder, '--issuers', issuers)).code).toBe(EXIT.refused)
    expect((await run('check', folder, '--issuers', issuers, '--dev')).code).toBe(EXIT.ok)
  })
  it('takes accounts at forges of the folder or of elsewhere, and a folder without forges', async () => {
    change('people.yaml', '- { issuer: login, subject: dana }', '- { issuer: code, subject: "101" }')
    expect((await run('check', folder)).code).toBe(EXIT.refused)
    const forges = join(home, 'forges.yaml')
    writeFileSync(forges, 'forges:\n  code: { kind: github, api: https://api.github.com, tokenFile: token }\n')
    expect((await run('check', folder, '--forges', forges)).code).toBe(EXIT.ok)
    expect((await run('check', folder, '--forges', join(home, 'nowhere.yaml'))).code).toBe(EXIT.refused)
    change('people.yaml', '- { issuer: code, subject: "101" }', '- { issuer: login, subject: dana }')
    rmSync(join(folder, 'forges.yaml'))
    expect((await run('check', folder)).code).toBe(EXIT.ok)
  })
  it('does not take a folder that is not there', async () => {
    expect((await run('check', join(home, 'nowhere'))).code).toBe(EXIT.refused)
  })
})

describe('writ policy test', () => {
  it('holds for the shipped cases', async () => {
    const { code, answer } = await run('test', CONFIG)
    expect(answer.cases.filter(({ holds }: { readonly holds: boolean }) => !holds)).toEqual([])
    expect(answer.cases.length).toBeGreaterThan(5)
    expect(code).toBe(EXIT.ok)
  })
  it('fails when a rule is taken away, and says what was seen instead', async () => {
    const guards = readFileSync(join(folder, 'guards.cedar'), 'utf8')
    writeFileSync(join(folder, 'guards.cedar'), guards.replace(/@id\("soc-revokes"\)[\s\S]*?;\n/, ''))
    const { code, answer } = await run('test', folder)
    expect(code).toBe(EXIT.refused)
    expect(answer.cases.filter(({ holds }: { readonly holds: boolean }) => !holds)).toMatchObject([
      { name: 'the SOC ends what it did not ask for', seen: 'deny, by no rule permits it' },
    ])
  })
  const one = (members: string): string =>
    `cases:\n  - name: one\n    principal: dana\n    entitlement: sales-report\n    action: Request\n    expect: allow\n${members}`
  it.each([
    ['a rule that did not decide', one('    because: [soc-revokes]\n'), 1],
    ['an unknown member', one('    expects: deny\n'), 0],
    ['nobody', one('').replace('dana', 'mallory'), 0],
    ['an unknown entitlement', one('').replace('sales-report', 'sales'), 0],
    ['an unknown action of the entitlement', one('    ask: { actions: [report.write] }\n'), 0],
    ['an unknown action', one('').replace('Request', 'Ask'), 0],
    ['a duration that is none', one('    ask: { duration: long }\n'), 0],
    ['no case', 'cases: []\n', 0],
  ])('does not hold for a case with %s', async (_, text, ran) => {
    cases(text)
    const { code, answer } = await run('test', folder)
    expect(code).toBe(EXIT.refused)
    expect([answer.cases.length, answer.ok]).toEqual([ran, false])
  })
  it('asks with what the case says, so that guards on the asking are tested', async () => {
    const guard = `@id("transfers-never") forbid (principal, action == Action::"Request", resource) when { context has ask && context.ask.impact.externalTransfer };\n`
    writeFileSync(join(folder, 'guards.cedar'), `${readFileSync(join(folder, 'guards.cedar'), 'utf8')}\n${guard}`)
    cases(
      `${one('')}${one('    ask: { impact: { externalTransfer: true } }\n').replace('cases:\n', '').replace('expect: allow', 'expect: deny')}    because: [transfers-never]\n`,
    )
    expect((await run('test', folder)).answer).toMatchObject({ ok: true, cases: [{ holds: true }, { holds: true }] })
  })
  it('is not content with nothing to test', async () => {
    rmSync(join(folder, 'tests'), { recursive: true })
    expect((await run('test', folder)).code).toBe(EXIT.refused)
    mkdirSync(join(folder, 'tests'))
    expect((await run('test', folder)).code).toBe(EXIT.refused)
  })
})
