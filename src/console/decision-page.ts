// The page on which a decision is signed. Invariant: it shows the statement that is signed, and the intent and the texts whose digests are in it,
// all of them and nothing else; where a digest does not fit, it shows nothing. What decides stands first and never comes from free text.
import { type Canonical, canonical } from '../domain/canonical.ts'
import { type Intent, intentDigest, type Sha256, semantic, type Texts, textsDigest } from '../domain/intent.ts'
import { box, type Field, fieldsOf, row } from './fields.ts'
import { type Html, html, shown } from './html.ts'
import { layout, type Options, signing } from './layout.ts'

export interface SignedPage {
  /** What is signed: every member of it. */
  readonly statement: Readonly<Record<string, Canonical | undefined>> & {
    readonly by: string
    readonly digest: string
    readonly textsDigest: string
  }
  /** The very text whose hash is the challenge. */
  readonly text: string
  readonly intent: Intent
  readonly texts: Texts
  readonly options: Options
}

/** Of the statement, what the broker or the directory says; all other texts in it are the approver's own. */
const OF_BROKER = ['typ', 'iss', 'grant', 'digest', 'textsDigest', 'policyDigest', 'peopleDigest', 'by', 'at']
/** Of the statement, what is one of a few words. */
const WORDS = ['verdict', 'kind', 'role']
/** What decides, in this order: catalogue ids, principals, times. */
const CRITICAL = [
  ...['entitlement', 'target', 'environment', 'actions', 'scope'],
  ...['executor.principal', 'executor.key', 'window.opensAt', 'window.closesAt'],
]
/** Of the intent, what the catalogue or the directory says, or what is one of a few words. All other texts in it are the requester's own. */
const OF_CATALOGUE = [
  ...CRITICAL,
  ...['tenant', 'requester', 'credential.kind', 'changeClass', 'plan.digest', 'destination.trust'],
]

/** Undefined where the record does not match what is signed: then there is nothing to show. */
export function decisionPage(
  signed: SignedPage,
  { issuer, sha256 }: { issuer: string; sha256: Sha256 },
): Html | undefined {
  const { statement, intent, texts } = signed
  if (intentDigest(intent, issuer, sha256) !== statement.digest) return undefined
  if (textsDigest(texts, issuer, sha256) !== statement.textsDigest) return undefined
  if (canonical({ ...statement }) !== signed.text) return undefined
  const said = fieldsOf({ ...statement })
  const asked = fieldsOf(semantic(intent))
  const written = fieldsOf({ ...texts })
  const verdict = said.filter(({ path }) => WORDS.includes(path))
  const word = verdict.find(({ path }) => path === 'verdict')?.value
  const requester = html`the requester, <code>${shown(intent.requester)}</code>`
  const you = html`you, <code>${shown(statement.by)}</code>`
  const isOurs = (field: Field): boolean => typeof field.value !== 'string' && !Array.isArray(field.value)
  const ofApprover = said.filter((field) => ![...OF_BROKER, ...WORDS].includes(field.path))
  const ofRequester = asked.filter(({ path }) => !CRITICAL.includes(path))
  const catalogued = (field: Field): boolean => OF_CATALOGUE.includes(field.path) || isOurs(field)
  return layout(
    'Writ: sign a decision',
    html`<main>
<h1>You are about to sign: <strong>${word === undefined ? 'a decision' : shown(String(word))}</strong></h1>
<dl id="critical">${[
      ...verdict.map(row),
      ...CRITICAL.flatMap((path) => asked.filter((field) => field.path === path)).map(row),
      ...said.filter(({ path }) => path === 'digest').map(row),
    ]}</dl>
${signing('Sign with your passkey', signed.options)}
<h2>Your own words</h2>
<section id="yours">${ofApprover.filter(isOurs).length === 0 ? undefined : html`<dl>${ofApprover.filter(isOurs).map(row)}</dl>`}${ofApprover
      .filter((field) => !isOurs(field))
      .map((field) => box(field, you))}</section>
<h2>What the requester wrote</h2>
<p>Nobody has checked these texts. They are part of what you sign.</p>
<section id="texts">${written.map((field) => box(field, requester))}${ofRequester
      .filter((field) => !catalogued(field))
      .map((field) => box(field, requester))}</section>
<h2>The rest of the change</h2>
<dl id="rest">${ofRequester.filter(catalogued).map(row)}</dl>
<h2>The statement</h2>
<dl id="statement">${said.filter(({ path }) => OF_BROKER.includes(path) && path !== 'digest').map(row)}</dl>
<p>The very text that your passkey signs, by its SHA-256:</p>
<pre id="signed">\n${shown(signed.text)}</pre>
</main>`,
  )
}
