// Is this token good right now? Active only while the grant is active, its window open, the mint live, and the control record there.
// Our own answer is judged by the stored state and Redis's time, whatever the token says of itself.
import { type Grant, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { LiveMint } from '../domain/mint.ts'
import { isOpen } from '../domain/window.ts'
import type { Ports } from './ports.ts'

export type Introspected =
  | { readonly active: false }
  | { readonly active: true; readonly grant: Grant; readonly mint: LiveMint }

export const introspect =
  (p: Pick<Ports, 'grants' | 'now'>) =>
  async (token: {
    readonly grant: GrantId
    readonly jti: string
    readonly audience: string
  }): Promise<Introspected> => {
    const loaded = await p.grants.load(token.grant)
    const grant = loaded?.grant
    if (grant === undefined || !inStatus(grant, 'active') || grant.ask.audience !== token.audience)
      return { active: false }
    const now = p.now()
    const mint = grant.head.mints.find(
      (candidate) => candidate.status === 'live' && candidate.kind === 'jwt' && candidate.jti === token.jti,
    )
    if (mint?.status !== 'live' || now >= mint.expiresAt || !isOpen(grant.ask.intent.window, now))
      return { active: false }
    return { active: true, grant, mint }
  }
