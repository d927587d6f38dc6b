// The calls that go through a port, told to whoever measures or traces them. Invariant: a told port answers and rejects exactly as the one
// that it wraps, and every method has its row here: a new one does not compile until it says what may be told of it.
import type {
  Canaries,
  Ceremonies,
  ContainmentStore,
  CredentialSource,
  Forges,
  FreezeStore,
  GrantStore,
  Passkeys,
  RevocationStore,
  Seal,
  Timetable,
  UseStore,
} from '../broker/ports.ts'
import type { Step } from '../domain/grant.ts'

/** What may be told of a call: names and numbers of ours, never what somebody typed. */
export interface CallFacts {
  readonly grant?: string
  readonly mint?: string
  readonly lane?: string
  readonly backend?: string
  readonly event?: string
  readonly version?: number
  readonly count?: number
}
/** Runs the work of one call and gives its answer back, or rejects as it does. */
export type Around = <T>(call: string, facts: CallFacts, work: () => Promise<T>) => Promise<T>

type Method = (...args: never[]) => Promise<unknown>
export type Rows<Port> = {
  readonly [M in keyof Port]-?: Port[M] extends Method ? (...args: Parameters<Port[M]>) => CallFacts : never
}

const factsOf = ({ grant, event }: Step): CallFacts => ({ grant: grant.id, event: event.type, version: grant.version })

export const STORE_CALLS: Rows<GrantStore> = {
  load: (grant) => ({ grant }),
  loadEach: (grants) => ({ count: grants.length }),
  loadToEnd: (grant) => ({ grant }),
  loadManyToEnd: (grants) => ({ count: grants.length }),
  commit: factsOf,
  commitEach: (steps) => ({ count: steps.length }),
  claimDue: (lane) => ({ lane }),
  events: (grant) => ({ grant }),
  list: ({ of }) => ({ count: of.length }),
  feed: () => ({}),
  live: ({ lane }) => ({ lane }),
  counts: (tenants) => ({ count: tenants.length }),
  retired: () => ({}),
  forget: (grants) => ({ count: grants.length }),
}

export const FREEZE_CALLS: Rows<FreezeStore> = {
  put: () => ({}),
  lift: () => ({}),
  list: () => ({}),
  on: () => ({}),
  under: (_, grant) => (grant === undefined ? {} : { grant }),
}

export const CONTAINMENT_CALLS: Rows<ContainmentStore> = {
  claim: ({ lane }) => ({ lane }),
  note: (_id, _shard, { stages }) => ({ count: stages.length }),
  progress: () => ({}),
  page: () => ({}),
}

export const REVOCATION_CALLS: Rows<Pick<RevocationStore, 'read' | 'acknowledge' | 'reach'>> = {
  read: () => ({}),
  acknowledge: () => ({}),
  reach: (grant) => ({ grant }),
}
export const USE_CALLS: Rows<UseStore> = {
  report: (grant, _, uses) => ({ grant, count: uses.length }),
  of: (grant) => ({ grant }),
}

export const CREDENTIAL_CALLS: Rows<CredentialSource> = {
  reach: ({ backend }) => ({ backend }),
  open: ({ grant, mint, credential }) => ({ grant, mint, backend: credential.backend }),
  keep: () => ({}),
  issue: (_, { grant, mint, credential }) => ({ grant, mint, backend: credential.backend }),
  close: ({ grant, mint, credential }) => ({ grant, mint, backend: credential.backend }),
  confirmGone: ({ grant, mint, credential }) => ({ grant, mint, backend: credential.backend }),
}

export const CANARY_CALLS: Rows<Canaries> = {
  all: () => ({}),
  last: () => ({}),
  keep: () => ({}),
  open: () => ({}),
  note: ({ grant, credential }) => ({ grant, backend: credential.backend }),
  ended: () => ({}),
  turn: () => ({}),
  giveBack: () => ({}),
}

/** What is asked about is text of whoever asked. */
export const FORGE_CALLS: Rows<Forges> = { authorsOf: () => ({}) }
export const PASSKEY_CALLS: Rows<Passkeys> = { of: () => ({}), add: () => ({}), count: () => ({}), remove: () => ({}) }
export const CEREMONY_CALLS: Rows<Ceremonies> = { keep: () => ({}), read: () => ({}), take: () => ({}) }
export const SEAL_CALLS: Rows<Seal> = { seal: () => ({}) }
export const TIMETABLE_CALLS: Rows<Timetable> = { at: (lane) => ({ lane }) }

/** The same port, with every method that has a row run inside `around`. */
export function told<Port extends object, Wider extends Port>(port: Wider, rows: Rows<Port>, around: Around): Wider {
  // By the types of the two, each name has a method and a row that take the same arguments.
  const methods: object = port
  const facts: object = rows
  const named = Object.keys(rows).map((name) => {
    const [method, factsOf] = [Reflect.get(methods, name), Reflect.get(facts, name)]
    return [name, (...args: readonly unknown[]) => around(name, factsOf(...args), () => method.apply(port, args))]
  })
  return { ...port, ...Object.fromEntries(named) }
}
