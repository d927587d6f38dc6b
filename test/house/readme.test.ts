// The documents stay in step with the code: the settings table, the folder map.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { rowOf, SETTING_NAMES } from '../../src/settings.ts'

const ROOT = resolve(import.meta.dirname, '../..')

describe('documents', () => {
  it('README has every required setting, as the code says it, and where the others are', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const required = SETTING_NAMES.filter((name) => rowOf(name).required || name.startsWith('WRIT_REDIS_URL'))
    const rows = required.map((name) => `| \`${name}\` | ${rowOf(name).meaning} | \`${rowOf(name).example}\` |`)
    expect(required.length).toBeGreaterThan(4)
    expect(rows.filter((row) => !readme.includes(row))).toEqual([])
    expect(readme).toContain('](config/SETTINGS.md)')
  })

  it('the map names every folder of src', () => {
    const map = readFileSync(join(ROOT, 'src/README.md'), 'utf8')
    const folders = readdirSync(join(ROOT, 'src')).filter((name) => statSync(join(ROOT, 'src', name)).isDirectory())
    expect(folders.filter((folder) => !map.includes(`\`${folder}/\``))).toEqual([])
  })

  it('the schemas for editors and the reference of the settings are what the code makes of them', () => {
    execFileSync(process.execPath, [join(ROOT, 'deploy/dev/write-schemas.ts'), '--check'], { stdio: 'pipe' })
  })

  it('the table role × route is what routes and shipped guards make of it', () => {
    execFileSync(process.execPath, [join(ROOT, 'deploy/dev/write-roles.ts'), '--check'], { stdio: 'pipe' })
  })

  it('no page names a path of one machine', () => {
    const pages = [
      'README.md',
      'SECURITY.md',
      'src/README.md',
      'config/README.md',
      'config/SETTINGS.md',
      'deploy/vault/README.md',
      'deploy/three-in-the-morning.md',
    ]
    for (const page of pages) expect(readFileSync(join(ROOT, page), 'utf8'), page).not.toMatch(/\/(work|root|farm)\//)
  })
})
