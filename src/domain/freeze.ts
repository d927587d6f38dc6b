// A freeze: nothing new for whom, what or where it names, within the tenant of whoever froze. Invariant: a matching grant that was born at or
// before a freeze is dead for ever, also after the freeze is lifted; while it is in force nothing that matches goes on, whenever it was born.
import { BrokerError } from './errors.ts'
import type { FreezeId, PrincipalId, TenantId } from './ids.ts'
import type { Instant } from './instant.ts'
import { concerns, matches, membersOf, type Selector, type Subject } from './selector.ts'

export interface Lift {
  readonly at: Instant
  readonly by: PrincipalId
  readonly reason: string
}
export interface Freeze {
  readonly v: 1
  readonly id: FreezeId
  /** Of whoever froze, from their identity: it bites only where the target or the requester is this tenant's. */
  readonly tenant: TenantId
  readonly selector: Selector
  readonly reason: string
  readonly by: PrincipalId
  readonly at: Instant
  readonly lifted: Lift | undefined
}
/** A freeze as it stands on one shard. */
export interface StoredFreeze {
  readonly freeze: Freeze
  /** Where in the shard's one order of commits it was stored. */
  readonly seq: number
}

/** What stands against a grant: the freezes of its shard, and when it was born; undefined while it is being filed. */
export interface Freezes {
  readonly freezes: readonly StoredFreeze[]
  readonly born: number | undefined
}

/** Throws `frozen` where a freeze is in force against this subject, or has killed this grant. Neither reason nor selector are told. */
export function checkFreeze({ freezes, born }: Freezes, subject: Subject): void {
  const found = freezes.find(
    ({ freeze, seq }) => (freeze.lifted === undefined || (born !== undefined && born <= seq)) && bites(freeze, subject),
  )
  if (found === undefined) return
  const { id, selector, lifted } = found.freeze
  const facts = { freeze: id, members: membersOf(selector), lifted: lifted !== undefined }
  if (lifted === undefined)
    throw new BrokerError('frozen', `Nothing new is given out here: the freeze ${id} is in force.`, {
      nextAction: 'Ask the security team and name the freeze; ask for a new grant when it is lifted.',
      facts,
    })
  throw new BrokerError('frozen', `This grant is older than the freeze ${id}, and stays dead after it.`, {
    nextAction: 'Ask for a new grant: the freeze is lifted, but what was approved before it does not come back.',
    facts,
  })
}

const bites = ({ tenant, selector }: Freeze, subject: Subject): boolean =>
  concerns(tenant, subject) && matches(selector, subject)
