// forges.yaml and the file of a forge that is one: what would ask the wrong place, or let anybody in, is told with its line.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { compileForges, forgesSchema } from '../../src/forge/config.ts'
import { compileChanges } from '../../src/forge/file.ts'
import { openForges } from '../../src/forge/forges.ts'
import { codeOf } from '../support/code-of.ts'
import { configText } from '../support/config-text.ts'
import { compiled } from '../support/directory.ts'

const SHIPPED = configText('forges.yaml')
const CHANGES = configText('forge-changes.yaml')
const files: Readonly<Record<string, string>> = {
  '/etc/writ/forge-changes.yaml': CHANGES,
  '/etc/writ/bad-changes.yaml': CHANGES.replace('"102": rob', '"102": [rob]'),
  '/etc/ssl/northwind-ca.pem': 'the certificate',
}
const compile = (text: string, { dev = false, issuers = ['login', 'ci'] } = {}) =>
  compileForges(text, {
    file: '/etc/writ/forges.yaml',
    dev,
    issuers,
    readFile: (path) => {
      const found = files[path]
      if (found === undefined) throw new Error('no such file')
      return found
    },
  })
const linesOf = (text: string, options?: Parameters<typeof compile>[1]) => {
  const result = compile(text, options)
  return result.ok ? [] : result.problems.map(({ file, line }) => `${file}:${line}`)
}
const at = (line: number): string => `/etc/writ/forges.yaml:${line}`
const github = (...lines: readonly string[]): string =>
  ['forges:', '  hub:', '    kind: github', ...lines.map((line) => `    ${line}`), ''].join('\n')
const API = 'api: https://api.github.com'
const TOKEN = 'tokenFile: token'

describe('forges.yaml', () => {
  it('can be used as it is shipped, also with its examples put in, and the schema takes both', () => {
    const examples = SHIPPED.replaceAll(/^ {2}# ( *\w+:.*)$/gm, '  $1')
    const all = compiled(compile(examples, { dev: true }))
    expect([...all.keys()]).toEqual(['forge', 'github', 'gitlab'])
    expect(all.get('gitlab')).toEqual({
      kind: 'gitlab',
      name: 'gitlab',
      api: 'https://gitlab.example.com/api/v4',
      tokenFile: '/run/secrets/gitlab-token',
      ca: 'the certificate',
    })
    const validate = new Ajv2020({ strict: false }).compile(forgesSchema())
    for (const text of [SHIPPED, examples]) expect(validate(parse(text)), JSON.stringify(validate.errors)).toBe(true)
  })

  it('finds files beside itself', () => {
    expect(compiled(compile(github(API, TOKEN))).get('hub')).toMatchObject({ tokenFile: '/etc/writ/token' })
  })

  it('warns outside development that whoever writes a file says who the authors are', () => {
    const warned = (dev: boolean) => {
      const result = compile(SHIPPED, { dev })
      return result.ok ? result.warnings.length : 'refused'
    }
    expect([warned(true), warned(false)]).toEqual([0, 1])
  })

  it.each([
    ['a kind that there is not', 'forges:\n  hub:\n    kind: gitea\n', 3],
    ['no address', github(TOKEN), 2],
    ['no token', github(API), 2],
    ['an unknown member', github(API, TOKEN, 'user: writ'), 6],
    ['a token in the address', github('api: https://writ:secret@api.github.com', TOKEN), 4],
    ['a slash at the end', github('api: https://ghe.example/api/v3/', TOKEN), 4],
    ['a query', github('api: https://ghe.example/api?x=1', TOKEN), 4],
    ['another spelling of a host', github('api: https://API.github.com', TOKEN), 4],
    ['another scheme', github('api: ftp://api.github.com', TOKEN), 4],
    ['plain http', github('api: http://127.0.0.1:80', TOKEN), 4],
    ['a certificate that cannot be read', github(API, TOKEN, 'caFile: none.pem'), 6],
    ['a file that cannot be read', 'forges:\n  dev:\n    kind: file\n    file: none.yaml\n', 4],
    ['a name in capitals', 'forges:\n  Hub:\n    kind: file\n    file: forge-changes.yaml\n', 2],
    ['an alias', 'forges: &a\n  hub: *a\n', 2],
  ])('is refused with %s, and the line is said', (_, text, line) => {
    expect(linesOf(text)).toContain(at(line))
  })

  it('takes plain http in development to this machine alone', () => {
    expect(linesOf(github('api: http://127.0.0.1:8080/api/v3', TOKEN), { dev: true })).toEqual([])
    expect(linesOf(github('api: http://[::1]:8080', TOKEN), { dev: true })).toEqual([])
    for (const host of ['forge.example', '10.0.0.1', '127.0.0.1.evil.example'])
      expect(linesOf(github(`api: http://${host}`, TOKEN), { dev: true })).toEqual([at(4)])
  })

  it('is refused where a forge has the name of an issuer', () => {
    expect(linesOf(github(API, TOKEN), { issuers: ['login', 'hub'] })).toEqual([at(2)])
  })

  it('is refused with what is wrong in a file of changes, at its own place', () => {
    const text = 'forges:\n  dev:\n    kind: file\n    file: bad-changes.yaml\n'
    expect(linesOf(text, { dev: true })).toEqual(['/etc/writ/bad-changes.yaml:5'])
  })
})

describe('a file of changes', () => {
  const change = (...lines: readonly string[]): string =>
    [
      'users: { "1": dana, "2": rob }',
      'changes:',
      `  northwind/shop@${'a'.repeat(40)}:`,
      ...lines.map((l) => `    ${l}`),
    ].join('\n')
  const whole = ['author: ["1"]', 'pusher: ["1"]', 'opener: ["1"]', 'merger: ["2"]']

  it('names the users with their roles', () => {
    const [authors] = [...compiled(compileChanges(change(...whole), 'c.yaml', 'dev')).values()]
    expect(authors).toEqual([
      { account: { issuer: 'dev', subject: '1' }, login: 'dana', roles: ['author', 'pusher', 'opener'] },
      { account: { issuer: 'dev', subject: '2' }, login: 'rob', roles: ['merger'] },
    ])
  })

  it.each([
    ['nobody who opened it', change(...whole.filter((line) => !line.startsWith('opener'))), 3],
    ['an empty list', change(...whole.slice(0, 3), 'merger: []'), 7],
    ['a user id that is a number', change(...whole.slice(0, 3), 'merger: [2]'), 7],
    ['a user who is not there', change(...whole.slice(0, 3), 'merger: ["3"]'), 7],
    ['the same user twice', change(...whole.slice(0, 3), 'merger: ["2", "2"]'), 7],
    ['a role that there is not', change(...whole, 'reviewer: ["2"]'), 8],
    ['a shortened commit', change(...whole).replace('a'.repeat(40), 'aaaaaaa'), 3],
    ['a commit in capitals', change(...whole).replace('a'.repeat(40), 'A'.repeat(40)), 3],
    ['no repository', change(...whole).replace('northwind/shop@', '@'), 3],
    ['a repository without its owner', change(...whole).replace('northwind/shop@', 'shop@'), 3],
  ])('is refused with %s, and the line is said', (_, text, line) => {
    const result = compileChanges(text, 'c.yaml', 'dev')
    expect(result.ok ? [] : result.problems.map((problem) => problem.line)).toContain(line)
  })

  it('is read at each question: what is added counts at once, and a broken file answers nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'writ-changes-'))
    afterAll(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'changes.yaml')
    const table = new Map([['dev', { kind: 'file' as const, name: 'dev', file }]])
    const forges = openForges({ table: () => table, ticks: () => 0 })
    const ask = () => codeOf(forges.authorsOf({ forge: 'dev', repository: 'northwind/shop', sha: 'a'.repeat(40) }))
    expect(await ask()).toBe('forge_unavailable')
    writeFileSync(file, 'users: {}\nchanges: {}\n')
    expect(await ask()).toBe('authors_unknown')
    writeFileSync(file, change(...whole))
    expect(await ask()).toBe('accepted')
    writeFileSync(file, 'users: {}\nchanges:\n  x: [')
    expect(await ask()).toBe('forge_unavailable')
  })

  it('is shipped with changes that a forge by its name answers', async () => {
    const config = resolve(import.meta.dirname, '../../config')
    const file = join(config, 'forges.yaml')
    const table = compiled(
      compileForges(SHIPPED, { file, dev: true, issuers: [], readFile: (path) => readFileSync(path, 'utf8') }),
    )
    const forges = openForges({ table: () => table, ticks: () => 0 })
    const shas = [...CHANGES.matchAll(/payments@([0-9a-f]{40})/g)].map(([, sha = '']) => sha)
    expect(shas).toHaveLength(2)
    for (const sha of shas)
      expect(
        (await forges.authorsOf({ forge: 'forge', repository: 'northwind/payments', sha })).length,
      ).toBeGreaterThan(1)
  })
})
