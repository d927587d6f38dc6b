// The one RAR type (RFC 9396) of Writ, as it is taken here: redeeming names a grant and nothing else. Invariant: a redemption that says more than the identifier is refused, so it can never seem to widen a grant.
import { z } from 'zod'
import { type GrantId, isGrantId } from '../domain/ids.ts'
import { notRedeemable, OAuthError } from './errors.ts'

export const CHANGE_TYPE = 'https://writ.dev/schemas/change/v1'

const redemption = z.tuple([z.strictObject({ type: z.literal(CHANGE_TYPE), identifier: z.string().max(64) })])

/** The grant that `authorization_details` names. Throws `invalid_authorization_details`, or `invalid_grant` for an id that is none. */
export function identifierIn(text: string, parseJson: (text: string) => unknown): GrantId {
  const found = redemption.safeParse(parsed(text, parseJson))
  if (!found.success) {
    throw new OAuthError(
      'invalid_authorization_details',
      `Send an array of exactly one object with two members: type ${CHANGE_TYPE} and identifier, the id of an approved grant. Grants are filed at /v1/grants.`,
    )
  }
  const { identifier } = found.data[0]
  if (!isGrantId(identifier)) throw notRedeemable()
  return identifier
}

function parsed(text: string, parseJson: (text: string) => unknown): unknown {
  try {
    return parseJson(text)
  } catch {
    throw new OAuthError('invalid_authorization_details', 'authorization_details is not strict JSON.')
  }
}
