// What a process has used so far, by the kernel's account. Linux only, like everything that is measured here.
import { readdirSync, readFileSync } from 'node:fs'
import type { RedisService } from '../../deploy/dev/redis.ts'

/** Processor time of all its threads, in microseconds; what threads used that have ended is not in it. */
export function cpuUs(pid: number): number {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`))
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ', 1)[0])
  return nanoseconds / 1_000
}

/** Resident memory in bytes. */
export function rssBytes(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1_024
}

/** Of a Redis that we started: also one in a container is a process of this machine, and says in its title where it listens. */
export function redisPidOf({ pid, port }: Pick<RedisService, 'pid' | 'port'>): number {
  if (pid !== undefined) return pid
  for (const name of readdirSync('/proc')) {
    if (/^\d+$/.test(name) && titleOf(name).startsWith('redis-server') && titleOf(name).includes(`:${port}`))
      return Number(name)
  }
  throw new Error('the bench needs a Redis whose processor time it can see: this one is no process of this machine')
}

function titleOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
