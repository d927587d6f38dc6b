// The shipped broker with one change: it is killed (SIGKILL, by itself) at its n-th effect once it is armed, before it or just after.
// Only tests run this program; src knows nothing of it. WRIT_TEST_DIE = <n>:<before|after>, WRIT_TEST_ARM = a file that arms it,
// WRIT_TEST_EFFECTS = a file that is told the number of effects so far.
import { existsSync, writeFileSync } from 'node:fs'
import type { Ports } from '../../src/broker/ports.ts'
import { openAdapters, startBroker } from '../../src/compose.ts'
import { readSettings } from '../../src/settings.ts'

const { WRIT_TEST_DIE = '', WRIT_TEST_ARM = '', WRIT_TEST_EFFECTS = '' } = process.env
const [n = Number.NaN, when] = WRIT_TEST_DIE.split(':').map((part, at) => (at === 0 ? Number(part) : part)) as [
  number,
  string,
]
let count = 0

function wrap<T extends object>(port: T): T {
  return new Proxy(port, {
    get: (target, key) => {
      const value = Reflect.get(target, key)
      // `claimDue` is the sweep's heartbeat, `retired` that of the archive: they go on all the time and would blur the count.
      if (typeof value !== 'function' || key === 'claimDue' || key === 'retired') return value
      return async (...args: unknown[]) => {
        if (!existsSync(WRIT_TEST_ARM)) return value.apply(target, args)
        count += 1
        const mine = count === n
        writeFileSync(WRIT_TEST_EFFECTS, String(count))
        if (mine && when === 'before') die()
        const result = await value.apply(target, args)
        if (mine) die()
        return result
      }
    },
  })
}

function die(): never {
  process.kill(process.pid, 'SIGKILL')
  // The signal is on its way; nothing more may happen.
  for (;;);
}

const adapters = await openAdapters(readSettings(process.env))
const { grants, credentials, tokens, timetable, seal } = adapters.ports
const ports: Ports = {
  ...adapters.ports,
  grants: wrap(grants),
  credentials: wrap(credentials),
  tokens: wrap(tokens),
  timetable: wrap(timetable),
  seal: wrap(seal),
}
const running = await startBroker(adapters, ports)
process.on('SIGTERM', () => void running.stop().then(() => process.exit(0)))
