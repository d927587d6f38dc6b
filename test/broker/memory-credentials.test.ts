// The memory source keeps every promise of the port, and its faults do what they say.
import { describe, expect, it } from 'vitest'
import { type Duration, duration, type Instant, instant, minutes, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import { credentialSourceContract, openedMint, planOfTest } from '../contracts/credential-source.ts'
import { memoryCredentials } from '../support/memory-credentials.ts'

const turningClock = () => {
  let at: Instant = instant(1_800_000_000_000)
  return {
    now: () => at,
    turn: (by: Duration) => {
      at = instant(Math.round(at + by))
    },
  }
}

credentialSourceContract('memory', 'in turn', async () => {
  const clock = turningClock()
  const memory = memoryCredentials({ now: clock.now })
  const { entitlement, credential } = planOfTest('memory')
  return {
    source: memory.source,
    plan: { entitlement, credential },
    logIn: async (secret) => {
      const session = memory.logIn(secret)
      return session === undefined ? undefined : { alive: async () => session.alive(), leave: async () => {} }
    },
    nativeLife: async ({ username }) => {
      const lease = memory.leases().find((lease) => lease.username === username)
      return duration((lease?.endsAt ?? clock.now()) - clock.now())
    },
    holdLives: async (hold) => memory.holds().some(({ accessor }) => accessor === hold.accessor),
    pass: async (time) => clock.turn(time),
    freeze: async () => memory.freeze(),
    thaw: async () => memory.thaw(),
    down: async () => memory.down(),
    up: async () => memory.up(),
    stop: async () => {},
  }
})

describe('faults of the memory source', () => {
  const left = minutes(5)
  const fresh = (nativeExpiry = true) => {
    const clock = turningClock()
    return { clock, memory: memoryCredentials({ now: clock.now, nativeExpiry }) }
  }

  it('a failed operation has done nothing, and the next one works', async () => {
    const { memory } = fresh()
    memory.fault('open', 'fail', { definite: true })
    await expect(memory.source.open(planOfTest('fail'))).rejects.toMatchObject({
      code: 'vault_unavailable',
      facts: { definite: true },
    })
    expect(memory.holds()).toEqual([])
    await memory.source.open(planOfTest('fail'))
    expect(memory.holds()).toHaveLength(1)
  })

  it('a lost reply has done its work, and says that nobody knows', async () => {
    const { memory } = fresh()
    const plan = planOfTest('lose')
    const hold = await memory.source.open(plan)
    memory.fault('issue', 'lose_reply')
    await expect(memory.source.issue(hold, plan, left)).rejects.toMatchObject({ facts: { definite: false } })
    expect(memory.liveSecrets()).toHaveLength(1)
  })

  it('a hanging operation works on what is true when it is released', async () => {
    const { memory } = fresh()
    const plan = planOfTest('hang')
    const hold = await memory.source.open(plan)
    memory.fault('issue', 'hang')
    const issuing = memory.source.issue(hold, plan, left)
    await expect.poll(() => memory.hanging('issue')).toBe(1)
    await memory.source.close(plan, openedMint(hold))
    memory.release('issue')
    await expect(issuing).rejects.toMatchObject({ code: 'vault_refused' })
    expect(memory.liveSecrets()).toEqual([])
  })

  it('can be told to end nothing by itself', async () => {
    const { clock, memory } = fresh(false)
    const plan = planOfTest('stay')
    const hold = await memory.source.open(plan)
    const { secret } = await memory.source.issue(hold, plan, left)
    clock.turn(seconds(3_600))
    expect(memory.liveSecrets()).toEqual([reveal(secret).password])
    expect(memory.holds()).toEqual([])
    await memory.source.close(plan, openedMint(hold))
    expect(memory.liveSecrets()).toEqual([])
  })
})
