// Deadlines and slots: what keeps one hanging backend from holding up everything else.
import { describe, expect, it } from 'vitest'
import { SlotsFull, slots } from '../../src/vault/slots.ts'
import { Overdue, processTimer, within } from '../../src/vault/timer.ts'
import { handTimer } from './hand-timer.ts'

const never = new AbortController().signal
const gate = () => {
  let open = (): void => {}
  const closed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { closed, open }
}
const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('slots', () => {
  it('lets so many in at once and the others in their order', async () => {
    const room = slots(2, 10)
    const gates = [gate(), gate(), gate(), gate()]
    const entered: number[] = []
    const runs = gates.map(({ closed }, n) =>
      room.run(never, async () => {
        entered.push(n)
        await closed
      }),
    )
    await settle()
    expect(entered).toEqual([0, 1])
    gates[1]?.open()
    await settle()
    expect(entered).toEqual([0, 1, 2])
    for (const { open } of gates) open()
    await Promise.all(runs)
    expect(entered).toEqual([0, 1, 2, 3])
  })

  it('refuses at once when too many wait', async () => {
    const room = slots(1, 1)
    const { closed, open } = gate()
    const runs = [room.run(never, () => closed), room.run(never, () => closed)]
    await expect(room.run(never, () => closed)).rejects.toBeInstanceOf(SlotsFull)
    open()
    await Promise.all(runs)
  })

  it('gives a slot back after a failure, and a waiter who gives up leaves the queue', async () => {
    const room = slots(1, 5)
    const { closed, open } = gate()
    const first = room.run(never, () => closed)
    const impatient = new AbortController()
    const waiting = room.run(impatient.signal, async () => 'ran')
    impatient.abort(new Overdue())
    await expect(waiting).rejects.toBeInstanceOf(Overdue)
    open()
    await first
    await expect(room.run(never, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await room.run(never, async () => 'ran')).toBe('ran')
  })
})

describe('a deadline', () => {
  it('ends the wait for work that never settles, and tells the work', async () => {
    const timer = handTimer()
    let told = false
    const running = within(timer, 1_000, (signal) => {
      signal.addEventListener('abort', () => {
        told = true
      })
      return new Promise(() => {})
    })
    const outcome = expect(running).rejects.toBeInstanceOf(Overdue)
    await timer.pass(1_000)
    await outcome
    expect(told).toBe(true)
  })

  it('ends with the deadline around it, also one that has passed already', async () => {
    const outer = new AbortController()
    outer.abort()
    let begun = false
    const running = within(
      processTimer,
      60_000,
      async () => {
        begun = true
      },
      outer.signal,
    )
    await expect(running).rejects.toBeInstanceOf(Overdue)
    expect(begun).toBe(false)
  })

  it('is forgotten when the work is done in time', async () => {
    const timer = handTimer()
    expect(await within(timer, 1_000, async () => 'done')).toBe('done')
    await timer.pass(2_000)
  })
})
