// Bugs that a broker could have, each as a small change of the ports of the shipped one. The crash run must find every one of them: a
// harness that finds nothing proves nothing. Only tests compose them.
import type { GrantStore, Guard, Ports, Receipt } from '../../src/broker/ports.ts'
import type { Adapters } from '../../src/compose.ts'
import type { Grant, Step } from '../../src/domain/grant.ts'
import type { GrantId } from '../../src/domain/ids.ts'
import type { Mint } from '../../src/domain/mint.ts'

export const BUGS = {
  'skip-commit': 'the claim is committed only after the hold has been opened: effect before intent',
  'drop-sweep': 'no sweep on a plain interval: only the jobs of the queue end what is due',
  'forget-accessor': 'the accessor of a hold is not written into the record',
  'reuse-page': 'a page that was used can be used once more',
} as const
export type Bug = keyof typeof BUGS
export const isBug = (text: string): text is Bug => Object.hasOwn(BUGS, text)

export function planted(bug: Bug | undefined, adapters: Adapters): Adapters {
  switch (bug) {
    case undefined:
      return adapters
    case 'skip-commit':
      return withGrants(adapters, lateClaims(adapters.ports.grants))
    case 'forget-accessor':
      return withGrants(adapters, forgetful(adapters.ports.grants))
    case 'reuse-page': {
      const { ceremonies } = adapters.ports
      return { ...adapters, ports: { ...adapters.ports, ceremonies: { ...ceremonies, take: ceremonies.read } } }
    }
    case 'drop-sweep':
      return { ...adapters, settings: { ...adapters.settings, sweepEveryMs: 2 ** 31 - 1 } }
  }
}

const withGrants = (adapters: Adapters, grants: GrantStore): Adapters => ({
  ...adapters,
  ports: { ...adapters.ports, grants } satisfies Ports,
})

/** Answers a claim as if it were written, and writes it when somebody next looks at the grant: after the hold was opened. */
function lateClaims(grants: GrantStore): GrantStore {
  const late = new Map<GrantId, { readonly step: Step; readonly guard: Guard | undefined }>()
  const writeLate = async (id: GrantId): Promise<void> => {
    const claim = late.get(id)
    late.delete(id)
    if (claim !== undefined) await grants.commit(claim.step, claim.guard)
  }
  const unwritten: Receipt = { shard: 0 as Receipt['shard'], seq: 0, eventHash: '' }
  return {
    ...grants,
    commit: async (step, guard) => {
      if (step.event.type !== 'claimed') return grants.commit(step, guard)
      late.set(step.grant.id, { step, guard })
      return unwritten
    },
    load: (id) => writeLate(id).then(() => grants.load(id)),
    loadToEnd: (id) => writeLate(id).then(() => grants.loadToEnd(id)),
  }
}

function forgetful(grants: GrantStore): GrantStore {
  const without = (mint: Mint): Mint =>
    mint.status === 'opened' || (mint.status === 'live' && mint.kind === 'vault') ? { ...mint, accessor: '' } : mint
  const forget = ({ grant, ...step }: Step): Step => {
    const head = { ...grant.head, mints: grant.head.mints.map(without) }
    return { ...step, grant: { ...grant, head } as Grant }
  }
  return { ...grants, commit: (step, guard) => grants.commit(forget(step), guard) }
}
