// Looks for secrets where none may be: everything Redis holds and was ever told, what it wrote to disk, the brokers' logs, the witness,
// and what a collector was sent.
// By exact value for what a test has seen, and by shape for what it could not see (a hold's Vault token never leaves the broker).
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { DevStage } from '../../deploy/dev/stage.ts'

/** Compact JWTs with a payload, Vault tokens of every kind, private JWK members. */
const SHAPES = [
  /eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}/,
  /\bhv[sbr]\.[A-Za-z0-9_-]{20,}/,
  /"d"\s*:\s*"[A-Za-z0-9_-]{40,}"/,
]

export interface Sink {
  readonly name: string
  readonly text: string
}

const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile())

/** Redis's own folder (the append-only file holds every command with its arguments), the brokers' logs and data folders. */
export function* sinksOnDisk(stage: DevStage): Iterable<Sink> {
  // Its own configuration holds its own password, by design. In a container its folder is out of reach; what it holds is read over the wire.
  const folder = stage.redis.dir
  const stored = folder === undefined ? [] : filesIn(folder).filter((path) => !path.endsWith('.conf'))
  const brokers = readdirSync(stage.dir).filter((name) => /^broker-\d/.test(name))
  const paths = [
    ...stored,
    ...brokers.flatMap((name) =>
      statSync(join(stage.dir, name)).isFile() ? [join(stage.dir, name)] : filesIn(join(stage.dir, name)),
    ),
  ]
  for (const path of paths) yield* partsOf(path)
}

const PART = 64 * 1024 * 1024
/** Longer than anything that is looked for, so that nothing is cut in two. */
const OVERLAP = 64 * 1024

/** A file may be larger than a text can be. */
function* partsOf(path: string): Iterable<Sink> {
  const { size } = statSync(path)
  const file = openSync(path, 'r')
  try {
    for (let from = 0; from === 0 || from < size; from += PART) {
      const part = Buffer.alloc(Math.max(0, Math.min(PART + OVERLAP, size - from)))
      const length = readSync(file, part, 0, part.length, from)
      yield { name: path, text: part.toString('latin1', 0, length) }
    }
  } finally {
    closeSync(file)
  }
}

/** Every key of Redis with its value, job data included. */
export async function redisAsText(url: string): Promise<Sink> {
  const redis = new Redis(url, { replyMapping: 'legacy' } as never)
  try {
    const rows: unknown[] = []
    let cursor = '0'
    do {
      const [next, keys] = await redis.scan(cursor, 'COUNT', '500')
      cursor = next
      for (const key of keys) rows.push([key, await contentOf(redis, key)])
    } while (cursor !== '0')
    return { name: 'redis', text: JSON.stringify(rows) }
  } finally {
    redis.disconnect()
  }
}

async function contentOf(redis: Redis, key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'string':
      return redis.get(key)
    case 'hash':
      return redis.hgetall(key)
    case 'list':
      return redis.lrange(key, '0', '-1')
    case 'zset':
      return redis.zrange(key, '0', '-1', 'WITHSCORES')
    case 'set':
      return redis.smembers(key)
    case 'stream':
      return redis.xrange(key, '-', '+')
    default:
      return undefined
  }
}

/** What was found where. Nothing found is an empty list. */
export function leaksIn(sinks: Iterable<Sink>, secrets: Iterable<string>): readonly string[] {
  const exact = [...new Set(secrets)].filter((value) => value.length >= 8)
  const found: string[] = []
  for (const { name, text } of sinks)
    found.push(
      ...exact
        .filter((value) => text.includes(value))
        .map((value) => `${name} holds ${value.slice(0, 6)}… (${value.length} characters)`),
      ...SHAPES.filter((shape) => shape.test(text)).map((shape) => `${name} holds something like ${shape}`),
    )
  return found
}
