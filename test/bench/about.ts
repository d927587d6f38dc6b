// Where and with what a run was made.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface About {
  readonly date: string
  readonly commit: string
  /** Whether files differ from that commit. */
  readonly dirty: boolean
  readonly cores: number
  readonly cpu: string
  readonly node: string
  readonly redis: string
  readonly vault: string
  readonly postgres: string
  readonly oidcProvider: string
  readonly express: string
  readonly bullmq: string
  readonly ioredis: string
  readonly jose: string
  readonly seconds: number
  readonly quick: boolean
  readonly rounds: number
}

/** What only running servers can tell; `not started` where none of them ran. */
export interface Servers {
  redis: string
  vault: string
  postgres: string
}

export function aboutRun(run: Pick<About, 'seconds' | 'quick' | 'rounds'>, servers: Servers): About {
  return {
    date: new Date().toISOString(),
    commit: git('rev-parse', 'HEAD') ?? 'unknown',
    dirty: (git('status', '--porcelain', '--untracked-files=no') ?? 'unknown') !== '',
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    node: process.versions.node,
    ...servers,
    oidcProvider: versionOf('oidc-provider'),
    express: versionOf('express'),
    bullmq: versionOf('bullmq'),
    ioredis: versionOf('ioredis'),
    jose: versionOf('jose'),
    ...run,
  }
}

function git(...args: readonly string[]): string | undefined {
  try {
    return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

function versionOf(name: string): string {
  const { version } = JSON.parse(readFileSync(`${ROOT}/node_modules/${name}/package.json`, 'utf8'))
  return String(version)
}
