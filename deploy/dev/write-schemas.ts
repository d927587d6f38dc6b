// Writes what is made from the code into config/: *.schema.json, the JSON Schemas that editors use for the configuration files, and
// SETTINGS.md, the reference of the settings. `--check` writes nothing and exits 1 when a file differs from what would be written.
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { forgesSchema } from '../../src/forge/config.ts'
import { clientsSchema } from '../../src/identity/clients.ts'
import { issuersSchema } from '../../src/identity/issuers.ts'
import { peopleSchema } from '../../src/identity/people.ts'
import { entitlementsSchema } from '../../src/policy/entitlements-file.ts'
import { fileKey, isInFile, rowOf, SETTING_NAMES, settingsSchema } from '../../src/settings.ts'
import { backendsFile } from '../../src/vault/backends.ts'

const SCHEMAS: Readonly<Record<string, () => object>> = {
  entitlements: entitlementsSchema,
  people: peopleSchema,
  clients: clientsSchema,
  issuers: issuersSchema,
  backends: () => z.toJSONSchema(backendsFile, { io: 'input', unrepresentable: 'any' }),
  forges: forgesSchema,
  settings: settingsSchema,
}
const schemas = Object.entries(SCHEMAS).map(
  ([name, schema]) => [`${name}.schema.json`, `${JSON.stringify(schema(), null, 2)}\n`] as const,
)

const onlyCheck = process.argv.includes('--check')
let different = 0
for (const [name, text] of [...schemas, ['SETTINGS.md', reference()] as const]) {
  const file = new URL(`../../config/${name}`, import.meta.url)
  if (textOf(file) === text) continue
  different += 1
  console.log(`config/${name} ${onlyCheck ? 'is not up to date: npm run schemas' : 'written'}`)
  if (!onlyCheck) writeFileSync(file, text)
}
process.exitCode = onlyCheck && different > 0 ? 1 : 0

function reference(): string {
  const rows = SETTING_NAMES.map((name) => {
    const { meaning, example, fallback, required } = rowOf(name)
    const key = isInFile(name) ? `\`${fileKey(name)}\`` : ''
    const missing = required ? 'required' : fallback === undefined ? '' : `\`${fallback}\``
    return `| \`${name}\` | ${key} | ${meaning} | ${missing} | \`${example}\` |`
  })
  return `# Settings

Written by \`npm run schemas\` from the table in \`src/settings.ts\`; do not edit.

A setting comes from the environment, or from the YAML file that \`WRIT_SETTINGS_FILE\` names, under its key there; the environment wins.
A path in the file is relative to the file's folder. A name that is not here is a problem, and every problem is told at once.
\`settings.example.yaml\` is such a file.

| variable | in the file | meaning | default | example |
|---|---|---|---|---|
${rows.join('\n')}
`
}

function textOf(file: URL): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
