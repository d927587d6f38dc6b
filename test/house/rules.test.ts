// Rules of the house that carry the safety argument: where time, randomness and secrets may be touched.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { nodeOptions } from '../../deploy/dev/stage.ts'

const SRC = resolve(import.meta.dirname, '../../src')
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const code = (file: string): string =>
  readFileSync(join(SRC, file), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|\s)\/\/.*$/gm, '$1')

const usersOf = (pattern: RegExp): readonly string[] => files.filter((file) => pattern.test(code(file))).sort()

describe('house rules', () => {
  it('asks the wall clock nowhere: time comes from Redis', () => {
    // The command line and the verifier library are other programs, on somebody else's machine: its clock is all they have. The one decides
    // nothing by it; the other takes another clock where it is given one, and may only refuse by it.
    expect(usersOf(/Date\.now|new Date\(\)|performance\.timeOrigin/)).toEqual(['cli/machine.ts', 'verifier/machine.ts'])
  })

  it('makes ids and randomness in the composition root only', () => {
    expect(usersOf(/Math\.random|randomUUID|randomBytes|getRandomValues|randomInt/)).toEqual([
      'cli/machine.ts',
      'compose.ts',
      'verifier/machine.ts',
    ])
  })

  it('reveals a secret only where one is handed out, hashed, or given to the backend it came from', () => {
    const allowed = [
      'broker/exchange-vault.ts',
      'broker/exchange.ts',
      'domain/secret.ts',
      'compose.ts',
      'forge/http.ts',
      'redis/connect.ts',
      'queue/connections.ts',
    ]
    const doors = /^(http|oauth|vault)\//
    expect(usersOf(/\breveal\(/).filter((file) => !allowed.includes(file) && !doors.test(file))).toEqual([])
  })

  it('runs no other program and evaluates no text', () => {
    // The command line opens a browser, and nothing else.
    expect(usersOf(/child_process|\beval\(|new Function\(|node:vm/)).toEqual(['cli/machine.ts'])
  })

  it('runs with the options of `npm start` in the image, and in every stage of ours', () => {
    const [, command = '[]'] =
      /^CMD (\["node", "--.*?"src\/main\.ts"\])/ms.exec(readFileSync(join(SRC, '../Dockerfile'), 'utf8')) ?? []
    const image: unknown = JSON.parse(command.replaceAll('\\\n', ''))
    expect(nodeOptions()).toEqual(['--max-semi-space-size=32'])
    expect(image).toEqual(expect.arrayContaining([...nodeOptions()]))
  })

  it('has no test-only branch', () => {
    expect(usersOf(/NODE_ENV\s*===?\s*['"]test|VITEST|FAILPOINT/)).toEqual([])
  })

  it('opens every file with what it is for', () => {
    const silent = files.filter((file) => !/^(#!.*\n)?\/\/ \S/.test(readFileSync(join(SRC, file), 'utf8')))
    expect(silent).toEqual([])
  })
})
