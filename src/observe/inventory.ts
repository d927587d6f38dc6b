// The looking through of the backends, watched: what was ended is counted and named, what nobody here can say anything of is told once, and so
// is every gate that shuts or opens. Invariant: one backend that hangs holds up no other, and at most one pass runs over each.
import { ARTEFACT_KINDS, type Artefact } from '../broker/ports.ts'
import { isBrokerError } from '../domain/errors.ts'
import { type Log, thrownRecord } from './log.ts'
import type { Metrics } from './metrics.ts'

interface Reconciled {
  readonly ended: readonly Artefact[]
  readonly failed: readonly { readonly artefact: Artefact; readonly error: unknown }[]
  readonly unknown: readonly Artefact[]
  readonly unread: { readonly error: unknown } | undefined
}
interface Gates<Why> {
  readonly backends: readonly string[]
  shut(backend: string): readonly string[]
  closed(backend: string): Why | undefined
  cleanAgeMs(backend: string): number | undefined
  pass(backend: string): Promise<Reconciled>
  keep(backend: string): Promise<void>
}
export interface InventoryPorts<Why> {
  readonly gates: Gates<Why>
  /** Whether any login can be asked for there: where none can, nothing is looked through. */
  isUsed(backend: string): boolean
  readonly figures: Metrics
  readonly log: Log
  /** Monotonic milliseconds. */
  ticks(): number
  readonly everyMs: number
  /** 0 <= n < 1: several brokers need not come by at the same moment. */
  jitter(): number
}
export interface WatchedInventory<Why> {
  /** To be called about once a second. Starts what is due, and waits for nothing. */
  tick(): void
  /** Resolves when every backend in use has been looked through, or could not be, and at the latest after this time. */
  firstWithin(ms: number): Promise<void>
  /** Of what is in use: which gates are shut, and why. */
  closed(): readonly { readonly backend: string; readonly why: Why }[]
  /** Of those whose gate is open: how many databases behind it are shut. */
  shut(): readonly { readonly backend: string; readonly databases: number }[]
  /** What lies there that nobody here can say anything of, as of the last pass. */
  unknown(): readonly Artefact[]
  /** Orphans that the last pass could not end. */
  failed(): readonly Artefact[]
  /** Sets the figures that are asked for now. */
  figures(): void
}

/** While no login can be made, a pass follows on the last as soon as this, or after as long as that one took, but never later than the other. */
const SHUT_AGAIN_MS = 1_000
const SHUT_LATEST_MS = 5_000
/** Named in the log, one by one, of each pass. */
const MOST_NAMED = 20

export function watchedInventory<Why>(p: InventoryPorts<Why>): WatchedInventory<Why> {
  const { gates, figures, log } = p
  const next = new Map<string, number>()
  const passing = new Map<string, Promise<void>>()
  const keeping = new Set<string>()
  const last = new Map<string, Reconciled>()
  const told = new Set<string>()
  const failure = new Map<string, string>()
  const open = new Set<string>()
  const used = (): readonly string[] => gates.backends.filter(p.isUsed)
  const keyOf = ({ backend, kind, place, handle }: Artefact): string => [backend, kind, place, handle].join(' ')

  const tell = (backend: string, result: Reconciled): void => {
    for (const { kind } of result.ended) figures.count('orphans_total', { backend, kind, result: 'ended' })
    for (const { artefact } of result.failed)
      figures.count('orphans_total', { backend, kind: artefact.kind, result: 'failed' })
    for (const artefact of result.ended.slice(0, MOST_NAMED)) log('warn', 'an orphan was ended', named(artefact))
    for (const { artefact, error } of result.failed.slice(0, MOST_NAMED))
      log('error', 'an orphan could not be ended; it is tried again', { ...named(artefact), ...thrownRecord(error) })
    if (result.ended.length > MOST_NAMED)
      log('warn', 'more orphans were ended', { backend, count: result.ended.length - MOST_NAMED })
    const unseen = result.unknown.filter((artefact) => !told.has(keyOf(artefact)))
    for (const artefact of unseen.slice(0, MOST_NAMED))
      log('warn', 'unknown at the backend; it is left alone', named(artefact))
    if (unseen.length > MOST_NAMED)
      log('warn', 'more is unknown at the backend', { backend, count: unseen.length - MOST_NAMED })
    for (const artefact of unseen) told.add(keyOf(artefact))
  }

  const complain = (backend: string, thrown: unknown): void => {
    const { code = 'unexpected', reason = '' } = thrownRecord(thrown)
    const said = `${code} ${reason}`
    // The same again and again is told once; that the store is away or recovering is told by others, and louder.
    const level = isBrokerError(thrown, 'recovering') || isBrokerError(thrown, 'store_unavailable') ? 'info' : 'warn'
    if (failure.get(backend) !== said)
      log(level, 'the backend could not be looked through; it is tried again', { backend, ...thrownRecord(thrown) })
    failure.set(backend, said)
  }

  const pass = async (backend: string): Promise<void> => {
    const started = p.ticks()
    try {
      const result = await gates.pass(backend)
      last.set(backend, result)
      tell(backend, result)
      if (result.unread !== undefined) complain(backend, result.unread.error)
      else if (failure.delete(backend)) log('info', 'the backend can be looked through again', { backend })
    } catch (thrown) {
      complain(backend, thrown)
    }
    const took = p.ticks() - started
    const isClean = gates.closed(backend) === undefined && gates.shut(backend).length === 0
    const wait = isClean ? p.everyMs * (0.8 + p.jitter() * 0.2) : SHUT_AGAIN_MS
    next.set(backend, p.ticks() + Math.max(wait, Math.min(took, isClean ? p.everyMs : SHUT_LATEST_MS)))
  }
  const begin = (backend: string): Promise<void> => {
    const running =
      passing.get(backend) ??
      pass(backend).finally(() => {
        passing.delete(backend)
      })
    passing.set(backend, running)
    return running
  }
  const keep = async (backend: string): Promise<void> => {
    if (keeping.has(backend)) return
    keeping.add(backend)
    await gates.keep(backend)
    keeping.delete(backend)
  }
  return {
    tick() {
      for (const backend of used()) {
        void keep(backend)
        // A gate that has shut since is reason enough to look now.
        const hasShut = gates.closed(backend) !== undefined && open.delete(backend)
        if (gates.closed(backend) === undefined) open.add(backend)
        if (hasShut || p.ticks() >= (next.get(backend) ?? 0)) void begin(backend)
      }
    },
    async firstWithin(ms) {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, ms)
      })
      await Promise.race([Promise.all(used().map(begin)), late])
      clearTimeout(timer)
    },
    closed: () =>
      used().flatMap((backend) => {
        const why = gates.closed(backend)
        return why === undefined ? [] : [{ backend, why }]
      }),
    shut: () =>
      used().flatMap((backend) => {
        const databases = gates.closed(backend) === undefined ? gates.shut(backend).length : 0
        return databases === 0 ? [] : [{ backend, databases }]
      }),
    unknown: () => used().flatMap((backend) => last.get(backend)?.unknown ?? []),
    failed: () => used().flatMap((backend) => last.get(backend)?.failed.map(({ artefact }) => artefact) ?? []),
    figures() {
      for (const backend of used()) {
        const isOpen = gates.closed(backend) === undefined && gates.shut(backend).length === 0
        figures.set('issuing_closed', isOpen ? 0 : 1, { backend })
        const age = gates.cleanAgeMs(backend)
        figures.set('inventory_clean_age_seconds', age === undefined ? undefined : age / 1_000, { backend })
        const { unknown } = last.get(backend) ?? {}
        for (const kind of ARTEFACT_KINDS) {
          const count = unknown?.filter((artefact) => artefact.kind === kind).length
          figures.set('unknown_artefacts', count, { backend, kind })
        }
      }
    },
  }
}

const named = ({ backend, kind, handle, mint }: Artefact) => ({
  backend,
  kind,
  handle,
  ...(mint === undefined ? {} : { grant: mint.grant, mint: mint.mint }),
})
