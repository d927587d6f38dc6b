// Kills with SIGKILL: a broker at one of its effects or at any time, Redis or Vault while a broker stands at one of its effects. Whoever died is
// started again, and how long it took until it was ready is measured.
import { setTimeout as pause } from 'node:timers/promises'
import type { Controls } from '../../deploy/dev/running.ts'
import type { Outage, Outages } from './lookout.ts'
import type { Kill, Victim } from './schedule.ts'
import type { Slot, Slots } from './slots.ts'

export interface Killed {
  readonly victim: Victim
  /** Where it was in the end: `random` too where the point was not reached in time. */
  readonly at: Kill['at']
  readonly missed: boolean
}
export interface KillerPorts {
  readonly slots: Slots
  readonly services: Readonly<Record<Exclude<Victim, 'broker'>, Pick<Controls, 'kill' | 'restart'>>>
  /** Work that leads to this point, at this broker. */
  provoke(kill: Kill, slot: Slot): void
  /** Told of each time that a service is down. */
  readonly outages: Outages
  recovered(victim: Victim, ms: number): void
  failed(thrown: unknown): void
}

/** Until then the point was reached, or the kill falls on whatever is going on. */
const REACH_MS = 2_500
const NOBODY_MS = 90_000

export interface Killer {
  kill(next: Kill): Promise<Killed>
  /** Everybody who was killed is back. */
  settled(): Promise<void>
}

export function killer(p: KillerPorts): Killer {
  let turn = 0
  const reviving = new Set<Promise<void>>()

  const keep = (back: Promise<void>): void => {
    reviving.add(back)
    void back.finally(() => reviving.delete(back))
  }
  const nextSlot = async (): Promise<Slot> => {
    const until = performance.now() + NOBODY_MS
    for (;;) {
      const { all } = p.slots
      const up = all.filter((slot) => slot.url() !== undefined)
      const inTurn = [...all.slice(turn), ...all.slice(0, turn)].find((slot) => up.includes(slot))
      // Never the last one that is up: somebody must hold the fort.
      if (inTurn !== undefined && up.length > 1) {
        turn = (inTurn.n + 1) % all.length
        return inTurn
      }
      if (performance.now() > until) throw new Error(`fewer than two brokers were up for ${NOBODY_MS} ms`)
      await pause(20)
    }
  }
  const revive = (slot: Slot, since: number): void => {
    const back = slot
      .revive()
      .then(() => untilReady(slot.url, since))
      .then(
        (ms) => p.recovered('broker', ms),
        (thrown: unknown) => p.failed(`${thrown}; its last words: ${slot.lastWords()}`),
      )
    keep(back)
  }

  async function killBroker(next: Kill): Promise<Killed> {
    const slot = await nextSlot()
    let at: Kill['at'] = 'random'
    if (next.at === 'random') await pause(next.afterMs)
    else {
      const { hit } = slot.aim(next.at, 'self')
      p.provoke(next, slot)
      if (await Promise.race([hit, pause(REACH_MS, false, { ref: false })])) at = next.at
    }
    const since = performance.now()
    await slot.kill()
    revive(slot, since)
    return { victim: 'broker', at, missed: at !== next.at }
  }

  async function killService(victim: Exclude<Victim, 'broker'>, next: Kill): Promise<Killed> {
    const service = p.services[victim]
    let slot: Slot | undefined
    let at: Kill['at'] = 'random'
    if (next.at === 'random') await pause(next.afterMs)
    else {
      slot = await nextSlot()
      const { hit } = slot.aim(next.at, 'other')
      p.provoke(next, slot)
      if (await Promise.race([hit, pause(REACH_MS, false, { ref: false })])) at = next.at
    }
    const outage: Outage = { from: Date.now(), to: undefined }
    p.outages[victim].push(outage)
    const since = performance.now()
    await service.kill()
    slot?.tell('rest')
    slot?.tell('go')
    await service.restart()
    outage.to = Date.now()
    const back = slot ?? p.slots.all.find((one) => one.url() !== undefined)
    if (back !== undefined) keep(untilReady(back.url, since).then((ms) => p.recovered(victim, ms), p.failed))
    return { victim, at, missed: at !== next.at }
  }

  return {
    kill: (next) => (next.victim === 'broker' ? killBroker(next) : killService(next.victim, next)),
    settled: async () => {
      while (reviving.size > 0) await Promise.all(reviving)
    },
  }
}

/** On a machine that has nothing else to do it is a second or two; what was measured is in the result. */
const READY_WITHIN_MS = 60_000

/** Until the broker says that it is ready; answers how long that was after `since`. */
async function untilReady(url: () => string | undefined, since: number): Promise<number> {
  for (;;) {
    const at = url()
    // Killed once more meanwhile: that is the next one's time.
    if (at === undefined) return performance.now() - since
    const answer = await fetch(`${at}/readyz`, { signal: AbortSignal.timeout(5_000) }).then(
      async (readyz) => ({ ok: readyz.ok, text: await readyz.text() }),
      (thrown: unknown) => ({ ok: false, text: String(thrown) }),
    )
    if (answer.ok) return performance.now() - since
    if (performance.now() - since > READY_WITHIN_MS)
      throw new Error(`not ready again within ${READY_WITHIN_MS} ms: ${answer.text.slice(0, 900)}`)
    await pause(40)
  }
}
