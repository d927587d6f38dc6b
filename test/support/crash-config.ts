// The shipped configuration with shorter lives, in a folder of its own: tokens that are over in seconds, so that grants also leave for the
// archive while the crash run lasts. Nothing else of it differs.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SHIPPED = fileURLToPath(new URL('../../config', import.meta.url))
const LIFE = '20s'

/** Copies it to `folder` and answers that. */
export function crashConfig(folder: string): string {
  cpSync(SHIPPED, folder, { recursive: true })
  const file = join(folder, 'entitlements.yaml')
  const text = readFileSync(file, 'utf8')
  const shorter = text.replaceAll(/maxLife: \d+m/g, `maxLife: ${LIFE}`)
  if (shorter === text) throw new Error('the shipped entitlements name no maxLife any more')
  writeFileSync(file, shorter)
  return folder
}
