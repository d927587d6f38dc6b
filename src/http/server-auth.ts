// Which resource server calls a row of `/v1`: the very client assertion (RFC 7523) that it shows when it introspects, as a bearer token. Invariant:
// nothing else lets a resource server in here, and nothing of it makes it a caller: it asks for nothing, decides nothing and ends nothing.
import { BrokerError } from '../domain/errors.ts'
import type { Incoming } from './endpoint.ts'

export interface ServerAuthentication {
  /** The resource server whose assertion this is, used for the first time. Rejects `unauthenticated`. */
  clientAssertion(assertion: string, clientId: string | undefined): Promise<{ readonly id: string }>
}

const CREDENTIALS = /^bearer ([A-Za-z0-9_-]{1,4096}\.[A-Za-z0-9_-]{1,4096}\.[A-Za-z0-9_-]{1,1024})$/i
const NEXT = 'Send a fresh client assertion (private_key_jwt) in the Authorization header, as Bearer.'

/** The id of the resource server that calls. Rejects `unauthenticated`, alike for whoever it is that is none. */
export async function serverOf(p: ServerAuthentication, incoming: Incoming): Promise<string> {
  const sent = incoming.header('authorization')
  if (sent.length === 0)
    throw new BrokerError('unauthenticated', 'No client assertion was sent.', {
      nextAction: NEXT,
      facts: { anonymous: true },
    })
  const [, assertion] = CREDENTIALS.exec(sent.length === 1 ? (sent[0] ?? '') : '') ?? []
  if (assertion === undefined || incoming.header('dpop').length > 0)
    throw new BrokerError(
      'unauthenticated',
      'A resource server sends one Authorization header: Bearer and a client assertion.',
      {
        nextAction: NEXT,
      },
    )
  return (await p.clientAssertion(assertion, undefined)).id
}
