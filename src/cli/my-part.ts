// What this grant wants of whoever sits here before they may approve it: the seat, its criteria and evidence, and what the owner decides over.
// It helps to answer; the broker alone says what counts.
import type { z } from 'zod'
import type { GrantAnswer, whoamiAnswer } from '../http/wire.ts'
import { type Accepted, type Condition, conditionOf, type Evidence, evidenceOf } from './ballot.ts'
import type { Context } from './command.ts'
import { ask } from './questions.ts'
import { shown } from './shown.ts'

export type Me = Pick<z.infer<typeof whoamiAnswer>, 'principal' | 'groups'>
type PeopleRule = Extract<GrantAnswer['rule'], { readonly mode: 'people' }>
type ReviewerRule = PeopleRule['reviewers'][number]
/** Members of the ballot, to be checked by its schema. */
type Part = Readonly<Record<string, unknown>>

/** As what this one could decide by the rule that is shown, the owner's seat first. */
export function seatsOf({ rule }: Pick<GrantAnswer, 'rule'>, { principal, groups }: Me): readonly string[] {
  if (rule.mode === 'auto') return []
  const standsIn = rule.deputies.some(
    ({ person, group }) => person === principal || (group !== undefined && groups.includes(group)),
  )
  return [
    ...(rule.owner === principal || standsIn ? ['owner'] : []),
    ...rule.reviewers.filter(({ group }) => groups.includes(group)).map(({ role }) => role),
  ]
}

/** What the owner would decide over: reviews that are missing or negative, conditions that are open. */
export function risksOf({ rule, decisions, conditions }: Pick<GrantAnswer, 'rule' | 'decisions' | 'conditions'>) {
  if (rule.mode === 'auto') return []
  const votes = decisions.filter(({ act, withdrawn }) => act === 'vote' && withdrawn !== true)
  const by = (role: string, verdict: string): number =>
    votes.filter((vote) => vote.as === role && vote.verdict === verdict).length
  const vetoes = rule.reviewers.filter(({ veto }) => veto).map(({ role }) => String(role))
  return [
    ...rule.reviewers.flatMap(({ role, count, veto }) => {
      const negative = by(role, 'deny') > 0
      if (!negative && by(role, 'approve') >= count) return []
      return [{ risk: `review:${role}`, says: `the review by ${role} is ${negative ? 'negative' : 'missing'}`, veto }]
    }),
    ...conditions
      .filter(({ open }) => open)
      .map(({ id, as, text }) => ({
        risk: `condition:${id}`,
        says: `the condition of ${as} is open: ${text}`,
        veto: vetoes.includes(as),
      })),
  ]
}

/** What goes with a yes; undefined where there can be none now. */
export async function partOf(context: Context, grant: GrantAnswer, me: Me): Promise<Part | undefined> {
  const seats = seatsOf(grant, me)
  const seat =
    seats.length < 2
      ? seats[0]
      : await ask(context, { question: `As which? ${seats.join(', ')}`, otherwise: seats[0], read: among(seats) })
  // The broker knows the only one too.
  const named = seats.length < 2 ? {} : { as: seat }
  if (seat === 'owner') {
    const accepts = await risksTaken(context, grant)
    return accepts && { ...named, ...(accepts.length === 0 ? {} : { accepts }) }
  }
  const rules = grant.rule.mode === 'auto' ? [] : grant.rule.reviewers.filter(({ role }) => role === seat)
  const review = await reviewed(context, rules)
  return review && { ...named, ...review }
}

async function reviewed(context: Context, rules: readonly ReviewerRule[]): Promise<Part | undefined> {
  const { note, paint } = context
  const checklist: string[] = []
  for (const [id, sentence] of rules.flatMap(({ criteria }) => Object.entries(criteria))) {
    const found = await ask(context, { question: `${id}: ${sentence} True? y or n`, read: among(['y', 'n']) })
    if (found === 'n') {
      note(shown`${paint.warn('Then it cannot be approved in this seat:')} deny it, ask, or skip it.`)
      return undefined
    }
    checklist.push(id)
  }
  const evidence: Evidence[] = []
  for (const kind of new Set(rules.flatMap(({ evidence }) => evidence)))
    evidence.push(
      await ask(context, {
        question: `Evidence ${kind}: its address, then its file or sha-256:… digest`,
        read: (text) => evidenceOf(`${kind} ${text}`),
      }),
    )
  const conditions = rules.length === 0 ? [] : await conditionsMade(context)
  return {
    ...(checklist.length === 0 ? {} : { checklist }),
    ...(evidence.length === 0 ? {} : { evidence }),
    ...(conditions.length === 0 ? {} : { conditions }),
  }
}

async function conditionsMade(context: Context): Promise<readonly Condition[]> {
  const made: Condition[] = []
  for (;;) {
    const one = await ask(context, {
      question: 'Only if? TEXT; PERSON; TIME',
      otherwise: '',
      read: (text) => (text === '' ? undefined : conditionOf(text)),
    })
    if (one === undefined) return made
    made.push(one)
  }
}

/** A review that is missing must be taken or waited for; a condition that is open may stay so, and blocks. */
async function risksTaken(context: Context, grant: GrantAnswer): Promise<readonly Accepted[] | undefined> {
  const { note, paint } = context
  const taken: Accepted[] = []
  for (const { risk, says, veto } of risksOf(grant)) {
    note(shown`  ${paint.warn(says)}${veto ? shown`, and has a veto` : ''}`)
    const until = veto
      ? ''
      : await ask(context, {
          question: `Take the risk ${risk} upon you until? A time such as 2026-03-02T00:00:00Z`,
          otherwise: '',
          read: (text) => text,
        })
    if (until !== '') taken.push({ risk, until })
    else if (risk.startsWith('review:')) {
      note(shown`${paint.warn('Then it cannot be approved yet:')} deny it, ask, or skip it.`)
      return undefined
    }
  }
  return taken
}

const among =
  (known: readonly string[]) =>
  (text: string): string => {
    if (known.includes(text.toLowerCase())) return text.toLowerCase()
    throw new Error(`Answer with one of: ${known.join(' ')}`)
  }
