// The schemas that editors use are the schemas that the broker reads with.
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

describe('config/*.schema.json', () => {
  it('are what the code would write now', () => {
    const script = new URL('../../deploy/dev/write-schemas.ts', import.meta.url).pathname
    expect(execFileSync(process.execPath, [script, '--check'], { encoding: 'utf8' })).toBe('')
  })
})
