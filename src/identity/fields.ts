// The kinds of value that the identity files share. A schema here refuses; it never trims, folds case or coerces, because a value
// that is compared exactly later must be exactly what somebody wrote.
import { z } from 'zod'
import { isName } from '../domain/ids.ts'

/** Lower case words joined by `-`, at most 32 characters. */
export const nameField = z
  .string({ error: 'a name is needed' })
  .refine(isName, 'a name is lower case words joined by -, at most 32 characters')
  .meta({ pattern: '^[a-z][a-z0-9]*(-[a-z0-9]+)*$', maxLength: 32 })

/** One printable line without invisible characters: bidi controls and zero-width characters show one thing and mean another. */
export const lineField = z
  .string({ error: 'text is needed: put numbers and true or false in quotes' })
  .min(1, 'this may not be empty')
  .max(255, 'at most 255 characters')
  .refine(
    (text) => !/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u.test(text),
    'control and invisible characters are not allowed',
  )

export const claimName = z
  .string({ error: 'the name of a claim is needed' })
  .regex(/^[A-Za-z_][A-Za-z0-9_:/.-]{0,127}$/, 'this is not the name of a claim')
  .refine((text) => text !== '__proto__', 'this is not the name of a claim')

export const revisionField = z
  .int({ error: 'a whole number is needed' })
  .min(1, 'revisions start at 1')
  .max(1_000_000_000, 'at most 1000000000')

export const unique = <T extends z.ZodType>(item: T) =>
  z
    .array(item, { error: 'a list is needed' })
    .refine((items) => new Set(items).size === items.length, 'the same entry is here twice')
    .meta({ uniqueItems: true })

export const activeField = z
  .boolean({ error: 'true or false' })
  .default(true)
  .describe('false: nobody from now on. Better than deleting the entry, because what was given still ends then.')

export const standingAccessField = unique(nameField)
  .max(100)
  .default([])
  .describe(
    'Targets (`target.id` in entitlements.yaml) that can be reached without Writ: no approver there from tier high on.',
  )

/** Asymmetric only; a MAC key in the hands of a verifier can sign (RFC 8725 §3.1). */
export const ALGORITHMS = [
  'ES256',
  'ES384',
  'ES512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'EdDSA',
  'Ed25519',
] as const
export type Algorithm = (typeof ALGORITHMS)[number]
export const algorithmField = z.enum(ALGORITHMS, {
  error: `one of ${ALGORITHMS.join(', ')}: none and the symmetric ones are never accepted`,
})

export const freezeDeep = <T>(value: T): T => {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) freezeDeep(member)
  }
  return value
}
