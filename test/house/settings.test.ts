// Settings that would weaken a guarantee stop the start.
import { describe, expect, it } from 'vitest'
import { days, minutes } from '../../src/domain/instant.ts'
import { readSettings, SettingsError } from '../../src/settings.ts'

const complete = {
  WRIT_PUBLIC_URL: 'https://broker.example',
  WRIT_REDIS_URL: 'redis://redis.example:6379',
  WRIT_DATA_DIR: 'data',
  WRIT_KEYS_DIR: 'keys',
}
const refusedNames = (env: Readonly<Record<string, string>>): readonly string[] => {
  try {
    readSettings({ ...complete, ...env })
    return []
  } catch (thrown) {
    if (thrown instanceof SettingsError) return thrown.problems.map(({ name }) => name)
    throw thrown
  }
}

describe('the retention', () => {
  it('is thirty days unless something else is said', () => {
    expect(readSettings(complete).retention).toBe(days(30))
    expect(readSettings({ ...complete, WRIT_RETENTION: '1d' }).retention).toBe(days(1))
    expect(readSettings({ ...complete, WRIT_MODE: 'dev', WRIT_RETENTION: '1m' }).retention).toBe(minutes(1))
  })

  it('is at least a day, in dev a minute, and a duration', () => {
    for (const text of ['0s', '23h', '1m', '', 'for ever', '-30d'])
      expect([text, refusedNames({ WRIT_RETENTION: text })]).toEqual([text, ['WRIT_RETENTION']])
    for (const text of ['59s', '', '30'])
      expect([text, refusedNames({ WRIT_MODE: 'dev', WRIT_RETENTION: text })]).toEqual([text, ['WRIT_RETENTION']])
  })
})

describe('the collector of traces', () => {
  it('is none unless its address is given', () => {
    expect(readSettings(complete).otlpUrl).toBeUndefined()
    for (const text of ['http://collector:4318', 'http://collector:4318/', 'https://otlp.example/tenant/'])
      expect(readSettings({ ...complete, WRIT_OTLP_URL: text }).otlpUrl).toBe(text.replace(/\/$/, ''))
  })

  it('is a plain http address, without anything that would be a secret', () => {
    for (const text of [
      '',
      'collector:4318',
      'ftp://c',
      'http://u:p@c',
      'http://u@c',
      'http://c/?token=1',
      'http://c/#x',
    ])
      expect([text, refusedNames({ WRIT_OTLP_URL: text })]).toEqual([text, ['WRIT_OTLP_URL']])
  })
})

describe('variables of others', () => {
  it('do not stop the start, and a setting that is misspelt does', () => {
    expect(refusedNames({ WRIT_BROKER: 'https://writ.example', WRIT_TOKEN: 'x', WRIT_CACHE_DIR: '/tmp' })).toEqual([])
    expect(refusedNames({ WRIT_BROKERS: 'https://writ.example' })).toEqual(['WRIT_BROKERS'])
  })
})
