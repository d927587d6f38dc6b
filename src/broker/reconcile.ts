// Ends what lies at a backend in Writ's name and no grant stands for: what a lost record, a crash or a restored backend left behind.
// Invariant: nothing is ended but what bears the mark of this group of brokers for a mint that the store knows as closed, or knows nothing of,
// at a moment after it was listed. A mint is claimed in the store before anything of it is made, so what was listed first and is unknown
// afterwards was never claimed, or is over. A store that is behind, without its control record or out of reach says nothing: then nothing is ended.
import { isCanary } from '../domain/canary.ts'
import { isBrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import { type GrantId, groupOf, type MintName, type Shard, shardOf } from '../domain/ids.ts'
import { ARTEFACT_KINDS, type Artefact, type Inventory, type Ports } from './ports.ts'
import { eachOf } from './sweep.ts'

export type ReconcilePorts = Pick<Ports, 'grants' | 'control'> & {
  readonly inventory: Inventory
  /** What is made for nobody has no grant, and is noted before it is made: it stands while somebody is at it. */
  readonly canaries: Pick<Ports['canaries'], 'open'>
  readonly shards: readonly Shard[]
  /** The tag of this group of brokers: it ends what it made, and nothing else. */
  readonly group: string
}

export interface Reconciled {
  /** Everything that was listed and bears a mark or lies among what does. */
  readonly seen: number
  /** Orphans that are gone, by the backend's own word. */
  readonly ended: readonly Artefact[]
  /** Orphans that could not be ended now, and why. */
  readonly failed: readonly { readonly artefact: Artefact; readonly error: unknown }[]
  /** What nobody here can say anything of: without a mark, or of a grant of another group. Never touched. */
  readonly unknown: readonly Artefact[]
  /**
   * How many leases of those ended belonged to a mint whose end had been confirmed: the backend did not have them any more, and had them
   * again. (A hold that nobody knew of may outlive its mint by seconds; a lease may not.)
   */
  readonly revived: number
  /** Databases that could not be asked, by their connections, and why: what lies there alone was not seen. */
  readonly unread: { readonly databases: readonly string[]; readonly error: unknown } | undefined
}

/** As many as are judged by one look at the store. */
const BATCH = 100
/** Mints ended at a time; the inventory bounds its calls once more. */
const CONCURRENT = 4

/**
 * One pass over this backend. Rejects where it could not be looked through, but for single databases, after everything that was found has been
 * ended, and as the store does (`recovering`, `store_unavailable`): then nothing more is ended.
 */
export const reconcile =
  (p: ReconcilePorts) =>
  async (backend: string): Promise<Reconciled> => {
    await p.control()
    const found = await lookThrough(p, backend)
    const orphans = [...Map.groupBy(found.orphans, ({ artefact }) => artefact.mint.mint).values()]
    const ended = (await eachOf(orphans, CONCURRENT, (some) => endOrphan(p, some))).flat()
    const unread = found.failure && databasesOf(found.failure.error)
    if (found.failure !== undefined && unread === undefined) throw found.failure.error
    const gone = ended.filter((one) => one.was === true)
    return {
      seen: found.seen,
      ended: gone.map(({ artefact }) => artefact),
      failed: ended.flatMap(({ artefact, error }) => (error === undefined ? [] : [{ artefact, error }])),
      unknown: found.unknown,
      revived: gone.filter(({ artefact, wasConfirmed }) => wasConfirmed && artefact.kind === 'lease').length,
      unread,
    }
  }

/** Undefined where more than databases could not be read. */
function databasesOf(error: unknown): Reconciled['unread'] {
  const databases = isBrokerError(error) ? error.facts.databases : undefined
  return Array.isArray(databases) ? { databases: databases.map(String), error } : undefined
}

type Marked = Artefact & { readonly mint: MintName }
interface Orphan {
  readonly artefact: Marked
  /** The store has its end, confirmed: it was gone. */
  readonly wasConfirmed: boolean
}
interface Found {
  seen: number
  readonly orphans: Orphan[]
  readonly unknown: Artefact[]
  failure: { readonly error: unknown } | undefined
}

async function lookThrough(p: ReconcilePorts, backend: string): Promise<Found> {
  const found: Found = { seen: 0, orphans: [], unknown: [], failure: undefined }
  let batch: Artefact[] = []
  const judgeBatch = async (): Promise<void> => {
    const some = batch
    batch = []
    await judgeEach(p, some, found)
  }
  const list = p.inventory.list(backend)[Symbol.asyncIterator]()
  for (;;) {
    let next: IteratorResult<Artefact>
    try {
      next = await list.next()
    } catch (error) {
      // What was listed before is there all the same.
      found.failure = { error }
      break
    }
    if (next.done === true) break
    found.seen += 1
    batch.push(next.value)
    if (batch.length === BATCH) await judgeBatch()
  }
  await judgeBatch()
  return found
}

/** The store is asked after all of these were listed, and about each grant once. */
async function judgeEach(p: ReconcilePorts, artefacts: readonly Artefact[], found: Found): Promise<void> {
  const ids = [...new Set(artefacts.flatMap(({ mint }) => (mint === undefined ? [] : [mint.grant])))]
  const loaded = await p.grants.loadEach(ids)
  const grants = new Map(ids.map((id, n) => [id, loaded[n]]))
  const canaries = await openCanaries(p, artefacts)
  for (const artefact of artefacts) {
    const { mint } = artefact
    const isOpen = mint !== undefined && canaries.has(mint.grant)
    const standing = isOpen ? 'stands' : mint === undefined ? 'unknown' : standingOf(p, mint, grants.get(mint.grant))
    if (standing === 'unknown' || mint === undefined) found.unknown.push(artefact)
    else if (standing !== 'stands')
      found.orphans.push({ artefact: { ...artefact, mint }, wasConfirmed: standing === 'confirmed gone' })
  }
}

/** Those that are noted now; asked only where one was listed, and after that. */
async function openCanaries(
  { canaries }: Pick<ReconcilePorts, 'canaries'>,
  artefacts: readonly Artefact[],
): Promise<ReadonlySet<GrantId>> {
  const any = artefacts.some(({ mint }) => mint !== undefined && isCanary(mint.mint))
  return new Set(any ? (await canaries.open()).map(({ grant }) => grant) : [])
}

type Standing = 'stands' | 'over' | 'confirmed gone' | 'unknown'

/** What the store says of a mint. It errs towards leaving alone: a record that cannot be read stands for all that it may say. */
function standingOf(
  { group, shards }: Pick<ReconcilePorts, 'group' | 'shards'>,
  { grant: id, n }: MintName,
  grant: Grant | 'unreadable' | undefined,
): Standing {
  if (grant === 'unreadable') return 'stands'
  // Absent here says nothing of what another group made, nor of a shard that somebody else looks after.
  if (grant === undefined) return groupOf(id) === group && shards.includes(shardOf(id)) ? 'over' : 'unknown'
  const mint = grant.head.mints.find((one) => one.n === n)
  // Only what was given back, and so is over, is ever taken out of its grant; any other that is not in it was not claimed before it was listed.
  if (mint === undefined) return 'over'
  // Claimed, opened, live or closing: whoever makes or ends it is at it until its deadline, and then the sweep is.
  if (mint.status !== 'closed') return 'stands'
  return mint.confirmation.asked === 'backend' ? 'confirmed gone' : 'over'
}

interface Tried extends Orphan {
  readonly was?: boolean
  readonly error?: unknown
}

/** All that is left of one mint: leases first, so that the login goes the way it was meant to, then what they were made with. */
async function endOrphan(p: ReconcilePorts, orphans: readonly Orphan[]): Promise<readonly Tried[]> {
  const inOrder = orphans.toSorted(
    (a, b) => ARTEFACT_KINDS.indexOf(a.artefact.kind) - ARTEFACT_KINDS.indexOf(b.artefact.kind),
  )
  const results: Tried[] = []
  for (const orphan of inOrder) {
    try {
      if (results.length === 0 && !(await isStillOver(p, orphan.artefact.mint))) return []
      results.push({ ...orphan, was: await p.inventory.end(orphan.artefact) })
    } catch (error) {
      results.push({ ...orphan, error })
    }
  }
  return results
}

/** Asked once more right before: the store may have been put back, or be out of reach, since it was judged. */
async function isStillOver(p: ReconcilePorts, mint: MintName): Promise<boolean> {
  const [grant] = await p.grants.loadEach([mint.grant])
  const standing = standingOf(p, mint, grant)
  return standing === 'over' || standing === 'confirmed gone'
}
