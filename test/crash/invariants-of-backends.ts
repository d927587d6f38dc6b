// What must hold at Vault and in PostgreSQL, asked of them with the rights of their administrators: I9, I10, and DESIGN.md §4 rule 2. Always
// listed first and held against the store afterwards: what was made had been claimed before, and what has ended was gone before.
import { setTimeout as pause } from 'node:timers/promises'
import type { Eyes } from '../support/journey-actors.ts'
import type { Row } from './invariants-of-store.ts'
import type { Journal } from './journal.ts'
import type { Report } from './violation.ts'

export interface Artefact {
  readonly kind: 'lease' | 'hold' | 'role' | 'login'
  readonly grant: string
  readonly mint: number
  readonly handle: string
}
const MINT = /(g\d{1,4}-[a-z2-7]{26})-(\d{1,6})\/?$/

/** The canaries' mint, which is nobody's, has number 0. */
export const isOfCanary = ({ mint }: Artefact): boolean => mint === 0

export interface Backends {
  /** Everything there that names a mint. */
  list(): Promise<readonly Artefact[]>
}

export function backends(see: Eyes): Backends {
  /** Of every accessor what it is for: that never changes. */
  const known = new Map<string, string>()
  const named = (kind: Artefact['kind'], handle: string, text = handle): readonly Artefact[] => {
    const [, grant, mint] = MINT.exec(text) ?? []
    return grant === undefined ? [] : [{ kind, grant, mint: Number(mint), handle }]
  }
  const list = async (path: string): Promise<readonly string[]> => {
    const { status, body } = await see.vault('LIST', path)
    if (status !== 200 && status !== 404) throw new Error(`LIST ${path}: ${status}`)
    return status === 404 ? [] : body.data.keys
  }
  const metaOf = async (accessor: string): Promise<string> => {
    const former = known.get(accessor)
    if (former !== undefined) return former
    const { status, body } = await see.vault('POST', 'auth/token/lookup-accessor', { accessor })
    const mint: string = status === 200 ? (body.data.meta?.mint ?? '') : ''
    if (status === 200) known.set(accessor, mint)
    return mint
  }
  return {
    list: async () => {
      const accessors = await list('auth/token/accessors')
      const there = new Set(accessors)
      for (const accessor of known.keys()) if (!there.has(accessor)) known.delete(accessor)
      // A look ends a token that is just being made.
      if (accessors.some((accessor) => !known.has(accessor))) await pause(SETTLED_MS)
      const metas = await Promise.all(accessors.map(metaOf))
      const folders = await list('sys/leases/lookup/database/creds/')
      const leases = await Promise.all(folders.map((folder) => list(`sys/leases/lookup/database/creds/${folder}`)))
      return [
        ...accessors.flatMap((accessor, n) => named('hold', accessor, metas[n] ?? '')),
        ...folders.flatMap((folder, n) => ((leases[n] ?? []).length > 0 ? named('lease', folder) : [])),
        ...(await see.roles()).flatMap((role) => named('role', role)),
        ...(await see.logins()).flatMap((login) => named('login', login)),
      ]
    },
  }
}

const SETTLED_MS = 300
const HOLDS = ['issuing', 'active', 'ending', 'stuck']
/** I9: so long may something be there that nobody stands for; a login of what has ended not even so long. */
const ORPHAN_MS = 60_000

export interface Watch {
  /** When each was first seen without anybody who stands for it. */
  readonly since: Map<string, number>
}

/** `rows`: what the store said of these grants after the artefacts had been listed; `events` were read after that. */
export function judgeArtefacts(
  found: readonly Artefact[],
  rows: readonly Row[],
  journal: Pick<Journal, 'life'>,
  watch: Watch,
  report: Report,
): void {
  const records = new Map(rows.map(({ id, record }) => [id, record]))
  const orphans: Artefact[] = []
  const said = ({ kind, grant, handle }: Artefact, invariant: string, expected: string, seen: string): void =>
    report({ invariant, grant, expected, seen: `${kind} ${handle}: ${seen}` })
  for (const one of found) {
    const { kind, grant, mint, handle } = one
    const life = journal.life(grant)
    // Claims are counted: each mint is one.
    const claims = life?.told.filter(({ type }) => type === 'claimed').length ?? 0
    if (claims < mint) said(one, 'intentBeforeEffect', `a claim of mint ${mint} before it is made`, `${claims} claims`)
    const record = records.get(grant)
    const own = record?.mints.find(({ n }) => n === mint)
    if (kind === 'hold' && (own?.status === 'opened' || own?.status === 'live') && own.accessor !== handle)
      said(one, 'I9 recordNamesWhatIsThere', `the record of mint ${mint} names it`, `it names '${own.accessor}'`)
    const stands = record !== undefined && HOLDS.includes(record.status) && own !== undefined && own.status !== 'closed'
    if (!stands) orphans.push(one)
  }
  for (const one of forTooLong(orphans, watch)) {
    const seen = `still there, and its grant is ${records.get(one.grant)?.status ?? 'none'}`
    said(one, 'I9 backendHoldsOnlyArtefacts', 'gone within 60 s', seen)
  }
}

/** The same of canaries. `open`: the grants, which nobody has, of those that the store said to be open after the artefacts had been listed. */
export function judgeCanaries(
  found: readonly Artefact[],
  open: ReadonlySet<string>,
  watch: Watch,
  report: Report,
): void {
  const orphans = found.filter(({ grant }) => !open.has(grant))
  for (const { kind, grant, handle } of forTooLong(orphans, watch)) {
    const invariant = 'I9 backendHoldsOnlyArtefacts'
    report({ invariant, grant, expected: 'gone within 60 s', seen: `${kind} ${handle} of no open canary` })
  }
}

/** Those for which nobody has stood for a minute. */
function forTooLong(orphans: readonly Artefact[], { since }: Watch): readonly Artefact[] {
  const now = Date.now()
  const keyOf = ({ kind, handle }: Artefact): string => `${kind} ${handle}`
  const keys = new Set(orphans.map(keyOf))
  for (const key of since.keys()) if (!keys.has(key)) since.delete(key)
  for (const key of keys) if (!since.has(key)) since.set(key, now)
  return orphans.filter((one) => now - (since.get(keyOf(one)) ?? now) > ORPHAN_MS)
}
