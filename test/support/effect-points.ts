// Every call of a port is two points to die at: before it happens, and just after, its reply lost. Invariant: what is not stopped at a point
// goes through unchanged, so a broker behind these wrappers is the shipped one until it is aimed at.

/** The ports through which something outside changes or is asked. */
const EFFECTS = [
  'grants',
  'freezes',
  'containments',
  'revocations',
  'uses',
  'credentials',
  'canaries',
  'tokens',
  'forges',
  'passkeys',
  'ceremonies',
  'timetable',
  'seal',
] as const
/** They wait for nothing: there is no moment inside them. */
const AT_ONCE = new Set(['revocations.parse', 'revocations.since'])

export type When = 'before' | 'after'
export type Point = `${string}:${When}`
/** Called at each point of a call that waits; whatever it waits for, the call waits for. */
export type AtPoint = (point: Point) => Promise<void> | void

type Call = (...args: readonly unknown[]) => unknown
const isCall = (value: unknown): value is Call => typeof value === 'function'

/** The same object with a point on both sides of each of its calls; `points` is told their names. */
export function pointed<T extends object>(name: string, port: T, at: AtPoint, points: Point[]): T {
  return Object.assign({ ...port }, callsOf(name, port, at, points))
}

function callsOf(name: string, port: object, at: AtPoint, points: Point[]): Record<string, Call> {
  const calls: Record<string, Call> = {}
  for (const [key, value] of Object.entries(port)) {
    const call = `${name}.${key}`
    if (!isCall(value) || AT_ONCE.has(call)) continue
    points.push(`${call}:before`, `${call}:after`)
    calls[key] = async (...args) => {
      await at(`${call}:before`)
      const result = await value.apply(port, [...args])
      await at(`${call}:after`)
      return result
    }
  }
  return calls
}

/** All ports of a broker, those with effects wrapped. */
export function pointedPorts<P extends object>(ports: P, at: AtPoint, points: Point[]): P {
  const wrapped = Object.entries(ports).flatMap(([name, port]) =>
    EFFECTS.some((effect) => effect === name) ? [[name, pointed(name, port, at, points)]] : [],
  )
  const control = Object.entries(ports).filter(([name]) => name === 'control')
  return { ...ports, ...Object.fromEntries(wrapped), ...callsOf('store', Object.fromEntries(control), at, points) }
}
