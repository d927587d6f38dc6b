// The word of ended grants for those who check our tokens: what ended, as it ends, and who has heard of it. Invariant: a resource server hears
// of grants for its own audiences alone; and an answer without revocations means that the store was read and there were none.
import { BrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { covers, laterOf, type Places, printPlaces } from '../domain/place.ts'
import type { Ports, Revocation, Server } from './ports.ts'
import { type Reader, type ReaderLimits, revocationReader } from './revocation-reader.ts'

/** What the verb tells of one revocation, and where to go on after it. */
export interface ToldRevocation {
  readonly grant: GrantId
  readonly audience: string
  readonly at: Instant
  readonly status: Revocation['status']
  readonly position: string
}
export interface Told {
  readonly revocations: readonly ToldRevocation[]
  /** Everything up to here was looked at. */
  readonly position: string
  /** By the store's clock: nothing that ended until then is missing. */
  readonly until: Instant
  /** The time was over, and there was nothing. */
  readonly timedOut: boolean
}
/** Where to begin; now where neither is said. */
export interface Beginning {
  readonly after?: string
  readonly since?: Instant
}
export interface Listening {
  /** How long to wait for the first; 0 for one look. */
  readonly waitMs: number
  readonly gone: AbortSignal
}

type RevocationPorts = Pick<Ports, 'revocations' | 'rulesToEnd' | 'pause'>

/** In one answer. */
const PAGE = 500
/** How often the store is read for who is so far behind, before it is told how far that led. */
const READS = 10

/** The verbs that share one reader. */
export function revocationVerbs(p: RevocationPorts, limits?: ReaderLimits) {
  const reader = revocationReader(p, limits)
  return { revocations: revocations(p, reader), acknowledge: acknowledge(p, reader) }
}

/** The resource server as it is set up now: whoever listens for long is asked again at every look. */
export function serverOf({ rulesToEnd }: Pick<Ports, 'rulesToEnd'>, id: string): Server {
  const server = rulesToEnd().directory.resourceServer(id)
  if (server !== undefined) return server
  throw new BrokerError('unauthenticated', 'There is no such resource server here any more.')
}

const revocations =
  (p: RevocationPorts, reader: Reader) =>
  async (server: string, { after, since }: Beginning, { waitMs, gone }: Listening): Promise<Told> => {
    const begin = after === undefined ? since && p.revocations.since(since) : p.revocations.parse(after)
    let lately = await reader.fresh()
    let places = begin ?? lately.to
    const over = overAfter(p, waitMs, gone)
    try {
      for (let reads = 1; ; ) {
        const { audiences } = serverOf(p, server)
        const near = reader.following(places, audiences, PAGE)
        const found: Found = near === undefined ? await far(p, places, audiences) : { ...near, until: lately.until }
        const told = { ...toldFrom(places, found), until: found.until }
        if (found.revocations.length > 0) return { ...told, timedOut: false }
        places = found.places
        if (near === undefined && !covers(places, lately.from)) {
          if (over.isOver() || reads >= READS) return { ...told, timedOut: false }
          reads += 1
          continue
        }
        const next = waitMs === 0 ? undefined : await reader.next(lately, over.promise)
        if (next === undefined) return { ...told, timedOut: true }
        lately = next
      }
    } finally {
      over.forget()
    }
  }

interface Found {
  readonly revocations: readonly Revocation[]
  readonly places: Places
  readonly until: Instant
}

/** From the store itself, for who is further behind than what is kept here. */
async function far(p: RevocationPorts, places: Places, audiences: readonly string[]): Promise<Found> {
  const read = await p.revocations.read(places, PAGE)
  return {
    revocations: read.revocations.filter(({ audience }) => audiences.includes(audience)),
    places: laterOf(places, read.next),
    until: read.until,
  }
}

function toldFrom(from: Places, found: Found): Pick<Told, 'revocations' | 'position'> {
  let at = from
  const told = found.revocations.map(({ grant, audience, at: when, status, shard, event }) => {
    at = laterOf(at, new Map([[shard, event]]))
    return { grant, audience, at: when, status, position: printPlaces(at) }
  })
  return { revocations: told, position: printPlaces(found.places) }
}

/** After this time, or when nobody is there any more. */
function overAfter(p: Pick<Ports, 'pause'>, waitMs: number, gone: AbortSignal) {
  let isOver = gone.aborted
  let left = (): void => undefined
  const promise = new Promise<void>((resolve) => {
    left = () => {
      isOver = true
      resolve()
    }
    if (isOver) left()
  })
  gone.addEventListener('abort', left, { once: true })
  void p.pause(waitMs).then(left)
  return { promise, isOver: () => isOver, forget: () => gone.removeEventListener('abort', left) }
}

/** This instance refuses everything up to here. */
const acknowledge =
  (p: RevocationPorts, reader: Reader) =>
  async (server: string, position: string, consumer: string): Promise<void> => {
    const { id, audiences } = serverOf(p, server)
    const places = p.revocations.parse(position)
    await p.revocations.acknowledge({ server: id, consumer, places, unbroken: reader.unbroken(places, audiences) })
  }

/** How far the word of an end has gone: who is to know, who does, and how long the slowest of those took. */
export interface Reached {
  readonly consumers: number
  readonly acknowledged: number
  readonly withinMs: number | undefined
  /** Who has not acknowledged it: `<resource server>/<instance>`, or the server alone where no instance of it was ever heard of. */
  readonly pending: readonly string[]
}

/** Of a grant that its reader may see. Undefined where it has not left `active`, and where no resource server is set up for its audience. */
export async function reachOf(
  p: Pick<Ports, 'revocations' | 'rulesToEnd'>,
  grant: Grant,
): Promise<Reached | undefined> {
  const server = p
    .rulesToEnd()
    .directory.resourceServers()
    .find(({ audiences }) => audiences.includes(grant.ask.audience))
  const reach = server && (await p.revocations.reach(grant.id, server.id))
  if (server === undefined || reach === undefined) return undefined
  if (reach.consumers.length === 0) return { consumers: 1, acknowledged: 0, withinMs: undefined, pending: [server.id] }
  const times = reach.consumers.flatMap(({ acknowledgedAt }) => acknowledgedAt ?? [])
  return {
    consumers: reach.consumers.length,
    acknowledged: times.length,
    withinMs: times.length === 0 ? undefined : Math.max(0, ...times.map((at) => at - reach.at)),
    pending: reach.consumers.flatMap(({ name, acknowledgedAt }) =>
      acknowledgedAt === undefined ? [`${server.id}/${name}`] : [],
    ),
  }
}
