import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { freshRing } from '../support/keys.ts'

const SCRIPT = fileURLToPath(new URL('../../deploy/rotate-keys.ts', import.meta.url))
const run = (...args: readonly string[]) =>
  new Promise<{ code: unknown; output: string }>((done) => {
    execFile(process.execPath, [SCRIPT, ...args], (error, stdout, stderr) =>
      done({ code: error?.code ?? 0, output: stdout + stderr }),
    )
  })

describe('the command that rotates keys', () => {
  it('makes one next key, says from when it signs, and changes nothing when it is run again', async () => {
    const { folder } = await freshRing()
    const first = await run(folder)
    expect(first).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^made access-2\.json, which signs from \d{4}-/),
    })
    expect((await run(folder)).output).toMatch(/^access-2\.json is next already/)
    expect((await run(folder, 'decision')).output).toMatch(/^made decision-2\.json/)
    expect(readdirSync(folder).sort()).toEqual(['access-1.json', 'access-2.json', 'decision-1.json', 'decision-2.json'])
  })

  it('fails with a reason for a folder without keys and for words it does not know', async () => {
    const { folder } = await freshRing()
    expect(await run(`${folder}-missing`)).toMatchObject({ code: 1, output: expect.stringContaining('cannot be read') })
    expect(await run(folder, 'other')).toMatchObject({ code: 2, output: expect.stringContaining('usage') })
    expect(await run()).toMatchObject({ code: 2 })
  })
})
