// A grant for people. Invariant: what is voted on is shown whole and under its digest, as far as this program has reckoned the same digest
// itself; what somebody wrote freely is marked as theirs and cannot pass for anything else.

import type { z } from 'zod'
import type { GrantAnswer, mintAnswer, waitAnswer } from '../http/wire.ts'
import type { Context } from './command.ts'
import { counted, type Fact, facts, quoted } from './facts.ts'
import { digestHere } from './intent-of-wire.ts'
import { type Paint, type Shown, shown } from './shown.ts'

type Speaker = Pick<Context, 'say' | 'paint'>

const TONE: Readonly<Record<string, keyof Paint>> = {
  pending: 'warn',
  approved: 'good',
  issuing: 'warn',
  active: 'good',
  ending: 'warn',
  stuck: 'bad',
  denied: 'bad',
  withdrawn: 'dim',
  lapsed: 'dim',
  ended: 'dim',
}
export const statusShown = ({ status, scheduled }: Pick<GrantAnswer, 'status' | 'scheduled'>, paint: Paint): Shown =>
  paint[TONE[status] ?? 'bold'](scheduled ? `${status}, scheduled` : status)

/** One line: which, how it stands, what for. */
export const headline = (grant: GrantAnswer, paint: Paint): Shown =>
  shown`${paint.bold(grant.id)}  ${statusShown(grant, paint)}  ${grant.intent.entitlement}  ${grant.intent.requester}: ${grant.texts.summary}`

/** What is shown with a grant and is no part of it. */
type Beside = Pick<z.infer<typeof waitAnswer>, 'reach' | 'uses'>

/** How far the word of an end has gone: `6 of 7, 0.4 s`. */
const reachFacts = (reach: Beside['reach']): readonly Fact[] =>
  reach === undefined
    ? []
    : [
        [
          'acknowledged',
          `${reach.acknowledged} of ${reach.consumers}${reach.withinSeconds === undefined ? '' : `, ${reach.withinSeconds} s`}`,
        ],
        ['UNACKNOWLEDGED', reach.pending.join(', ')],
      ]

function usesFacts(uses: Beside['uses']): readonly Fact[] {
  if (uses === undefined) return []
  if (uses.used + uses.refused === 0) return [['use', 'use not reported']]
  const last = uses.lastReportedAt === undefined ? '' : `, last reported at ${uses.lastReportedAt}`
  return [
    ['use', `${uses.used} used, ${uses.refused} refused${last}`],
    ['MISUSE', uses.misuse === 0 ? '' : `${uses.misuse} of the refused`],
    ['only counted', uses.notKept === 0 ? '' : String(uses.notKept)],
  ]
}

/** Everything about a grant, for `writ show`. */
export function showGrant(speaker: Speaker, grant: GrantAnswer & Beside, issuer: string): void {
  const { say, paint } = speaker
  say(shown`${paint.bold(grant.id)}  ${statusShown(grant, paint)}  ${grant.texts.summary}`)
  facts(speaker, [
    ['tier', grant.tier],
    ['filed', grant.filedAt],
    ...(grant.status === 'pending'
      ? [['decide by', `${grant.decideBy}, and lapses at ${grant.lapsesAt}`] as const]
      : []),
    ['flags', grant.flags.join(', ')],
    ...endFacts(grant),
    ...ruleFacts(grant.rule),
    ...grant.decisions.flatMap((one) => decisionFacts(one)),
    ...grant.conditions.map(conditionFact),
    ['replaces', grant.replaces ?? ''],
    ['linked', grant.linked.join(', ')],
  ])
  showIntent(speaker, grant)
  facts(speaker, [['digest', digestShown(grant, issuer, paint)]])
  showTexts(speaker, grant)
  facts(
    speaker,
    grant.mints.map((mint) => [`credential ${mint.n}`, mintInWords(mint)] as const),
  )
  showEnd(speaker, grant)
  facts(speaker, [...reachFacts(grant.reach), ...usesFacts(grant.uses), ['policy', grant.policy.digest]])
  for (const [name, value] of Object.entries(grant.result ?? {})) quoted(speaker, `result ${name}`, value)
  facts(speaker, [['next', grant.next_action]])
}

/** Exactly the members that are hashed, in the order of the table in src/README.md: none left out, also where it says nothing. */
export function intentFacts({ intent }: Pick<GrantAnswer, 'intent'>): readonly Fact[] {
  const { executor, manifests, impact, exposure, change, plan, ticket, window, credential } = intent
  const impacts = Object.entries(impact).flatMap(([name, is]) => (is ? [name] : []))
  const nothing = (text: string): string => (text === '' ? '–' : text)
  return [
    ['tenant', intent.tenant],
    ['target', `${intent.target} (${intent.environment})`],
    ['entitlement', intent.entitlement],
    ['actions', intent.actions.join(', ')],
    ['scope', nothing(intent.scope.join(', '))],
    ['requester', intent.requester],
    [
      'executor',
      `${executor.principal}${executor.key === undefined ? ', any key' : `, only with key ${executor.key}`}`,
    ],
    ['agent manifests', nothing(manifestsInWords(manifests))],
    ['session', nothing(intent.session)],
    ['task', nothing(intent.task)],
    ['ticket', ticket === undefined ? '–' : `${ticket.system}:${ticket.id}`],
    ['plan', plan === undefined ? '–' : `${plan.digest} (${plan.mediaType})`],
    ['release of', change === undefined ? '–' : `${change.repository} at ${change.forge}, commit ${change.sha}`],
    [
      'exposure',
      exposure === undefined
        ? '–'
        : `${exposure.segment}, from ${exposure.from} to ${exposure.to} of 100; taken back when: ${nothing(exposure.rollbackCriteria)}`,
    ],
    ['window', `${window.opensAt} until ${window.closesAt}`],
    ['credential', `${credential.kind}, ${counted(credential.uses, 'use')}`],
    ['change class', intent.changeClass],
    ['impact', nothing(impacts.join(', '))],
    ['data types', nothing(intent.dataTypes.join(', '))],
    ['destination', nothing(intent.destination)],
  ]
}

const manifestsInWords = ({ requester, executor }: GrantAnswer['intent']['manifests']): string =>
  [
    ...(requester === undefined ? [] : [`requester ${requester}`]),
    ...(executor === undefined ? [] : [`executor ${executor}`]),
  ].join(', ')

export function showIntent(speaker: Speaker, grant: Pick<GrantAnswer, 'intent'>): void {
  facts(speaker, intentFacts(grant))
}

/** Whether the digest that the broker names is that of the intent that it shows. */
export const isTrueTo = (grant: Pick<GrantAnswer, 'intent' | 'digest'>, issuer: string): boolean => {
  try {
    return digestHere(grant.intent, issuer) === grant.digest
  } catch {
    return false
  }
}

/** The digest that the broker names, and whether it is that of what has been shown. */
export const digestShown = (grant: Pick<GrantAnswer, 'intent' | 'digest'>, issuer: string, paint: Paint): Shown =>
  isTrueTo(grant, issuer)
    ? shown`${grant.digest} ${paint.good('reckoned here too')}`
    : shown`${grant.digest} ${paint.bad('DOES NOT FIT what is shown')}`

export function showTexts(speaker: Speaker, { texts, intent }: Pick<GrantAnswer, 'texts' | 'intent'>): void {
  speaker.say(shown`  ${speaker.paint.dim(`written by ${intent.requester}:`)}`)
  quoted(speaker, 'summary', texts.summary)
  quoted(speaker, 'objective', texts.objective)
  quoted(speaker, 'expected outcome', texts.expectedOutcome)
  quoted(speaker, 'rollback', texts.rollback)
  quoted(speaker, 'ticket address', texts.ticketUrl)
  quoted(speaker, 'plan address', texts.planUri)
}

export function ruleInWords(rule: GrantAnswer['rule']): string {
  if (rule.mode === 'auto') return 'by the policy itself'
  const seats = rule.reviewers.map(
    ({ role, group, count, veto }) => `${count} of the group ${group} for ${role}${veto ? ' (veto)' : ''}`,
  )
  const deputies = rule.deputies.map(({ person, group }) => person ?? `the group ${group ?? ''}`)
  const owner = `${rule.owner}, who decides last${deputies.length === 0 ? '' : ` (deputies: ${deputies.join(', ')})`}`
  const signed = rule.stepUp ? '; each with a passkey' : ''
  return `${counted(rule.approvals, 'person')}: ${[...seats, owner].join(', and ')}${signed}`
}

/** How it ends, and what a revoke may leave behind. */
export const endFacts = ({ revocability, residue }: Pick<GrantAnswer, 'revocability' | 'residue'>): readonly Fact[] => [
  ['ends', revocability === 'at_once' ? 'at once when it is revoked' : 'by its own expiry; it cannot be revoked'],
  ['may outlive it', residue === '0s' ? 'nothing does: its end is confirmed' : `up to ${residue} at worst`],
]

/** The rule, and what each review must bring. */
export const ruleFacts = (rule: GrantAnswer['rule']): readonly Fact[] => [
  ['approval', ruleInWords(rule)],
  ...(rule.mode === 'auto' ? [] : rule.reviewers).flatMap(({ role, criteria, evidence }): readonly Fact[] => [
    ...Object.entries(criteria).map(([id, sentence]): Fact => [`  ${role}`, shown`finds ${id} true: ${sentence}`]),
    [`  ${role}`, evidence.length === 0 ? '' : `cites evidence: ${evidence.join(', ')}`],
  ]),
]

type Decided = GrantAnswer['decisions'][number]

/** A decision, and under it what it rests on. */
export function decisionFacts(one: Decided): readonly Fact[] {
  const seat = one.as === undefined || one.as === 'policy' ? '' : ` as ${one.as}`
  const place = one.deputyFor === undefined ? '' : ` in place of ${one.deputyFor}`
  const state = `${one.passkey ? ', with a passkey' : ''}${one.withdrawn === true ? ', TAKEN BACK' : ''}`
  return [
    [didWhat(one), shown`${one.by}${seat}${place} at ${one.at}${state}${reasonOf(one.reason)}`],
    ...(one.checklist ?? []).map((id): Fact => ['  found true', id]),
    ...(one.evidence ?? []).map(
      (piece): Fact => [
        '  evidence',
        piece.kind === 'note' ? shown`a note: ${piece.text}` : shown`${piece.kind}: ${piece.url} ${piece.digest}`,
      ],
    ),
    ...(one.accepts ?? []).map((risk): Fact => ['  takes the risk', `${risk.risk} until ${risk.until}`]),
  ]
}
const didWhat = ({ act, verdict, condition }: Decided): string => {
  if (act === 'vote') return verdict === 'approve' ? 'approved by' : 'denied by'
  if (act === 'close') return `closed ${condition ?? ''}`
  return act === 'accept' ? 'risk taken by' : 'taken back by'
}
export const conditionFact = (one: GrantAnswer['conditions'][number]): Fact => [
  one.open ? 'OPEN CONDITION' : 'condition, closed',
  shown`${one.id} by ${one.by} as ${one.as}: ${one.text} (${one.owner}, due ${one.due})`,
]

export const reasonOf = (reason: string): Shown => (reason === '' ? shown`` : shown`: “${reason}”`)

export function mintInWords(mint: z.infer<typeof mintAnswer>): string {
  const { status, expiresAt, closedAt, confirmation } = mint
  if (closedAt !== undefined) return `closed ${closedAt}${confirmation === undefined ? '' : `: ${confirmation.answer}`}`
  return expiresAt === undefined ? status : `${status}, until ${expiresAt}`
}

/** What is known of the end. Nothing is called over that is not confirmed. */
function showEnd(speaker: Speaker, { facts: known }: GrantAnswer): void {
  const { cause, confirmation } = known
  facts(speaker, [
    ...(known.approvedAt === undefined ? [] : [['approved', known.approvedAt] as const]),
    ...(known.activeSince === undefined ? [] : [['active since', known.activeSince] as const]),
    ...(cause === undefined
      ? []
      : [['ended by', shown`${cause.by} (${cause.outcome})${reasonOf(cause.reason)}`] as const]),
    ...(known.by === undefined ? [] : [['decided by', shown`${known.by}${reasonOf(known.reason ?? '')}`] as const]),
    ...(known.attempts === undefined
      ? []
      : [['tries', shown`${known.attempts}, last: ${known.lastError ?? ''}`] as const]),
    ...(known.endedAt === undefined ? [] : [['ended', known.endedAt] as const]),
    ...(confirmation === undefined
      ? []
      : [['confirmed', shown`${confirmation.asked} answered at ${confirmation.at}: ${confirmation.answer}`] as const]),
    ...(known.residueUntil === undefined ? [] : [['may remain until', known.residueUntil] as const]),
  ])
}
