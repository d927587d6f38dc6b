// The names of everything in Redis. Every key carries its shard's tag, so a grant and its indexes lie in one cluster slot.
import type { Budget, Index } from '../broker/ports.ts'
import type { Lane } from '../domain/entitlement.ts'
import type { Denied, Tally } from '../domain/flood.ts'
import type { Ask } from '../domain/grant.ts'
import type { FreezeId, GrantId, PersonId, PrincipalId, Shard } from '../domain/ids.ts'
import { shardOf } from '../domain/ids.ts'

export interface ShardKeys {
  /**
   * Hash: `n`, the sequence of the newest commit, `event`, its id in the stream, `gone`, the latest id of an event that was forgotten,
   * `judged`, the control record as one text, and `epoch`, the newest freeze epoch, also where there is no record; of a recovery `floor`,
   * `clearing` and `recovered`, and `held`, the record that is kept aside meanwhile.
   */
  readonly control: string
  /** Stream: one entry per commit (grant, version, seq, event); of a freeze too, under its own id, 1 when it was made and 2 when it was lifted. */
  readonly events: string
  /** Sorted set: ended grant by the time of its end, for whoever archives it. */
  readonly retire: string
  /** Hash: freeze by its id: the sequence at which it was stored, whether it was lifted (0 or 1), and the text. */
  readonly freezes: string
}

export interface GrantKeys {
  /** String: JSON, written once at birth. */
  readonly ask: string
  /** List: JSON of each decision, appended. */
  readonly decisions: string
  /**
   * Hash: version, status, head (JSON), how many decisions there are, `ev`, the stream ids of this grant's events, and `born`, the sequence
   * of its birth.
   */
  readonly head: string
}

const tag = (shard: Shard): string => `{writ:${shard}}`

export const shardKeys = (shard: Shard): ShardKeys => ({
  control: `${tag(shard)}:control`,
  events: `${tag(shard)}:events`,
  retire: `${tag(shard)}:retire`,
  freezes: `${tag(shard)}:freezes`,
})

/** Of one containment. Hash: how far the walk of each lane has come, and its lease. Sorted set: what was matched, by its stage. */
export const containmentKeys = (shard: Shard, id: FreezeId): { readonly walks: string; readonly matched: string } => ({
  walks: `${tag(shard)}:containment:${id}`,
  matched: `${tag(shard)}:contained:${id}`,
})

/** Sorted set: grant by its deadline, or by the end of the lease of whoever works on it. One per lane. */
export const dueKey = (shard: Shard, lane: Lane): string => `${tag(shard)}:due:${lane}`

/** String: there as long as what it stands for may not be used again. */
export const onceKey = (shard: Shard, what: string): string => `${tag(shard)}:once:${what}`

/** String: when this caller's budget is whole again, in milliseconds by Redis. Gone when it is. */
export const bucketKey = (shard: Shard, budget: Budget, who: PrincipalId): string =>
  `${tag(shard)}:rate:${budget}:${who}`

/** Of one person. Hash: signed record by credential id. Sorted set: credential id by its signature counter. */
export const passkeyKeys = (
  shard: Shard,
  person: PersonId,
): { readonly records: string; readonly counters: string } => ({
  records: `${tag(shard)}:passkeys:${person}`,
  counters: `${tag(shard)}:passkey-counters:${person}`,
})

/** String: a ceremony that waits for a passkey, by the SHA-256 of its id. Gone when it was used or is over. */
export const ceremonyKey = (shard: Shard, hash: string): string => `${tag(shard)}:ceremony:${hash}`

/** Sorted set: grant by the time of its filing. A grant is in one `in:` set at a time, and in its `of:` sets for as long as it is stored. */
export function indexKey(shard: Shard, index: Index): string {
  if ('status' in index) return `${tag(shard)}:in:${index.tenant}:${index.status}`
  if ('party' in index) return `${tag(shard)}:of:party:${index.party}`
  const { whose } = index
  const of = `${tag(shard)}:of:${'tenant' in whose ? `tenant:${whose.tenant}` : `party:${whose.party}`}`
  if ('ticket' in index) return `${of}:ticket:${index.ticket.system}:${index.ticket.id}`
  if ('task' in index) return `${of}:task:${index.task}`
  return `${of}:session:${index.session}`
}

/** Sorted set: grant by the time of its filing, for as long as it counts there. */
export function tallyKey(shard: Shard, of: Tally): string {
  if ('digest' in of) return `${tag(shard)}:open:${of.digest}`
  if ('asker' in of) return `${tag(shard)}:pending:asker:${of.asker}`
  return `${tag(shard)}:pending:owner:${of.tenant}:${of.owner}`
}

/** String: until when, in milliseconds by Redis, this change may not be asked for again. Gone then. */
export const deniedKey = (shard: Shard, { asker, change }: Denied): string => `${tag(shard)}:denied:${asker}:${change}`

/**
 * What a grant is found by besides tenant and status. It follows from the ask alone, so that it can be taken away again. Its words are
 * those of the target's and of the requester's tenant, mostly one, and of an executor of its own: each set costs as much as a deadline.
 */
export function lastingIndexes({ intent, requesterTenant }: Ask): readonly Index[] {
  const { tenant, requester, executor, ticket, task, session } = intent
  const parties = [...new Set([requester, executor.principal])].map((party) => ({ party }))
  const whom = [...[...new Set([tenant, requesterTenant])].map((tenant) => ({ tenant })), ...parties.slice(1)]
  const words = [
    ...(ticket === undefined ? [] : [{ ticket: { system: ticket.system, id: ticket.id } }]),
    ...(task === '' ? [] : [{ task }]),
    ...(session === '' ? [] : [{ session }]),
  ]
  return [...parties, ...whom.flatMap((whose) => words.map((word) => ({ whose, ...word })))]
}

export function grantKeys(id: GrantId): GrantKeys {
  const of = tag(shardOf(id))
  return { ask: `${of}:ask:${id}`, decisions: `${of}:decisions:${id}`, head: `${of}:head:${id}` }
}
