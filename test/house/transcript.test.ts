// The transcript in the README: there, of commands that exist, with options that they take, and with nothing in it of one machine or run.
// That it is what a run shows is held by test/journeys/command-line.test.ts, which makes it.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { GLOBAL, readArguments } from '../../src/cli/arguments.ts'
import { MEANING } from '../../src/cli/exit-codes.ts'
import { COMMANDS } from '../../src/cli/writ.ts'
import { pageIn, STAND_IN_IDS } from '../support/transcript.ts'

const page = pageIn(readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8')) ?? ''
const typed = [...page.matchAll(/^(\w+)\$ writ (.+)$/gm)].map(([, who = '', line = '']) => {
  const [name = '', ...words] = [...line.matchAll(/"[^"]*"|\S+/g)].map(([word]) => word.replaceAll('"', ''))
  return { who, name, words }
})

describe('the transcript in the README', () => {
  it('is the work of a vendor, an approver and the SOC', () => {
    expect(new Set(typed.map(({ who }) => who))).toEqual(new Set(['vera', 'olivia', 'sol']))
    const names = typed.map(({ name }) => name)
    for (const name of [
      'login',
      'entitlements',
      'request',
      'list',
      'review',
      'exchange',
      'complete',
      'revoke',
      'doctor',
    ])
      expect(names).toContain(name)
  })
  it('holds commands that exist, with options that they take', async () => {
    for (const { name, words } of typed) {
      const command = await COMMANDS[name]?.()
      expect(command, name).toBeDefined()
      const given = readArguments(words, { ...GLOBAL, ...command?.options })
      const [least, most] = command?.words ?? [0, 0]
      expect(given.words.length).toBeGreaterThanOrEqual(least)
      expect(given.words.length).toBeLessThanOrEqual(most)
    }
  })
  it('can be typed after the quickstart: it logs in where that broker calls itself, and nothing else is taken', () => {
    const quickstart = readFileSync(resolve(import.meta.dirname, '../../deploy/dev/quickstart.ts'), 'utf8')
    const [, host] = /host: '([^']+)'/.exec(quickstart) ?? []
    const [, port] = /DEFAULT_PORT = ([\d_]+)/.exec(quickstart) ?? []
    const url = `http://${host}:${port?.replace('_', '')}`
    const logins = typed.filter(({ name }) => name === 'login').map(({ words }) => words[0])
    expect(new Set(logins)).toEqual(new Set([url]))
  })
  it('names exit codes of the table', () => {
    const codes = [...page.matchAll(/^\(exit code (\d+)\)$/gm)].map(([, code]) => code ?? '')
    expect(codes.length).toBeGreaterThan(2)
    for (const code of codes) expect(Object.keys(MEANING)).toContain(code)
  })
  it('holds stand-ins only: no id, time, digest or address of a run', () => {
    const ids = new Set(page.match(/g\d+-[a-z2-7]{26}/g))
    expect([...ids].filter((id) => !(STAND_IN_IDS as readonly string[]).includes(id))).toEqual([])
    expect(page).not.toMatch(/\d{4}-\d\d-\d\dT|sha-256:[\w-]|(127\.0\.0\.1|localhost):(?!848[01]\b)\d/)
  })
})
