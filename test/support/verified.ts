// Requests to a resource server as its clients send them: a token of the contract broker and a proof of its key, each made by jose.
import { randomUUID } from 'node:crypto'
import { type Presented, type Verifier, type VerifierOptions, verifier } from '../../src/verifier/index.ts'
import { AUDIENCE, type ContractBroker } from './contract-broker.ts'
import { athOf, type ClientKey, clientKey, type ProofClaims, proof } from './keys.ts'

export const PUBLIC_URL = 'https://api.northwind.example'

/** A verifier at this broker that asks it about each token, unless the test says otherwise. */
export const verifierAt = (broker: ContractBroker, over: Partial<VerifierOptions> = {}): Verifier =>
  verifier({
    issuer: broker.issuer,
    audience: AUDIENCE,
    publicUrl: PUBLIC_URL,
    revocation: { by: 'introspection' },
    client: broker.client,
    timeout: 1_000,
    ...over,
  })

export interface Holder {
  readonly key: ClientKey
  readonly grant: string
  readonly token: string
  /** A request with a fresh proof; `over` changes what the proof says, `presented` the request. */
  request(
    over?: ProofClaims & { readonly header?: Record<string, unknown> },
    presented?: Partial<Presented>,
  ): Promise<Presented>
}
/** Somebody who holds a token that is bound to their key. */
export async function holder(
  broker: ContractBroker,
  claims: Readonly<Record<string, unknown>> = {},
  alg: 'ES256' | 'EdDSA' = 'ES256',
): Promise<Holder> {
  const key = await clientKey(alg)
  const grant = typeof claims.txn === 'string' ? claims.txn : `g0-${randomUUID()}`
  const token = await broker.token({ txn: grant, cnf: { jkt: key.jkt }, ...claims })
  return {
    key,
    grant,
    token,
    request: async ({ header, ...over } = {}, presented = {}) => {
      const { method = 'POST', target = '/labels?dry=1' } = presented
      const made = await proof(
        key,
        {
          jti: randomUUID(),
          htm: method,
          htu: `${PUBLIC_URL}${target.split('?')[0]}`,
          iat: Math.floor(Date.now() / 1_000),
          ath: athOf(token),
          ...over,
        },
        header,
      )
      return { method, target, authorization: [`DPoP ${token}`], dpop: [made], ...presented }
    },
  }
}
