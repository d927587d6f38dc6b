// The stored form of a freeze and of what happened to it. As with grants, a record names its version, and one that is not known is refused,
// never guessed at: a freeze that cannot be read stops issuing rather than being passed over.
import { z } from 'zod'
import type { Freeze, Lift } from '../domain/freeze.ts'
import type { FreezeId, PrincipalId, TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { AnsweredFor, Selector, SelectorMember } from '../domain/selector.ts'

const text = z.string()
/** A name whose text was checked when it came in, before it was stored. */
const name = <T extends string>() => text as unknown as z.ZodType<T>
const at = z.int().nonnegative() as unknown as z.ZodType<Instant>

const members: { readonly [M in SelectorMember]-?: z.ZodType<NonNullable<Selector[M]>> } = {
  person: name(),
  agent: name(),
  workload: name(),
  sponsor: name(),
  tenant: name(),
  target: text,
  environment: text,
  entitlement: name(),
  task: text,
  session: text,
  ticket: z.strictObject({ system: text, id: text }),
  planDigest: name(),
  key: name(),
  approver: name(),
  policyDigest: name(),
  issuedBefore: at,
}
/** Members that are not named are absent, before and after. */
const selector = z.strictObject(members).partial() as unknown as z.ZodType<Selector>

const lifted: z.ZodType<Lift> = z.strictObject({ at, by: name<PrincipalId>(), reason: text })
const freeze1 = {
  v: z.literal(1),
  id: name<FreezeId>(),
  tenant: name<TenantId>(),
  selector,
  reason: text,
  by: name<PrincipalId>(),
  at,
  lifted: lifted.optional().default(undefined as never) as unknown as z.ZodType<Lift | undefined>,
}
const machines = z.array(name<PrincipalId>())
const answered = z.strictObject({ person: machines, sponsor: machines }).partial() as unknown as z.ZodType<AnsweredFor>
/** Version 1 knew no containments, and did not keep who answered for whom. */
const freeze: z.ZodType<Freeze> = z.union([
  z.strictObject({ ...freeze1, v: z.literal(2), contains: z.boolean(), everything: z.boolean(), answered }),
  z
    .strictObject(freeze1)
    .transform((one): Freeze => ({ ...one, v: 2, contains: false, everything: false, answered: {} })),
])

export const printFreeze = (one: Freeze): string => JSON.stringify(one)
/** Throws for anything that this broker could not have written. */
export const readFreeze = (stored: string): Freeze => freeze.parse(JSON.parse(stored))

/** For whoever reads the stream of events: the whole freeze as it was from then on. */
export const printFreezeEvent = (type: 'frozen' | 'freeze_lifted', one: Freeze): string =>
  JSON.stringify({ v: 1, type, freeze: one })
