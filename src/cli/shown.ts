// Text that may go to a terminal. Invariant: whatever a server or another person wrote is put in by `shown` and so has its controls,
// escape sequences and direction marks made visible; only a literal of this program can colour, move or break a line.

/**
 * What a terminal would obey or not draw: controls (C0, C1), format characters (direction marks and overrides, tags, soft hyphens), line
 * and paragraph separators, fillers, private and unassigned code points, half surrogate pairs. Joiners and the two emoji selectors stay:
 * several scripts cannot be written without them.
 */
const UNSAFE = /(?!\u200c|\u200d|\ufe0e|\ufe0f)[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu

/** One line in which nothing hides: `<U+202E>` stands for a right-to-left override. */
export const visible = (text: string): string =>
  text.replace(UNSAFE, (sign) => `<U+${(sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`)

/** Several lines, parted by the line feed alone. */
export const visibleLines = (text: string): readonly string[] => text.split('\n').map(visible)

/** JSON text of the same value in which nothing unsafe stands for itself: escapes in place of it. */
export const safeJson = (value: unknown, indent?: number): string =>
  // JSON.stringify breaks lines only where `indent` asks for it; within strings every control is escaped already.
  JSON.stringify(value, undefined, indent).replace(UNSAFE, (sign) =>
    sign === '\n'
      ? sign
      : [...Array(sign.length).keys()].map((at) => `\\u${sign.charCodeAt(at).toString(16).padStart(4, '0')}`).join(''),
  )

const brand: unique symbol = Symbol('shown')
/** Text that has been made safe. */
export interface Shown {
  readonly [brand]: string
}
export const textOf = (piece: Shown): string => piece[brand]

const safe = (value: Value): string => (typeof value === 'object' ? value[brand] : visible(String(value)))
type Value = string | number | boolean | Shown

/** The literal as it stands, the values made visible. */
export const shown = (literal: TemplateStringsArray, ...values: readonly Value[]): Shown => ({
  [brand]: literal.map((part, at) => (at < values.length ? part + safe(values[at] ?? '') : part)).join(''),
})
export const joined = (pieces: readonly Value[], between: string): Shown => ({
  [brand]: pieces.map(safe).join(between),
})
export const padded = (value: Value, width: number): Shown => ({
  [brand]: safe(value) + ' '.repeat(Math.max(0, width - widthOf(value))),
})

/** Columns on a terminal: a colour takes no room. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones written by `paints` below
export const widthOf = (value: Value): number => [...safe(value).replace(/\u001b\[\d*m/g, '')].length

export interface Paint {
  bold(value: Value): Shown
  dim(value: Value): Shown
  good(value: Value): Shown
  warn(value: Value): Shown
  bad(value: Value): Shown
}
/** Colours on a terminal; the bare text where there is none or NO_COLOR is set. */
export function paints(colour: boolean): Paint {
  const paint =
    (code: number) =>
    (value: Value): Shown => ({
      [brand]: colour ? `\u001b[${code}m${safe(value)}\u001b[0m` : safe(value),
    })
  return { bold: paint(1), dim: paint(2), good: paint(32), warn: paint(33), bad: paint(31) }
}
