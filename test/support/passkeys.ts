// Persons with passkeys in a world of memory ports, and an entitlement that asks for them.

import { type SoftPasskey, softPasskey } from './authenticator.ts'
import type { World } from './world.ts'
import { policyWith } from './world.ts'

/** Who reviews the payments login in which role, besides olivia, who owns it. */
const REVIEWERS = { security: 'security', operations: 'release-managers' } as const

/** Puts in force that the payments login is decided on with passkeys, and reviewed in these roles: paula has security, rob operations. */
export function askForPasskeys(on: World, ...roles: readonly (keyof typeof REVIEWERS)[]): Promise<void> {
  const reviewers = roles.map((role) => `{ role: ${role}, group: ${REVIEWERS[role]} }`)
  const approval = `      owner: olivia\n      stepUp: true\n      reviewers: [${reviewers.join(', ')}]`
  return on.publish({ policy: policyWith(['revision: 1', 'revision: 2'], ['      owner: olivia', approval]) })
}

/** The id of the ceremony that a page is of. */
export const ceremonyOf = ({ url }: { readonly url: string }): string => new URL(url).pathname.split('/')[2] ?? ''

/** Registers a passkey of this person, as their browser would; a further one is signed for by `signer`. */
export async function register(on: World, person: string, signer?: SoftPasskey): Promise<SoftPasskey> {
  const soft = softPasskey(on.ports.issuer)
  let ceremony = ceremonyOf(await on.broker.addPasskey(on.as(person), 'laptop'))
  if (signer !== undefined) {
    const { text } = await on.broker.showPasskeyCeremony(ceremony)
    const step = await on.broker.finishPasskeyCeremony(ceremony, signer.response(text))
    if (step.done !== 'proved') throw new Error(`proving was ${step.done}`)
    ceremony = ceremonyOf(step.next)
  }
  const { text } = await on.broker.showPasskeyCeremony(ceremony)
  await on.broker.finishPasskeyCeremony(ceremony, soft.registration(text))
  return soft
}
