// A freeze: nothing new for whom, what or where it names, within the tenant of whoever froze. Invariant: a matching grant that was born at or
// before a freeze is dead for ever, also after the freeze is lifted; while it is in force nothing that matches goes on, whenever it was born.
// A containment is a freeze that ends besides what matches and lives: from its commit on nothing of that holds, wherever somebody asks us.
import { BrokerError } from './errors.ts'
import type { FreezeId, PrincipalId, TenantId } from './ids.ts'
import type { Instant } from './instant.ts'
import { type AnsweredFor, concerns, matches, membersOf, type Selector, type Subject } from './selector.ts'

export interface Lift {
  readonly at: Instant
  readonly by: PrincipalId
  readonly reason: string
}
export interface Freeze {
  readonly v: 2
  readonly id: FreezeId
  /** Of whoever froze, from their identity: it bites only where the target or the requester is this tenant's. */
  readonly tenant: TenantId
  readonly selector: Selector
  readonly reason: string
  readonly by: PrincipalId
  readonly at: Instant
  /** What matches and lives is ended as well. */
  readonly contains: boolean
  /** Of every tenant and whatever it is: a store that was set back cannot say what had ended. Then the selector names nothing. */
  readonly everything: boolean
  /** The machines of the persons that it names, when it was made. */
  readonly answered: AnsweredFor
  /** Of a containment without a freeze from its first moment on. */
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
  const found = freezes.find((one) => {
    const was = wasThere(one, born)
    return (one.freeze.lifted === undefined || was) && bites(one.freeze, subject, was)
  })
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

/** Whether one of these has put an end to this grant: it matches, and was there already. */
export function isContained({ freezes, born }: Freezes, subject: () => Subject): boolean {
  const against = freezes.filter((one) => one.freeze.contains && wasThere(one, born))
  if (against.length === 0) return false
  const found = subject()
  return against.some(({ freeze }) => bites(freeze, found, true))
}

const wasThere = ({ seq }: StoredFreeze, born: number | undefined): boolean => born !== undefined && born <= seq

/** Whether this is about that subject at all. What `was` there when it was made is also whoever's it was then. */
export const bites = (
  { tenant, selector, answered, everything }: Pick<Freeze, 'tenant' | 'selector' | 'answered' | 'everything'>,
  subject: Subject,
  was: boolean,
): boolean =>
  (everything && was) || (concerns(tenant, subject) && matches(selector, was ? { ...subject, answered } : subject))
