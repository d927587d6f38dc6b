// Writes config/*.schema.json, the JSON Schemas that editors use for the configuration files, from the schemas that read them.
// `--check` writes nothing and exits 1 when a file differs from what would be written.
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { clientsSchema } from '../../src/identity/clients.ts'
import { issuersSchema } from '../../src/identity/issuers.ts'
import { peopleSchema } from '../../src/identity/people.ts'
import { entitlementsSchema } from '../../src/policy/entitlements-file.ts'
import { backendsFile } from '../../src/vault/backends.ts'

const SCHEMAS: Readonly<Record<string, () => object>> = {
  entitlements: entitlementsSchema,
  people: peopleSchema,
  clients: clientsSchema,
  issuers: issuersSchema,
  backends: () => z.toJSONSchema(backendsFile, { io: 'input', unrepresentable: 'any' }),
}

const onlyCheck = process.argv.includes('--check')
let different = 0
for (const [name, schema] of Object.entries(SCHEMAS)) {
  const file = new URL(`../../config/${name}.schema.json`, import.meta.url)
  const text = `${JSON.stringify(schema(), null, 2)}\n`
  if (textOf(file) === text) continue
  different += 1
  console.log(`config/${name}.schema.json ${onlyCheck ? 'is not up to date: npm run schemas' : 'written'}`)
  if (!onlyCheck) writeFileSync(file, text)
}
process.exitCode = onlyCheck && different > 0 ? 1 : 0

function textOf(file: URL): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
