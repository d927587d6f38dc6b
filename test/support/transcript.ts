// What people typed and saw, as a page that is the same at every run: ids, times, digests and addresses are stand-ins of the same length.
// It stands in the README between two comments.

export const BEGIN = '<!-- transcript: made by test/journeys/command-line.test.ts -->'
export const END = '<!-- /transcript -->'

/** Valid ids that no grant has. */
export const STAND_IN_IDS = ['g0-7xk2m4q6s2u3w5y7a2c4e6g3i5', 'g0-3bq5d7f2h4j6l2n4p6r2t4v6x2'] as const

export interface Line {
  readonly who: string
  /** Without the program's path. */
  readonly typed: string
  readonly saw: string
  readonly code: number
}

export function asPage(lines: readonly Line[], addresses: Readonly<Record<string, string>>): string {
  const ids = new Map<string, string>()
  const standIn = (id: string): string => {
    const known = ids.get(id) ?? STAND_IN_IDS[ids.size]
    if (known === undefined) throw new Error('the transcript has more grants than stand-ins')
    ids.set(id, known)
    return known
  }
  const stable = (text: string): string =>
    Object.entries(addresses)
      .reduce((all, [from, to]) => all.replaceAll(from, to), text)
      .replace(/(\/auth)\?\S+/g, '$1?…')
      .replace(/g\d+-[a-z2-7]{26}/g, standIn)
      .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'YYYY-MM-DDThh:mm:ss.sssZ')
      .replace(/sha-256:[A-Za-z0-9_-]{43}/g, 'sha-256:…')
      .replace(/fingerprint=[\w-]{43}/g, 'fingerprint=…')
      .replace(/(lease=\S+\/)\w{24}\b/g, '$1…')
      .replace(/answers in \d+ ms/g, 'answers in 5 ms')
      .replace(/\b[A-Z]{4}-[A-Z]{4}\b/g, 'WDJB-MJHT')
      .replace(/^.*waiting \d+ s.*\n/gm, '')
  const shownLines = lines.flatMap(({ who, typed, saw, code }) => {
    const output = stable(saw).trimEnd()
    return [
      `${who}$ ${stable(typed)}`,
      ...(output === '' ? [] : [output]),
      ...(code === 0 ? [] : [`(exit code ${code})`]),
      '',
    ]
  })
  return `${BEGIN}\n\n\`\`\`console\n${shownLines.join('\n').trimEnd()}\n\`\`\`\n\n${END}`
}

/** The page as it stands in a document; undefined where there is none. */
export function pageIn(document: string): string | undefined {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)]
  return begin < 0 || end < begin ? undefined : document.slice(begin, end + END.length)
}
