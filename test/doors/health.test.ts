// What those who run the broker see: readiness, figures, and log lines.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { secret } from '../../src/domain/secret.ts'
import { jsonLog, type LogRecord, thrownRecord } from '../../src/observe/log.ts'
import { METRICS, metrics } from '../../src/observe/metrics.ts'
import { CANARY, type Stage, stage, TOKEN } from './door.ts'

describe('health', () => {
  let on: Stage
  beforeAll(async () => {
    on = await stage()
  })
  afterAll(() => on.stop())
  const fine = (name: string) => ({ name, mend: `mend the ${name}`, check: async () => undefined })

  it('is alive as long as the process answers, whatever else is broken', async () => {
    on.state.checks = [{ ...fine('store'), check: () => Promise.reject(new Error('down')) }]
    expect((await on.send('GET', '/healthz', { anonymous: true })).body).toEqual({ alive: true })
  })

  it('is ready when every check passes', async () => {
    on.state.checks = [fine('store'), fine('clock')]
    const got = await on.send('GET', '/readyz', { anonymous: true })
    expect([got.status, got.body]).toEqual([200, { ready: true, failing: [] }])
  })

  it('is not ready when a check says so, throws or hangs, and names each with the line that mends it', async () => {
    on.state.checks = [
      fine('store'),
      { ...fine('clock'), check: async () => 'it jumped by 7 s' },
      { ...fine('vault'), check: () => Promise.reject(new BrokerError('vault_unavailable', 'Vault is sealed.')) },
      { ...fine('queue'), check: () => Promise.reject(new Error(CANARY)) },
      { ...fine('witness'), check: () => new Promise(() => undefined) },
    ]
    const got = await on.send('GET', '/readyz', { anonymous: true })
    expect(got.status).toBe(503)
    expect(got.body).toEqual({
      ready: false,
      failing: [
        { name: 'clock', why: 'it jumped by 7 s', mend: 'mend the clock' },
        { name: 'vault', why: 'Vault is sealed.', mend: 'mend the vault' },
        { name: 'queue', why: 'the check failed', mend: 'mend the queue' },
        { name: 'witness', why: 'no answer within 50 ms', mend: 'mend the witness' },
      ],
    })
  })

  it('runs the checks once for all who ask at the same time', async () => {
    let runs = 0
    on.state.checks = [
      {
        ...fine('store'),
        check: async () => {
          runs += 1
          await new Promise((resolve) => setTimeout(resolve, 20))
          return undefined
        },
      },
    ]
    await Promise.all(Array.from({ length: 5 }, () => on.send('GET', '/readyz')))
    expect(runs).toBe(1)
  })

  it('counts by route names of ours only, never by what a client typed', async () => {
    await on.send('GET', `/v1/grants/${CANARY}`)
    await on.send('GET', `/${CANARY}`)
    await on.send('PROPFIND', `/${CANARY}`)
    const { text, headers } = await on.send('GET', '/metrics', { anonymous: true })
    expect(headers['content-type']).toContain('text/plain')
    expect(text).toContain('writ_http_requests_total{route="none",method="other",status="404"} 1')
    expect(text).not.toContain(CANARY)
  })
})

describe('metrics', () => {
  it('shows every metric of the table under its name, with exactly its labels', async () => {
    const recorder = metrics()
    recorder.count('grants_ended_total', { outcome: 'revoked' })
    recorder.count('sweeps_total', { lane: 'local', result: 'done' }, 2)
    recorder.observe('end_late_seconds', {}, 0.2)
    recorder.set('http_waiting', 3)
    const { text } = await recorder.text()
    for (const name of Object.keys(METRICS)) expect(text).toContain(`# TYPE writ_${name} `)
    expect(text).toContain('writ_grants_ended_total{outcome="revoked"} 1')
    expect(text).toContain('writ_sweeps_total{lane="local",result="done"} 2')
    expect(text).toContain('writ_end_late_seconds_bucket{le="0.25"} 1')
    expect(text).toContain('writ_http_waiting 3')
  })
})

describe('log lines', () => {
  const lineOf = (message: string, record?: LogRecord): string => {
    const lines: string[] = []
    jsonLog({ write: (line) => lines.push(line), time: () => 'now' })('info', message, record)
    expect(lines).toHaveLength(1)
    return lines[0] ?? ''
  }

  it('are one line of JSON each, whatever a field holds', () => {
    const nasty = `${Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code)).join('')}\u2028\u2029\u202e\u2066`
    const line = lineOf(nasty, { reason: nasty, code: '","level":"error' })
    expect(line.endsWith('}\n')).toBe(true)
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u)
    expect(JSON.parse(line)).toMatchObject({ level: 'info', reason: nasty, code: '","level":"error' })
  })

  it('hold only the names that are allowed', () => {
    const line = lineOf('hello', { count: 1, password: CANARY, authorization: CANARY } as LogRecord)
    expect(JSON.parse(line)).toEqual({ time: 'now', level: 'info', message: 'hello', count: 1 })
  })

  it('cannot print a secret, and cut out what looks like a token', () => {
    const line = lineOf(`Bearer ${CANARY}`, { reason: `got ${TOKEN} and hvs.${CANARY}`, file: secret(CANARY) })
    expect(line).not.toContain(CANARY)
    expect(line).not.toContain(TOKEN)
    expect(JSON.parse(line)).toMatchObject({
      message: '[token]',
      reason: 'got [token] and [token]',
      file: '[redacted]',
    })
  })

  it('tell of an unknown error its name and place, never its message', () => {
    const thrown = new SyntaxError(`Unexpected token in "${CANARY}"\n    at ${CANARY} (x)`)
    const record = thrownRecord(thrown)
    expect(record).toMatchObject({ error: 'SyntaxError', at: expect.stringContaining('health.test') })
    expect(JSON.stringify(record)).not.toContain(CANARY)
    expect(JSON.stringify(thrownRecord({ password: CANARY }))).not.toContain(CANARY)
    expect(
      JSON.stringify(thrownRecord(new BrokerError('stale', 'Again.', { cause: new Error(CANARY) }))),
    ).not.toContain(CANARY)
  })
})
