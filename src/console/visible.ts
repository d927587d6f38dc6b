// What a reader of a text does not see, or sees as something else. Invariant: every sign comes out as itself only if it is drawn, alone, where it
// stands; the rest comes out by its number. It errs towards marking: some emoji and some scripts read badly, and nothing passes unseen.

export type Piece =
  | { readonly kind: 'plain'; readonly text: string }
  | { readonly kind: 'hidden'; readonly name: string }
  | { readonly kind: 'flagged'; readonly parts: readonly Piece[]; readonly why: string }

/**
 * Controls, format characters (bidirectional marks, joiners, tags), half surrogates, private and unassigned ones, separators and spaces of
 * every kind but U+0020, whatever Unicode says may be ignored when drawn, and what is drawn as nothing: fillers and the blank of Braille.
 */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]|(?! )\p{Zs}/u
/** One mark on a letter is writing; a heap of them is drawn over the lines around it. */
const MARKS = 2

const numbered = (sign: string): string => `U+${(sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`

/** The whole text in order. A line feed is itself: it parts lines. */
export const piecesOf = (text: string): readonly Piece[] =>
  text.split(WORD).flatMap((part, at) => (at % 2 === 0 ? signsOf(part) : wordOf(part)))

/** Letters with what belongs to them, hidden signs within them included, so that a word cannot be parted to pass. */
const WORD = /((?:[\p{L}\p{M}\p{N}_]|(?![\n\r\t])[\p{Cf}\p{Default_Ignorable_Code_Point}])+)/u

function wordOf(word: string): readonly Piece[] {
  const parts = signsOf(word)
  const why = faultOf(word)
  return why === undefined ? parts : [{ kind: 'flagged', parts, why }]
}

function signsOf(text: string): readonly Piece[] {
  const pieces: Piece[] = []
  let plain = ''
  let marks = 0
  const end = (): void => {
    if (plain !== '') pieces.push({ kind: 'plain', text: plain })
    plain = ''
  }
  for (const sign of text) {
    marks = /\p{M}/u.test(sign) ? marks + 1 : 0
    if (sign === '\n' || (!HIDDEN.test(sign) && marks <= MARKS)) plain += sign
    else {
      end()
      pieces.push({ kind: 'hidden', name: numbered(sign) })
    }
  }
  end()
  return pieces
}

/** Scripts of which letters look like those of others, and those that are written together (UTS 39 §5.2, "highly restrictive"). */
const SCRIPTS = [
  ...[
    'Latin',
    'Greek',
    'Cyrillic',
    'Armenian',
    'Hebrew',
    'Arabic',
    'Cherokee',
    'Coptic',
    'Georgian',
    'Deseret',
    'Lisu',
  ],
  ...['Han', 'Hiragana', 'Katakana', 'Bopomofo', 'Hangul', 'Devanagari', 'Bengali', 'Tamil', 'Telugu', 'Thai', 'Lao'],
  ...['Gurmukhi', 'Gujarati', 'Oriya', 'Kannada', 'Malayalam', 'Sinhala', 'Khmer', 'Myanmar', 'Ethiopic', 'Mongolian'],
].map((name) => ({ name, has: new RegExp(`\\p{Script=${name}}`, 'u') }))
const OTHER = /(?!\p{Script=Common}|\p{Script=Inherited})\p{L}/u
const TOGETHER = [
  ['Han', 'Hiragana', 'Katakana'],
  ['Han', 'Bopomofo'],
  ['Han', 'Hangul'],
]

function faultOf(word: string): string | undefined {
  const scripts = new Set<string>()
  for (const sign of word) {
    const script = SCRIPTS.find(({ has }) => has.test(sign))
    if (script !== undefined) scripts.add(script.name)
    else if (OTHER.test(sign)) scripts.add('another')
  }
  const names = [...scripts]
  if (names.length > 1 && !TOGETHER.some((group) => names.every((name) => group.includes(name))))
    return `mixed scripts: ${names.join(', ')}`
  // Mathematical, full width and ligature letters are drawn like plain ones.
  return word.normalize('NFKC') === word.normalize('NFC') ? undefined : 'letters in unusual forms'
}
