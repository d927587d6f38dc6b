// Brings what Writ runs on: Redis, PostgreSQL, Vault, and for tests Chromium. Only this step downloads or builds, never a test and never
// the start of a service. Every service comes from the first of: an address in the environment, a container, a binary on PATH,
// the cache folder. Run alone it brings all of them.
import { fileURLToPath } from 'node:url'
import { setUpChromium } from './chromium.ts'
import { reportDocker } from './docker.ts'
import { setUpPostgres } from './postgres.ts'
import { setUpRedis } from './redis.ts'
import { setUpVault } from './vault.ts'

export interface SetUpOptions {
  /** Vault takes minutes to build the first time; not every run needs it. */
  readonly vault: boolean
  /** Only tests look at pages. */
  readonly chromium?: boolean
  readonly report: (line: string) => void
}

/** Afterwards `startRedis`, `startPostgres` and (where asked) `startVault` succeed. A second run changes nothing and is quick. */
export const setUp = async ({ vault, chromium = false, report }: SetUpOptions): Promise<void> => {
  await reportDocker(report)
  await setUpRedis(report)
  await setUpPostgres(report)
  if (vault) await setUpVault(report)
  if (chromium) await setUpChromium(report)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setUp({ vault: true, chromium: true, report: (line) => process.stdout.write(`${line}\n`) })
}
