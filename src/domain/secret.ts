// A value that must not be seen. Printing, serialising, inspecting or joining it shows `[redacted]`; only `reveal` gives it back,
// and a test lists the places that may say `reveal(`.

const inspect = Symbol.for('nodejs.util.inspect.custom')
const values = new WeakMap<object, unknown>()

export interface Secret<T> {
  readonly kind: 'secret'
  toString(): string
  toJSON(): string
  readonly type?: T
}

export function secret<T>(value: T): Secret<T> {
  const hidden: Secret<T> = Object.freeze({
    kind: 'secret' as const,
    toString: () => '[redacted]',
    toJSON: () => '[redacted]',
    [inspect]: () => '[redacted]',
  })
  values.set(hidden, value)
  return hidden
}

export const reveal = <T>(hidden: Secret<T>): T => values.get(hidden) as T
