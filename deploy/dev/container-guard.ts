// Removes the containers of a process that has ended, however it ended. Invariant: it outlives that process by seconds, and its terminal's
// and its group's signals do not reach it. It notices the end by its standard input, a pipe whose other end only that process holds.
// It stands in for testcontainers' reaper, an image that would have to be pulled and be handed Docker's socket.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ask } from './docker-api.ts'

const PROGRAM = fileURLToPath(import.meta.url)
const LABEL = 'writ.owner'
const ASK_MS = 10_000
/** Docker may still be making what was asked for in the last moment. */
const ROUNDS = 4

let label: Promise<Record<string, string>> | undefined

/** The label that puts a container into the care of this process's guard, which runs from the first call on. */
export const guarded = (): Promise<Record<string, string>> => {
  label ??= startGuard()
  return label
}

const startGuard = async (): Promise<Record<string, string>> => {
  const owner = randomUUID()
  const { DOCKER_HOST } = process.env
  const guard = spawn(process.execPath, [PROGRAM, owner], {
    cwd: '/',
    env: DOCKER_HOST === undefined ? {} : { DOCKER_HOST },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  await once(guard, 'spawn')
  guard.stdin.on('error', () => {})
  // Neither the guard nor its pipe keeps this process alive.
  guard.unref()
  if ('unref' in guard.stdin && typeof guard.stdin.unref === 'function') guard.stdin.unref()
  return { [LABEL]: owner }
}

const idsOf = (listed: string): readonly string[] =>
  (JSON.parse(listed) as { readonly Id: string }[]).map(({ Id }) => Id)

const removeAll = async (owner: string): Promise<void> => {
  const filters = encodeURIComponent(JSON.stringify({ label: [`${LABEL}=${owner}`] }))
  const listed = await ask('GET', `/containers/json?all=1&filters=${filters}`, ASK_MS)
  const ids = listed?.status === 200 ? idsOf(listed.body) : []
  await Promise.all(ids.map((id) => ask('DELETE', `/containers/${id}?force=1&v=1`, ASK_MS)))
}

if (process.argv[1] === PROGRAM) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  process.stdin.resume()
  await once(process.stdin, 'close')
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 0) await pause(1_000)
    await removeAll(process.argv[2] ?? '')
  }
}
