// Is this token good right now? Active only while the grant is active, its window open, the mint live, nothing contains it, and the control
// record there. Our own answer is judged by the stored state and Redis's time, whatever the token says of itself.
import { isContained } from '../domain/freeze.ts'
import { type Grant, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { LiveMint } from '../domain/mint.ts'
import { isOpen } from '../domain/window.ts'
import { freezesOf } from './judge.ts'
import type { Ports } from './ports.ts'
import { asSubject } from './subject.ts'

export type Introspected =
  | { readonly active: false }
  | { readonly active: true; readonly grant: Grant; readonly mint: LiveMint }

export const introspect =
  (p: Pick<Ports, 'grants' | 'freezes' | 'rulesToEnd' | 'now'>) =>
  async (token: {
    readonly grant: GrantId
    readonly jti: string
    readonly audience: string
  }): Promise<Introspected> => {
    const loaded = await p.grants.load(token.grant)
    const grant = loaded?.grant
    if (loaded === undefined || grant === undefined) return { active: false }
    if (!inStatus(grant, 'active') || grant.ask.audience !== token.audience) return { active: false }
    // Whoever was contained is refused from that commit on, long before the clean-up comes to this grant.
    const { directory } = p.rulesToEnd()
    if (isContained(await freezesOf(p, loaded), () => asSubject(directory, grant))) return { active: false }
    const now = p.now()
    const mint = grant.head.mints.find(
      (candidate) => candidate.status === 'live' && candidate.kind === 'jwt' && candidate.jti === token.jti,
    )
    if (mint?.status !== 'live' || now >= mint.expiresAt || !isOpen(grant.ask.intent.window, now))
      return { active: false }
    return { active: true, grant, mint }
  }
