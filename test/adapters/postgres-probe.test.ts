// The questions to PostgreSQL on a real one: a connection is used again for a moment, and none that is broken.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type PostgresService, startPostgres } from '../../deploy/dev/postgres.ts'
import { temporaryFolder } from '../../deploy/dev/running.ts'
import { postgresProbe } from '../../src/vault/postgres-probe.ts'
import { processTimer } from '../../src/vault/timer.ts'
import { until } from '../support/until.ts'

let folder: { readonly path: string; remove(): void }
let postgres: PostgresService
let admin: pg.Client
const probe = () =>
  postgresProbe(
    {
      ...{ host: postgres.host, port: postgres.port, database: 'postgres', user: postgres.user },
      passwordFile: join(folder.path, 'password'),
      tls: undefined,
      timeoutMs: 3_000,
    },
    processTimer,
  )
const processes = async (): Promise<readonly number[]> => {
  const { rows } = await admin.query(
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'writ-probe' ORDER BY pid",
  )
  return rows.map(({ pid }) => pid)
}
const NOTHING = { logins: 0, sessions: 0, statements: 0, ended: 0 }

beforeAll(async () => {
  folder = await temporaryFolder('probe')
  postgres = await startPostgres({ own: true })
  writeFileSync(join(folder.path, 'password'), postgres.password)
  admin = new pg.Client({ connectionString: postgres.url })
  await admin.connect()
})
afterAll(async () => {
  await admin.end()
  await postgres.stop()
  folder.remove()
})

it('asks one after the other on one connection, and closes it when nothing is asked for a while', async () => {
  const { left } = probe()
  expect(await left('nobody')).toEqual(NOTHING)
  const first = await processes()
  expect(first).toHaveLength(1)
  for (let n = 0; n < 5; n += 1) expect(await left('nobody')).toEqual(NOTHING)
  expect(await processes()).toEqual(first)
  await until('closed', 10_000, async () => (await processes()).length === 0)
})

it('asks as many at once as connections, each by itself', async () => {
  const { left } = probe()
  expect(await Promise.all(Array.from({ length: 12 }, () => left('nobody')))).toEqual(Array(12).fill(NOTHING))
  expect(await processes()).toHaveLength(4)
  await until('closed', 10_000, async () => (await processes()).length === 0)
})

it('a kept connection that was cut off is not the answer: it asks again on a new one', async () => {
  const { left } = probe()
  await left('nobody')
  await admin.query(
    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE application_name = 'writ-probe'",
  )
  expect(await left('nobody')).toEqual(NOTHING)
})

it('a kept connection to a server that does not answer is not waited for beyond the time, nor used again', async () => {
  const { left } = probe()
  await left('nobody')
  await postgres.freeze()
  await expect(left('nobody')).rejects.toMatchObject({ code: 'not_confirmed', facts: { reason: 'timeout' } })
  await postgres.thaw()
  expect(await left('nobody')).toEqual(NOTHING)
})

it('a kept connection is closed though its server is frozen', async () => {
  const sockets = (): number => process.getActiveResourcesInfo().filter((one) => one === 'TCPSocketWrap').length
  const { left } = probe()
  await until('nothing is left of the other tests', 10_000, async () => (await processes()).length === 0)
  const before = sockets()
  await left('nobody')
  expect(sockets()).toBe(before + 1)
  await postgres.freeze()
  try {
    await until('closed', 10_000, async () => sockets() === before)
  } finally {
    await postgres.thaw()
  }
})

it('sees what came after the connection was made', async () => {
  const { left } = probe()
  // Oftener than PostgreSQL plans a prepared question anew.
  for (let n = 0; n < 8; n += 1) expect(await left('late')).toEqual(NOTHING)
  await admin.query("CREATE ROLE late LOGIN PASSWORD 'late-password'")
  const session = new pg.Client({
    host: postgres.host,
    port: postgres.port,
    database: 'postgres',
    user: 'late',
    password: 'late-password',
  })
  session.on('error', () => undefined)
  await session.connect()
  expect(await left('late')).toMatchObject({ logins: 1, ended: 1 })
  await admin.query('DROP ROLE late')
  expect(await left('late')).toEqual(NOTHING)
})

it('asked anew it finds that it cannot log in any more, which a kept connection does not', async () => {
  const { left } = probe()
  await left('nobody')
  const password = join(folder.path, 'password')
  writeFileSync(password, 'another')
  try {
    expect(await left('nobody')).toEqual(NOTHING)
    await expect(left('nobody', undefined, true)).rejects.toMatchObject({ facts: { reason: '28P01' } })
  } finally {
    writeFileSync(password, postgres.password)
  }
})
