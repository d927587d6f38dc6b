// The archive on a real folder: what is kept is on disk, whole and readable, before anything is told; a disk that fails loses nothing.
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Retired } from '../../src/broker/ports.ts'
import { shard } from '../../src/domain/ids.ts'
import { type Instant, instant } from '../../src/domain/instant.ts'
import { openArchive } from '../../src/log/archive.ts'
import { type Disk, nodeDisk } from '../../src/log/segments.ts'
import { openWitness } from '../../src/log/witness.ts'
import { codeOf } from '../support/code-of.ts'
import { nextGrantId, sampleAsk, sampleDecision, sampleEvent, sampleHead } from '../support/sample-grants.ts'

const at = instant(Date.parse('2026-11-21T12:00:00.000Z'))
const freshFolder = () => mkdtempSync(join(tmpdir(), 'writ-archive-'))
const filesIn = (folder: string) => readdirSync(folder).sort()

function retired(): Retired {
  const id = nextGrantId(shard(0))
  return {
    id,
    version: 2,
    ask: JSON.stringify(sampleAsk(id, at)),
    decisions: [JSON.stringify(sampleDecision('olivia', at))],
    head: JSON.stringify(sampleHead('denied', at)),
    events: (['filed', 'denied'] as const).map((type, n) => ({
      version: n + 1,
      seq: 10 + n,
      text: JSON.stringify(sampleEvent(id, type, at)),
    })),
    uses: [{ receivedAt: at, text: '{"v":1,"by":"desk-api","id":"use-1"}' }],
  }
}

interface Line {
  readonly v: number
  readonly id: string
  readonly version: number
  readonly ask: unknown
  readonly decisions: readonly unknown[]
  readonly head: unknown
  readonly events: readonly { readonly version: number; readonly seq: number; readonly event: unknown }[]
  readonly uses?: readonly { readonly receivedAt: Instant; readonly use: unknown }[]
}
const storedText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
/** As any reader would: every whole line of every file. */
const readIn = (folder: string): readonly Retired[] =>
  filesIn(folder)
    .filter((name) => name.startsWith('archive-'))
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
    .map((line) => {
      const { id, version, ask, decisions, head, events, uses = [] } = JSON.parse(line) as Line
      return {
        id: id as Retired['id'],
        version,
        ask: storedText(ask),
        decisions: decisions.map(storedText),
        head: storedText(head),
        events: events.map(({ version: of, seq, event }) => ({ version: of, seq, text: storedText(event) })),
        uses: uses.map(({ receivedAt, use }) => ({ receivedAt, text: storedText(use) })),
      }
    })

type Fault = 'create' | 'append' | 'tear' | 'sync' | 'syncFolder' | undefined
function faultyDisk() {
  let fault: Fault
  const asked: string[] = []
  const failIf = (here: Fault) => {
    if (fault === here) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  }
  const disk: Disk = {
    ...nodeDisk,
    create: async (path) => {
      failIf('create')
      const file = await nodeDisk.create(path)
      return {
        close: file.close,
        append: async (text) => {
          asked.push('append')
          failIf('append')
          if (fault === 'tear') await file.append(text.slice(0, Math.ceil(text.length / 2)))
          failIf('tear')
          await file.append(text)
        },
        sync: async () => {
          asked.push('sync')
          failIf('sync')
          await file.sync()
        },
      }
    },
    syncFolder: async (folder) => {
      asked.push('syncFolder')
      failIf('syncFolder')
      await nodeDisk.syncFolder(folder)
    },
  }
  return { disk, asked, set: (to: Fault) => (fault = to) }
}

describe('the archive', () => {
  it('gives back every text byte for byte, over any number of starts', async () => {
    const folder = freshFolder()
    const grants = Array.from({ length: 5 }, retired)
    const first = await openArchive(folder)
    await first.keep(grants.slice(0, 2))
    await first.keep(grants.slice(2, 4))
    await first.close()
    const second = await openArchive(folder)
    await second.keep(grants.slice(4))
    await second.close()
    expect(readIn(folder)).toEqual(grants)
    expect(filesIn(folder)).toEqual(['archive-00000001.jsonl', 'archive-00000002.jsonl'])
  })

  it('keeps also what it cannot read, as it is', async () => {
    const folder = freshFolder()
    const odd: Retired = {
      ...retired(),
      ask: 'not json\nat all "\u2028',
      head: '{ "spaced": 1 }',
      decisions: ['"text"', '[1]', 'null'],
    }
    const archive = await openArchive(folder)
    await archive.keep([odd])
    await archive.close()
    expect(readIn(folder)).toEqual([odd])
  })

  it('is on stable storage, its name too, when it says so', async () => {
    const { disk, asked } = faultyDisk()
    const archive = await openArchive(freshFolder(), { disk })
    await archive.keep([retired()])
    expect(asked).toEqual(['syncFolder', 'append', 'sync'])
    await archive.keep([retired()])
    expect(asked).toEqual(['syncFolder', 'append', 'sync', 'append', 'sync'])
    await archive.close()
  })

  it('is for its owner only, and begins no file before there is something to keep', async () => {
    const folder = freshFolder()
    const archive = await openArchive(folder)
    await archive.keep([])
    expect(filesIn(folder)).toEqual([])
    await archive.keep([retired()])
    expect(statSync(join(folder, filesIn(folder)[0] ?? '')).mode & 0o777).toBe(0o600)
    await archive.close()
    expect(await codeOf(archive.keep([retired()]))).toBe('log_unavailable')
  })

  it('goes on in a new file when one has grown enough', async () => {
    const folder = freshFolder()
    const archive = await openArchive(folder, { fileBytes: 4_000 })
    const grants = Array.from({ length: 6 }, retired)
    for (const grant of grants) await archive.keep([grant])
    await archive.close()
    expect(filesIn(folder).length).toBeGreaterThan(1)
    expect(readIn(folder)).toEqual(grants)
  })

  it.each(['create', 'append', 'tear', 'sync', 'syncFolder'] as const)(
    'says so when the disk fails (%s), and holds everything once it works again',
    async (fault) => {
      const folder = freshFolder()
      const { disk, set } = faultyDisk()
      const archive = await openArchive(folder, { disk })
      const grants = [retired(), retired()]
      await archive.keep(grants.slice(0, 1))
      // A new start, so that the failing one has a file to begin.
      await archive.close()
      const again = await openArchive(folder, { disk })
      set(fault)
      expect(await codeOf(again.keep(grants))).toBe('log_unavailable')
      expect(await codeOf(again.keep(grants))).toBe('log_unavailable')
      set(undefined)
      await again.keep(grants)
      await again.close()
      expect(readIn(folder)).toEqual([grants[0], ...grants])
    },
  )

  it('does not write on after a line that may be torn', async () => {
    const folder = freshFolder()
    const { disk, set } = faultyDisk()
    const archive = await openArchive(folder, { disk })
    const grants = [retired(), retired(), retired()]
    await archive.keep(grants.slice(0, 1))
    set('tear')
    expect(await codeOf(archive.keep(grants.slice(1)))).toBe('log_unavailable')
    set(undefined)
    await archive.keep(grants.slice(1))
    await archive.close()
    expect(filesIn(folder)).toHaveLength(2)
    expect(new Set(readIn(folder).map(({ id }) => id))).toEqual(new Set(grants.map(({ id }) => id)))
  })

  it('writes one after the other what is asked at once', async () => {
    const folder = freshFolder()
    const archive = await openArchive(folder)
    const grants = Array.from({ length: 20 }, retired)
    await Promise.all(grants.map((grant) => archive.keep([grant])))
    await archive.close()
    expect(readIn(folder)).toEqual(grants)
    expect(filesIn(folder)).toHaveLength(1)
  })

  it('shares its folder with the witness, and neither minds the other', async () => {
    const folder = freshFolder()
    const witness = await openWitness(folder)
    const archive = await openArchive(folder)
    await archive.keep([retired()])
    await witness.seal({ shard: shard(0), seq: 4, eventHash: 'h'.repeat(43) })
    await Promise.all([archive.close(), witness.close()])
    const again = await openWitness(folder)
    expect(again.highest(shard(0))).toBe(4)
    await again.close()
    expect(readIn(folder)).toHaveLength(1)
  })
})
