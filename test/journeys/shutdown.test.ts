// A broker that is asked to stop (SIGTERM) while it hands out logins finishes what it has begun, takes nothing new, and leaves; what it could
// not finish the other broker ends. Its process is started here, because its exit code counts.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { client } from '../../deploy/dev/client.ts'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import { family, freePort } from '../../deploy/dev/running.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'
import {
  type Actors,
  actors,
  type Eyes,
  eachOf,
  eventually,
  eyes,
  type Filed,
  NOTHING,
} from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const LEAVES_WITHIN_MS = 15_000

let stage: DevStage
let services: { readonly vault: VaultService; readonly postgres: PostgresService }
let stays: BrokerProcess
let play: Actors
let see: Eyes
let leaving: Leaving | undefined

beforeAll(async () => {
  stage = await openStage({ vault: true })
  services = await stage.bringVault()
  stays = await stage.startBroker(0)
  play = actors(stage)
  see = eyes(services)
}, 120_000)
afterEach(async () => {
  leaving?.child.kill('SIGKILL')
  await services?.vault.thaw()
})
afterAll(() => closeStage(stage))

interface Leaving {
  readonly child: ChildProcess
  readonly url: string
  readonly log: string
  /** Everything that it had running, itself included, as seen just before it was asked to stop. */
  terminate(): Promise<{ readonly code: number | null; readonly ms: number; readonly running: readonly number[] }>
}

async function startLeaving(n: number): Promise<Leaving> {
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

const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
const exchanged = (url: string, grant: Filed): Promise<string> =>
  play.exchange(url, grant).then(
    ({ said }) => said,
    () => 'no answer',
  )
const FINAL = ['ended', 'lapsed']
const final = (grant: Filed, withinMs: number) =>
  eventually(
    'final',
    () => play.statusOf(stays.url, grant),
    (status) => FINAL.includes(status),
    withinMs,
  )

it('stopped in the middle of exchanges, a broker answers what it has begun, exits 0, and leaves no half-made login', async () => {
  leaving = await startLeaving(1)
  const { url } = leaving
  const closesAt = Date.now() + 26_000
  const grants = await eachOf(60, 8, () => play.approved(stays.url, { closesAt }))
  const waiting = client(url).get(await play.who('vera'), `${grants[0]?.path}?wait=50&for=status&since=approved`)
  // Ten callers, each with its next exchange as soon as the last one is answered.
  const asking = eachOf(grants.length, 10, (n) => exchanged(url, grants[n] ?? fail()))
  await eventually(
    'some are made',
    async () => (await see.leases()).length,
    (many) => many >= 3,
    15_000,
    10,
  )
  const { code, ms, running } = await leaving.terminate()
  const said = await asking
  const made = said.filter((word) => word === 'ok').length
  console.log(`left ${ms} ms after SIGTERM; of ${said.length} exchanges ${made} were answered with a login`)
  expect(made).toBeGreaterThan(0)
  expect(made).toBeLessThan(grants.length)
  expect(code).toBe(0)
  expect(ms).toBeLessThan(LEAVES_WITHIN_MS)
  expect(running.filter(isRunning)).toEqual([])
  expect((await waiting).status).toBe(200)

  // Whoever got a login has it; for whoever got none there is none, and the approval is still good.
  for (const [n, grant] of grants.entries()) {
    const status = await play.statusOf(stays.url, grant)
    expect([said[n], status]).toEqual(said[n] === 'ok' ? ['ok', 'active'] : [said[n], 'approved'])
  }
  expect(await see.leases()).toHaveLength(made)
  expect(await see.logins()).toHaveLength(made)
  const unused = grants.filter((_, n) => said[n] !== 'ok').slice(0, 5)
  for (const grant of unused) expect(await exchanged(stays.url, grant)).toBe('ok')
  for (const grant of grants) await final(grant, closesAt - Date.now() + 20_000)
  expect(await see.left()).toEqual(NOTHING)
}, 90_000)

it('stopped while Vault does not answer, a broker leaves all the same, and the other ends what hung', async () => {
  leaving = await startLeaving(2)
  const { url } = leaving
  const closesAt = Date.now() + 30_000
  const grants = await eachOf(6, 3, () => play.approved(stays.url, { closesAt }))
  await services.vault.freeze()
  const asking = Promise.all(grants.map((grant) => exchanged(url, grant)))
  await eventually(
    'begun',
    () => play.statusOf(stays.url, grants[0] ?? fail()),
    (status) => status === 'issuing',
    5_000,
    20,
  )
  const { code, ms, running } = await leaving.terminate()
  console.log(`left ${ms} ms after SIGTERM with Vault frozen`)
  expect(code).toBe(0)
  expect(ms).toBeLessThan(LEAVES_WITHIN_MS)
  expect(running.filter(isRunning)).toEqual([])
  expect((await asking).filter((word) => word === 'ok')).toEqual([])
  await services.vault.thaw()
  for (const grant of grants) await final(grant, closesAt - Date.now() + 45_000)
  await eventually(
    'nothing left',
    () => see.left(),
    (left) => JSON.stringify(left) === JSON.stringify(NOTHING),
    20_000,
  )
}, 120_000)

const fail = (): never => {
  throw new Error('there is no grant')
}
