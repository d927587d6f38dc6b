// A signed value as rows for a page: every member of it, whatever it is, in an order of ours. Invariant: what has no row in the table here is
// shown all the same, as text of whoever wrote it; nothing that is signed is left out, and nothing is shown that is not signed.
import type { Canonical } from '../domain/canonical.ts'
import { formatInstant, type Instant } from '../domain/instant.ts'
import { type Html, html, shown } from './html.ts'

export interface Field {
  /** `window.opensAt` */
  readonly path: string
  readonly value: Leaf
}
type Leaf = string | number | boolean | null | readonly (string | number | boolean | null)[]

/** Every leaf of the value; a list of plain values is one, an empty list or object too. */
export function fieldsOf(value: Canonical | undefined, path = ''): readonly Field[] {
  if (value === undefined) return []
  if (value === null || typeof value !== 'object') return [{ path, value }]
  if (isList(value)) {
    const plain = value.filter((item) => item === null || typeof item !== 'object')
    if (plain.length === value.length) return [{ path, value: plain }]
    return value.flatMap((item, at) => fieldsOf(item, `${path}.${at + 1}`))
  }
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  if (members.length === 0) return [{ path, value: [] }]
  return members.flatMap(([name, member]) => fieldsOf(member, path === '' ? name : `${path}.${name}`))
}
const isList = (value: Canonical): value is readonly Canonical[] => Array.isArray(value)

/** What each member is called. The rest goes by its path. */
const LABELS: Readonly<Record<string, string>> = {
  'executor.principal': 'Executor',
  'executor.key': 'Key of the executor',
  'window.opensAt': 'Window opens',
  'window.closesAt': 'Window closes',
  'credential.kind': 'Credential',
  'credential.uses': 'Uses',
  'plan.digest': 'Plan digest',
  'plan.mediaType': 'Plan media type',
  'ticket.system': 'Ticket system',
  'ticket.id': 'Ticket',
  dataTypes: 'Data types',
  changeClass: 'Change class',
  ticketUrl: 'Ticket address',
  planUri: 'Plan address',
  expectedOutcome: 'Expected outcome',
  textsDigest: 'Digest of the texts',
  policyDigest: 'Digest of the policy',
  peopleDigest: 'Digest of the people directory',
  iss: 'Broker',
  typ: 'Kind of statement',
  by: 'Decided by',
  at: 'Decided at',
}
const INSTANTS = /(^|\.)(at|opensAt|closesAt|until|expiresAt|due|filedAt)$/

/** `impact.dataFlow` is "Impact: data flow", `conditions.2.text` "Conditions 2: text". */
export function labelOf(path: string): string {
  const words = path
    .replace(/\.(\d+)(?=\.|$)/g, ' $1')
    .replaceAll('.', ': ')
    .replace(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return LABELS[path] ?? words.slice(0, 1).toUpperCase() + words.slice(1)
}

/** The value as text. Whole numbers that are times are told as such, in UTC. */
export function textOfField({ path, value }: Field): readonly string[] {
  const one = (item: string | number | boolean | null): string =>
    typeof item === 'number' && INSTANTS.test(path) ? `${formatInstant(item as Instant)} (UTC)` : String(item)
  if (typeof value !== 'object' || value === null) return [one(value)]
  return value.map(one)
}

/** A row of ours: what the catalogue, the directory or the broker says. */
export const row = (field: Field): Html => {
  const texts = textOfField(field)
  return html`<div><dt>${shown(labelOf(field.path))}</dt><dd data-path="${field.path}">${
    texts.length === 0 ? html`<i>none</i>` : texts.map((text) => html`<code>${shown(text)}</code> `)
  }</dd></div>`
}

/** What somebody wrote, and who: a box for each text. A fieldset is drawn as a box also where no style is. */
export function boxes(fields: readonly Field[], writer: Html): Html {
  const written = (field: Field) => textOfField(field).filter((text) => text !== '')
  const empty = fields.filter((field) => written(field).length === 0)
  return html`${fields
    .filter((field) => !empty.includes(field))
    .map(
      (field) =>
        html`<fieldset class="free" data-path="${field.path}"><legend>${shown(labelOf(field.path))}, as written by ${writer}</legend>${written(
          field,
        ).map((text) => html`<pre>\n${shown(text)}</pre>`)}</fieldset>`,
    )}${
    empty.length === 0
      ? undefined
      : html`<p>Nothing was written as: ${empty.map(({ path }) => html`<span data-path="${path}">${shown(labelOf(path))}</span>; `)}</p>`
  }`
}
