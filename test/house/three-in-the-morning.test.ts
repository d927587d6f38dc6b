// The page for the worst night tells of what is there: its commands, alerts, codes, scripts and places exist.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { GLOBAL, readArguments } from '../../src/cli/arguments.ts'
import { COMMANDS } from '../../src/cli/writ.ts'
import { BLAME } from '../../src/domain/errors.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const page = readFileSync(join(ROOT, 'deploy/three-in-the-morning.md'), 'utf8')
const alerts = readFileSync(join(ROOT, 'deploy/prometheus/alerts.yaml'), 'utf8')
const commandLines = (text: string): readonly string[] =>
  [...text.matchAll(/(?:^|`)(writ [a-z][^`\n#|]*)/gm)].map(([, line = '']) => line.trim())

describe('the page for three in the morning', () => {
  it('names no command, option or word that the command line does not read', async () => {
    const lines = commandLines(page)
    expect(lines.length).toBeGreaterThan(15)
    for (const line of lines) {
      const [name = '', ...words] = [...line.slice(5).matchAll(/"[^"]*"|\S+/g)].map(([word]) =>
        word.replaceAll('"', ''),
      )
      const command = await COMMANDS[name]?.()
      if (command === undefined) throw new Error(`there is no command for: ${line}`)
      const given = readArguments(words, { ...GLOBAL, ...command.options })
      const [least, most] = command.words
      expect(given.words.length, line).toBeGreaterThanOrEqual(least)
      expect(given.words.length, line).toBeLessThanOrEqual(most)
    }
  })

  it('would find a command that is not there', () => {
    expect(commandLines('```sh\nwrit vanish --all   # x\n```\nand `writ recover --now` is one')).toEqual([
      'writ vanish --all',
      'writ recover --now',
    ])
    expect(Object.keys(COMMANDS)).not.toContain('vanish')
  })

  it('names alerts, refusals, scripts and places that are there', () => {
    const named = (pattern: RegExp) => [...new Set([...page.matchAll(pattern)].map(([, name = '']) => name))]
    const alarms = named(/`(Writ[A-Z]\w+)`/g)
    expect(alarms.length).toBeGreaterThan(4)
    expect(alarms.filter((name) => !alerts.includes(`alert: ${name}\n`))).toEqual([])
    const codes = named(/50\d `([a-z_]+)`/g)
    expect(codes.length).toBeGreaterThan(4)
    expect(codes.filter((code) => !Object.hasOwn(BLAME, code))).toEqual([])
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const run = named(/npm (?:run )?([a-z:]+)/g)
    expect(run.filter((name) => !Object.hasOwn(scripts, name))).toEqual([])
    const headings = [...page.matchAll(/^## (.+)$/gm)].map(([, text = '']) =>
      text.toLowerCase().replaceAll(',', '').replaceAll(' ', '-'),
    )
    expect(named(/\]\(#([^)]+)\)/g).toSorted()).toEqual(headings.toSorted())
  })

  it('has a place for every way in which a broker issues nothing, and every critical alert is told what to do', () => {
    for (const code of [
      'store_unavailable',
      'recovering',
      'vault_unavailable',
      'clock_untrusted',
      'log_unavailable',
      'policy_outdated',
      'not_confirmed',
    ])
      expect(page).toContain(`\`${code}\``)
    const critical = alerts.split('- alert: ').filter((part) => part.includes('severity: critical'))
    expect(critical.length).toBeGreaterThan(5)
    for (const part of critical) expect(part).toMatch(/runbook: .{30}/)
  })
})
