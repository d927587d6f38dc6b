// What the birth of a grant must find, so that nobody who decides is flooded. Checked by the store in the commit that files it: whatever
// race there is between brokers, no bound is passed.
import { type Bound, denials, tallies } from '../domain/flood.ts'
import type { Ask } from '../domain/grant.ts'
import type { Guard, Ports } from './ports.ts'

export function floodGuard(
  { flood, sha256 }: Pick<Ports, 'flood' | 'sha256'>,
  ask: Ask,
): Pick<Guard, 'bounds' | 'denied'> {
  const most = (of: Bound['of']): number =>
    'digest' in of ? 1 : 'asker' in of ? flood.maxPendingPerRequester : flood.maxPendingPerOwner
  return {
    bounds: tallies(ask, 'pending').map((of) => ({ of, most: most(of) })),
    denied: denials(ask, sha256),
  }
}
