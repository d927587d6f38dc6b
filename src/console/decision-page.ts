// The page on which a decision is signed. Invariant: it shows the statement that is signed, and the intent and the texts whose digests are in it,
// all of them, and beside them one line that says what a revoke may leave behind; where a digest does not fit, it shows nothing. What decides
// stands first and never comes from free text.
import { type Canonical, canonical } from '../domain/canonical.ts'
import { revocabilityOf, worstResidue } from '../domain/entitlement.ts'
import type { Grant } from '../domain/grant.ts'
import { formatDuration } from '../domain/instant.ts'
import { intentDigest, type Sha256, semantic, textsDigest } from '../domain/intent.ts'
import { lengthOf } from '../domain/window.ts'
import { boxes, type Field, fieldsOf, row } from './fields.ts'
import { type Html, html, shown } from './html.ts'
import { layout, type Options, signing } from './layout.ts'

export interface SignedPage {
  /** The very text whose hash is the challenge. */
  readonly text: string
  readonly ask: Pick<Grant['ask'], 'intent' | 'texts' | 'credential'>
  readonly options: Options
}

/** Of the statement, what decides: one of a few words, the name of a criterion, a role or a risk. */
const SAID = ['act', 'verdict', 'seat', 'deputyFor', 'condition', 'accepts.risk', 'accepts.until']
/** Of the statement, the rest of what the broker or the directory says. All other texts in it are the approver's own. */
const OF_BROKER = [
  ...['typ', 'iss', 'grant', 'v', 'by', 'at', 'digest', 'textsDigest', 'policyDigest', 'peopleDigest', 'vote'],
  ...['checklist', 'evidence.kind', 'evidence.digest', 'conditions.id', 'conditions.owner', 'conditions.due'],
]
/** Of the intent, what decides: catalogue ids, principals, times, in this order. */
const CRITICAL = [
  ...['entitlement', 'target', 'environment', 'actions', 'scope'],
  ...['executor.principal', 'executor.key', 'window.opensAt', 'window.closesAt'],
]
/** Of the intent, the rest of what the catalogue or the directory says. All other texts in it are the requester's own. */
const OF_CATALOGUE = [
  ...['tenant', 'requester', 'manifests.requester', 'manifests.executor', 'credential.kind', 'changeClass'],
  ...['change.forge', 'change.repository', 'change.sha', 'plan.digest'],
]

/** Undefined where the record does not match what is signed: then there is nothing to show. */
export function decisionPage(
  { text, ask, options }: SignedPage,
  { issuer, sha256 }: { readonly issuer: string; readonly sha256: Sha256 },
): Html | undefined {
  const statement = statementOf(text)
  if (statement === undefined) return undefined
  const { intent, texts } = ask
  if (intentDigest(intent, issuer, sha256) !== statement.digest) return undefined
  if (textsDigest(texts, issuer, sha256) !== statement.textsDigest) return undefined
  const said = fieldsOf(statement)
  const asked = fieldsOf(semantic(intent))
  const requester = html`the requester, <code>${shown(intent.requester)}</code>`
  const you = html`you, <code>${shown(String(statement.by))}</code>`
  const of = (fields: readonly Field[], names: readonly string[]): readonly Field[] =>
    names.flatMap((name) => fields.filter((field) => nameOf(field) === name))
  const own = said.filter((field) => ![...SAID, ...OF_BROKER].includes(nameOf(field)))
  const rest = asked.filter((field) => !CRITICAL.includes(nameOf(field)))
  const isOurs = (field: Field): boolean => OF_CATALOGUE.includes(nameOf(field)) || !isText(field)
  return layout(
    'Writ: sign a decision',
    html`<main>
<h1>You are about to sign: <strong>${shown(String(statement.verdict ?? statement.act))}</strong></h1>
<dl id="critical">${[...of(said, SAID), ...of(asked, CRITICAL), ...of(said, ['digest'])].map(row)}</dl>
<p id="residue">${residueInWords(ask)}</p>
${signing('Sign with your passkey', options)}
<h2>What you wrote</h2>
<section id="yours">${boxes(own, you)}</section>
<h2>What the requester wrote</h2>
<p>Nobody has checked these texts. They are part of what you sign.</p>
<section id="texts">${boxes([...fieldsOf({ ...texts }), ...rest.filter((field) => !isOurs(field))], requester)}</section>
<h2>The rest of the change</h2>
<dl id="rest">${rest.filter(isOurs).map(row)}</dl>
<h2>The rest of the statement</h2>
<dl id="statement">${of(
      said,
      OF_BROKER.filter((name) => name !== 'digest'),
    ).map(row)}</dl>
<p>The very text that your passkey signs, by its SHA-256:</p>
<pre id="signed">\n${shown(text)}</pre>
</main>`,
  )
}

/** As the grant was filed: an exchange under another rule is refused. */
function residueInWords({ credential, intent: { window } }: SignedPage['ask']): string {
  const residue = worstResidue(credential, lengthOf(window))
  if (revocabilityOf(credential) === 'expiry')
    return `It cannot be revoked: what is handed out may be used for up to ${formatDuration(residue)} after somebody has ended it.`
  if (residue === 0) return 'It ends at once when it is revoked, and that is confirmed where it was made.'
  return `It ends at once when it is revoked; who does not ask the broker may take it for good for up to ${formatDuration(residue)} more.`
}

/** `conditions.2.text` is called `conditions.text`. */
const nameOf = ({ path }: Field): string => path.replace(/\.\d+(?=\.|$)/g, '')
const isText = ({ value }: Field): boolean => [value].flat().some((one) => typeof one === 'string')

type Statement = { readonly [member: string]: Canonical | undefined }

/** The members of a decision and what stands around it. Undefined unless the text is exactly their canonical form. */
function statementOf(text: string): Statement | undefined {
  const whole: Statement = JSON.parse(text)
  const { decision, ...around } = whole
  if (canonical({ ...whole }) !== text) return undefined
  if (!isMembers(decision) || Object.keys(decision).some((name) => Object.hasOwn(around, name))) return undefined
  return { ...around, ...decision }
}
const isMembers = (value: Canonical | undefined): value is Statement =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
