// Answers of a broker read with the schemas of the wire. Invariant: what a newer broker adds is passed over; what is missing or of
// another type is told, never guessed.
import type { z } from 'zod'

type Issue = z.core.$ZodIssue

/** The value, or undefined where it is not what this version knows. */
export function readAnswer<T>(schema: z.ZodType<T>, value: unknown): T | undefined {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  // Only members that we do not know: every member that we do know has been checked, so the value is of that type.
  return result.error.issues.every(isOnlyMore) ? (value as T) : undefined
}

const isOnlyMore = (issue: Issue): boolean =>
  issue.code === 'unrecognized_keys' ||
  (issue.code === 'invalid_union' && issue.errors.some((way) => way.every(isOnlyMore)))
