// The names of everything in Redis. Every key carries its shard's tag, so a grant and its indexes lie in one cluster slot.
import type { Lane } from '../domain/entitlement.ts'
import type { GrantId, Shard } from '../domain/ids.ts'
import { shardOf } from '../domain/ids.ts'

export interface ShardKeys {
  /**
   * Hash: `n`, the sequence of the newest commit, `event`, its id in the stream, `gone`, the latest id of an event that was forgotten,
   * and `judged`, the control record as one text.
   */
  readonly control: string
  /** Stream: one entry per commit (grant, version, seq, event). */
  readonly events: string
  /** Sorted set: grant by the time of its filing. */
  readonly filed: string
  /** Sorted set: ended grant by the time of its end, for whoever archives it. */
  readonly retire: string
}

export interface GrantKeys {
  /** String: JSON, written once at birth. */
  readonly ask: string
  /** List: JSON of each decision, appended. */
  readonly decisions: string
  /** Hash: version, status, head (JSON), how many decisions there are, and `ev`, the stream ids of this grant's events. */
  readonly head: string
}

const tag = (shard: Shard): string => `{writ:${shard}}`

export const shardKeys = (shard: Shard): ShardKeys => ({
  control: `${tag(shard)}:control`,
  events: `${tag(shard)}:events`,
  filed: `${tag(shard)}:filed`,
  retire: `${tag(shard)}:retire`,
})

/** Sorted set: grant by its deadline, or by the end of the lease of whoever works on it. One per lane. */
export const dueKey = (shard: Shard, lane: Lane): string => `${tag(shard)}:due:${lane}`

export function grantKeys(id: GrantId): GrantKeys {
  const of = tag(shardOf(id))
  return { ask: `${of}:ask:${id}`, decisions: `${of}:decisions:${id}`, head: `${of}:head:${id}` }
}
