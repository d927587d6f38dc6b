// Knowledge by introspection (RFC 7662): the broker is asked about each token, and its yes is kept no longer than `maxStaleness`.
// Invariant: a yes counts only about exactly this token, and from when it was asked for; a no is not kept, and takes no yes with it.
import { age, type Moment, moment } from './keys.ts'
import type { Machine } from './machine.ts'
import { ENDED, type Knowledge, LIVE, type Problem, type Standing, unknown } from './standing.ts'
import { isObject, strictObject } from './strict-jws.ts'
import type { Credential } from './verify.ts'
import type { Wire } from './wire.ts'

export interface IntrospectionOptions {
  /** 0: asked for every request. */
  readonly maxStalenessMs: number
  readonly timeoutMs: number
}

const MOST_KEPT = 10_000
const LONGEST = 65_536
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export function byIntrospection(
  wire: Pick<Wire, 'ask' | 'assertion' | 'issuer'>,
  machine: Machine,
  options: IntrospectionOptions,
  problem: Problem,
): Knowledge {
  const yes = new Map<string, Moment>()
  const closing = new AbortController()
  let answered: Moment | undefined

  const ask = async (credential: Credential, token: string): Promise<Standing> => {
    const asked = moment(machine)
    const { status, text } = await wire.ask(`${wire.issuer}/oauth2/introspect`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams({
        token,
        client_assertion_type: ASSERTION_TYPE,
        client_assertion: await wire.assertion(),
      }).toString(),
      timeoutMs: options.timeoutMs,
      longest: LONGEST,
      signal: closing.signal,
    })
    if (status !== 200) throw new Error(`introspection was answered with status ${status}`)
    const said = strictObject(text)
    if (typeof said?.active !== 'boolean') throw new Error('the answer of introspection cannot be read')
    answered = asked
    if (!said.active) return ENDED
    const { iss, aud, jti, txn, cnf } = said
    const isOfIt =
      iss === wire.issuer &&
      aud === credential.audience &&
      jti === credential.jti &&
      txn === credential.grant &&
      (isObject(cnf) ? cnf.jkt : undefined) === credential.jkt
    if (!isOfIt) throw new Error('the answer of introspection is about another token')
    const oldest = yes.size >= MOST_KEPT ? yes.keys().next().value : undefined
    if (oldest !== undefined) yes.delete(oldest)
    if (options.maxStalenessMs > 0) yes.set(keyOf(credential), asked)
    return LIVE
  }

  return {
    of: async (credential, token) => {
      const kept = yes.get(keyOf(credential))
      if (kept !== undefined && age(machine, kept) < options.maxStalenessMs) return LIVE
      yes.delete(keyOf(credential))
      try {
        return await ask(credential, token)
      } catch (thrown) {
        if (!closing.signal.aborted) problem('introspection', thrown)
        return unknown('The broker does not say whether the grant lives.')
      }
    },
    brokerTime: () => undefined,
    staleness: () => (answered === undefined ? Number.POSITIVE_INFINITY : age(machine, answered)),
    ready: async () => undefined,
    close: async () => closing.abort(),
  }
}

/** By what was verified, not by the text of the token: one signature has several spellings. */
const keyOf = ({ grant, jti }: Credential): string => `${grant} ${jti}`
