// What a span may tell, whose trace it joins, and that the broker does not depend on whoever collects them.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/dev/running.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { secret } from '../../src/domain/secret.ts'
import { jsonLog } from '../../src/observe/log.ts'
import { metrics } from '../../src/observe/metrics.ts'
import { spansWatch } from '../../src/observe/traced.ts'
import { type OnSpans, openTraces, type Traces } from '../../src/observe/traces.ts'
import { type Collector, startCollector } from '../support/collector.ts'

const CANARY = 'canary-4711-do-not-show'
const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
const fine = async () => ({ status: 200 })
const call = (traceparent: readonly string[] = []) => ({
  route: 'view',
  path: '/v1/grants/:id',
  method: 'GET',
  traceparent,
})

let collector: Collector
const open: Traces[] = []
const tracesTo = (url: string, onSpans: OnSpans = () => undefined): Traces => {
  const traces = openTraces({ url, version: '1.2.3', instance: 'one', onSpans })
  open.push(traces)
  return traces
}
beforeEach(async () => {
  collector = await startCollector()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((traces) => traces.close()))
  await collector.stop()
})

describe('a trace', () => {
  it('has the spans of one request under each other, and those of another request apart', async () => {
    const traces = tracesTo(collector.url)
    const verb = (name: string) => () =>
      traces.within('verb', name, { grant: 'g0-a' }, async () => {
        await traces.within('redis', 'load', {}, fine)
        await Promise.all([traces.within('vault', 'issue', { backend: 'vault-main' }, fine)])
        return { status: 201 }
      })
    await Promise.all([traces.door(call(), verb('exchange')), traces.door(call(), verb('view'))])
    await traces.close()
    const spans = collector.spans()
    const one = (name: string, parent: string | undefined) => {
      const [found, ...more] = spans.filter((span) => span.name === name && span.parentSpanId === parent)
      if (found === undefined || more.length > 0) throw new Error(`${name} is there ${more.length + 1} times, or not`)
      return found
    }
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(2)
    for (const name of ['exchange', 'view']) {
      const { traceId, parentSpanId, spanId } = spans.find((span) => span.name === `verb ${name}`) ?? one(name, '')
      const door = spans.find((span) => span.spanId === parentSpanId)
      expect(door).toMatchObject({ name: 'GET /v1/grants/:id', traceId, kind: 2, parentSpanId: undefined })
      expect(door?.attributes).toEqual({
        'writ.route': 'view',
        'http.route': '/v1/grants/:id',
        'http.request.method': 'GET',
        'http.response.status_code': 201,
      })
      expect(one('redis load', spanId)).toMatchObject({ traceId, kind: 3, failed: false })
      expect(one('vault issue', spanId)).toMatchObject({ traceId, attributes: { 'writ.backend': 'vault-main' } })
    }
  })

  it('is the caller’s only where its header is one, well-formed and recorded', async () => {
    const traces = tracesTo(collector.url)
    const good = `00-${TRACE}-${SPAN}-01`
    await traces.door(call([good]), fine)
    await traces.door(call([`00-${TRACE}-${SPAN}-03`]), fine)
    const bad = [
      [],
      [''],
      [good, good],
      [`00-${TRACE}-${SPAN}-00`],
      [`00-${TRACE}-${SPAN}-02`],
      [`01-${TRACE}-${SPAN}-01`],
      [`ff-${TRACE}-${SPAN}-01`],
      [`00-${'0'.repeat(32)}-${SPAN}-01`],
      [`00-${TRACE}-${'0'.repeat(16)}-01`],
      [`00-${TRACE.toUpperCase()}-${SPAN}-01`],
      [`00-${TRACE}-${SPAN}-1`],
      [`00-${TRACE}-${SPAN}-01-x`],
      [` ${good}`],
      [`${good}\n`],
      [`00-${TRACE.slice(1)}-${SPAN}-01`],
    ]
    for (const header of bad) await traces.door(call(header), fine)
    await traces.close()
    const [joined, alone] = [
      collector.spans().filter(({ traceId }) => traceId === TRACE),
      collector.spans().filter(({ traceId }) => traceId !== TRACE),
    ]
    expect(joined.map(({ parentSpanId }) => parentSpanId)).toEqual([SPAN, SPAN])
    expect(alone.map(({ parentSpanId }) => parentSpanId)).toEqual(bad.map(() => undefined))
    expect(new Set(alone.map(({ traceId }) => traceId)).size).toBe(bad.length)
  })

  it('tells of a failure its code and nothing else, and of a refusal that it was an answer', async () => {
    const traces = tracesTo(collector.url)
    const failing = (thrown: unknown) => () => Promise.reject(thrown)
    const told = (name: string, thrown: unknown) =>
      expect(traces.within('redis', name, {}, failing(thrown))).rejects.toBe(thrown)
    await told('bug', new Error(CANARY, { cause: new Error(CANARY) }))
    await told('down', new BrokerError('store_unavailable', CANARY, { facts: { CANARY }, cause: new Error(CANARY) }))
    await told('refused', new BrokerError('not_permitted', CANARY))
    await traces.door(call(), async () => ({ status: 503, code: 'recovering' }))
    await traces.close()
    const seen = collector.spans().map(({ name, failed, attributes }) => [name, failed, attributes['writ.code']])
    expect(seen).toEqual([
      ['redis bug', true, 'internal'],
      ['redis down', true, 'store_unavailable'],
      ['redis refused', false, 'not_permitted'],
      ['GET /v1/grants/:id', true, 'recovering'],
    ])
    expect(JSON.stringify(collector.sinks())).not.toContain(CANARY)
  })

  it('holds only the names that are allowed, and cuts out what looks like a token', async () => {
    const traces = tracesTo(collector.url)
    const facts = { grant: `hvs.${CANARY}`, backend: secret(CANARY), authorization: CANARY, lane: 'x'.repeat(9_999) }
    await traces.within('verb', 'odd', facts as never, fine)
    await traces.close()
    const [span] = collector.spans()
    expect(span?.attributes).toEqual({
      'writ.grant': '[token]',
      'writ.backend': '[redacted]',
      'writ.lane': 'x'.repeat(200),
    })
  })

  it('is not begun for a probe, nor told of a look that found nothing', async () => {
    const traces = tracesTo(collector.url)
    for (const route of ['healthz', 'readyz', 'metrics']) await traces.door({ ...call(), route }, fine)
    const idle = () =>
      traces.within(
        'redis',
        'claimDue',
        {},
        async () => [],
        (found) => found.length === 0,
      )
    await traces.within('verb', 'sweep', {}, idle, (found) => found.length === 0)
    await traces.within('verb', 'last', {}, fine)
    await traces.close()
    expect(collector.spans().map(({ name }) => name)).toEqual(['verb last'])
  })

  it('has its id in the lines that are written under it, and in no other', async () => {
    const lines: string[] = []
    const traces = tracesTo(collector.url)
    const log = jsonLog({ write: (line) => lines.push(line), time: () => 'now', traceId: traces.traceId })
    log('info', 'before')
    await traces.door(call([`00-${TRACE}-${SPAN}-01`]), async () => {
      await Promise.resolve()
      log('info', 'within')
      return { status: 200 }
    })
    log('info', 'after')
    expect(lines.map((line) => JSON.parse(line).traceId)).toEqual([undefined, TRACE, undefined])
  })
})

describe('a collector that does not do its work', () => {
  const counted = () => {
    const seen = { sent: 0, dropped: 0, failed: 0 }
    const onSpans: OnSpans = (result, count) => {
      seen[result] += count
    }
    return { seen, onSpans }
  }
  const work = async (traces: Traces, spans: number): Promise<number> => {
    const started = performance.now()
    for (let n = 0; n < spans; n += 1) await traces.within('redis', 'load', {}, fine)
    return performance.now() - started
  }

  it('holds up neither the work nor the stop, and what does not fit is dropped and counted', async () => {
    const { seen, onSpans } = counted()
    const traces = tracesTo(collector.url, onSpans)
    collector.hang()
    const spent = await work(traces, 6_000)
    await expect.poll(collector.hanging).toBeGreaterThan(0)
    // One batch is on its way to nobody, the queue is full, the rest is gone.
    expect(seen.dropped).toBe(6_000 - 512 - 4_096)
    expect(spent).toBeLessThan(3_000)
    const started = performance.now()
    await traces.close()
    expect(performance.now() - started).toBeLessThan(3_000)
  })

  it('that is not there at all loses the spans, which is counted and said once', async () => {
    const lines: string[] = []
    const figures = metrics()
    const log = jsonLog({ write: (line) => lines.push(line), time: () => 'now' })
    const traces = tracesTo(`http://127.0.0.1:${await freePort()}`, spansWatch(figures, log))
    await work(traces, 1_100)
    await expect
      .poll(async () => (await figures.text()).text, { timeout: 20_000 })
      .toMatch(/writ_trace_spans_total\{result="failed"\} \d{3,}/)
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(['warn'])
  })

  it('that takes them is counted too', async () => {
    const { seen, onSpans } = counted()
    const traces = tracesTo(collector.url, onSpans)
    await work(traces, 700)
    await traces.close()
    expect(seen).toEqual({ sent: 700, dropped: 0, failed: 0 })
    expect(collector.spans()).toHaveLength(700)
  })
})
