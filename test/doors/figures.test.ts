// The figures that the alerts stand on: that each is counted where the thing happens, and that looking them up never hangs or lies.
import { describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { named } from '../../src/domain/ids.ts'
import { after, days, instant, minutes, seconds } from '../../src/domain/instant.ts'
import { approvalsSeen } from '../../src/observe/approvals.ts'
import {
  endingsSeen,
  type Measuring,
  measuredCredentials,
  measuredExchange,
  measuredStore,
} from '../../src/observe/measured.ts'
import { type Metrics, metrics } from '../../src/observe/metrics.ts'
import { type Sources, scrape } from '../../src/observe/scrape.ts'
import { watchedSweep } from '../../src/observe/sweeps.ts'
import { asking, KEY, login, triage, type World, world } from '../support/world.ts'

const linesOf = async (figures: Metrics): Promise<readonly string[]> => (await figures.text()).text.split('\n')

/** A broker of this world whose ports are measured; durations are counted on the world's own clock. */
function measuredBroker(w: World) {
  const figures = metrics()
  const measuring: Measuring = { figures, ticks: w.now, endings: endingsSeen(w.now), approvals: approvalsSeen(w.now) }
  const broker = w.another({
    grants: measuredStore(w.store, measuring),
    credentials: measuredCredentials(w.backend.source, measuring),
  })
  return { ...measuring, broker: { ...broker, exchange: measuredExchange(broker.exchange, measuring) } }
}

describe('what happens to a grant', () => {
  it('is timed from the asking to the decision, and by whom', async () => {
    const w = await world()
    const { broker, figures } = measuredBroker(w)
    const { grant: asked } = await broker.request(w.as('vera'), login(w.now()))
    w.advance(minutes(5))
    await broker.decide(w.as('olivia'), asked.id, { verdict: 'approve', reason: 'fine', digest: asked.ask.digest })
    const other = (await broker.request(w.as('triage-agent', { key: KEY }), triage(w.now()))).grant
    w.advance(seconds(2))
    await broker.decide(w.as('lena'), other.id, { verdict: 'deny', reason: 'no', digest: undefined })
    const lines = await linesOf(figures)
    for (const line of [
      'sum{verdict="approved",by="person",tier="elevated"} 300',
      'bucket{le="3",verdict="denied",by="person",tier="elevated"} 1',
      'bucket{le="1",verdict="denied",by="person",tier="elevated"} 0',
    ])
      expect(lines).toContain(`writ_decision_seconds_${line}`)
  })

  it('tells how many approvals were between two who approve each other', async () => {
    const w = await world()
    const seen = approvalsSeen(w.now)
    const saw = (by: string, ...askers: string[]) => seen.saw(named.person(by), askers.map(named.person), w.now())
    expect(seen.reciprocal()).toBeUndefined()
    saw('olivia', 'vera')
    saw('olivia', 'sam')
    expect(seen.reciprocal()).toBe(0)
    // Sam approves what a machine of hers and of another's has asked for.
    saw('sam', 'dana', 'olivia')
    saw('lena', 'dana')
    expect(seen.reciprocal()).toBe(0.5)
    w.advance(days(31))
    saw('olivia', 'sam')
    expect(seen.reciprocal()).toBe(0)
  })

  it('counts who approved for whom where it is committed; what the policy approves is nobody’s', async () => {
    const w = await world()
    const { broker, approvals } = measuredBroker(w)
    await broker.request(
      w.as('dana'),
      asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'] }),
    )
    expect(approvals.reciprocal()).toBeUndefined()
    const { grant } = await broker.request(w.as('vera'), login(w.now()))
    await broker.decide(w.as('olivia'), grant.id, { verdict: 'approve', reason: 'fine', digest: undefined })
    expect(approvals.reciprocal()).toBe(0)
  })

  it('is timed from the asking for a credential to its answer, and each call of store and backend by how it went', async () => {
    const w = await world()
    const { broker, figures } = measuredBroker(w)
    const grant = await w.approvedLogin()
    await broker.exchange(w.as('vera'), grant.id)
    w.backend.fault('close', 'fail')
    await broker.complete(w.as('vera'), grant.id, {})
    const lines = await linesOf(figures)
    expect(lines).toContain('writ_mint_seconds_count{kind="vault"} 1')
    expect(lines).toContain('writ_backend_call_seconds_count{call="issue",result="done"} 1')
    expect(lines).toContain('writ_backend_call_seconds_count{call="close",result="failed"} 1')
    expect(lines.some((line) => line.startsWith('writ_store_call_seconds_count{call="commit",result="done"}'))).toBe(
      true,
    )
  })

  it('an end is old from its beginning until it is confirmed, whoever began it and whoever asks', async () => {
    const w = await world()
    const [one, other] = [measuredBroker(w), measuredBroker(w)]
    const grant = await w.approvedLogin()
    await one.broker.exchange(w.as('vera'), grant.id)
    const began = w.now()
    w.backend.down()
    expect((await one.broker.complete(w.as('vera'), grant.id, {})).head.status).toBe('ending')
    expect([one.endings.oldest(), other.endings.oldest()]).toEqual([began, undefined])
    w.advance(minutes(1))
    await other.broker.sweep('vault-main')
    expect(other.endings.oldest()).toBe(began)
    w.backend.up()
    w.advance(minutes(1))
    await other.broker.sweep('vault-main')
    expect((await w.store.loadToEnd(grant.id))?.head.status).toBe('ended')
    expect(await linesOf(other.figures)).toContain('writ_end_seconds_sum 120')
    expect([other.endings.oldest(), other.endings.stuck()]).toEqual([undefined, 0])
    // The first has not seen it since: for two minutes it cannot know.
    expect(one.endings.oldest()).toBe(began)
    w.advance(seconds(1))
    expect(one.endings.oldest()).toBeUndefined()
  })

  it('a stuck one is shown as long as it is stuck', async () => {
    const w = await world()
    const { broker, endings, figures } = measuredBroker(w)
    const grant = await w.approvedLogin()
    await broker.exchange(w.as('vera'), grant.id)
    w.backend.down()
    await broker.complete(w.as('vera'), grant.id, {})
    await w.settle(minutes(6), broker)
    expect((await w.store.loadToEnd(grant.id))?.head.status).toBe('stuck')
    expect(endings.stuck()).toBe(1)
    expect(await linesOf(figures)).toContain('writ_stuck_total 1')
    w.backend.up()
    await w.settle(minutes(1), broker)
    expect(endings.stuck()).toBe(0)
  })
})

describe('a scrape', () => {
  const at = instant(1_800_000_000_000)
  const sources = (figures: Metrics, more: Partial<Sources> = {}): Sources => ({
    figures,
    build: { version: '1.2.3', node: 'v26' },
    checks: ['redis', 'vault'],
    lanes: ['local', 'vault-main'],
    endings: { oldest: () => after(at, seconds(-30)), stuck: () => 2 },
    approvals: { reciprocal: () => 0.25 },
    now: () => at,
    counts: async () => ({ active: 3, stuck: 0 }),
    firstDeadline: async (lane) => (lane === 'local' ? after(at, seconds(-4)) : after(at, minutes(9))),
    sweepAgeMs: () => 250,
    queueQuietMs: () => 1_500,
    clockState: () => 'jumped',
    witnessHealthy: () => true,
    recovering: () => false,
    tried: async () => [
      { canary: { result: 'ok', at: after(at, seconds(-7)) } },
      { canary: { result: 'failed', at } },
      { canary: undefined },
    ],
    ...more,
  })

  it('shows how the broker is, and of the grants what the store says', async () => {
    const { text } = await scrape(sources(metrics()))(['vault'])
    expect(text.split('\n')).toEqual(
      expect.arrayContaining([
        'writ_grants{status="active"} 3',
        'writ_grants{status="stuck"} 0',
        'writ_due_age_seconds{lane="local"} 4',
        'writ_due_age_seconds{lane="vault-main"} 0',
        'writ_oldest_unconfirmed_end_seconds 30',
        'writ_stuck 2',
        'writ_reciprocal_approval_ratio 0.25',
        'writ_sweep_age_seconds{lane="local"} 0.25',
        'writ_queue_quiet_seconds 1.5',
        'writ_clock_state{state="trusted"} 0',
        'writ_clock_state{state="jumped"} 1',
        'writ_witness_healthy 1',
        'writ_recovering 0',
        'writ_canaries{result="ok"} 1',
        'writ_canaries{result="failed"} 1',
        'writ_canaries{result="unknown"} 0',
        'writ_canaries{result="none"} 1',
        'writ_canary_age_seconds 7',
        'writ_ready 0',
        'writ_check_failing{check="redis"} 0',
        'writ_check_failing{check="vault"} 1',
        'writ_build_info{version="1.2.3",node="v26"} 1',
      ]),
    )
    expect(text).not.toContain('status="pending"')
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds')
    expect(text).toContain('process_resident_memory_bytes')
  })

  it('does not wait for a store that hangs, and does not show what it said before', async () => {
    const figures = metrics()
    await scrape(sources(figures))([])
    const hanging = {
      counts: () => new Promise<never>(() => undefined),
      firstDeadline: () => Promise.reject(new Error()),
    }
    const started = performance.now()
    const { text } = await scrape(sources(figures, hanging))([])
    expect(performance.now() - started).toBeLessThan(1_900)
    expect(text).not.toMatch(/^writ_grants\{|^writ_due_age_seconds\{/m)
    expect(text).toContain('writ_ready 1')
  })
})

describe('the watch on the sweeps', () => {
  const watched = (sweep: () => Promise<never[]>) => {
    let ticks = 0
    const swept = async () => ({ done: (await sweep()).length, failed: [], more: false })
    const lines: string[] = []
    const log = (level: string) => void lines.push(level)
    const watch = watchedSweep({ sweep: swept, lanes: ['local', 'x'], figures: metrics(), log, ticks: () => ticks })
    const pass = (ms: number) => {
      ticks += ms
    }
    return { watch, pass, lines }
  }

  it('finds a lane dead in which none has worked for long, and alive again after one that did', async () => {
    let works = false
    const { watch, pass } = watched(async () => {
      if (!works) throw new BrokerError('store_unavailable', 'no')
      return []
    })
    expect(watch.dead()).toEqual([])
    pass(20_001)
    await expect(watch.sweep('local')).rejects.toBeInstanceOf(BrokerError)
    expect(watch.dead()).toEqual(['local', 'x'])
    works = true
    await watch.sweep('local')
    expect([watch.dead(), watch.ageMs('local'), watch.ageMs('x')]).toEqual([['x'], 0, 20_001])
  })

  it('takes one that is still at work for slow, and only much later for dead', async () => {
    const { watch, pass } = watched(() => new Promise(() => undefined))
    void watch.sweep('local')
    pass(20_001)
    expect(watch.dead()).toEqual(['x'])
    pass(160_000)
    expect(watch.dead()).toEqual(['local', 'x'])
  })
})
