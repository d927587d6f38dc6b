// What a process has used so far, by the kernel's account. Linux only, like everything that is measured here.
import { readdirSync, readFileSync } from 'node:fs'

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
