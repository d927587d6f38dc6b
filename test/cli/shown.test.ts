// What a server or another person wrote cannot move the cursor, colour, hide or turn around anything on a terminal.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joined, padded, paints, safeJson, shown, textOf, visible, visibleLines, widthOf } from '../../src/cli/shown.ts'

const ATTACKS: readonly (readonly [what: string, text: string])[] = [
  ['an escape sequence that colours', '\u001b[31mred'],
  ['one that sets the title', '\u001b]0;title\u0007'],
  ['a C1 control that begins one', '\u009b31m'],
  ['a carriage return that overwrites', 'approve\rdeny'],
  ['a backspace', 'a\b\b'],
  ['a line feed in one line', 'a\nb'],
  ['a right-to-left override', 'abc\u202edef'],
  ['an isolate', '\u2066abc\u2069'],
  ['a direction mark', '\u200e'],
  ['a zero-width space', 'a\u200bb'],
  ['a byte order mark', '\ufeffa'],
  ['a tag', 'a\u{e0041}b'],
  ['a soft hyphen', 'a\u00adb'],
  ['a line separator', 'a\u2028b'],
  ['a filler', 'a\u3164b'],
  ['half a surrogate pair', 'a\ud800b'],
  ['a null', 'a\u0000b'],
]
const OBEYED =
  /[\p{Cc}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\u{e0000}-\u{e007f}\ud800-\udfff]/u

describe('text of others', () => {
  it.each(ATTACKS)('%s is made visible', (_, text) => {
    expect(visible(text)).not.toMatch(OBEYED)
    expect(visible(text)).toContain('<U+')
    expect(textOf(shown`x ${text} y`)).not.toMatch(OBEYED)
    expect(textOf(joined([text, text], ', '))).not.toMatch(OBEYED)
    expect(textOf(padded(text, 40))).not.toMatch(OBEYED)
  })
  it.each(ATTACKS)('%s is escaped in JSON, and the value is the same', (_, text) => {
    expect(safeJson({ text })).not.toMatch(OBEYED)
    expect(JSON.parse(safeJson({ text }))).toEqual({ text })
    expect(JSON.parse(safeJson({ text }, 2))).toEqual({ text })
  })
  it('whatever it is, nothing is left that a terminal obeys', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(textOf(shown`${text}`)).not.toMatch(OBEYED)
        expect(safeJson(text)).not.toMatch(OBEYED)
        expect(JSON.parse(safeJson(text))).toBe(text)
      }),
    )
  })
  it('letters of every script, joiners and emoji stay as they are', () => {
    for (const text of ['Zürich', 'नमस्ते', 'می\u200cخواهم', '👩\u200d💻', '❤\ufe0f', '日本語'])
      expect(visible(text)).toBe(text)
  })
  it('keeps lines apart by the line feed alone', () => {
    expect(visibleLines('a\nb\r\nc')).toEqual(['a', 'b<U+000D>', 'c'])
  })
  it('is coloured only where colour is wanted, and a colour takes no room', () => {
    expect(textOf(paints(false).bad('x'))).toBe('x')
    expect(textOf(paints(true).bad('\u001b[0m'))).toBe('\u001b[31m<U+001B>[0m\u001b[0m')
    expect(widthOf(paints(true).bad('abc'))).toBe(3)
  })
})
