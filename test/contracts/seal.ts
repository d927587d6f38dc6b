// What every seal must do, as guarantees. The memory seal of the verbs' tests and the witness run the same suite.
import { hash } from 'node:crypto'
import { beforeEach, expect, it } from 'vitest'
import type { Receipt, Seal } from '../../src/broker/ports.ts'
import { shard } from '../../src/domain/ids.ts'
import { codeOf } from '../support/code-of.ts'

export interface SealUnderTest {
  readonly seal: Seal
  /** The sequences of a shard that stable storage holds now, as another reader sees them. */
  stored(of: number): Promise<readonly number[]>
  /** From now on nothing can be written, or everything again. */
  setWritable(writable: boolean): void
}

export const receipt = (seq: number, of = 0): Receipt => ({
  shard: shard(of),
  seq,
  eventHash: hash('sha256', `event ${of}/${seq}`, 'base64url'),
})

export function sealContract(make: () => Promise<SealUnderTest>): void {
  let under: SealUnderTest
  beforeEach(async () => {
    under = await make()
  })

  it('resolves only when the commit is on stable storage', async () => {
    await under.seal.seal(receipt(7))
    expect(await under.stored(0)).toContain(7)
  })

  it('seals many at once, each of them', async () => {
    const seqs = Array.from({ length: 200 }, (_, n) => n + 1)
    await Promise.all(seqs.map((seq) => under.seal.seal(receipt(seq))))
    expect(new Set(await under.stored(0))).toEqual(new Set(seqs))
  })

  it('takes commits in any order and of any shard', async () => {
    await Promise.all([under.seal.seal(receipt(9)), under.seal.seal(receipt(3)), under.seal.seal(receipt(2, 4))])
    await under.seal.seal(receipt(5))
    expect([...(await under.stored(0))].sort()).toEqual([3, 5, 9])
    expect(await under.stored(4)).toEqual([2])
  })

  it('sealing the same commit again succeeds', async () => {
    await under.seal.seal(receipt(1))
    expect(await codeOf(under.seal.seal(receipt(1)))).toBe('accepted')
  })

  it('rejects log_unavailable for every waiter while it cannot write, and seals again when it can', async () => {
    under.setWritable(false)
    const refused = await Promise.all([1, 2, 3].map((seq) => codeOf(under.seal.seal(receipt(seq)))))
    expect(refused).toEqual(['log_unavailable', 'log_unavailable', 'log_unavailable'])
    expect(await under.stored(0)).toEqual([])
    under.setWritable(true)
    await under.seal.seal(receipt(4))
    expect(await under.stored(0)).toContain(4)
  })
}
