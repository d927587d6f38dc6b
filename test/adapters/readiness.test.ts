// Ready means: this broker could hand something out, and would end it. A whole broker with production's settings, and what is broken one by
// one; whatever hangs behind it, it is told in time.
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../deploy/dev/running.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Adapters, openAdapters, type RunningBroker, startBroker } from '../../src/compose.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { readSettings } from '../../src/settings.ts'
import { ensureKeyRing } from '../../src/tokens/key-ring.ts'

let stage: DevStage
let redis: Redis
const running: RunningBroker[] = []

beforeAll(async () => {
  stage = await openStage({ vault: false })
  await ensureKeyRing(join(stage.dir, 'keys'))
  redis = new Redis(stage.redis.url)
  redis.on('error', () => undefined)
})
afterEach(async () => {
  for (const broker of running.splice(0)) await broker.stop()
})
afterAll(async () => {
  redis?.disconnect()
  await stage?.stop()
})

async function start(change: (adapters: Adapters) => Adapters = (adapters) => adapters): Promise<string> {
  const { WRIT_ISSUERS_FILE: _, ...settings } = stage.settings(running.length, await freePort())
  const adapters = await openAdapters(
    readSettings({ ...settings, WRIT_MODE: 'production', WRIT_PUBLIC_URL: 'https://broker.example' }),
    () => undefined,
  )
  const changed = change(adapters)
  const broker = await startBroker(changed, changed.ports)
  running.push(broker)
  return `http://127.0.0.1:${broker.port}`
}
const readiness = async (url: string) => {
  const answer = await fetch(`${url}/readyz`)
  const { failing }: { failing: readonly { name: string; why: string; mend: string }[] } = JSON.parse(
    await answer.text(),
  )
  return { status: answer.status, names: failing.map(({ name }) => name), failing }
}

describe('a broker', () => {
  it('is ready when all of it works, and not while Redis is set up so that it could lose an end', async () => {
    const url = await start()
    expect(await readiness(url)).toEqual({ status: 200, names: [], failing: [] })
    await redis.config('SET', 'appendfsync', 'everysec')
    const { status, names, failing } = await readiness(url)
    await redis.config('SET', 'appendfsync', 'always')
    expect([status, names]).toEqual([503, ['redis']])
    expect(failing[0]?.why).toContain('appendfsync must be always')
    expect((await readiness(url)).status).toBe(200)
  })

  it('is not ready while no key may sign, or its sweep has stopped, and the figures say so too', async () => {
    const refuse = () => {
      throw new BrokerError('clock_untrusted', 'No key may sign yet.')
    }
    const url = await start((adapters) => ({
      ...adapters,
      ring: { ...adapters.ring, keys: () => ({ ...adapters.ring.keys(), signing: refuse }) },
      ports: {
        ...adapters.ports,
        grants: { ...adapters.ports.grants, claimDue: async () => Promise.reject(new Error('no sweep')) },
      },
    }))
    expect((await readiness(url)).names).toEqual(['keys'])
    await expect
      .poll(() => readiness(url), { timeout: 40_000, interval: 500 })
      .toMatchObject({
        status: 503,
        names: ['keys', 'sweep'],
      })
    const text = await fetch(`${url}/metrics`).then((answer) => answer.text())
    for (const line of ['ready 0', 'check_failing{check="keys"} 1', 'check_failing{check="sweep"} 1', 'recovering 0'])
      expect(text.split('\n')).toContain(`writ_${line}`)
  })

  it('says so in time when Redis answers nothing, and gives its figures all the same', async () => {
    const url = await start()
    await stage.redis.freeze()
    try {
      const started = performance.now()
      const { status, names } = await readiness(url)
      expect([status, names.includes('redis'), names.includes('control')]).toEqual([503, true, true])
      const text = await fetch(`${url}/metrics`).then((answer) => answer.text())
      expect(text).toContain('writ_ready 0')
      expect(text).not.toMatch(/^writ_due_age_seconds\{/m)
      expect(performance.now() - started).toBeLessThan(6_000)
    } finally {
      await stage.redis.thaw()
    }
    await expect.poll(async () => (await readiness(url)).status, { timeout: 15_000 }).toBe(200)
  })
})
