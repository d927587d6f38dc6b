// What is said with a decision, as flags: the seat, criteria found true, evidence, conditions, risks. Invariant: what a flag says is in the
// body or is a usage error, and the digest of evidence that lies here is reckoned here.
import type { z } from 'zod'
import { isDigest } from '../domain/ids.ts'
import { acceptanceBody, closureBody, decisionBody } from '../http/wire.ts'
import type { Given, Options } from './arguments.ts'
import { digestOfFile } from './asking.ts'
import { usage } from './failure.ts'

export type Said = z.input<typeof decisionBody>
export type Evidence = NonNullable<Said['evidence']>[number]
export type Condition = NonNullable<Said['conditions']>[number]
export type Accepted = NonNullable<Said['accepts']>[number]

export const EVIDENCE_OPTIONS: Options = {
  evidence: {
    takes: 'many',
    value: '"KIND URL FILE"',
    help: 'what it rests on: kind, address, and the file, or its sha-256:… digest; may be repeated',
  },
  note: { takes: 'many', value: 'TEXT', help: 'a note beside it, which is evidence of no kind; may be repeated' },
}
export const REVIEW_OPTIONS: Options = {
  as: { takes: 'text', value: 'SEAT', help: 'owner, security, legal, …: only where you could decide in several' },
  found: { takes: 'many', value: 'CRITERION', help: 'a criterion of your seat that you found true; may be repeated' },
  ...EVIDENCE_OPTIONS,
}
export const YES_OPTIONS: Options = {
  if: {
    takes: 'many',
    value: '"TEXT; PERSON; TIME"',
    help: 'yes, if: what must still be done, by whom, until when; may be repeated',
  },
  accept: {
    takes: 'many',
    value: 'RISK=TIME',
    help: 'as the owner: take this risk until then, such as review:legal=2026-03-02T00:00:00Z; may be repeated',
  },
}

/** `threat-model https://docs.example/model model.pdf`; the file may have spaces in its name. */
export function evidenceOf(text: string): Evidence {
  const [, kind = '', url = '', what] = /^(\S+)\s+(\S+)\s+(.+)$/.exec(text.trim()) ?? []
  if (what === undefined)
    throw usage('Evidence is "KIND URL FILE", or "KIND URL sha-256:…".', 'Such as "threat-model https://… model.pdf".')
  // The schema knows the kinds; a note has no address.
  return { kind: kind as 'threat-model', url, digest: isDigest(what) ? what : digestOfFile(what) }
}

/** `Close the debug port; rob; 2026-03-01T20:00:00Z`; the text may hold semicolons. */
export function conditionOf(text: string): Condition {
  const parts = text.split(';').map((part) => part.trim())
  const [due = '', owner = ''] = [parts.pop(), parts.pop()]
  if (parts.length === 0) throw usage('A condition is "TEXT; PERSON; TIME".', 'Such as "Close the port; rob; 2026-…Z".')
  return { text: parts.join('; '), owner, due }
}

/** `review:legal=2026-03-02T00:00:00Z`. */
export function acceptedOf(text: string): Accepted {
  const at = text.indexOf('=')
  if (at < 1) throw usage('A risk is RISK=TIME, such as review:legal=2026-03-02T00:00:00Z.')
  return { risk: text.slice(0, at), until: text.slice(at + 1) }
}

const some = <K extends string, T>(name: K, all: readonly T[]): { readonly [N in K]?: readonly T[] } =>
  all.length === 0 ? {} : ({ [name]: all } as { readonly [N in K]: readonly T[] })

export const evidenceIn = (given: Given) =>
  some('evidence', [
    ...given.many('evidence').map(evidenceOf),
    ...given.many('note').map((text): Evidence => ({ kind: 'note', text })),
  ])

/** All that the flags say. */
export function ballotIn(given: Given, verdict: Said['verdict'], reason: string): Said {
  const seat = given.text('as')
  return valid(decisionBody, {
    verdict,
    reason,
    ...(seat === undefined ? {} : { as: seat }),
    ...some('checklist', given.many('found')),
    ...evidenceIn(given),
    ...some('conditions', given.many('if').map(conditionOf)),
    ...some('accepts', given.many('accept').map(acceptedOf)),
  })
}

const FLAG: Readonly<Record<string, string>> = {
  as: '--as',
  checklist: '--found',
  evidence: '--evidence or --note',
  conditions: '--if',
  accepts: 'a risk',
  reason: '--reason',
  condition: 'CONDITION',
}
/** The body as it was written, if the wire takes it. */
export function valid<S extends typeof decisionBody | typeof closureBody | typeof acceptanceBody>(
  schema: S,
  body: unknown,
): z.input<S> {
  const result = schema.safeParse(body)
  if (result.success) return body as z.input<S>
  const wrong = result.error.issues.map(({ path, message }) => {
    const [member = '', ...more] = path.map(String)
    return `  ${[FLAG[member] ?? member, ...more].join(' ')}: ${message}`
  })
  throw usage(`It is not valid:\n${wrong.join('\n')}`, 'Nothing was sent.')
}
export const closure = (condition: string, reason: string, given: Given) =>
  valid(closureBody, { condition, reason, ...evidenceIn(given) })
export const acceptance = (risks: readonly string[], reason: string) =>
  valid(acceptanceBody, { accepts: risks.map(acceptedOf), reason })
