// What a reader of the page cannot see is shown to them by its number, and a word that is not what it looks like is flagged.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { html, shown, textOf } from '../../src/console/html.ts'
import { type Piece, piecesOf } from '../../src/console/visible.ts'

const flat = (pieces: readonly Piece[]): readonly Piece[] =>
  pieces.flatMap((piece) => (piece.kind === 'flagged' ? flat(piece.parts) : [piece]))
const plainOf = (text: string): string =>
  flat(piecesOf(text))
    .map((piece) => (piece.kind === 'plain' ? piece.text : ''))
    .join('')
const hiddenIn = (text: string): readonly string[] =>
  flat(piecesOf(text)).flatMap((piece) => (piece.kind === 'hidden' ? [piece.name] : []))
const flagsIn = (text: string): readonly string[] =>
  piecesOf(text).flatMap((piece) => (piece.kind === 'flagged' ? [piece.why] : []))

describe('a sign that hides', () => {
  it.each([
    ['a right-to-left override', '\u202e', 'U+202E'],
    ['an isolate', '\u2066', 'U+2066'],
    ['a direction mark', '\u200f', 'U+200F'],
    ['a zero width space', '\u200b', 'U+200B'],
    ['a joiner', '\u200d', 'U+200D'],
    ['a byte order mark', '\ufeff', 'U+FEFF'],
    ['a soft hyphen', '\u00ad', 'U+00AD'],
    ['a hard space', '\u00a0', 'U+00A0'],
    ['a wide space', '\u3000', 'U+3000'],
    ['a line separator', '\u2028', 'U+2028'],
    ['a carriage return', '\r', 'U+000D'],
    ['a tab', '\t', 'U+0009'],
    ['an escape', '\u001b', 'U+001B'],
    ['a zero', '\0', 'U+0000'],
    ['a C1 control', '\u0085', 'U+0085'],
    ['a half surrogate', '\ud800', 'U+D800'],
    ['a tag letter', '\u{e0041}', 'U+E0041'],
    ['a variation selector', '\ufe0f', 'U+FE0F'],
    ['a Hangul filler', '\u3164', 'U+3164'],
    ['a blank of Braille', '\u2800', 'U+2800'],
    ['a private letter', '\ue000', 'U+E000'],
    ['an unassigned one', '\u0378', 'U+0378'],
  ])('is named: %s', (_, sign, name) => {
    expect(hiddenIn(`one${sign}two`)).toEqual([name])
    expect(plainOf(`one${sign}two`)).toBe('onetwo')
    expect(hiddenIn(sign)).toEqual([name])
  })

  it('is named also where marks are heaped on a letter, from the third on', () => {
    expect(hiddenIn(`e\u0301\u0323\u0301\u0301`)).toEqual(['U+0301', 'U+0301'])
    expect(hiddenIn('é ệ')).toEqual([])
  })

  it('is the only thing that is taken out of a text: everything else stands as it was, in order', () => {
    const anything = fc.string({ unit: 'binary', maxLength: 60 })
    fc.assert(
      fc.property(anything, (text) => {
        const rebuilt = flat(piecesOf(text))
          .map((piece) => (piece.kind === 'plain' ? piece.text : piece.kind === 'hidden' ? fromName(piece.name) : ''))
          .join('')
        expect(rebuilt).toBe(text)
        expect(plainOf(text)).not.toMatch(/[\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u00a0]|(?!\n)\p{Cc}/u)
      }),
      { numRuns: 2_000 },
    )
  })
})

const fromName = (name: string): string => String.fromCodePoint(Number.parseInt(name.slice(2), 16))

describe('a word that is not what it looks like', () => {
  it.each([
    ['р\u0430ypal', 'mixed scripts: Cyrillic, Latin'],
    ['αdmin', 'mixed scripts: Greek, Latin'],
    ['ad\u200bmіn', 'mixed scripts: Latin, Cyrillic'],
    ['prod\u{1d41a}', 'letters in unusual forms'],
    ['ｐｒｏｄ', 'letters in unusual forms'],
    ['oﬃce', 'letters in unusual forms'],
  ])('%s is flagged', (word, why) => {
    expect(flagsIn(`the ${word} database`)).toEqual([why])
  })

  it('is none of those that people write: one script, Japanese, Korean, numbers, accents', () => {
    for (const text of [
      'Größe',
      'база данных',
      '東京タワーへ',
      '한국어漢字',
      'αβγ',
      'café-2',
      'v1.2_rc3',
      'שלום',
      'ไทย',
      'v２'.slice(0, 1),
    ])
      expect([text, flagsIn(text)]).toEqual([text, []])
  })
})

describe('markup', () => {
  it('is never made of a text, wherever it is put', () => {
    const text = `</pre><script>alert(1)</script><img src=x onerror="a('b')">&amp;\``
    const made = textOf(html`<p title="${text}">${text}${[text, shown(text)]}</p>`)
    expect(made.match(/<\w+/g)).toEqual(['<p'])
    expect(made.match(/"/g)).toHaveLength(2)
  })

  it('keeps a text to the letter but for what hides, which is named in its place', () => {
    expect(textOf(shown('a\u202eb'))).toBe('a<b class="hidden">⟦U+202E⟧</b>b')
    expect(textOf(shown('р\u0430y'))).toMatch(
      /^<mark>р\u0430y<\/mark><b class="hidden">⟦mixed scripts: Cyrillic, Latin⟧<\/b>$/,
    )
    expect(textOf(html`${undefined}${0}${false}`)).toBe('0false')
  })
})
