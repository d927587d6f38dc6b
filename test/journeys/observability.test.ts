// Those who run the broker can follow one request through all of it, and see how it is; and whoever collects the traces cannot hurt it.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Answered, client } from '../../deploy/dev/client.ts'
import { freePort } from '../../deploy/dev/running.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type CollectedSpan, type Collector, startCollector } from '../support/collector.ts'
import { type Actors, actors, eachOf, eventually, type Reports, reports } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const SPAN = 'b7ad6b7169203331'
const REASON = { reason: 'not needed' }
let stage: DevStage
let collector: Collector
let broker: BrokerProcess
let play: Actors
let report: Reports

beforeAll(async () => {
  stage = await openStage({ vault: true })
  collector = await startCollector()
  await stage.bringVault()
  broker = await stage.startBroker(0, { env: { WRIT_OTLP_URL: `${collector.url}/` } })
  play = actors(stage)
  report = reports(stage, play)
}, 120_000)
afterAll(async () => {
  await closeStage(stage, collector?.sinks()).finally(() => collector?.stop())
})

const traced = async (login: string, path: string, traceId: string): Promise<Answered> =>
  client(broker.url).post(await play.who(login), path, {}, { traceparent: `00-${traceId}-${SPAN}-01` })
const spansOf = (traceId: string): readonly CollectedSpan[] =>
  collector.spans().filter((span) => span.traceId === traceId)
/** The trace once its door is through, which ends last. */
const whole = (traceId: string): Promise<readonly CollectedSpan[]> =>
  eventually(
    `the trace ${traceId}`,
    () => spansOf(traceId),
    (spans) => spans.some(({ parentSpanId }) => parentSpanId === SPAN),
    10_000,
  )
const figures = async (url: string): Promise<readonly string[]> =>
  (await fetch(`${url}/metrics`).then((answer) => answer.text())).split('\n')

it('an exchange is one trace from the caller through door, verb, Redis, Vault and witness', async () => {
  const grant = await play.approved(broker.url, 600)
  const traceId = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1'
  expect((await traced('vera', `${grant.path}/exchange`, traceId)).said).toBe('ok')
  const spans = await whole(traceId)
  const parentOf = (span: CollectedSpan | undefined) => spans.find(({ spanId }) => spanId === span?.parentSpanId)
  const door = spans.find(({ parentSpanId }) => parentSpanId === SPAN)
  expect(door?.name).toBe('POST /v1/grants/:id/exchange')
  expect(door?.attributes).toEqual({
    'writ.route': 'exchange',
    'http.route': '/v1/grants/:id/exchange',
    'http.request.method': 'POST',
    'http.response.status_code': 200,
  })
  const verb = spans.find(({ name }) => name === 'verb exchange')
  expect(parentOf(verb)).toBe(door)
  expect(verb?.attributes).toEqual({ 'writ.grant': grant.id })
  const under = spans.filter((span) => parentOf(span) === verb)
  expect(new Set(under.map(({ name }) => name))).toEqual(
    new Set([
      'redis load',
      'redis last',
      'redis loadToEnd',
      'redis commit',
      'queue at',
      'vault open',
      'vault keep',
      'vault issue',
      'witness seal',
    ]),
  )
  expect(under.length + 2).toBe(spans.length)
  const issue = under.find(({ name }) => name === 'vault issue')
  const made = { 'writ.grant': grant.id, 'writ.mint': `${grant.id}-1`, 'writ.backend': 'vault-main' }
  expect(issue?.attributes).toEqual(made)
  expect((await play.complete(broker.url, grant)).body.status).toBe('ended')
})

it('a proof that may be used once is looked up in Redis under the same door', async () => {
  expect((await report.filed(broker.url, 600)).said).toBe('ok')
  const once = await eventually(
    'the look-up is told',
    () => collector.spans().find(({ name }) => name === 'redis useOnce'),
    (span) => span !== undefined,
    10_000,
  )
  const above = () => collector.spans().find(({ spanId }) => spanId === once?.parentSpanId)
  await eventually('its door', above, (door) => door?.name === 'POST /v1/grants', 10_000)
})

it('what ends by the clock is a trace of its own, and a look that finds nothing is none', async () => {
  const grant = await play.issued(broker.url, 14)
  const seen = await eventually(
    'the end is told',
    () => collector.spans(),
    (spans) =>
      spans.some(
        ({ name, attributes }) =>
          name === 'redis commit' && attributes['writ.grant'] === grant.id && attributes['writ.event'] === 'ended',
      ),
    30_000,
  )
  const ids = new Set([SPAN, ...seen.map(({ spanId }) => spanId)])
  const begun = seen.filter(({ parentSpanId }) => parentSpanId === undefined)
  expect(begun.some(({ name, attributes }) => name === 'verb sweep' && attributes['writ.lane'] === 'vault-main')).toBe(
    true,
  )
  // Two lanes are looked at twice a second.
  expect(seen.filter(({ name }) => name === 'verb sweep').length).toBeLessThan(15)
  await eventually(
    'no span without the one above it',
    () => collector.spans().filter(({ parentSpanId }) => parentSpanId !== undefined && !ids.has(parentSpanId)),
    (orphans) => {
      for (const { spanId } of collector.spans()) ids.add(spanId)
      return orphans.length === 0
    },
    10_000,
  )
})

it('a line of the log names the trace under which it was written', async () => {
  const grant = await play.approved(broker.url, 600)
  const traceId = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2'
  await stage.redis.freeze()
  const refused = await traced('vera', `${grant.path}/exchange`, traceId).finally(() => stage.redis.thaw())
  expect([refused.status, refused.said]).toEqual([503, 'refused: store_unavailable'])
  const line = broker
    .output()
    .split('\n')
    .find((text) => text.includes(traceId))
  expect(JSON.parse(line ?? '{}')).toMatchObject({ traceId, code: 'store_unavailable', route: 'exchange' })
  const door = (await whole(traceId)).find(({ parentSpanId }) => parentSpanId === SPAN)
  expect(door).toMatchObject({ failed: true, attributes: { 'writ.code': 'store_unavailable' } })
})

it('the figures say that all is well, and how long it took', async () => {
  const lines = await eventually(
    'ready',
    () => figures(broker.url),
    (found) => found.includes('writ_ready 1'),
    15_000,
  )
  for (const line of [
    'writ_mint_seconds_count{kind="vault"} 2',
    'writ_grants_ended_total{outcome="completed"} 1',
    'writ_grants_ended_total{outcome="expired"} 1',
    'writ_end_seconds_count 2',
    'writ_end_late_seconds_count 1',
    'writ_oldest_unconfirmed_end_seconds 0',
    'writ_due_age_seconds{lane="local"} 0',
    'writ_due_age_seconds{lane="vault-main"} 0',
    'writ_clock_state{state="trusted"} 1',
    'writ_recovering 0',
    'writ_witness_healthy 1',
    'writ_check_failing{check="vault"} 0',
    'writ_trace_spans_total{result="sent"}',
    'writ_decision_seconds_count{verdict="approved",by="person",tier="elevated"} 3',
    'writ_backend_call_seconds_count{call="confirmGone",result="done"} 2',
    'writ_store_call_seconds_count{call="claimDue",result="done"}',
    'writ_build_info{version="0.1.0"',
  ])
    expect(
      lines.filter((found) => found.startsWith(line)),
      line,
    ).toHaveLength(1)
  expect(lines.some((found) => found.startsWith('writ_trace_spans_total{result="dropped"}'))).toBe(false)
})

it('a collector that hangs, or is not there, changes neither an answer nor the stop', async () => {
  const hanging = await startCollector()
  hanging.hang()
  const urls = [hanging.url, `http://127.0.0.1:${await freePort()}`]
  const others = await Promise.all(urls.map((url, n) => stage.startBroker(n + 1, { env: { WRIT_OTLP_URL: url } })))
  for (const other of others) {
    const answers = await eachOf(60, 6, async () => {
      const filed = await report.filed(other.url, 600)
      return report.exchange(other.url, filed.report)
    })
    expect(new Set(answers.map(({ said }) => said))).toEqual(new Set(['ok']))
  }
  await eventually('it hangs', hanging.hanging, (count) => count > 0, 10_000)
  for (const other of others) {
    const started = performance.now()
    await other.stop()
    expect(performance.now() - started).toBeLessThan(6_000)
    expect(other.output()).not.toContain('"level":"error"')
  }
  await hanging.stop()
})

it('a graceful stop sends what is waiting', async () => {
  const { report: filed } = await report.filed(broker.url, 600)
  const traceId = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa3'
  const answer = await client(broker.url).post(await play.who('dana'), `${filed.path}/withdraw`, REASON, {
    traceparent: `00-${traceId}-${SPAN}-01`,
  })
  expect(answer.said).toBe('ok')
  await broker.stop()
  expect(spansOf(traceId).some(({ parentSpanId }) => parentSpanId === SPAN)).toBe(true)
})
