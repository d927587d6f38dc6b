// The compose file and the programs that run in it speak of one broker, at an address where everything that people do can be done.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BROKER_URL } from '../../deploy/compose/place.ts'
import { knowsPasskeys } from '../../src/webauthn/relying-party.ts'

const text = readFileSync(resolve(import.meta.dirname, '../../deploy/compose.yaml'), 'utf8')

describe('the compose set-up', () => {
  it('has one public URL, at which browsers register passkeys and sign with them', () => {
    const urls = [...text.matchAll(/WRIT_PUBLIC_URL: (\S+)/g)].map(([, url]) => url)
    expect(urls).toEqual([BROKER_URL])
    expect(knowsPasskeys(BROKER_URL)).toBe(true)
  })
})
