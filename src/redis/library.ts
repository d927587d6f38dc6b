// The Lua file as it is loaded into Redis: the lifecycle filled in, the clock filled in, and a hash of the result in every name,
// so that brokers of different releases run side by side, each on its own functions.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { ALLOWING, BIRTH, isTerminal, LIFECYCLE, LIVE, STATUSES } from '../domain/lifecycle.ts'

export const FUNCTIONS = [
  'grant_commit',
  'grant_end_commit',
  'grant_commit_each',
  'claim_due',
  'grant_load',
  'grant_events',
  'grant_list',
  'grant_feed',
  'grant_counts',
  'grant_retired',
  'grant_forget',
  'control_read',
  'control_publish',
  'shard_accept',
  'freeze_put',
  'freeze_lift',
  'freezes',
  'grant_live',
  'containment_claim',
  'containment_note',
  'containment_read',
  'containment_page',
  'revocation_ack',
  'revocation_left',
  'revocation_acked',
  'use_report',
  'use_read',
  'rate_take',
  'use_once',
  'status_read',
  'status_lists',
] as const
export type FunctionName = (typeof FUNCTIONS)[number]

export interface Library {
  readonly name: string
  readonly code: string
  /** The name under which a function is registered: its own and the hash of the library. */
  nameOf(name: FunctionName): string
}

/** The clock of the shipped functions: Redis's own, in milliseconds, and nothing else. */
export const REDIS_TIME =
  "local function now_ms() local at = redis.call('TIME') return at[1] * 1000 + math.floor(at[2] / 1000) end"

/** `nowLine` defines `now_ms()`. Only tests hand in another one. */
export function renderLibrary(nowLine: string = REDIS_TIME): Library {
  const source = readFileSync(new URL('./functions/grants.lua', import.meta.url), 'utf8')
  const edges = Object.entries(LIFECYCLE).flatMap(([from, next]) => next.map((to) => `${from}>${to}`))
  const open = STATUSES.filter((status) => !isTerminal(status))
  const tables = {
    '--[[EDGES]]': setOf([`none>${BIRTH}`, ...edges]),
    '--[[ALLOWING]]': setOf(ALLOWING),
    '--[[OPEN]]': setOf(open),
    '--[[LIVE]]': setOf(LIVE),
    '--[[NOW]]': nowLine,
  }
  const body = Object.entries(tables).reduce((text, [placeholder, value]) => fill(text, placeholder, value), source)
  const hash = createHash('sha256').update(body).digest('hex').slice(0, 16)
  const named = fill(body, "local SUFFIX = '' --[[SUFFIX]]", `local SUFFIX = '_${hash}'`)
  return {
    name: `writ_${hash}`,
    code: fill(named, '#!lua name=writ\n', `#!lua name=writ_${hash}\n`),
    nameOf: (name) => `${name}_${hash}`,
  }
}

/** Loads the library; succeeds also when another broker was faster, because the name says what is in it. */
export async function loadLibrary(redis: Redis, library: Library): Promise<void> {
  try {
    await redis.function('LOAD', library.code)
  } catch (thrown) {
    if (!(thrown instanceof Error && thrown.message.includes('already exists'))) throw thrown
  }
}

const setOf = (names: readonly string[]): string => names.map((name) => `['${name}'] = true`).join(', ')

function fill(text: string, placeholder: string, value: string): string {
  if (text.split(placeholder).length !== 2) throw new Error(`grants.lua must hold ${placeholder.trim()} exactly once`)
  return text.replace(placeholder, () => value)
}
