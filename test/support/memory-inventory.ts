// An inventory and marks in memory: a backend that is a set of artefacts, which can be put back as it was. It keeps the promises of both ports
// (the same contract suite runs on the real one), and shows what it was asked.
import type { Artefact, ArtefactKind, BackendMarks, Inventory } from '../../src/broker/ports.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { MintName } from '../../src/domain/ids.ts'

export const BACKEND = 'vault-main'
/** The one behind it. */
export const DATABASE = 'payments'

export interface MemoryInventory {
  readonly inventory: Inventory
  readonly marks: BackendMarks
  plant(kind: ArtefactKind, mint: MintName | undefined, handle?: string): Artefact
  isThere(kind: ArtefactKind, handle: string): boolean
  openSession(mint: MintName): () => boolean
  /** What was ended, in order. */
  readonly ended: Artefact[]
  /** Runs when everything has been listed, before anybody acts on it. */
  onListed(then: () => Promise<unknown> | undefined): void
  /** The logins cannot be listed or ended. */
  setFrozen(frozen: boolean): void
  /** What is Vault's cannot be listed to the end. */
  setTorn(torn: boolean): void
  /** Nothing answers. */
  setDown(down: boolean): void
  /** No end of this kind works. */
  setStuck(kind: ArtefactKind | undefined): void
  /** Remembers the backend as it is, marks included; the answer puts it back. */
  copy(): () => void
  marksLeft(): number
}

const nameOf = (kind: ArtefactKind, mint: MintName): string =>
  kind === 'hold' ? `accessor-${mint.mint}` : kind === 'login' ? `writ-${mint.mint}` : `writ-e-${mint.mint}`
const unavailable = (): BrokerError => new BrokerError('vault_unavailable', 'Vault does not answer.')

export function memoryInventory(): MemoryInventory {
  let there = new Map<string, Artefact>()
  let marks = new Set<string>()
  const sessions: { readonly handle: string; open: boolean }[] = []
  const ended: Artefact[] = []
  let made = 0
  let [frozen, torn, down] = [false, false, false]
  let stuck: ArtefactKind | undefined
  let listed: () => Promise<unknown> | undefined = () => undefined
  const keyOf = (kind: ArtefactKind, handle: string): string => `${kind} ${handle}`
  const needBackend = (): void => {
    if (down) throw unavailable()
  }
  const remove = (kind: ArtefactKind, handle: string): boolean => {
    if (kind === 'login') for (const session of sessions) if (session.handle === handle) session.open = false
    return there.delete(keyOf(kind, handle))
  }
  const plant: MemoryInventory['plant'] = (kind, mint, handle = mint && nameOf(kind, mint)) => {
    const plain = { backend: BACKEND, kind, place: 'memory', handle: handle ?? `by-hand-${++made}`, mint }
    const artefact = kind === 'lease' || kind === 'login' ? { ...plain, database: DATABASE } : plain
    there.set(keyOf(kind, artefact.handle), artefact)
    if (kind === 'lease' && mint !== undefined) plant('login', mint)
    return artefact
  }
  return {
    ended,
    plant,
    isThere: (kind, handle) => there.has(keyOf(kind, handle)),
    openSession: (mint) => {
      const session = { handle: nameOf('login', mint), open: true }
      sessions.push(session)
      return () => session.open
    },
    onListed: (then) => {
      listed = then
    },
    setFrozen: (to) => {
      frozen = to
    },
    setTorn: (to) => {
      torn = to
    },
    setDown: (to) => {
      down = to
    },
    setStuck: (kind) => {
      stuck = kind
    },
    copy: () => {
      const [kept, keptMarks] = [new Map(there), new Set(marks)]
      return () => {
        there = new Map(kept)
        marks = new Set(keptMarks)
      }
    },
    marksLeft: () => marks.size,
    inventory: {
      backends: [BACKEND],
      async *list(backend) {
        if (backend !== BACKEND) throw new BrokerError('vault_refused', 'There is no such backend.')
        needBackend()
        for (const artefact of [...there.values()]) if (!(frozen && artefact.kind === 'login')) yield artefact
        await listed()
        if (frozen)
          throw new BrokerError('not_confirmed', 'The database does not answer.', { facts: { databases: [DATABASE] } })
        if (torn) throw new BrokerError('vault_refused', 'A part cannot be read.')
      },
      async end(artefact) {
        needBackend()
        const { kind, handle, mint } = artefact
        if (mint === undefined || handle !== nameOf(kind, mint))
          throw new BrokerError('vault_refused', 'It bears no such mark.')
        if (frozen && (kind === 'login' || kind === 'lease'))
          throw new BrokerError('not_confirmed', 'The database does not answer.')
        if (stuck === kind) throw new BrokerError('not_confirmed', 'It is still there.')
        if (kind === 'lease') remove('login', nameOf('login', mint))
        const was = remove(kind, handle)
        if (was) ended.push(artefact)
        return was
      },
    },
    marks: {
      async set() {
        needBackend()
        const mark = `mark-${++made}`
        marks.add(mark)
        return mark
      },
      async isThere(_, mark) {
        needBackend()
        return marks.has(mark)
      },
      async drop(_, mark) {
        needBackend()
        marks.delete(mark)
      },
    },
  }
}
