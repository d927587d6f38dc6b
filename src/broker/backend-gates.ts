// Whether logins may be made at a backend: only while it is known to be the one that was last looked through and found clean. A backend that
// was put back from an earlier copy has revived what had ended; then nothing is made there until all of that is gone again.
// Invariant: each broker makes sure for itself and remembers nothing of it elsewhere, so nothing that is lost or rolled back can vouch for a backend.
// Ends are never held up here.
import type { VaultCredential } from '../domain/entitlement.ts'
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { BackendMarks, CredentialSource } from './ports.ts'
import type { Reconciled } from './reconcile.ts'

export interface GatePorts {
  /** Those that can be looked through. Logins at any other backend are made as if there were no gate. */
  readonly backends: readonly string[]
  readonly marks: BackendMarks
  reconcile(backend: string): Promise<Reconciled>
  /** Monotonic milliseconds. */
  ticks(): number
  /** Told when the gate of a backend shuts and when it opens, with why. */
  told(backend: string, gate: Closed | 'open'): void
}

export type Closed = 'not_looked_through' | 'out_of_reach' | 'restored' | 'store_restored'
export interface BackendGates {
  readonly backends: readonly string[]
  /** The same source, which opens nothing where the gate is shut or the backend is not the one it was. */
  guarded(source: CredentialSource): CredentialSource
  /** Undefined while it is open, or where there is none. */
  closed(backend: string): Closed | undefined
  /** While it is open: databases behind it at which nothing is made, because what lies there could not be looked through, or not be ended. */
  shut(backend: string): readonly string[]
  /** How long ago the last pass over all of it was clean; undefined for never. */
  cleanAgeMs(backend: string): number | undefined
  /** Shuts every gate: the store was put back, so what it knows nothing of any more may live at a backend. */
  storeRestored(): void
  /**
   * One pass. Opens the gate if everything that should not be there was ended, and the backend was the same one all the while; but for the databases
   * of which that is not known, which open by a later one.
   */
  pass(backend: string): Promise<Reconciled>
  /** Marks the backend anew where something ended there since the last mark, or that is old. Never rejects. */
  keep(backend: string): Promise<void>
}

/**
 * A mark is older than what it does not vouch for: an end after it could be undone unnoticed by a copy made between the two. So after every
 * end a new one is set within a second, and at the latest after this time.
 */
const OLD_MS = 10_000

interface Gate {
  closed: Closed | undefined
  /** How often it was shut: a pass that began before it was shut last does not open it. */
  closings: number
  mark: string | undefined
  /** Marks that say nothing any more and are there all the same: each look of a new broker goes through all of them. */
  readonly dropped: Set<string>
  markedAt: number
  /** Something was confirmed ended there since the mark was set. */
  moved: boolean
  /** The hold that this broker ended last: where it is there again, an end was undone, though the mark may be older than the copy. */
  lastEnded: string | undefined
  cleanAt: number | undefined
  /** Of an open one: databases that were not clean when it opened, and have not been since. */
  shut: ReadonlySet<string>
}

export function backendGates(p: GatePorts): BackendGates {
  const fresh = (): Gate => ({
    closed: 'not_looked_through',
    closings: 0,
    mark: undefined,
    dropped: new Set(),
    markedAt: 0,
    moved: false,
    lastEnded: undefined,
    cleanAt: undefined,
    shut: new Set(),
  })
  const gates = new Map(p.backends.map((backend) => [backend, fresh()]))

  const shut = (backend: string, gate: Gate, why: Closed): void => {
    gate.closings += 1
    if (gate.mark !== undefined) gate.dropped.add(gate.mark)
    gate.mark = undefined
    gate.shut = new Set()
    // That it was restored stays the reason until it is clean, whatever happens on the way.
    const next = gate.closed === 'restored' ? 'restored' : why
    if (gate.closed !== next) p.told(backend, next)
    gate.closed = next
  }

  /** What had ended was there again. A gate that was shut for another reason knows now why; what was found is gone, so nothing more is asked. */
  const found = (backend: string, gate: Gate): void => {
    if (gate.closed === undefined) shut(backend, gate, 'restored')
    if (gate.closed === 'restored') return
    gate.closed = 'restored'
    p.told(backend, 'restored')
  }

  /**
   * Shuts the gate where the mark that it is open by is not there any more, or what was ended last is there again: what is there now has then
   * been put back from before the one or the other. A mark that was replaced meanwhile says nothing.
   */
  const isSame = async (backend: string, gate: Gate): Promise<boolean> => {
    for (;;) {
      const { mark, lastEnded } = gate
      if (mark === undefined) return false
      const isUndone = lastEnded !== undefined && (await p.marks.isThere(backend, lastEnded))
      if (!isUndone && (await p.marks.isThere(backend, mark))) return true
      if (!isUndone && gate.mark !== mark) continue
      shut(backend, gate, 'restored')
      return false
    }
  }

  /** Of a backend that does not answer it is tried again with the next one. */
  const drop = async (backend: string, { dropped }: Gate, mark: string | undefined): Promise<void> => {
    if (mark !== undefined) dropped.add(mark)
    for (const one of dropped) {
      const isGone = await p.marks.drop(backend, one).then(
        () => true,
        () => false,
      )
      if (!isGone) return
      dropped.delete(one)
    }
  }

  /** `vouched`: what was ended last before the new mark was set; from here on the mark says as much. */
  const replaceMark = async (backend: string, gate: Gate, next: string, vouched: Gate['lastEnded']): Promise<void> => {
    const former = gate.mark
    gate.mark = next
    if (gate.lastEnded === vouched) gate.lastEnded = undefined
    gate.markedAt = p.ticks()
    await drop(backend, gate, former)
  }

  async function enter(credential: VaultCredential): Promise<void> {
    const { backend } = credential
    const gate = gates.get(backend)
    if (gate === undefined) return
    if (gate.closed !== undefined) throw closedError(gate.closed)
    if (credential.engine === 'database' && gate.shut.has(credential.database.connection)) throw databaseShut()
    const same = await isSame(backend, gate).catch((thrown: unknown) => {
      throw untouched(thrown)
    })
    if (!same) throw closedError(gate.closed ?? 'restored')
  }

  async function pass(backend: string): Promise<Reconciled> {
    const gate = gates.get(backend)
    if (gate === undefined) return p.reconcile(backend)
    const { closings, lastEnded } = gate
    // Set before the look: if it is still there afterwards, what was looked through is what is there.
    const next = await p.marks.set(backend)
    const { moved } = gate
    gate.moved = false
    let vouched = false
    try {
      const result = await p.reconcile(backend)
      if (gate.closed === undefined) await isSame(backend, gate)
      if (result.revived > 0) found(backend, gate)
      const apart = notClean(result)
      if (apart === undefined || gate.closings !== closings) return result
      vouched = (await p.marks.isThere(backend, next)) && gate.closings === closings
      if (!vouched) return result
      if (apart.size === 0) gate.cleanAt = p.ticks()
      await replaceMark(backend, gate, next, lastEnded)
      // At one that was open all the while a database that is away takes nothing new by itself; what it has is known.
      gate.shut = gate.closed === undefined ? new Set([...gate.shut].filter((one) => apart.has(one))) : apart
      if (gate.closed !== undefined) p.told(backend, 'open')
      gate.closed = undefined
      return result
    } finally {
      gate.moved ||= !vouched && moved
      if (!vouched) await drop(backend, gate, next)
    }
  }

  async function keep(backend: string): Promise<void> {
    const gate = gates.get(backend)
    if (gate === undefined || gate.closed !== undefined) return
    const { moved, closings, lastEnded } = gate
    if (!moved && p.ticks() - gate.markedAt < OLD_MS) return
    // What ends from here on is not vouched for by the mark that is being set.
    gate.moved = false
    try {
      const next = await p.marks.set(backend)
      // In this order: a copy put back between the two takes the former mark with it.
      if ((await isSame(backend, gate)) && gate.closings === closings) await replaceMark(backend, gate, next, lastEnded)
      else await drop(backend, gate, next)
    } catch {
      gate.moved ||= moved
      // Nothing has ended there since the mark, so an older copy would lack it. Otherwise one could come back without being noticed.
      if (gate.moved && gate.closed === undefined) shut(backend, gate, 'out_of_reach')
    }
  }

  return {
    backends: p.backends,
    closed: (backend) => gates.get(backend)?.closed,
    shut: (backend) => [...(gates.get(backend)?.shut ?? [])],
    cleanAgeMs: (backend) => {
      const at = gates.get(backend)?.cleanAt
      return at === undefined ? undefined : p.ticks() - at
    },
    storeRestored: () => {
      for (const [backend, gate] of gates) shut(backend, gate, 'store_restored')
    },
    pass,
    keep,
    guarded: (source) => ({
      ...source,
      async reach(credential) {
        await enter(credential)
        await source.reach(credential)
      },
      async open(plan) {
        await enter(plan.credential)
        return source.open(plan)
      },
      async close(plan, mint) {
        // An end may have been run and its answer lost.
        const gate = gates.get(plan.credential.backend)
        if (gate !== undefined) gate.moved = true
        await source.close(plan, mint)
        if (gate === undefined) return
        gate.moved = true
        gate.lastEnded = 'accessor' in mint ? (mint.accessor ?? gate.lastEnded) : gate.lastEnded
      },
    }),
  }
}

/** Databases that could not be looked through, or at which something could not be ended; undefined where that is not theirs alone. */
function notClean({ failed, unread }: Reconciled): ReadonlySet<string> | undefined {
  const left = failed.map(({ artefact }) => artefact.database)
  if (left.includes(undefined)) return undefined
  return new Set([...left.flatMap((database) => database ?? []), ...(unread?.databases ?? [])])
}

const databaseShut = (): BrokerError =>
  new BrokerError(
    'vault_unavailable',
    'The database could not be looked through, or what lies there not be ended. No login is made there until it is clean.',
    {
      nextAction: 'Try again in a few seconds: it opens by itself. If it stays so, the operators see why in the log.',
      facts: { definite: true, reason: 'database_not_clean' },
    },
  )

const CLOSED: Readonly<Record<Closed, readonly ['recovering' | 'vault_unavailable', string]>> = {
  restored: [
    'recovering',
    'The backend was put back from an earlier copy, and what had ended there is being ended again. No login is made until it is clean.',
  ],
  store_restored: [
    'recovering',
    'The store was put back from an earlier copy, and the backend is being looked through for what it does not know of. No login is made until it is clean.',
  ],
  out_of_reach: [
    'vault_unavailable',
    'The backend was out of reach while grants ended, and is being looked through. No login is made until it is clean.',
  ],
  not_looked_through: [
    'vault_unavailable',
    'This broker has not looked through the backend yet. No login is made until it is clean.',
  ],
}

/** `definite`: nothing was made, so the claim is given back and the approval stays good. */
function closedError(why: Closed): BrokerError {
  const [code, message] = CLOSED[why]
  return new BrokerError(code, message, {
    nextAction: 'Try again in a few seconds: it opens by itself. If it stays so, the operators see why in the log.',
    facts: { definite: true, reason: why },
  })
}

/** The backend did not say whether it is the one it was; nothing was made all the same. */
function untouched(thrown: unknown): unknown {
  if (!isBrokerError(thrown)) return thrown
  const { code, message, nextAction, facts, cause } = thrown
  return new BrokerError(code, message, {
    ...(nextAction === undefined ? {} : { nextAction }),
    facts: { ...facts, definite: true },
    cause,
  })
}

/** For people: why no login is made there. */
export const whyClosed = (why: Closed): string => CLOSED[why][1]
