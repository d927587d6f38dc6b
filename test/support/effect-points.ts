// Every call of a port is two points to die at: before it happens, and just after, its reply lost. Invariant: what is not stopped at a point
// goes through unchanged, so a broker behind these wrappers is the shipped one until it is aimed at.
import type { Ports } from '../../src/broker/ports.ts'

type Calls<T> = Readonly<
  Record<{ [K in keyof T]: T[K] extends Call ? K : never }[keyof T] & string, 'waits' | 'at once'>
>

/**
 * The ports through which something outside changes or is asked, with all their calls: a new one is missed by the type checker. What answers
 * at once has no moment inside it.
 */
const EFFECTS = {
  grants: {
    load: 'waits',
    loadEach: 'waits',
    loadToEnd: 'waits',
    loadManyToEnd: 'waits',
    commit: 'waits',
    commitEach: 'waits',
    claimDue: 'waits',
    events: 'waits',
    list: 'waits',
    feed: 'waits',
    live: 'waits',
    counts: 'waits',
    retired: 'waits',
    forget: 'waits',
  } satisfies Calls<Ports['grants']>,
  freezes: { put: 'waits', lift: 'waits', list: 'waits', on: 'waits', under: 'waits' } satisfies Calls<
    Ports['freezes']
  >,
  containments: { claim: 'waits', note: 'waits', progress: 'waits', page: 'waits' } satisfies Calls<
    Ports['containments']
  >,
  revocations: {
    read: 'waits',
    parse: 'at once',
    since: 'at once',
    acknowledge: 'waits',
    reach: 'waits',
  } satisfies Calls<Ports['revocations']>,
  uses: { report: 'waits', of: 'waits' } satisfies Calls<Ports['uses']>,
  credentials: {
    reach: 'waits',
    open: 'waits',
    keep: 'waits',
    issue: 'waits',
    close: 'waits',
    confirmGone: 'waits',
  } satisfies Calls<Ports['credentials']>,
  canaries: {
    all: 'waits',
    last: 'waits',
    keep: 'waits',
    open: 'waits',
    note: 'waits',
    ended: 'waits',
    turn: 'waits',
    giveBack: 'waits',
  } satisfies Calls<Ports['canaries']>,
  tokens: { sign: 'waits' } satisfies Calls<Ports['tokens']>,
  forges: { authorsOf: 'waits' } satisfies Calls<Ports['forges']>,
  passkeys: { of: 'waits', add: 'waits', count: 'waits', remove: 'waits' } satisfies Calls<Ports['passkeys']>,
  ceremonies: { keep: 'waits', read: 'waits', take: 'waits' } satisfies Calls<Ports['ceremonies']>,
  timetable: { at: 'waits' } satisfies Calls<Ports['timetable']>,
  seal: { seal: 'waits' } satisfies Calls<Ports['seal']>,
} as const

export type When = 'before' | 'after'
export type Point = `${string}:${When}`
/** Called at each point of a call that waits; whatever it waits for, the call waits for. */
export type AtPoint = (point: Point) => Promise<void> | void

// biome-ignore lint/suspicious/noExplicitAny: any call of any port
type Call = (...args: any[]) => any
const isCall = (value: unknown): value is Call => typeof value === 'function'

/** The same object with a point on both sides of each of these calls; `points` is told their names. */
export function pointed<T extends object>(
  name: string,
  port: T,
  keys: readonly (keyof T & string)[],
  at: AtPoint,
  points: Point[],
): T {
  const calls: Record<string, Call> = {}
  for (const key of keys) {
    const value: unknown = port[key]
    if (!isCall(value)) continue
    const call = `${name}.${key}`
    points.push(`${call}:before`, `${call}:after`)
    calls[key] = async (...args) => {
      await at(`${call}:before`)
      const result = await value.apply(port, args)
      await at(`${call}:after`)
      return result
    }
  }
  return Object.assign({ ...port }, calls)
}

/** All ports of a broker, those with effects wrapped. */
export function pointedPorts(ports: Ports, at: AtPoint, points: Point[]): Ports {
  const wrapped = Object.entries(EFFECTS).map(([name, calls]) => {
    const port: object = ports[name as keyof typeof EFFECTS]
    const keys = Object.entries(calls).flatMap(([key, how]) => (how === 'waits' ? [key] : []))
    return [name, pointed(name, port, keys as never[], at, points)] as const
  })
  const { control } = pointed('store', { control: ports.control }, ['control'], at, points)
  return { ...ports, ...Object.fromEntries(wrapped), control }
}
