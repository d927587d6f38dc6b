// Ports in memory for the tests of the verbs: timetable, seal, token and decision signer, passkeys, ceremonies, forges. Each keeps the promises of its port, and shows
// what it was asked. The grant store and the credential source are elsewhere.
import { hash } from 'node:crypto'
import type {
  Author,
  Canaries,
  Ceremonies,
  ChangeRef,
  DecisionSigner,
  Forges,
  Passkeys,
  Receipt,
  RecordSigner,
  Seal,
  Timetable,
  TokenFacts,
  TokenSigner,
} from '../../src/broker/ports.ts'
import { authorsUnknown } from '../../src/domain/authorship.ts'
import type { Canary, OpenCanary } from '../../src/domain/canary.ts'
import { type Canonical, canonical } from '../../src/domain/canonical.ts'
import { canonicalOf } from '../../src/domain/decision.ts'
import type { Lane } from '../../src/domain/entitlement.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { EntitlementId, PersonId } from '../../src/domain/ids.ts'
import { after, type Instant } from '../../src/domain/instant.ts'
import type { CountedPasskey } from '../../src/domain/passkey.ts'
import { secret } from '../../src/domain/secret.ts'

export interface MemoryTimetable extends Timetable {
  readonly asked: readonly { readonly lane: Lane; readonly when: Instant }[]
  /** A broken queue: looks are lost, and nobody is told. */
  setLost(lost: boolean): void
}
export function memoryTimetable(): MemoryTimetable {
  const asked: { lane: Lane; when: Instant }[] = []
  let lost = false
  return {
    asked,
    setLost: (to) => {
      lost = to
    },
    at: async (lane, when) => {
      if (!lost) asked.push({ lane, when })
    },
  }
}

export interface MemorySeal extends Seal {
  readonly sealed: readonly Receipt[]
  setWritable(writable: boolean): void
}
export function memorySeal(): MemorySeal {
  const sealed: Receipt[] = []
  let writable = true
  return {
    sealed,
    setWritable: (to) => {
      writable = to
    },
    seal: async (receipt) => {
      if (!writable) throw new BrokerError('log_unavailable', 'What happened cannot be recorded.')
      sealed.push(receipt)
    },
  }
}

export interface MemoryTokenSigner extends TokenSigner {
  readonly signed: readonly { readonly facts: TokenFacts; readonly key: string | undefined }[]
}
/** Tokens that can be read: `memory-token.<jti>.<iat>.<exp>.<jkt>`. */
export function memoryTokenSigner(): MemoryTokenSigner {
  const signed: { facts: TokenFacts; key: string | undefined }[] = []
  return {
    signed,
    sign: async (facts, key) => {
      if (Math.floor(facts.expiresAt / 1_000) <= Math.floor(facts.issuedAt / 1_000))
        throw new BrokerError('window_closing', 'Less than a second of the window is left.')
      signed.push({ facts, key })
      return secret(`memory-token.${facts.jti}.${facts.issuedAt}.${facts.expiresAt}.${key ?? 'bearer'}`)
    },
  }
}

/** Signs by hashing with a word that only this group knows: another `group` verifies nothing of this one. */
export function memoryDecisionSigner(group = 'one'): DecisionSigner {
  const signatureOf = (value: Canonical) => `memory.${hash('sha256', `${group} ${canonical(value)}`, 'base64url')}`
  return {
    sign: (grant, decision) => signatureOf({ grant, decision: canonicalOf(decision) }),
    verify: (grant, { signature, ...decision }) =>
      signatureOf({ grant, decision: canonicalOf(decision) }) === signature,
  }
}

export function memoryRecordSigner(group = 'one'): RecordSigner {
  const sign: RecordSigner['sign'] = (typ, record) =>
    `memory.${hash('sha256', `${group} ${canonical({ typ, record })}`, 'base64url')}`
  return { sign, verify: (typ, record, signature) => sign(typ, record) === signature }
}

export function memoryPasskeys(): Passkeys {
  const kept = new Map<PersonId, Map<string, CountedPasskey>>()
  const of = (person: PersonId) => kept.get(person) ?? new Map<string, CountedPasskey>()
  return {
    of: async (person) => [...of(person).values()].sort((a, b) => a.registeredAt - b.registeredAt),
    add: async (passkey) => {
      if (of(passkey.person).has(passkey.credentialId)) return false
      kept.set(passkey.person, new Map([...of(passkey.person), [passkey.credentialId, passkey]]))
      return true
    },
    count: async (person, credentialId, counter) => {
      const passkey = of(person).get(credentialId)
      if (passkey === undefined || (counter <= passkey.counter && (counter > 0 || passkey.counter > 0))) return false
      of(person).set(credentialId, { ...passkey, counter })
      return true
    },
    remove: async (person, credentialId) => of(person).delete(credentialId),
  }
}

export interface MemoryCanaries extends Canaries {
  readonly opened: Map<EntitlementId, OpenCanary>
}
export function memoryCanaries({ now }: { now(): Instant }): MemoryCanaries {
  const kept = new Map<EntitlementId, Canary>()
  const opened = new Map<EntitlementId, OpenCanary>()
  const turns = new Map<EntitlementId, Instant>()
  return {
    opened,
    all: async () => [...kept.values()],
    last: async (id) => kept.get(id),
    keep: async (canary) => void kept.set(canary.entitlement, canary),
    open: async () => [...opened.values()],
    note: async (open) => void opened.set(open.entitlement, open),
    ended: async (id) => void opened.delete(id),
    turn: async (id, lease) => {
      if ((turns.get(id) ?? 0) > now()) return false
      turns.set(id, after(now(), lease))
      return true
    },
    giveBack: async (id) => void turns.delete(id),
  }
}

export interface MemoryCeremonies extends Ceremonies {
  /** As stored, for whoever edits the store by hand. */
  readonly kept: Map<string, { readonly value: string; readonly until: Instant }>
}
export function memoryCeremonies({ now }: { now(): Instant }): MemoryCeremonies {
  const kept: MemoryCeremonies['kept'] = new Map()
  const read: Ceremonies['read'] = async (hash) => {
    const found = kept.get(hash)
    return found === undefined || now() >= found.until ? undefined : found.value
  }
  return {
    kept,
    keep: async (hash, value, life) => {
      kept.set(hash, { value, until: after(now(), life) })
    },
    read,
    take: (hash) => {
      const value = read(hash)
      kept.delete(hash)
      return value
    },
  }
}

export interface MemoryForges extends Forges {
  /** From now on this is a change with these authors. */
  add(change: ChangeRef, authors: readonly Author[]): void
  setAnswering(answering: boolean): void
}
export function memoryForges(): MemoryForges {
  const changes = new Map<string, readonly Author[]>()
  const nameOf = ({ forge, repository, sha }: ChangeRef): string => JSON.stringify([forge, repository, sha])
  let answering = true
  return {
    add: (change, authors) => void changes.set(nameOf(change), authors),
    setAnswering: (to) => {
      answering = to
    },
    authorsOf: async (change) => {
      if (!answering) throw new BrokerError('forge_unavailable', 'The forge does not answer.')
      const authors = changes.get(nameOf(change)) ?? []
      if (authors.length === 0) throw authorsUnknown('nothing was added')
      return authors
    },
  }
}
