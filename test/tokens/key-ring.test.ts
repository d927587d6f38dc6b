import { chmodSync, cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { exportJWK } from 'jose'
import { describe, expect, it } from 'vitest'
import { after, hours, type Instant, minutes, seconds } from '../../src/domain/instant.ts'
import { jwks } from '../../src/tokens/jwks.ts'
import { ensureKeyRing, KEY_TIMES, KeyRingError, loadKeyRing, rotate } from '../../src/tokens/key-ring.ts'
import { freshRing, NOON } from '../support/keys.ts'

const now = () => NOON
const problemsOf = async (work: Promise<unknown>): Promise<readonly string[]> => {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(KeyRingError)
  return (thrown as KeyRingError).problems
}
const publishedKids = (ring: Awaited<ReturnType<typeof loadKeyRing>>, at: Instant) =>
  jwks(ring, at).document.keys.map((key) => key.kid)

describe('the key ring', () => {
  it('makes keys at a first start that only their owner can read, and never makes them again', async () => {
    const { folder, ring } = await freshRing()
    const before = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))
    expect(readdirSync(folder).sort()).toEqual(['access-1.json', 'decision-1.json'])
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600)
    await ensureKeyRing(folder)
    expect(readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'))).toEqual(before)
    expect(ring.keys().signing('access', NOON).kid).not.toBe(ring.keys().signing('decision', NOON).kid)
  })

  it('gives brokers that start at the same moment the same keys', async () => {
    const { folder } = await freshRing()
    for (const name of readdirSync(folder)) rmSync(join(folder, name))
    await Promise.all(Array.from({ length: 12 }, () => ensureKeyRing(folder)))
    expect(readdirSync(folder).sort()).toEqual(['access-1.json', 'decision-1.json'])
    const rings = await Promise.all([loadKeyRing(folder, { now }), loadKeyRing(folder, { now })])
    expect(new Set(rings.map((ring) => ring.keys().signing('access', NOON).kid)).size).toBe(1)
  })

  it('publishes the next key longer than anybody may cache before it signs, and lets it sign from its instant on', async () => {
    const { folder, ring } = await freshRing()
    const first = ring.keys().signing('access', NOON).kid
    const { next } = await rotate(folder, { now: NOON })
    await ring.reload()
    expect(next).toEqual({ file: 'access-2.json', signsFrom: after(NOON, KEY_TIMES.lead), made: true })
    expect(publishedKids(ring, NOON)).toHaveLength(2)
    expect(next.signsFrom - NOON).toBeGreaterThan(KEY_TIMES.jwksMaxAge)
    expect(ring.keys().signing('access', (next.signsFrom - 1) as Instant).kid).toBe(first)
    expect(ring.keys().signing('access', next.signsFrom).kid).not.toBe(first)
  })

  it('keeps a retired key published until the last token it signed is expired and no cache holds it, and removes it after that', async () => {
    const { folder, ring } = await freshRing()
    const first = ring.keys().signing('access', NOON).kid
    const { next } = await rotate(folder, { now: NOON })
    await ring.reload()
    const gone = after(after(next.signsFrom, KEY_TIMES.longestToken), KEY_TIMES.jwksMaxAge)
    expect(publishedKids(ring, (gone - 1) as Instant)).toContain(first)
    expect(publishedKids(ring, gone)).not.toContain(first)
    expect((await rotate(folder, { now: (gone - 1) as Instant })).removed).toEqual([])
    expect((await rotate(folder, { now: gone })).removed).toEqual(['access-1.json'])
    expect(readdirSync(folder)).not.toContain('access-1.json')
  })

  it('makes one next key however often and by however many it is rotated at once', async () => {
    const { folder } = await freshRing()
    const results = await Promise.all(Array.from({ length: 8 }, () => rotate(folder, { now: NOON })))
    expect(results.filter(({ next }) => next.made)).toHaveLength(1)
    expect((await rotate(folder, { now: after(NOON, minutes(1)) })).next.made).toBe(false)
    expect(readdirSync(folder).filter((name) => name.startsWith('access'))).toHaveLength(2)
  })

  it('never lets two brokers that read the folder disagree about who signs, at any instant of many rotations', async () => {
    const { folder, ring } = await freshRing()
    let at = NOON
    for (let round = 0; round < 6; round += 1) {
      await rotate(folder, { now: at })
      await ring.reload()
      const other = await loadKeyRing(folder, { now: () => at })
      for (let step = 0; step < 60; step += 1) {
        at = after(at, seconds(37))
        const key = ring.keys().signing('access', at)
        expect(other.keys().signing('access', at).kid).toBe(key.kid)
        expect(publishedKids(other, at)).toContain(key.kid)
      }
    }
  })

  it('keeps the public half of a decision key whatever is rotated', async () => {
    const { folder, ring } = await freshRing()
    const first = ring.keys().signing('decision', NOON).kid
    await rotate(folder, { now: NOON, purpose: 'decision' })
    const years = after(NOON, hours(24 * 365 * 5))
    await rotate(folder, { now: years, purpose: 'decision' })
    await rotate(folder, { now: years })
    await ring.reload()
    expect(ring.keys().signing('decision', years).kid).not.toBe(first)
    expect(ring.keys().decision(first)).toBeDefined()
  })

  it('publishes access keys only, each once, with no private member', async () => {
    const { folder, ring } = await freshRing()
    await rotate(folder, { now: NOON })
    await rotate(folder, { now: NOON, purpose: 'decision' })
    await ring.reload()
    const { document, maxAgeSeconds } = jwks(ring, NOON)
    expect(maxAgeSeconds).toBe(300)
    expect(new Set(document.keys.map((key) => key.kid)).size).toBe(2)
    for (const key of document.keys)
      expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  })

  it('refuses a folder that is wrong, says everything that is wrong at once, and quotes no key', async () => {
    const { folder, ring } = await freshRing()
    const secretPart = (await exportJWK(ring.keys().signing('access', NOON).privateKey)).d ?? ''
    cpSync(join(folder, 'access-1.json'), join(folder, 'access-2.json'))
    chmodSync(join(folder, 'access-2.json'), 0o640)
    cpSync(join(folder, 'access-1.json'), join(folder, 'access-3.json'))
    cpSync(join(folder, 'access-1.json'), join(folder, 'decision-4.json'))
    writeFileSync(join(folder, 'access-5.json'), `{"v":1,"d":"${secretPart}"`, { mode: 0o600 })
    writeFileSync(join(folder, 'notes.json'), '{}', { mode: 0o600 })
    const foreign = JSON.parse(readFileSync(join(folder, 'access-1.json'), 'utf8'))
    writeFileSync(join(folder, 'access-6.json'), JSON.stringify({ ...foreign, kid: 'x'.repeat(43) }), { mode: 0o600 })
    chmodSync(folder, 0o770)
    const problems = await problemsOf(ring.reload())
    expect(problems.join('\n')).not.toContain(secretPart)
    for (const file of [
      'access-2.json',
      'access-3.json',
      'decision-4.json',
      'access-5.json',
      'access-6.json',
      'notes.json',
      folder,
    ])
      expect(problems.filter((problem) => problem.includes(file))).not.toEqual([])
  })

  it.each([0o640, 0o604, 0o660, 0o610])('refuses a key file that others may open (mode %o)', async (mode) => {
    const { folder } = await freshRing()
    chmodSync(join(folder, 'access-1.json'), mode)
    expect(await problemsOf(loadKeyRing(folder, { now }))).toEqual([
      'access-1.json: readable for others: chmod 600',
      'no access key may sign now',
    ])
  })

  it('goes on with the former keys when the folder became unreadable', async () => {
    const { folder, ring } = await freshRing()
    const before = ring.keys()
    rmSync(folder, { recursive: true })
    await problemsOf(ring.reload())
    expect(ring.keys()).toBe(before)
  })

  it('refuses a folder in which no key may sign now', async () => {
    const { folder } = await freshRing()
    await rotate(folder, { now: NOON })
    rmSync(join(folder, 'access-1.json'))
    expect(await problemsOf(loadKeyRing(folder, { now }))).toEqual(['no access key may sign now'])
  })

  it('refuses times under which a key would sign before everybody could have fetched it', async () => {
    const { folder } = await freshRing()
    expect(await problemsOf(loadKeyRing(folder, { now, times: { ...KEY_TIMES, lead: minutes(5) } }))).toHaveLength(1)
  })
})
