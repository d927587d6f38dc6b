// The names of everything in Redis. Every key carries its shard's tag, so a grant and its indexes lie in one cluster slot.
import type { Budget, Index } from '../broker/ports.ts'
import type { Lane } from '../domain/entitlement.ts'
import type { Denied, Tally } from '../domain/flood.ts'
import type { Ask } from '../domain/grant.ts'
import type { EntitlementId, FreezeId, GrantId, PersonId, PrincipalId, Shard } from '../domain/ids.ts'
import { shardOf } from '../domain/ids.ts'
import type { ListName } from '../domain/status-list.ts'

export interface ShardKeys {
  /**
   * Hash: `n`, the sequence of the newest commit, `event`, its id in the stream, `gone`, the latest id of an event that was forgotten,
   * `judged`, the control record as one text, and `epoch`, the newest freeze epoch, also where there is no record.
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
  /** Hash: what resource servers reported of its credentials, and how many came of each kind. There only when something was. */
  readonly uses: string
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

/**
 * String: a bit per place of this status list, set while the grant that was born there is live. Gone when no token with a place in it can be
 * alive any more.
 */
export const statusKey = ({ shard, block }: ListName): string => `${tag(shard)}:status:${block}`

/** Sorted set: the key of each status list by the time until which it is kept. */
export const statusListsKey = (shard: Shard): string => `${tag(shard)}:statuses`

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

/** Of one resource server. Hash: consumer by when it was first and last heard of. */
export const consumersKey = (shard: Shard, server: string): string => `${tag(shard)}:consumers:${server}`
/** Sorted set, all of one score: each place of the feed that this consumer acknowledged, with when it first did. */
export const acksKey = (shard: Shard, server: string, consumer: string): string =>
  `${tag(shard)}:acks:${server}:${consumer}`
/** Of the canaries. Hash: the last result by entitlement. Hash: one that may still be there, by entitlement. */
export const canaryKeys = (shard: Shard): { readonly results: string; readonly open: string } => ({
  results: `${tag(shard)}:canaries`,
  open: `${tag(shard)}:canaries-open`,
})
/** String: there while a broker makes the canary of this entitlement. */
export const canaryTurnKey = (shard: Shard, entitlement: EntitlementId): string =>
  `${tag(shard)}:canary-turn:${entitlement}`

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
  return {
    ask: `${of}:ask:${id}`,
    decisions: `${of}:decisions:${id}`,
    head: `${of}:head:${id}`,
    uses: `${of}:uses:${id}`,
  }
}
