// A changed forges.yaml counts while the broker runs; one that cannot be used leaves the forges that are asked.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { rulebook } from '../../src/broker/rulebook.ts'
import { openForges } from '../../src/forge/forges.ts'
import { type LoadedRules, readConfiguration, watchRules } from '../../src/rules.ts'
import { codeOf } from '../support/code-of.ts'
import { someJwks } from '../support/directory.ts'
import { until } from '../support/until.ts'

const folder = mkdtempSync(join(tmpdir(), 'writ-reload-'))
afterAll(() => rmSync(folder, { recursive: true }))

it('takes a changed forges.yaml over, whole or not at all', async () => {
  cpSync(resolve(import.meta.dirname, '../../config'), folder, { recursive: true })
  mkdirSync(join(folder, 'resource-servers'))
  for (const [, file = ''] of readFileSync(join(folder, 'clients.yaml'), 'utf8').matchAll(/jwksFile: (\S+)/g))
    writeFileSync(join(folder, file), someJwks())
  const path = (name: string): string => join(folder, name)
  const settings = {
    mode: 'dev' as const,
    configDir: folder,
    issuersFile: path('issuers.yaml'),
    clientsFile: path('clients.yaml'),
    forgesFile: path('forges.yaml'),
  }
  const book = rulebook(readConfiguration(settings).rules)
  const table = () => (book.current() as LoadedRules).forges
  const told: string[] = []
  let look = (): void => undefined
  const stop = watchRules(
    {
      settings,
      backends: undefined,
      book,
      log: (_, message) => void told.push(message),
      publish: async () => undefined,
    },
    (_, task) => {
      look = task
      return () => undefined
    },
  )
  const lookUntil = (what: string, seen: () => boolean) =>
    until(
      what,
      5_000,
      async () => {
        look()
        return seen()
      },
      5,
    )
  const forges = openForges({ table, ticks: () => 0 })
  const [sha = ''] = readFileSync(path('forge-changes.yaml'), 'utf8').match(/(?<=payments@)[0-9a-f]{40}/) ?? []
  const ask = (forge: string) => codeOf(forges.authorsOf({ forge, repository: 'northwind/payments', sha }))
  expect([await ask('forge'), await ask('code')]).toEqual(['accepted', 'authors_unknown'])

  const text = readFileSync(path('forges.yaml'), 'utf8')
  writeFileSync(path('forges.yaml'), text.replace('\n  forge:\n', '\n  ci:\n'))
  await lookUntil('the refusal is told', () => told.some((line) => line.includes('refused')))
  expect(await ask('forge')).toBe('accepted')

  writeFileSync(path('forges.yaml'), text.replace('\n  forge:\n', '\n  code:\n'))
  await lookUntil('the new table', () => table().has('code'))
  expect([await ask('forge'), await ask('code')]).toEqual(['authors_unknown', 'accepted'])
  stop()
})
