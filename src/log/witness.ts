// The witness: until the log exists, it remembers outside Redis how far each shard's commits had come, so that a Redis that was rolled back
// is noticed. Nothing is answered before its line is on stable storage; one fsync serves all that wait. When it cannot write, it says
// so and nothing may leave, and it tries again by itself.
import { mkdir } from 'node:fs/promises'
import { setImmediate } from 'node:timers/promises'
import type { Receipt, Seal } from '../broker/ports.ts'
import { BrokerError } from '../domain/errors.ts'
import type { Shard } from '../domain/ids.ts'
import { lockFolder } from './folder-lock.ts'
import {
  type Disk,
  type DiskFile,
  isLine,
  type Line,
  lineText,
  nodeDisk,
  numbersIn,
  pathOf,
  pruneSegments,
  readSegment,
} from './segments.ts'

export interface Witness extends Seal {
  /** Notes that a shard has come this far, as read from Redis. Kept at once in memory, on disk with the next group. */
  observe(shard: Shard, seq: number): void
  /** The highest sequence ever sealed or observed here; 0 for none. Redis must never be behind it. */
  highest(shard: Shard): number
  /** False from a failed write until one works again. */
  healthy(): boolean
  /** Writes what is waiting and gives the folder free. */
  close(): Promise<void>
}
export interface WitnessOptions {
  readonly disk?: Disk
  /** A file that has grown to this size is followed by a new one. */
  readonly fileBytes?: number
  /** How much of the older files is kept. */
  readonly keepBytes?: number
  /** How long after a failed write the next is tried when nobody asks for one. */
  readonly retryMs?: number
  /** Told once when writing begins to fail, and once when it works again. */
  readonly onChange?: (healthy: boolean, cause: unknown) => void
}

interface Waiting extends Line {
  readonly done: () => void
  readonly failed: (error: BrokerError) => void
}

/**
 * Opens the data folder and reads how far each shard had come. Rejects `log_unavailable` when another broker uses it or a file is
 * damaged. A folder that can be read but not written opens unhealthy: ending must go on there.
 */
export async function openWitness(folder: string, options: WitnessOptions = {}): Promise<Witness> {
  const { disk = nodeDisk, fileBytes = 8 * 2 ** 20, keepBytes = 64 * 2 ** 20, retryMs = 1_000, onChange } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const unlock = lockFolder(folder)
  const highest = new Map<number, number>()
  const raise = (shard: number, seq: number) => highest.set(shard, Math.max(seq, highest.get(shard) ?? 0))
  let number = 0
  try {
    for (number of await numbersIn(folder))
      await readSegment(pathOf(folder, number), ({ shard, seq }) => raise(shard, seq))
  } catch (thrown) {
    unlock()
    throw thrown
  }

  const stable = new Map(highest)
  let waiting: Waiting[] = []
  let working: Promise<void> | undefined
  let file: { readonly handle: DiskFile; readonly path: string; bytes: number } | undefined
  let healthy = true
  let closed = false
  let retry: NodeJS.Timeout | undefined

  /** Begins the next file with all that is known, so that the older ones are not needed. */
  const begin = async () => {
    number += 1
    const path = pathOf(folder, number)
    const handle = await disk.create(path)
    file = { handle, path, bytes: 0 }
    await disk.syncFolder(folder)
  }
  const write = async (lines: readonly Line[], first: boolean) => {
    if (file === undefined) return
    const text = lines.map(lineText).join('')
    await file.handle.append(text)
    await file.handle.sync()
    file.bytes += text.length
    for (const { shard, seq } of lines) stable.set(shard, Math.max(seq, stable.get(shard) ?? 0))
    // What cannot be removed now is tried again with the next file: it is no reason to hand out nothing.
    if (first) await pruneSegments(folder, number, keepBytes).catch(() => undefined)
  }
  const known = (): Line[] => [...highest].map(([shard, seq]) => ({ shard, seq, eventHash: '-' }))
  /** After a failed write or fsync nothing is known about what reached the disk: that file is never written again. */
  const abandon = async () => {
    const left = file
    file = undefined
    await left?.handle.close().catch(() => undefined)
    // Nothing in it was ever promised; a full disk must not fill with empty files.
    if (left?.bytes === 0) await disk.remove(left.path).catch(() => undefined)
  }
  const turned = (to: boolean, cause?: unknown) => {
    if (healthy !== to) onChange?.(to, cause)
    healthy = to
  }

  const writeGroup = async (group: readonly Waiting[]) => {
    try {
      if (file !== undefined && file.bytes >= fileBytes) await abandon()
      const first = file === undefined
      if (first) await begin()
      await write([...(first ? known() : unwritten(highest, stable, group)), ...group], first)
      turned(true)
      for (const each of group) each.done()
    } catch (cause) {
      await abandon()
      turned(false, cause)
      for (const each of group) each.failed(unwritable(cause))
    }
  }
  /** While one group is being synced, the next gathers: that is the whole of group commit. */
  const work = async () => {
    // Answers of one socket read arrive in one turn: let all of them into the first group.
    await setImmediate()
    do {
      const group = waiting
      waiting = []
      await writeGroup(group)
    } while (waiting.length > 0)
    working = undefined
    // Asked by nobody, because an unhealthy witness stops issuing and so its own callers.
    clearTimeout(retry)
    if (!healthy && !closed) retry = setTimeout(start, retryMs).unref()
  }
  const start = () => {
    working ??= work()
  }

  // The first file is begun now, so that a folder that cannot be written is known before the first request.
  start()
  await working

  return {
    seal: ({ shard, seq, eventHash }: Receipt) => {
      const line = { shard, seq, eventHash }
      if (closed || !isLine(line)) return Promise.reject(unwritable(new Error(closed ? 'closed' : 'not a receipt')))
      // Redis had come this far, whether it can be written or not.
      raise(shard, seq)
      return new Promise((done, failed) => {
        waiting.push({ ...line, done, failed })
        start()
      })
    },
    observe: raise,
    highest: (shard) => highest.get(shard) ?? 0,
    healthy: () => healthy,
    close: async () => {
      if (closed) return
      closed = true
      clearTimeout(retry)
      await working
      if (unwritten(highest, stable, []).length > 0) await writeGroup([])
      await abandon()
      unlock()
    },
  }
}

/** What was observed above everything on disk and in this group. */
const unwritten = (
  highest: ReadonlyMap<number, number>,
  stable: ReadonlyMap<number, number>,
  group: readonly Line[],
): Line[] =>
  [...highest]
    .filter(
      ([shard, seq]) =>
        seq > (stable.get(shard) ?? 0) && !group.some((line) => line.shard === shard && line.seq >= seq),
    )
    .map(([shard, seq]) => ({ shard, seq, eventHash: '-' }))

const unwritable = (cause: unknown): BrokerError =>
  new BrokerError('log_unavailable', 'What happened cannot be recorded, so nothing is handed out.', {
    nextAction: 'Try again shortly.',
    cause,
  })
