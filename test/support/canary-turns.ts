// Whoever dies over a canary, or with a Redis that does not answer, keeps everybody from the next one for minutes. A crash run has no minutes: here
// a turn is given back as soon as it is certain that nobody is at it. Invariant: never earlier, so no two make one at a time.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Ports } from '../../src/broker/ports.ts'
import type { EntitlementId } from '../../src/domain/ids.ts'

type Canaries = Ports['canaries']

/** `file`: what this broker has, for the next life in its place to give back. */
export function canaryTurns(canaries: Canaries, file: string): Canaries {
  const held = new Set<EntitlementId>()
  const note = (): void => writeFileSync(file, JSON.stringify([...held]))
  const giveBack = async (id: EntitlementId): Promise<void> => {
    while (
      !(await canaries.giveBack(id).then(
        () => true,
        () => false,
      ))
    )
      await pause(200)
    held.delete(id)
    note()
  }
  const former: readonly EntitlementId[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  for (const id of former) {
    held.add(id)
    void giveBack(id)
  }
  return {
    ...canaries,
    turn: async (id, lease) => {
      const isOurs = await canaries.turn(id, lease)
      if (isOurs) {
        held.add(id)
        note()
      }
      return isOurs
    },
    giveBack: async (id) => {
      try {
        await canaries.giveBack(id)
      } catch (thrown) {
        void giveBack(id)
        throw thrown
      }
      held.delete(id)
      note()
    },
  }
}
