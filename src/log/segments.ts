// The witness's files: `witness-<number>.log`, each a run of whole lines `<shard> <sequence> <hash of the event>`. A file is only appended
// to, and by one opening; a new start or a failure begins the next file. So a torn line can only be a file's last, and was never promised.
import { type FileHandle, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { BrokerError } from '../domain/errors.ts'

/** What the witness needs of a disk. A test hands in one that fails. */
export interface Disk {
  /** A new file that only this opening writes. Rejects when it exists. */
  create(path: string): Promise<DiskFile>
  remove(path: string): Promise<void>
  /** Makes a new name in the folder survive a crash. */
  syncFolder(folder: string): Promise<void>
}
export interface DiskFile {
  /** All of the text, or a rejection after any part of it. */
  append(text: string): Promise<void>
  /** Resolves when everything appended is on stable storage. */
  sync(): Promise<void>
  close(): Promise<void>
}

export const nodeDisk: Disk = {
  create: async (path) => {
    const file = await open(path, 'ax', 0o600)
    // The size is data that reading needs, so fdatasync keeps it too (POSIX); only times may be lost.
    return {
      append: (text) => appendTo(file, Buffer.from(text)),
      sync: () => file.datasync(),
      close: () => file.close(),
    }
  },
  remove: (path) => rm(path),
  syncFolder: async (folder) => {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
}

async function appendTo(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
}

const NAME = /^witness-(\d{8})\.log$/
const LINE = /^(\d{1,4}) (\d{1,16}) ([A-Za-z0-9_-]{43}|-)$/

export interface Line {
  readonly shard: number
  readonly seq: number
  /** `-` for a sequence that was only seen, not sealed here. */
  readonly eventHash: string
}
export const lineText = ({ shard, seq, eventHash }: Line): string => `${shard} ${seq} ${eventHash}\n`
export const isLine = (line: Line): boolean => LINE.test(lineText(line).trimEnd())

export const pathOf = (folder: string, number: number): string =>
  join(folder, `witness-${String(number).padStart(8, '0')}.log`)

/** The numbers of the files that are there, rising. */
export const numbersIn = async (folder: string): Promise<readonly number[]> =>
  (await readdir(folder))
    .flatMap((name) => NAME.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)

/**
 * Tells every line of a file to `seen`. A torn last line is left out: it was never promised. Any other line that is not one
 * rejects `log_unavailable`, because what it said cannot be known.
 */
export async function readSegment(path: string, seen: (line: Line) => void): Promise<void> {
  const lines = (await readFile(path, 'latin1')).split('\n')
  // What follows the last line feed is empty, or torn.
  lines.pop()
  for (const [at, text] of lines.entries()) {
    const [, shard, seq, eventHash] = LINE.exec(text) ?? []
    if (eventHash === undefined)
      throw new BrokerError('log_unavailable', `Line ${at + 1} of ${path} is damaged.`, {
        nextAction: 'Find out what changed it. To start without it, an operator moves the file away and runs recovery.',
      })
    seen({ shard: Number(shard), seq: Number(seq), eventHash })
  }
}

/** Removes the oldest files until the others hold at most `keepBytes`; never one of `fromNumber` or later. */
export async function pruneSegments(folder: string, fromNumber: number, keepBytes: number): Promise<void> {
  let bytes = 0
  for (const number of (await numbersIn(folder)).toReversed()) {
    const path = pathOf(folder, number)
    bytes += (await stat(path)).size
    if (number < fromNumber && bytes > keepBytes) await rm(path)
  }
}
