// What OAuth clients may know about this broker (RFC 8414), and its public keys (RFC 7517). Invariant: only what works now is named.
import { CHANGE_TYPE } from './details.ts'
import { json, type OAuthEndpoint } from './endpoint.ts'
import { refuse } from './errors.ts'
import { TOKEN_EXCHANGE } from './token.ts'

/** Where the status lists are: `oauth/status.ts`. */
export const STATUS_PATH = '/status'

export interface MetadataPorts {
  readonly issuer: string
  /** The public keys, and how long verifiers may keep them; a next key is published at least this long before its first use. */
  jwks(): { readonly document: object; readonly maxAgeSeconds: number }
  readonly assertionAlgorithms: readonly string[]
  readonly proofAlgorithms: readonly string[]
  /** Where persons get their tokens from with a program: what `writ login` needs to know. Public by nature, like any public client. */
  readonly login?: Login | undefined
}
export interface Login {
  readonly issuer: string
  readonly clientId: string
  readonly scope: string
  /** RFC 8707: what the token must be for. */
  readonly resource: string
}

// Public documents, read by pages of anybody: the only ones with CORS (PROTOCOLS §7, 19).
export const PUBLIC = { 'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin' }

export function metadataEndpoints(p: MetadataPorts): readonly OAuthEndpoint[] {
  const document = metadata(p)
  const get = (
    path: string,
    name: string,
    value: () => { document: object; maxAgeSeconds: number },
  ): OAuthEndpoint => ({
    method: 'GET',
    path,
    name,
    takes: { media: 'none', limitBytes: 0 },
    answer: async () => {
      const { document, maxAgeSeconds } = value()
      return json(200, document, { ...PUBLIC, 'Cache-Control': `public, max-age=${maxAgeSeconds}` })
    },
    refuse,
  })
  return [
    get('/.well-known/oauth-authorization-server', 'metadata', () => ({ document, maxAgeSeconds: 300 })),
    get('/.well-known/openid-configuration', 'metadata', () => ({ document, maxAgeSeconds: 300 })),
    get('/oauth2/jwks', 'jwks', () => p.jwks()),
  ]
}

const metadata = (p: MetadataPorts) => ({
  issuer: p.issuer,
  token_endpoint: `${p.issuer}/oauth2/token`,
  introspection_endpoint: `${p.issuer}/oauth2/introspect`,
  jwks_uri: `${p.issuer}/oauth2/jwks`,
  status_list_aggregation_endpoint: `${p.issuer}${STATUS_PATH}`,
  grant_types_supported: [TOKEN_EXCHANGE],
  // Required by RFC 8414; empty, because there is no authorization endpoint.
  response_types_supported: [],
  token_endpoint_auth_methods_supported: ['none'],
  // RFC 8414 §2: a kind of access token is named as its scheme is.
  introspection_endpoint_auth_methods_supported: ['private_key_jwt', 'Bearer', 'DPoP'],
  introspection_endpoint_auth_signing_alg_values_supported: p.assertionAlgorithms,
  dpop_signing_alg_values_supported: p.proofAlgorithms,
  authorization_details_types_supported: [CHANGE_TYPE],
  ...(p.login === undefined ? {} : { writ_login: loginOf(p.login) }),
})

const loginOf = ({ issuer, clientId, scope, resource }: Login) => ({
  issuer,
  client_id: clientId,
  scope,
  resource,
})
