// The shipped broker with one change: with everything that it seals it keeps four megabytes, a descriptor and a key. Only tests run this program, to
// see that a soak finds it; src knows nothing of it.
import { openSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import type { Ports } from '../../src/broker/ports.ts'
import { openAdapters, startBroker } from '../../src/compose.ts'
import { readSettings } from '../../src/settings.ts'

const redis = new Redis(readFileSync(process.env.WRIT_REDIS_URL_FILE ?? '', 'utf8'))
const kept: Buffer[] = []
const leak = async (): Promise<void> => {
  kept.push(Buffer.alloc(4 * 1_048_576, 1))
  openSync('/dev/null', 'r')
  await redis.set(`{writ:0}:left:${process.pid}-${kept.length}`, '1')
}

const adapters = await openAdapters(readSettings(process.env))
const seal: Ports['seal'] = new Proxy(adapters.ports.seal, {
  get: (target, key) => {
    const value: unknown = Reflect.get(target, key)
    if (typeof value !== 'function') return value
    return async (...args: readonly unknown[]) => {
      await leak()
      return Reflect.apply(value, target, args)
    }
  },
})
const running = await startBroker(adapters, { ...adapters.ports, seal })
process.on('SIGTERM', () => void running.stop().then(() => process.exit(0)))
