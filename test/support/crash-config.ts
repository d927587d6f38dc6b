// The shipped configuration, in a folder of its own, with what the crash run needs besides: tokens that are over in seconds, so that grants also
// leave for the archive while it lasts; a team that decides with passkeys; a release whose authors a forge knows. Nothing else of it differs.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'

const SHIPPED = fileURLToPath(new URL('../../config', import.meta.url))
const LIFE = '20s'
const REPOSITORY = 'northwind/webshop'
/** Accounts at the forge: dana wrote every commit, sam merged it. */
const AT_FORGE = { dana: '101', sam: '103' } as const
/** All that the forge knows. */
export const COMMITS: readonly string[] = Array.from({ length: 64 }, (_, n) => (n + 1).toString(16).padStart(40, '0'))

/** Copies it to `folder`, and answers the settings by which a broker reads it. */
export function crashConfig(folder: string): Readonly<Record<string, string>> {
  cpSync(SHIPPED, folder, { recursive: true })
  const edit = (name: string, from: string | RegExp, to: string): void => {
    const file = join(folder, name)
    const text = readFileSync(file, 'utf8')
    const edited = text.replaceAll(from, to)
    if (edited === text) throw new Error(`the shipped ${name} has no ${from} any more`)
    writeFileSync(file, edited)
  }
  edit('entitlements.yaml', /maxLife: \d+m/g, `maxLife: ${LIFE}`)
  edit('entitlements.yaml', '      owner: lena\n', '      owner: lena\n      stepUp: true\n')
  const release = `    release: { forge: forge, repository: ${REPOSITORY}, scope: commit }\n`
  edit('entitlements.yaml', '      owner: rob\n', `      owner: rob\n${release}`)
  for (const [login, id] of Object.entries(AT_FORGE)) {
    const account = `      - { issuer: login, subject: ${login} }\n`
    edit('people.yaml', account, `${account}      - { issuer: forge, subject: "${id}" }\n`)
  }
  const users = Object.fromEntries(Object.entries(AT_FORGE).map(([login, id]) => [id, login]))
  const { dana, sam } = AT_FORGE
  const hands = { author: [dana], pusher: [dana], opener: [dana], merger: [sam] }
  const changes = Object.fromEntries(COMMITS.map((sha) => [`${REPOSITORY}@${sha}`, hands]))
  // An alias would be another anchor for each of them.
  const text = stringify({ users, changes }, { aliasDuplicateObjects: false })
  writeFileSync(join(folder, 'forge-changes.yaml'), text)
  return { WRIT_CONFIG_DIR: folder, WRIT_FORGES_FILE: join(folder, 'forges.yaml') }
}
