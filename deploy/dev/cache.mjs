// The one folder that holds everything Writ's set-up fetches or builds: npm's, Go's and Debian's files, and the binaries.
// Plain JavaScript on built-ins, because the bootstrap needs it before any package is there.
// Invariant: two set-ups at the same time never do the same work twice, and a killed one blocks nobody.

import { readFileSync } from 'node:fs'
import { mkdir, open, readFile, rm, rmdir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** The cache folder: WRIT_CACHE_DIR, or `writ` in the user's cache directory. */
export const cacheDir = () =>
  process.env.WRIT_CACHE_DIR || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'writ')

/** When a process was started, in the kernel's ticks: tells a process from a later one with the same id. */
const bornAt = (pid) => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return 'unknown'
  }
}

const isAlive = (holder) => {
  const [pid, born] = holder.split(' ')
  try {
    process.kill(Number(pid), 0)
  } catch (error) {
    if (error.code === 'ESRCH') return false
  }
  return bornAt(pid) === born
}

/** The holder's line, '' while it is just being written, undefined when there is none. */
const holderOf = async (lock) => {
  try {
    const holder = await readFile(lock, 'utf8')
    if (holder !== '') return holder
    return (await stat(lock)).mtimeMs < Date.now() - 5_000 ? '0 never' : ''
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

/** Takes away a dead holder's lock. Only one process at a time may, and it looks again first. */
const clear = async (lock) => {
  const guard = `${lock}.clearing`
  try {
    await mkdir(guard)
  } catch {
    const age = await stat(guard).then(
      (made) => Date.now() - made.mtimeMs,
      () => 0,
    )
    if (age > 10_000) await rmdir(guard).catch(() => {})
    return
  }
  const holder = await holderOf(lock)
  if (holder && !isAlive(holder)) await rm(lock, { force: true })
  await rmdir(guard).catch(() => {})
}

/** Runs `work` while no other process on this machine runs work of that name. `waiting` is called once if it must wait. */
export const exclusively = async (name, work, waiting = () => {}) => {
  const lock = join(cacheDir(), 'locks', name)
  await mkdir(join(cacheDir(), 'locks'), { recursive: true })
  for (let told = false; ; ) {
    const file = await open(lock, 'wx').catch((error) => {
      if (error.code !== 'EEXIST') throw error
    })
    if (file) {
      await file.writeFile(`${process.pid} ${bornAt(process.pid)}`)
      await file.close()
      break
    }
    const holder = await holderOf(lock)
    if (holder && !isAlive(holder)) {
      await clear(lock)
    } else if (holder !== undefined) {
      if (!told) waiting()
      told = true
      await pause(200)
    }
  }
  try {
    return await work()
  } finally {
    await rm(lock, { force: true })
  }
}
