// One broker per data folder. The lock is the operating system's, taken through SQLite on an empty file: it is there while the holder lives
// and gone when it dies, however it died and in whichever container, so no process id has to be guessed dead.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { BrokerError } from '../domain/errors.ts'

const BUSY = 5

/** Holds the folder until the returned function is called or the process ends. Throws `log_unavailable` when another broker holds it. */
export function lockFolder(folder: string): () => void {
  const path = join(folder, 'lock')
  let lock: DatabaseSync | undefined
  try {
    lock = new DatabaseSync(path, { timeout: 0 })
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (cause) {
    lock?.close()
    const taken = (cause as { errcode?: number }).errcode === BUSY
    const why = taken ? 'another broker that is running uses it' : 'its lock file cannot be opened'
    throw new BrokerError('log_unavailable', `The data folder ${folder} cannot be used: ${why}.`, {
      nextAction: taken ? 'Give each broker a data folder of its own.' : 'Check that the broker may write there.',
      cause,
    })
  }
  const held = lock
  return () => held.close()
}
