import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { shard } from '../../src/domain/ids.ts'
import { type Disk, nodeDisk } from '../../src/log/segments.ts'
import { openWitness, type Witness, type WitnessOptions } from '../../src/log/witness.ts'
import { receipt, sealContract } from '../contracts/seal.ts'
import { codeOf } from '../support/code-of.ts'
import { memorySeal } from '../support/memory-ports.ts'

const opened: Witness[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((witness) => witness.close()))
})
const freshFolder = () => mkdtempSync(join(tmpdir(), 'writ-witness-'))
async function open(folder: string, options: WitnessOptions = {}): Promise<Witness> {
  const witness = await openWitness(folder, options)
  opened.push(witness)
  return witness
}
const filesIn = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .sort()
const textIn = (folder: string) =>
  filesIn(folder)
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('')
const storedIn = (folder: string, of: number): number[] =>
  textIn(folder)
    .split('\n')
    .flatMap((line) => {
      const [on, seq, eventHash] = line.split(' ')
      return on === String(of) && eventHash !== '-' ? [Number(seq)] : []
    })

type Fault = 'create' | 'append' | 'tear' | 'sync' | 'syncFolder' | undefined
/** A disk on which one operation fails while the fault is set; it also counts what was asked of it. */
function faultyDisk() {
  let fault: Fault
  const asked = { create: 0, append: 0, sync: 0 }
  const enospc = () => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  const disk: Disk = {
    ...nodeDisk,
    create: async (path) => {
      asked.create += 1
      if (fault === 'create') throw enospc()
      const file = await nodeDisk.create(path)
      return {
        close: file.close,
        append: async (text) => {
          asked.append += 1
          if (fault === 'append') throw enospc()
          // A full disk takes what still fits.
          if (fault === 'tear') await file.append(text.slice(0, Math.ceil(text.length / 2)))
          if (fault === 'tear') throw enospc()
          await file.append(text)
        },
        sync: async () => {
          asked.sync += 1
          if (fault === 'sync') throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
          await file.sync()
        },
      }
    },
    syncFolder: async (folder) => {
      if (fault === 'syncFolder') throw enospc()
      await nodeDisk.syncFolder(folder)
    },
  }
  return { disk, asked, set: (to: Fault) => (fault = to) }
}

describe('the memory seal', () =>
  sealContract(async () => {
    const seal = memorySeal()
    return {
      seal,
      stored: async (of) => seal.sealed.filter((each) => each.shard === of).map((each) => each.seq),
      setWritable: seal.setWritable,
    }
  }))

describe('the witness as a seal', () =>
  sealContract(async () => {
    const folder = freshFolder()
    const { disk, set } = faultyDisk()
    const seal = await open(folder, { disk })
    return {
      seal,
      stored: async (of) => storedIn(folder, of),
      setWritable: (writable) => set(writable ? undefined : 'append'),
    }
  }))

describe('the witness', () => {
  it('remembers over a restart the highest sequence of each shard, whatever order they came in', async () => {
    const folder = freshFolder()
    const first = await open(folder)
    expect(first.highest(shard(0))).toBe(0)
    await Promise.all([
      first.seal(receipt(5)),
      first.seal(receipt(12)),
      first.seal(receipt(7)),
      first.seal(receipt(3, 1)),
    ])
    expect([first.highest(shard(0)), first.highest(shard(1)), first.highest(shard(2))]).toEqual([12, 3, 0])
    await first.close()
    const second = await open(folder)
    expect([second.highest(shard(0)), second.highest(shard(1)), second.highest(shard(2))]).toEqual([12, 3, 0])
  })

  it('remembers over a restart also what was only observed', async () => {
    const folder = freshFolder()
    const first = await open(folder)
    first.observe(shard(0), 40)
    first.observe(shard(1), 9)
    first.observe(shard(0), 39)
    expect(first.highest(shard(0))).toBe(40)
    await first.seal(receipt(8, 1))
    expect(textIn(folder)).toContain('0 40 -\n')
    first.observe(shard(2), 2)
    await first.close()
    const second = await open(folder)
    expect([second.highest(shard(0)), second.highest(shard(1)), second.highest(shard(2))]).toEqual([40, 9, 2])
  })

  it('survives a kill at any moment: everything that was answered is there', async () => {
    const folder = freshFolder()
    const program = `
      import { openWitness } from ${JSON.stringify(new URL('../../src/log/witness.ts', import.meta.url).href)}
      const witness = await openWitness(${JSON.stringify(folder)})
      for (let seq = 1; ; seq++) {
        await witness.seal({ shard: 0, seq, eventHash: 'e'.repeat(43) })
        process.stdout.write(seq + '\\n')
      }`
    for (let round = 0; round < 3; round += 1) {
      const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let answered = ''
      child.stdout.on('data', (bytes: Buffer) => {
        answered += bytes.toString()
        if (answered.length > 300) child.kill('SIGKILL')
      })
      await once(child, 'close')
      const last = Number(answered.trimEnd().split('\n').at(-1))
      expect(last).toBeGreaterThan(50)
      const witness = await openWitness(folder)
      expect(witness.highest(shard(0))).toBeGreaterThanOrEqual(last)
      await witness.close()
    }
  })

  it('refuses a folder that a running broker uses, in this process or another, and takes it over when that one is dead', async () => {
    const folder = freshFolder()
    const program = `
      import { openWitness } from ${JSON.stringify(new URL('../../src/log/witness.ts', import.meta.url).href)}
      globalThis.witness = await openWitness(${JSON.stringify(folder)})
      await globalThis.witness.seal({ shard: 0, seq: 77, eventHash: 'e'.repeat(43) })
      process.stdout.write('open')
      setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    expect(await codeOf(openWitness(folder))).toBe('log_unavailable')
    child.kill('SIGKILL')
    await once(child, 'close')
    const mine = await open(folder)
    expect(mine.highest(shard(0))).toBe(77)
    expect(await codeOf(openWitness(folder))).toBe('log_unavailable')
    await mine.close()
    expect(await codeOf(open(folder))).toBe('accepted')
  })

  it('reads over a torn last line, and goes on behind it', async () => {
    const folder = freshFolder()
    const first = await open(folder)
    await first.seal(receipt(5))
    await first.close()
    for (const torn of ['0 9', '0 900000 abc', '\0\0\0\0', '0 6 ']) {
      appendFileSync(join(folder, filesIn(folder).at(-1) ?? ''), torn)
      const witness = await open(folder)
      expect(witness.highest(shard(0))).toBe(5)
      await witness.close()
    }
    const last = await open(folder)
    await last.seal(receipt(6))
    await last.close()
    expect((await open(folder)).highest(shard(0))).toBe(6)
  })

  it('refuses to start over a damaged line, because it cannot know how far the shard had come', async () => {
    const folder = freshFolder()
    const first = await open(folder)
    await first.seal(receipt(5))
    await first.close()
    const path = join(folder, filesIn(folder)[0] ?? '')
    writeFileSync(path, readFileSync(path, 'utf8').replace('0 5', '0 x'))
    expect(await codeOf(openWitness(folder))).toBe('log_unavailable')
    // And it left no lock behind.
    writeFileSync(path, '')
    expect(await codeOf(open(folder))).toBe('accepted')
  })

  it.each(['create', 'append', 'tear', 'sync', 'syncFolder'] as const)(
    'when %s fails: nothing is answered, it says so, and it heals by the next write that works, losing nothing',
    async (fault) => {
      const folder = freshFolder()
      const { disk, set } = faultyDisk()
      const changes: boolean[] = []
      // Small files, so that also what only a new file needs is needed here.
      const witness = await open(folder, {
        disk,
        fileBytes: 1,
        retryMs: 3_600_000,
        onChange: (healthy) => changes.push(healthy),
      })
      await witness.seal(receipt(1))
      set(fault)
      expect(await codeOf(witness.seal(receipt(2)))).toBe('log_unavailable')
      expect(await Promise.all([3, 4].map((seq) => codeOf(witness.seal(receipt(seq)))))).toEqual([
        'log_unavailable',
        'log_unavailable',
      ])
      expect(witness.healthy()).toBe(false)
      set(undefined)
      await witness.seal(receipt(5))
      expect(witness.healthy()).toBe(true)
      expect(changes).toEqual([false, true])
      expect(storedIn(folder, 0)).toEqual(expect.arrayContaining([1, 5]))
      await witness.close()
      expect((await open(folder)).highest(shard(0))).toBe(5)
    },
  )

  it('heals by itself, as an unhealthy witness is asked by nobody', async () => {
    const folder = freshFolder()
    const { disk, set } = faultyDisk()
    const witness = await open(folder, { disk, retryMs: 20 })
    set('append')
    expect(await codeOf(witness.seal(receipt(1)))).toBe('log_unavailable')
    await pause(100)
    expect(witness.healthy()).toBe(false)
    expect(filesIn(folder).length).toBeLessThan(3)
    set(undefined)
    await expect.poll(() => witness.healthy(), { interval: 10 }).toBe(true)
  })

  it('opens unhealthy where it can read but not write, so that ending can go on', async () => {
    const folder = freshFolder()
    const first = await open(folder)
    await first.seal(receipt(5))
    await first.close()
    const { disk, set } = faultyDisk()
    set('create')
    const witness = await open(folder, { disk })
    expect([witness.healthy(), witness.highest(shard(0))]).toEqual([false, 5])
  })

  it('begins a new file at a size, forgets old ones beyond a size, and never the highest sequence', async () => {
    const folder = freshFolder()
    const witness = await open(folder, { fileBytes: 1_000, keepBytes: 5_000 })
    await witness.seal(receipt(1_000_000, 3))
    for (let seq = 1; seq <= 400; seq += 1) await witness.seal(receipt(seq))
    const bytes = filesIn(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
    expect(filesIn(folder).length).toBeGreaterThan(2)
    expect(bytes).toBeLessThan(8_000)
    await witness.close()
    const again = await open(folder)
    expect([again.highest(shard(0)), again.highest(shard(3))]).toEqual([400, 1_000_000])
  })

  it('makes one fsync serve all that wait', async () => {
    const { disk, asked } = faultyDisk()
    const witness = await open(freshFolder(), { disk })
    const before = asked.sync
    await Promise.all(Array.from({ length: 1_000 }, (_, n) => witness.seal(receipt(n + 1))))
    expect(asked.sync - before).toBeLessThanOrEqual(3)
  })

  it('refuses what is no receipt, and everything once it is closed', async () => {
    const folder = freshFolder()
    const witness = await open(folder)
    expect(await codeOf(witness.seal({ ...receipt(1), eventHash: 'x\n0 999 -' }))).toBe('log_unavailable')
    expect(await codeOf(witness.seal({ ...receipt(1), seq: 1.5 }))).toBe('log_unavailable')
    await witness.close()
    expect(await codeOf(witness.seal(receipt(2)))).toBe('log_unavailable')
    expect(textIn(folder)).toBe('')
  })
})
