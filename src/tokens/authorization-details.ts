// What was granted, as one RFC 9396 object: the same in the token, in the token answer and in introspection.
import type { Grant } from '../domain/grant.ts'
import { formatInstant } from '../domain/instant.ts'

export const CHANGE_TYPE = 'https://writ.dev/schemas/change/v1'

export interface ChangeDetail {
  readonly type: typeof CHANGE_TYPE
  readonly identifier: string
  readonly entitlement: string
  readonly locations: readonly string[]
  readonly actions: readonly string[]
  readonly scope: readonly string[]
  readonly datatypes: readonly string[]
  readonly environment: string
  readonly change_class: string
  /** The stage at most: a wider one is another grant. */
  readonly exposure?: { readonly segment: string; readonly from: number; readonly to: number }
  readonly window: { readonly opensAt: string; readonly closesAt: string }
}

/** RFC 9396 §7: what was granted, which may be less than what was asked. Free texts and people stay out of it. */
export function grantedDetail(grant: Grant, audience: string): ChangeDetail {
  const { intent } = grant.ask
  const { exposure } = intent
  return {
    type: CHANGE_TYPE,
    identifier: grant.id,
    entitlement: intent.entitlement,
    locations: [audience],
    actions: intent.actions,
    scope: intent.scope,
    datatypes: intent.dataTypes,
    environment: intent.environment,
    change_class: intent.changeClass,
    ...(exposure === undefined
      ? {}
      : { exposure: { segment: exposure.segment, from: exposure.from, to: exposure.to } }),
    window: { opensAt: formatInstant(intent.window.opensAt), closesAt: formatInstant(intent.window.closesAt) },
  }
}
