// Markup is made by one template. Invariant: whatever is put into it is text, also where it looks like markup, and nothing in it hides: only a
// literal of this program opens an element, and there is no other way to make Html.
import { type Piece, piecesOf } from './visible.ts'

const brand: unique symbol = Symbol('html')
export interface Html {
  readonly [brand]: string
}
export const textOf = (html: Html): string => html[brand]

export type Value = string | number | boolean | undefined | Html | readonly Value[]

/** The literal as it stands. Texts are escaped for elements and for quoted attributes; lists are joined; undefined is nothing. */
export const html = (literal: TemplateStringsArray, ...values: readonly Value[]): Html => ({
  [brand]: literal.map((part, at) => (at < values.length ? part + written(values[at]) : part)).join(''),
})

function written(value: Value): string {
  if (value === undefined) return ''
  if (typeof value !== 'object') return escaped(String(value))
  return isHtml(value) ? value[brand] : value.map(written).join('')
}
const isHtml = (value: Html | readonly Value[]): value is Html => brand in value

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
}
/** A carriage return would be read as a line feed, and a zero dropped: neither gets here unmarked, but the escape must not depend on it. */
const escaped = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[&<>"'`]/g, (sign) => ENTITIES[sign] ?? '')
    .replaceAll('\r', '&#13;')
    .replaceAll('\0', '\ufffd')

/** Text of somebody else: each sign that hides is marked, each word that is not what it looks like is flagged. */
export const shown = (text: string): Html => html`${piecesOf(text).map(marked)}`

const marked = (piece: Piece): Value => {
  if (piece.kind === 'plain') return piece.text
  if (piece.kind === 'hidden') return html`<b class="hidden">⟦${piece.name}⟧</b>`
  return html`<mark>${piece.parts.map(marked)}</mark><b class="hidden">⟦${piece.why}⟧</b>`
}
