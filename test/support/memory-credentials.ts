// A CredentialSource in memory: a tiny backend with holds, leases, logins and sessions, each with an end of its own by a clock that is
// handed in. It passes the same contract suite as the real one. Faults are set per operation, and everything that lives can be looked at.
import type { CredentialSource, VaultSecret } from '../../src/broker/ports.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { MintId } from '../../src/domain/ids.ts'
import { after, type Instant, seconds, shortest, toSeconds } from '../../src/domain/instant.ts'
import type { Mint } from '../../src/domain/mint.ts'
import { reveal, secret } from '../../src/domain/secret.ts'

export type Operation = keyof CredentialSource
/** `fail`: refused before anything happens. `lose_reply`: it happened, and its answer was lost. `hang`: it waits for `release`. */
export type Fault = 'fail' | 'lose_reply' | 'hang'

export interface LiveHold {
  readonly accessor: string
  readonly mint: MintId
  readonly endsAt: Instant
}
export interface LiveLease {
  readonly id: string
  readonly accessor: string
  readonly mint: MintId
  readonly username: string
  readonly password: string
  readonly endsAt: Instant
}
export interface MemorySession {
  readonly username: string
  alive(): boolean
}

export interface MemoryCredentials {
  readonly source: CredentialSource
  /** The next `times` calls of this operation meet the fault. `definite` is the fact on the error of `fail`. */
  fault(operation: Operation, fault: Fault, options?: { readonly times?: number; readonly definite?: boolean }): void
  /** Lets every hanging call of this operation go on. */
  release(operation: Operation): void
  /** How many calls of this operation hang now. */
  hanging(operation: Operation): number
  /** Vault itself is out of reach. */
  down(): void
  up(): void
  /** The database behind it answers nothing. */
  freeze(): void
  thaw(): void
  /** Undefined where the login is refused. */
  logIn(credential: VaultSecret): MemorySession | undefined
  holds(): readonly LiveHold[]
  leases(): readonly LiveLease[]
  /** Passwords that open the backend now. */
  liveSecrets(): readonly string[]
  /** Every secret ever made, live or not: what must be found nowhere else. */
  canaries(): readonly string[]
  /** How often each operation was called. */
  calls(operation: Operation): number
}

const HOLD = seconds(15)
const LEAST_LEFT = seconds(10)
const MARGIN_SECONDS = 6

export interface MemoryOptions {
  readonly now: () => Instant
  /** False: no lease ends by itself, which is what a crash test wants to know. */
  readonly nativeExpiry?: boolean
}

export function memoryCredentials({ now, nativeExpiry = true }: MemoryOptions): MemoryCredentials {
  const holds = new Map<string, LiveHold & { readonly token: string }>()
  const leases = new Map<string, LiveLease>()
  /** What nobody can end: it is over at its own time only. */
  const lasting: { readonly text: string; readonly endsAt: Instant }[] = []
  const sessions = new Set<{ readonly username: string; open: boolean }>()
  const canaries: string[] = []
  const faults = new Map<Operation, { fault: Fault; times: number; definite: boolean }>()
  const waiting = new Map<Operation, (() => void)[]>()
  const counts = new Map<Operation, number>()
  let made = 0
  let isDown = false
  let isFrozen = false

  const expire = (): void => {
    const at = now()
    for (const hold of holds.values()) if (hold.endsAt <= at) dropHold(hold.accessor)
    if (nativeExpiry && !isFrozen) for (const lease of leases.values()) if (lease.endsAt <= at) dropLease(lease.id)
  }
  const dropLease = (id: string): void => {
    const lease = leases.get(id)
    leases.delete(id)
    for (const session of sessions) if (session.username === lease?.username) session.open = false
  }
  const dropHold = (accessor: string): void => {
    holds.delete(accessor)
    // As in Vault: leases under a hold that ends by itself end too, unless the database cannot be asked or nothing ends by itself.
    if (nativeExpiry && !isFrozen) dropLeasesUnder(accessor)
  }
  const dropLeasesUnder = (accessor: string): void => {
    for (const lease of leases.values()) if (lease.accessor === accessor) dropLease(lease.id)
  }
  const needDatabase = (): void => {
    if (isFrozen) throw unavailable(false)
  }
  const canary = (word: string): string => {
    made += 1
    const text = `canary-${word}-${made}`
    canaries.push(text)
    return text
  }

  const source: CredentialSource = {
    reach: async () => undefined,
    async open(plan) {
      const accessor = `accessor-${++made}`
      const token = canary('token')
      holds.set(accessor, { accessor, mint: plan.mint, token, endsAt: after(now(), HOLD) })
      return { accessor, token: secret(token) }
    },
    async keep(hold, left) {
      const known = holds.get(hold.accessor)
      if (known === undefined) throw refused()
      holds.set(hold.accessor, { ...known, endsAt: after(now(), left) })
    },
    async issue(hold, plan, left) {
      if (left < LEAST_LEFT)
        throw new BrokerError('window_closing', 'The window closes too soon.', { facts: { definite: true } })
      const known = holds.get(hold.accessor)
      if (known === undefined || reveal(hold.token) !== known.token) throw refused()
      const { credential } = plan
      if (credential.engine === 'path' && credential.revocability === 'expiry') {
        const text = canary('token')
        const durationSeconds = toSeconds(shortest(left, credential.maxLife)) - MARGIN_SECONDS
        lasting.push({ text, endsAt: after(now(), seconds(durationSeconds)) })
        return { lease: { id: '', durationSeconds }, secret: secret({ token: text }) }
      }
      needDatabase()
      const durationSeconds = toSeconds(left) - MARGIN_SECONDS
      const username = `writ-${plan.mint}`
      if ([...leases.values()].some((lease) => lease.username === username)) throw unavailable(false)
      const password = canary('password')
      const id = `memory/creds/writ-${plan.entitlement}-${plan.mint}/${++made}`
      const endsAt = after(now(), seconds(durationSeconds))
      leases.set(id, { id, accessor: hold.accessor, mint: plan.mint, username, password, endsAt })
      return { lease: { id, durationSeconds }, secret: secret({ username, password }) }
    },
    async close(_plan, mint) {
      const { lease, accessor } = leftBy(mint)
      if (lease !== undefined && leases.has(lease)) {
        needDatabase()
        dropLease(lease)
      }
      if (accessor === undefined) return
      holds.delete(accessor)
      // Unlike a recorded lease, one that is only found through its hold is queued while the database cannot be asked.
      if (!isFrozen) dropLeasesUnder(accessor)
    },
    async confirmGone(plan, mint) {
      const { credential } = plan
      if (credential.engine === 'path' && credential.revocability === 'expiry') {
        const { accessor } = leftBy(mint)
        if (accessor === undefined) return { gone: true, answer: 'memory: nothing' }
        if (holds.has(accessor)) return { gone: false, answer: 'memory: the hold is there' }
        const recorded = 'lease' in mint ? mint.lease : undefined
        const lasts = recorded === undefined ? credential.maxLife : seconds(recorded.durationSeconds)
        return { gone: true, answer: 'memory: it cannot be ended', lasts }
      }
      needDatabase()
      // What was queued when the hold went is worked off now.
      for (const lease of leases.values())
        if (!holds.has(lease.accessor) && lease.mint === plan.mint) dropLease(lease.id)
      const { accessor } = leftBy(mint)
      if (accessor !== undefined && holds.has(accessor)) return { gone: false, answer: 'memory: the hold is there' }
      const left = [...leases.values()].filter((lease) => lease.mint === plan.mint).length
      return { gone: left === 0, answer: `memory: ${left} leases` }
    },
  }

  const met =
    <Args extends readonly unknown[], T>(operation: Operation, work: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      counts.set(operation, (counts.get(operation) ?? 0) + 1)
      expire()
      const fault = faults.get(operation)
      if (fault !== undefined) {
        fault.times -= 1
        if (fault.times === 0) faults.delete(operation)
      }
      if (fault?.fault === 'hang') {
        await new Promise<void>((resolve) => waiting.set(operation, [...(waiting.get(operation) ?? []), resolve]))
        expire()
      }
      if (fault?.fault === 'fail') throw unavailable(fault.definite)
      if (isDown) throw unavailable(true)
      const result = await work(...args)
      if (fault?.fault === 'lose_reply') throw unavailable(false)
      return result
    }

  return {
    source: {
      reach: met('reach', source.reach),
      open: met('open', source.open),
      keep: met('keep', source.keep),
      issue: met('issue', source.issue),
      close: met('close', source.close),
      confirmGone: met('confirmGone', source.confirmGone),
    },
    fault: (operation, fault, { times = 1, definite = false } = {}) => {
      faults.set(operation, { fault, times, definite })
    },
    release: (operation) => {
      const all = waiting.get(operation) ?? []
      waiting.delete(operation)
      for (const resolve of all) resolve()
    },
    hanging: (operation) => waiting.get(operation)?.length ?? 0,
    down: () => {
      isDown = true
    },
    up: () => {
      isDown = false
    },
    freeze: () => {
      isFrozen = true
    },
    thaw: () => {
      isFrozen = false
    },
    logIn: ({ username, password }) => {
      expire()
      const lease = [...leases.values()].find((lease) => lease.username === username && lease.password === password)
      if (lease === undefined || isFrozen) return undefined
      const session = { username: lease.username, open: true }
      sessions.add(session)
      return {
        username: lease.username,
        alive: () => {
          expire()
          return session.open
        },
      }
    },
    holds: () => {
      expire()
      return [...holds.values()].map(({ accessor, mint, endsAt }) => ({ accessor, mint, endsAt }))
    },
    leases: () => {
      expire()
      return [...leases.values()]
    },
    liveSecrets: () => {
      expire()
      const at = now()
      const left = lasting.filter(({ endsAt }) => endsAt > at).map(({ text }) => text)
      return [...[...leases.values()].map(({ password }) => password), ...left]
    },
    canaries: () => [...canaries],
    calls: (operation) => counts.get(operation) ?? 0,
  }
}

const leftBy = (mint: Mint): { readonly lease: string | undefined; readonly accessor: string | undefined } => ({
  lease: 'lease' in mint ? mint.lease?.id : undefined,
  accessor: 'accessor' in mint ? mint.accessor : undefined,
})

const refused = (): BrokerError => new BrokerError('vault_refused', 'Vault refused.', { facts: { definite: true } })
const unavailable = (definite: boolean): BrokerError =>
  new BrokerError('vault_unavailable', 'Vault does not answer.', { facts: { definite } })
