// The archive: where a grant goes when it leaves Redis. Files `archive-<number>.jsonl` beside the witness, one line per grant, never removed
// by us. Invariant: `keep` resolves after the fsync, so what is forgotten is on disk. As with the witness a file is only appended to, and by
// one opening: a torn line can only be a file's last, and its grants are kept again in the next file.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Archive, Retired } from '../broker/ports.ts'
import { BrokerError } from '../domain/errors.ts'
import { type Disk, type DiskFile, nodeDisk } from './segments.ts'

export interface ArchiveFiles extends Archive {
  /** Waits for what is being written. */
  close(): Promise<void>
}
export interface ArchiveOptions {
  readonly disk?: Disk
  /** A file that has grown to this size is followed by a new one. */
  readonly fileBytes?: number
}

const NAME = /^archive-(\d{8})\.jsonl$/
const pathOf = (folder: string, number: number): string =>
  join(folder, `archive-${String(number).padStart(8, '0')}.jsonl`)

/** Opens the archive in a folder that only this broker uses (the witness's lock). No file is begun before there is something to keep. */
export async function openArchive(folder: string, options: ArchiveOptions = {}): Promise<ArchiveFiles> {
  const { disk = nodeDisk, fileBytes = 64 * 2 ** 20 } = options
  let number = Math.max(0, ...(await readdir(folder)).map((name) => Number(NAME.exec(name)?.[1] ?? 0)))
  let file: { readonly handle: DiskFile; readonly path: string; bytes: number } | undefined
  let last: Promise<void> = Promise.resolve()
  let closed = false

  const begin = async () => {
    number += 1
    const path = pathOf(folder, number)
    const begun = { handle: await disk.create(path), path, bytes: 0 }
    file = begun
    await disk.syncFolder(folder)
    return begun
  }
  /** After a failed write nothing is known about what reached the disk: that file is never written again. */
  const leave = async () => {
    const left = file
    file = undefined
    await left?.handle.close().catch(() => undefined)
    // Nothing in it was ever promised; a full disk must not fill with empty files.
    if (left?.bytes === 0) await disk.remove(left.path).catch(() => undefined)
  }
  const write = async (grants: readonly Retired[]): Promise<void> => {
    if (closed) throw unwritable(new Error('closed'))
    try {
      if (file !== undefined && file.bytes >= fileBytes) await leave()
      const to = file ?? (await begin())
      const text = grants.map(lineOf).join('')
      await to.handle.append(text)
      await to.handle.sync()
      to.bytes += Buffer.byteLength(text)
    } catch (cause) {
      await leave()
      throw unwritable(cause)
    }
  }

  return {
    keep: (grants) => {
      if (grants.length === 0) return Promise.resolve()
      const done = last.then(() => write(grants))
      last = done.catch(() => undefined)
      return done
    },
    close: async () => {
      await last
      closed = true
      await leave()
    },
  }
}

function lineOf({ id, version, ask, decisions, head, events, uses }: Retired): string {
  const record = {
    v: 1,
    id,
    version,
    ask: asStored(ask),
    decisions: decisions.map(asStored),
    head: asStored(head),
    events: events.map(({ version: of, seq, text }) => ({ version: of, seq, event: asStored(text) })),
    ...(uses.length === 0 ? {} : { uses: uses.map(({ receivedAt, text }) => ({ receivedAt, use: asStored(text) })) }),
  }
  return `${JSON.stringify(record)}\n`
}

/** JSON where printing it gives the stored text again, byte for byte, so that its hash can still be taken; else the text itself. */
function asStored(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && JSON.stringify(value) === text ? value : text
  } catch {
    return text
  }
}

const unwritable = (cause: unknown): BrokerError =>
  new BrokerError('log_unavailable', 'What is over cannot be archived, so it stays in the store.', {
    nextAction: 'Make WRIT_DATA_DIR writable and give its disk room.',
    cause,
  })
