// The command as it is installed: below a node_modules folder, where Node takes no TypeScript; from another folder; into a pipe that closes.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { close, listen } from '../../deploy/dev/loopback.ts'
import { temporaryFolder } from '../../deploy/dev/running.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { certificateFor } from '../support/certificate.ts'
import { runOn } from './bench.ts'

const ROOT = resolve(import.meta.dirname, '../..')
let folder: { readonly path: string; remove(): void }
beforeAll(async () => {
  folder = await temporaryFolder('installed')
})
afterAll(() => folder.remove())

const run = (bin: string, args: readonly string[]) =>
  spawnSync(process.execPath, [bin, ...args], {
    cwd: folder.path,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder.path },
  })

describe('the launcher', () => {
  it('runs from another folder, and takes files from there', () => {
    writeFileSync(join(folder.path, 'ask.json'), '{"entitlement":"x","actions":[]}')
    const { status, stdout, stderr } = run(join(ROOT, 'src/cli/bin.mjs'), ['request', '--file', 'ask.json'])
    expect([status, stdout]).toEqual([EXIT.usage, ''])
    expect(stderr).toContain('--summary')
  })
  it('runs as an installed package, without a word of its own', () => {
    const modules = join(folder.path, 'node_modules')
    mkdirSync(join(modules, 'writ'), { recursive: true })
    for (const name of ['src', 'package.json'])
      cpSync(join(ROOT, name), join(modules, 'writ', name), { recursive: true })
    for (const name of readdirSync(join(ROOT, 'node_modules')))
      if (name !== 'writ') symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
    const bin = join(modules, 'writ/src/cli/bin.mjs')
    const { status, stdout, stderr } = run(bin, ['policy', 'test', join(ROOT, 'config')])
    expect([status, stderr]).toEqual([EXIT.ok, ''])
    expect(stdout).toContain('0 do not')
    expect(run(bin, ['--version']).stdout).toMatch(/^writ \d+\.\d+\.\d+\n$/)
  })
  it('ends quietly when its reader has read enough', () => {
    const bin = join(ROOT, 'src/cli/bin.mjs')
    const line = `'${process.execPath}' '${bin}' --help | head -c 1`
    const { stdout, stderr } = spawnSync('sh', ['-c', line], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: folder.path },
    })
    expect([stdout, stderr]).toEqual(['w', ''])
  })
})

describe('a certificate that is not good', () => {
  it('is told as such, by every command', async () => {
    const server = createServer(certificateFor('localhost'), (_, response) => response.end('{}'))
    const { port } = new URL(await listen(server, 0))
    try {
      for (const command of ['doctor', 'list']) {
        const options = { env: { WRIT_BROKER: `https://localhost:${port}`, WRIT_TOKEN: 'x' } }
        const { code, out, err } = await runOn([command], options, folder.path)
        expect(code).toBe(EXIT.unavailable)
        expect(out + err).toContain('certificate')
        expect(out + err).toContain('NODE_EXTRA_CA_CERTS')
      }
    } finally {
      await close(server)
    }
  })
})
