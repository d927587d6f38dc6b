// Names and values, one to a line, as every command shows them. What is empty is left out.
import type { Context } from './command.ts'
import { padded, type Shown, shown, visibleLines, widthOf } from './shown.ts'

export type Fact = readonly [name: string, value: string | number | Shown]

/** So that several lists under one another stand in line. */
const WIDTH = 16

export function facts({ say, paint }: Pick<Context, 'say' | 'paint'>, all: readonly Fact[]): void {
  const there = all.filter(([, value]) => value !== '')
  const width = Math.max(WIDTH, ...there.map(([name]) => name.length))
  for (const [name, value] of there) say(shown`  ${paint.dim(padded(name, width))}  ${value}`)
}

/** A text of somebody else over several lines, each behind a bar, so that none can pass for a line of ours. */
export function quoted({ say, paint }: Pick<Context, 'say' | 'paint'>, name: string, text: string): void {
  if (text === '') return
  if (name !== '') say(shown`  ${paint.dim(name)}`)
  for (const line of visibleLines(text)) say(shown`  ${paint.dim('│')} ${line}`)
}

/** Rows under headings, as wide as they need to be. */
export function table(
  { say, paint }: Pick<Context, 'say' | 'paint'>,
  heads: readonly string[],
  rows: readonly (readonly (string | Shown)[])[],
): void {
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => widthOf(row[at] ?? ''))))
  const put = (row: readonly (string | Shown)[]): Shown =>
    row.reduce<Shown>(
      (line, cell, at) =>
        at === row.length - 1 ? shown`${line}${cell}` : shown`${line}${padded(cell, widths[at] ?? 0)}  `,
      shown``,
    )
  say(paint.dim(put(heads)))
  for (const row of rows) say(put(row))
}

/** `1 person`, `2 persons`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
