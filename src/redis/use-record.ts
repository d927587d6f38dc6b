// The stored form of a reported use. As with grants, a record names its version, and one that is not known is refused, never guessed at.
import { z } from 'zod'
import type { ReportedUse } from '../broker/ports.ts'
import type { Digest } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { REFUSAL_REASONS, USE_OUTCOMES, type Use } from '../domain/use.ts'

const text = z.string()
const maybe = <T extends z.ZodType>(schema: T) =>
  schema.optional().default(undefined as never) as unknown as z.ZodType<z.output<T> | undefined>

const use1 = z.strictObject({
  v: z.literal(1),
  by: text,
  id: text,
  at: z.int().nonnegative() as unknown as z.ZodType<Instant>,
  credential: text,
  outcome: z.enum(USE_OUTCOMES),
  reason: maybe(z.enum(REFUSAL_REASONS)),
  action: text,
  target: text,
  argumentDigest: maybe(text as unknown as z.ZodType<Digest>),
})

export const printUse = (by: string, use: Use): string => JSON.stringify({ v: 1, by, ...use })

/** Throws for anything that this broker could not have written. */
export function readUse(stored: string, receivedAt: Instant): ReportedUse {
  const { v: _, ...use } = use1.parse(JSON.parse(stored))
  return { ...use, receivedAt }
}
