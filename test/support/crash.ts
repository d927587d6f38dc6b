// A process that dies at its n-th effect: before it happens, or just after, its reply lost. From then on none of its ports answers.
export class Crash extends Error {}

/** The ports through which something outside changes or is asked. */
export const EFFECTS = ['grants', 'containments', 'credentials', 'tokens', 'timetable', 'seal', 'archive']

export interface DyingPorts<P> {
  readonly ports: P
  /** How many effects there were, and whether the process has died. */
  effects(): number
  hasDied(): boolean
}

export function dyingPorts<P extends object>(
  ports: P,
  n: number,
  when: 'before' | 'after',
  /** Through which ports effects are counted. */
  effects: readonly string[] = EFFECTS,
): DyingPorts<P> {
  let count = 0
  let died = false
  const wrap = <T extends object>(port: T): T =>
    new Proxy(port, {
      get: (target, key) => {
        const value = Reflect.get(target, key)
        if (typeof value !== 'function') return value
        return async (...args: unknown[]) => {
          count += 1
          const mine = count === n
          if (died || (mine && when === 'before')) {
            died = true
            throw new Crash(String(key))
          }
          const result = await value.apply(target, args)
          if (mine) {
            died = true
            throw new Crash(String(key))
          }
          // It happened in a process that died meanwhile: nobody hears of it.
          if (died) throw new Crash(String(key))
          return result
        }
      },
    })
  const wrapped = Object.entries(ports).map(([name, port]) => [name, effects.includes(name) ? wrap(port) : port])
  return { ports: Object.fromEntries(wrapped) as P, effects: () => count, hasDied: () => died }
}
