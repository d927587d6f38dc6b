// A broker that will be asked to leave: started by us, because its exit code counts, with everything it has running in sight.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { family, freePort } from '../../deploy/dev/running.ts'
import type { DevStage } from '../../deploy/dev/stage.ts'
import { eventually } from './journey-actors.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Leaving {
  readonly child: ChildProcess
  readonly url: string
  readonly log: string
  /** Everything that it had running, itself included, as seen just before it was asked to stop. */
  terminate(): Promise<{ readonly code: number | null; readonly ms: number; readonly running: readonly number[] }>
}

export async function startLeaving(stage: DevStage, n: number): Promise<Leaving> {
  const port = await freePort()
  const log = join(stage.dir, `leaving-${n}.log`)
  const out = openSync(log, 'w', 0o600)
  const env = { PATH: process.env.PATH, ...stage.settings(n, port) }
  const child = spawn(process.execPath, [join(ROOT, 'src/main.ts')], { env, cwd: ROOT, stdio: ['ignore', out, out] })
  closeSync(out)
  const gone = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const url = `http://127.0.0.1:${port}`
  const alive = () =>
    fetch(`${url}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    )
  await eventually('alive', alive, (is) => is, 20_000)
  return {
    child,
    url,
    log,
    terminate: async () => {
      const running = family(child.pid ?? 0)
      const started = performance.now()
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 40_000)
      const code = await gone
      clearTimeout(late)
      return { code, ms: Math.round(performance.now() - started), running }
    },
  }
}

export const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
