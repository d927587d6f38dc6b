// The broker's clock: Redis's time, sampled; it stops issuing when it cannot be trusted and never stops ending.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { isBrokerError } from '../../src/domain/errors.ts'
import { type Clockwork, type RedisClock, redisClock, timeOf } from '../../src/redis/clock.ts'
import type { RedisConnections } from '../../src/redis/connect.ts'
import { connected, type RedisService, startRedis } from '../support/redis-shards.ts'

const NOON = Date.parse('2026-11-21T12:00:00.000Z')

/** A Redis clock and a monotonic clock that go on together, unless a test says otherwise. */
function workshop() {
  let monotonic = 1_000
  let theirs = NOON
  let roundTrip = 0
  let down = false
  const tasks: (() => void)[] = []
  const errors: unknown[] = []
  const pass = (ms: number) => {
    monotonic += ms
    theirs += ms
  }
  const clockwork: Clockwork = {
    time: async () => {
      if (down) throw new Error('down')
      pass(roundTrip / 2)
      const answer = theirs
      pass(roundTrip / 2)
      return answer
    },
    monotonicNow: () => monotonic,
    every: (ms, task) => {
      expect(ms).toBeLessThanOrEqual(250)
      tasks.push(task)
      return () => {
        tasks.length = 0
      }
    },
    onError: (error) => errors.push(error),
  }
  return {
    clockwork,
    errors,
    tasks,
    pass,
    setRedis: (ms: number) => {
      theirs += ms
    },
    setRoundTrip: (ms: number) => {
      roundTrip = ms
    },
    setDown: (is: boolean) => {
      down = is
    },
    redisTime: () => theirs,
  }
}
const codeOf = (ask: () => unknown) => {
  try {
    return ask()
  } catch (thrown) {
    if (isBrokerError(thrown)) return thrown.code
    throw thrown
  }
}

describe('the clock', () => {
  let shop: ReturnType<typeof workshop>
  let clock: RedisClock
  beforeEach(async () => {
    shop = workshop()
    clock = redisClock(shop.clockwork)
  })

  it("says nothing before the first sample, then Redis's time", async () => {
    expect(codeOf(clock.now)).toBe('clock_untrusted')
    expect(codeOf(clock.nowToEnd)).toBe('clock_untrusted')
    expect(clock.state()).toBe('not_sampled')
    await clock.sample()
    expect(clock.now()).toBe(NOON)
    shop.pass(100)
    expect(clock.now()).toBe(NOON + 100)
  })

  it('halves the round trip, and learns nothing from one that took too long', async () => {
    shop.setRoundTrip(40)
    await clock.sample()
    expect(clock.now()).toBe(shop.redisTime())
    shop.setRoundTrip(1_200)
    shop.setRedis(-600)
    const before = clock.now()
    await clock.sample()
    expect(clock.now()).toBe(before + 1_200)
  })

  it('is not put off by an answer that lay around: the quickest of the last ones counts', async () => {
    let monotonic = 1_000
    let lies = 0
    const clock = redisClock({
      // The answer was given at once and came late: half the round trip is not when it was given.
      time: async () => {
        const answer = NOON + monotonic
        monotonic += lies
        return answer
      },
      monotonicNow: () => monotonic,
      every: () => () => undefined,
      onError: () => undefined,
    })
    await clock.sample()
    for (lies of [300, 900, 20, 500]) {
      await clock.sample()
      expect(Math.abs(clock.nowToEnd() - (NOON + monotonic))).toBeLessThanOrEqual(1)
      expect(clock.state()).toBe('trusted')
    }
  })

  it('never runs backwards, also when Redis is set back a little', async () => {
    await clock.sample()
    const before = clock.now()
    shop.setRedis(-2_000)
    await clock.sample()
    expect(clock.now()).toBe(before)
    expect(clock.nowToEnd()).toBe(before - 2_000)
    shop.pass(2_500)
    expect(clock.now()).toBe(before + 500)
  })

  it('is not trusted when no sample came for more than three seconds, and goes on for ending', async () => {
    await clock.sample()
    shop.setDown(true)
    shop.pass(3_000)
    expect(clock.now()).toBe(NOON + 3_000)
    shop.pass(1)
    expect(codeOf(clock.now)).toBe('clock_untrusted')
    expect(clock.state()).toBe('old')
    expect(clock.nowToEnd()).toBe(NOON + 3_001)
    shop.setDown(false)
    await clock.sample()
    expect(clock.now()).toBe(NOON + 3_001)
  })

  for (const [name, jump] of [
    ['forward', 3_600_000],
    ['backward', -3_600_000],
    ['by a little more than five seconds', 5_100],
  ] as const) {
    it(`stops issuing when Redis jumps ${name}, until the jump is accepted, and follows it for ending`, async () => {
      await clock.sample()
      const before = clock.now()
      shop.setRedis(jump)
      shop.pass(250)
      await clock.sample()
      expect(codeOf(clock.now)).toBe('clock_untrusted')
      expect(clock.state()).toBe('jumped')
      expect(clock.jumpMs()).toBe(jump)
      expect(clock.nowToEnd()).toBe(before + jump + 250)
      await clock.sample()
      expect(codeOf(clock.now)).toBe('clock_untrusted')
      expect(clock.acceptJump()).toBe(before + jump + 250)
      expect(clock.now()).toBe(before + jump + 250)
    })
  }

  it('stays stopped when Redis jumps back to where it was', async () => {
    await clock.sample()
    shop.setRedis(60_000)
    await clock.sample()
    shop.setRedis(-60_000)
    await clock.sample()
    expect(codeOf(clock.now)).toBe('clock_untrusted')
    clock.acceptJump()
    expect(clock.now()).toBe(NOON)
  })

  it('takes many small steps for the jump that they add up to, and honest drift for none', async () => {
    await clock.sample()
    for (let n = 0; n < 4; n++) {
      shop.setRedis(1_200)
      shop.pass(250)
      await clock.sample()
    }
    expect(clock.state()).toBe('trusted')
    shop.setRedis(1_200)
    await clock.sample()
    expect(clock.state()).toBe('jumped')

    const drifting = workshop()
    const honest = redisClock(drifting.clockwork)
    await honest.sample()
    for (let day = 0; day < 30; day++) {
      drifting.pass(86_400_000)
      drifting.setRedis(8_640)
      await honest.sample()
    }
    expect(honest.state()).toBe('trusted')
  })

  it('samples by itself, reports a sample that failed, and stops when told', async () => {
    expect(shop.tasks).toHaveLength(1)
    shop.tasks[0]?.()
    await new Promise(setImmediate)
    expect(clock.now()).toBe(NOON)
    shop.setDown(true)
    shop.tasks[0]?.()
    await new Promise(setImmediate)
    expect(shop.errors).toHaveLength(1)
    clock.stop()
    expect(shop.tasks).toHaveLength(0)
  })
})

describe('the clock on a real Redis', () => {
  let service: RedisService
  let connections: RedisConnections
  beforeAll(async () => {
    service = await startRedis()
    connections = await connected(service)
  })
  afterAll(async () => {
    connections?.close()
    await service?.stop()
  })

  it('agrees with Redis within a round trip', async () => {
    const clock = redisClock({
      time: timeOf(connections.issue),
      monotonicNow: () => performance.now(),
      every: () => () => {},
      onError: () => {},
    })
    await clock.sample()
    const before = await timeOf(connections.issue)()
    const ours = clock.now()
    const after = await timeOf(connections.issue)()
    expect(ours).toBeGreaterThan(before - 50)
    expect(ours).toBeLessThan(after + 50)
    expect(Math.abs(ours - Date.now())).toBeLessThan(2_000)
  })
})
