// A containment as the SOC orders it, and how far it is.
import { setTimeout as pause } from 'node:timers/promises'
import { requestBytes } from './load.ts'
import { answersOf, type Ours, type Sender } from './ours.ts'

export interface Containment {
  readonly id: string
  /** Until the first answer. */
  readonly answeredMs: number
  /** By performance.now(). */
  readonly askedAt: number
  /** Resolves when every state is written, to how long that took from asking. */
  done(withinMs: number): Promise<number>
  lift(): Promise<void>
}

/** `freezes`: it also stops what is new. */
export async function contain(ours: Ours, sender: Sender, freezes: boolean): Promise<Containment> {
  const headers = { authorization: `Bearer ${ours.personToken('sol')}`, 'content-type': 'application/json' }
  const call = async (method: string, path: string, body?: object) => {
    const [answer] = await answersOf(ours.port, [
      requestBytes(method, path, headers, body === undefined ? undefined : JSON.stringify(body)),
    ])
    return answer ?? {}
  }
  const askedAt = performance.now()
  const where = { entitlement: `bench-${sender}` }
  const { id } = await call('POST', '/v1/containments', { where, reason: 'INC-1', freeze: freezes })
  const answeredMs = performance.now() - askedAt
  return {
    id: String(id),
    answeredMs,
    askedAt,
    done: async (withinMs) => {
      for (;;) {
        const seen = await call('GET', `/v1/containments/${id}`)
        const took = performance.now() - askedAt
        if (seen.done === true) return took
        if (took > withinMs) throw new Error(`the containment is not done: ${JSON.stringify(seen)}`)
        await pause(50)
      }
    },
    lift: async () => void (await call('POST', `/v1/freezes/${id}/lift`, { reason: 'over' })),
  }
}
