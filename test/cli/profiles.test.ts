// What the command keeps can be read by its user alone, from the first byte on; what others could read is refused.
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { calculateJwkThumbprint } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Failure } from '../../src/cli/failure.ts'
import { openWhole, type Profiles, profilesIn } from '../../src/cli/profiles.ts'
import { thumbprintOf } from '../../src/cli/proof.ts'

const BROKER = 'https://writ.example'
const LOGIN = {
  broker: BROKER,
  issuer: 'https://login.example',
  clientId: 'writ-cli',
  scope: 'openid',
  resource: BROKER,
  accessToken: 'access',
  refreshToken: 'refresh',
  expiresAt: 1_000,
}
let home: string
let folder: string
let profiles: Profiles
let ids = 0
const machine = {
  newId: () => String(++ids),
  pause: () => new Promise<void>((resolve) => setTimeout(resolve, 1)),
}

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'writ-profiles-'))
  folder = join(home, 'config', 'writ')
  profiles = profilesIn(folder, machine)
})
afterEach(() => rmSync(home, { recursive: true }))

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)
const fileOf = (end: string): string => join(folder, readdirSync(folder).find((name) => name.endsWith(end)) ?? 'none')
const refusal = (work: () => unknown): Failure => {
  try {
    work()
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

describe('a profile', () => {
  it('is kept in a folder of mode 700 and files of mode 600, whatever the umask', () => {
    const before = process.umask(0)
    try {
      profiles.keep(LOGIN)
      profiles.key(BROKER)
    } finally {
      process.umask(before)
    }
    expect(modeOf(folder)).toBe('700')
    expect(readdirSync(folder).map((name) => modeOf(join(folder, name)))).toEqual(['600', '600', '600'])
    expect(profiles.login(BROKER)).toEqual(LOGIN)
    expect(profiles.latest()).toBe(BROKER)
  })
  it('is refused when its file or its folder can be read by others, with the line that mends it', () => {
    profiles.keep(LOGIN)
    chmodSync(fileOf('.login.json'), 0o644)
    expect(refusal(() => profiles.login(BROKER)).next).toContain('chmod 600')
    chmodSync(fileOf('.login.json'), 0o600)
    chmodSync(folder, 0o755)
    expect(refusal(() => profiles.login(BROKER)).next).toContain('chmod 700')
    expect(refusal(() => profiles.keep(LOGIN)).next).toContain('chmod 700')
    expect(refusal(() => profiles.key('https://other.example')).next).toContain('chmod 700')
  })
  it('of one broker is none of another, also where only the path differs', () => {
    profiles.keep(LOGIN)
    profiles.keep({ ...LOGIN, broker: `${BROKER}/b`, accessToken: 'other' })
    expect(profiles.login(BROKER)?.accessToken).toBe('access')
    expect(profiles.login(`${BROKER}/b`)?.accessToken).toBe('other')
    expect(profiles.login(`${BROKER}:444`)).toBeUndefined()
    expect(profiles.key(BROKER)).not.toEqual(profiles.key(`${BROKER}/b`))
  })
  it('is forgotten without its key, which is made once', () => {
    profiles.keep(LOGIN)
    const key = profiles.key(BROKER)
    expect([profiles.forget(BROKER), profiles.forget(BROKER)]).toEqual([true, false])
    expect(profiles.login(BROKER)).toBeUndefined()
    expect(profiles.key(BROKER)).toEqual(key)
  })
  it('that cannot be read is said to be so, and not shown', () => {
    profiles.keep(LOGIN)
    writeFileSync(fileOf('.login.json'), '{"accessToken":"hunter2"')
    const failure = refusal(() => profiles.login(BROKER))
    expect(failure.next).toContain('writ login')
    expect(failure.message + failure.next).not.toContain('hunter2')
  })
  it('names its key as RFC 7638 does', async () => {
    const key = profiles.key(BROKER)
    expect(thumbprintOf(key)).toBe(await calculateJwkThumbprint(key))
  })
})

describe('a file', () => {
  it('appears whole, private, and in place of what was there', () => {
    const path = join(home, 'token')
    writeFileSync(path, 'old', { mode: 0o644 })
    const whole = openWhole(path, 'x')
    expect(readFileSync(path, 'utf8')).toBe('old')
    whole.put('new')
    whole.drop()
    expect([readFileSync(path, 'utf8'), modeOf(path)]).toEqual(['new', '600'])
    openWhole(path, 'y').drop()
    expect(readdirSync(home)).toEqual(['token'])
  })
})

describe('a lock', () => {
  it('lets one in at a time', async () => {
    let inside = 0
    let most = 0
    const work = async () => {
      inside += 1
      most = Math.max(most, inside)
      await machine.pause()
      inside -= 1
    }
    await Promise.all(Array.from({ length: 10 }, () => profiles.alone(BROKER, work)))
    expect(most).toBe(1)
  })
  it('of somebody who is gone, or who takes for ever, is taken over', async () => {
    await profiles.alone(BROKER, async () => {
      const lock = fileOf('.lock')
      const gone = spawnSync(process.execPath, ['-e', '']).pid
      writeFileSync(lock, String(gone))
      expect(await profiles.alone(BROKER, async () => 'in')).toBe('in')
    })
    await profiles.alone(BROKER, async () => {
      // The pauses of this machine are short; that they have been long enough is counted, not measured.
      expect(await profiles.alone(BROKER, async () => 'in')).toBe('in')
    })
  })
})
