// What an accessor tells of the token behind it. Vault writes and takes away a token in several steps, and one that dies between two of them leaves
// what it has done for ever, or for as long as the token would have lived. Invariant: "not there" is only said of a token that Vault lets nobody use.
import type { Body, Call, VaultClient } from './client.ts'
import { failureOf, saysGone } from './failures.ts'

export const LOOKUP_ACCESSOR = 'auth/token/lookup-accessor'
/** An accessor that no token has: to whoever may look one up Vault says that it is not there. */
const NOBODYS = 'nobody'

/**
 * What Vault says of the token; undefined where it is not there any more. An error, a time-out or a denial rejects. `believed`: a denial is no reason
 * to log in anew.
 */
async function lookUp(
  client: VaultClient,
  accessor: string,
  more: Pick<Call, 'signal' | 'believed'> = {},
): Promise<Body | undefined> {
  try {
    const call = { verb: 'write', path: LOOKUP_ACCESSOR, template: LOOKUP_ACCESSOR, body: { accessor } } as const
    const { data } = await client.ask({ ...call, ...more })
    return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Body) : {}
  } catch (thrown) {
    if (saysGone(thrown)) return undefined
    throw thrown
  }
}

/**
 * Whether the end of the token was begun and broken off. Vault tells of it all the same, and that it has fewer uses than none: nobody can use it,
 * renew it or revoke it, and it goes at the time at which it would have ended by itself. What was made under it may be there.
 */
export const isBrokenOff = ({ num_uses: left }: Body): boolean => typeof left === 'number' && left < 0

/** Whether there is a token of this accessor that somebody could use. */
export async function isThere(client: VaultClient, accessor: string, signal?: AbortSignal): Promise<boolean> {
  const token = await lookUp(client, accessor, signal === undefined ? {} : { signal })
  return token !== undefined && !isBrokenOff(token)
}

/**
 * What Vault says of a token whose accessor it has listed. There may never have been one: the accessor is written first, and of one that leads to nothing
 * Vault says the same as of a look that is not permitted. Whoever may look up another one, and is denied this one again, was not denied the looking.
 */
export async function lookUpListed(client: VaultClient, accessor: string): Promise<Body | undefined> {
  const isDenial = (thrown: unknown): boolean => failureOf(thrown)?.status === 403
  return lookUp(client, accessor, { believed: true }).catch(async (thrown: unknown) => {
    if (!isDenial(thrown)) throw thrown
    await reach(client)
    return lookUp(client, accessor, { believed: true }).catch((again: unknown) => {
      if (isDenial(again)) return undefined
      throw again
    })
  })
}

/** Rejects where Vault does not answer, or does not let this login look anything up. */
export async function reach(client: VaultClient, signal?: AbortSignal): Promise<void> {
  await isThere(client, NOBODYS, signal)
}
