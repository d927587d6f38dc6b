// `writ review`: everything that waits for your decision, one after the other. Invariant: what is asked to be approved has just been shown
// whole, under a digest that this program has reckoned itself.
import { decisionBody, type GrantAnswer, listAnswer, whoamiAnswer } from '../http/wire.ts'
import { say as sayText, showQuestions } from './ask.ts'
import { valid } from './ballot.ts'
import { PAGE_OPTIONS } from './ceremony.ts'
import type { Client } from './client.ts'
import type { Command, Context } from './command.ts'
import { decide } from './decide.ts'
import { EXIT } from './exit-codes.ts'
import { facts } from './facts.ts'
import { Failure, Refusal, usage } from './failure.ts'
import { type Me, partOf } from './my-part.ts'
import { ask } from './questions.ts'
import {
  conditionFact,
  decisionFacts,
  digestShown,
  endFacts,
  isTrueTo,
  ruleFacts,
  showIntent,
  showTexts,
} from './show-grant.ts'
import { shown } from './shown.ts'

type Done = 'approved' | 'denied' | 'asked' | 'skipped' | 'refused'

export const review: Command = {
  name: 'review',
  summary: 'walk through what waits for your decision',
  usage: '',
  about: `Shows one grant after the other: exactly the fields that its digest stands for, then what the requester wrote, then questions and
answers. For each: a approves, d denies, ? asks the requester, s skips, q leaves. Approving and denying ask for a reason; before that a reviewer is
asked for the criteria and evidence of the seat and for conditions, and the owner whether to take the risk of what is missing. It needs a
terminal; in a script use writ list --waiting --json, writ approve and writ deny. Where a decision needs your passkey, its page is opened.`,
  examples: ['writ review'],
  options: PAGE_OPTIONS,
  words: [0, 0],
  run: async (context) => {
    const { machine, note, say, paint } = context
    if (!machine.terminal.input || context.json)
      throw usage(
        'writ review needs a terminal.',
        'In a script: writ list --waiting --json, then writ approve ID --reason TEXT.',
      )
    const client = await context.client()
    const waiting = await allWaiting(client)
    if (waiting.length === 0) {
      note(shown`Nothing waits for you.`)
      return EXIT.ok
    }
    const { value: me } = await client.get('/v1/whoami', whoamiAnswer)
    const done: Done[] = []
    for (const [at, grant] of waiting.entries()) {
      say(shown``)
      say(paint.bold(`── ${at + 1} of ${waiting.length} ──`))
      const what = await one(context, client, grant, me)
      if (what === 'quit') break
      done.push(what)
    }
    const counted = (['approved', 'denied', 'asked', 'skipped', 'refused'] as const).flatMap((what) => {
      const count = done.filter((each) => each === what).length
      return count === 0 ? [] : [`${count} ${what}`]
    })
    const left = waiting.length - done.length
    say(shown``)
    say(shown`${[...counted, ...(left > 0 ? [`${left} not looked at`] : [])].join(', ')}.`)
    return EXIT.ok
  },
}

async function allWaiting(client: Client): Promise<readonly GrantAnswer[]> {
  const found: GrantAnswer[] = []
  let next: string | undefined
  do {
    const cursor = next === undefined ? '' : `&cursor=${encodeURIComponent(next)}`
    const { value } = await client.get(`/v1/grants?waiting=true&limit=100${cursor}`, listAnswer)
    found.push(...value.grants)
    next = value.next
  } while (next !== undefined)
  // Who has waited longest comes first.
  return found.reverse()
}

async function one(context: Context, client: Client, grant: GrantAnswer, me: Me): Promise<Done | 'quit'> {
  const { note, paint } = context
  const isTrue = isTrueTo(grant, client.broker)
  showForDecision(context, grant, client.broker)
  await showQuestions(context, client, grant.id)
  for (;;) {
    const wanted = await ask(context, {
      question: isTrue ? '[a]pprove, [d]eny, [?] ask, [s]kip, [q]uit' : '[d]eny, [?] ask, [s]kip, [q]uit',
      read: (text) => key(text, isTrue ? 'ad?sq' : 'd?sq'),
    })
    if (wanted === 'q') return 'quit'
    if (wanted === 's') return 'skipped'
    try {
      if (wanted === '?') {
        const text = await ask(context, { question: 'Your question', read: something })
        await sayText({ ...context, say: note }, client, `/v1/grants/${grant.id}/questions`, text)
        return 'asked'
      }
      const part = wanted === 'a' ? await partOf(context, grant, me) : {}
      if (part === undefined) continue
      const reason = await ask(context, { question: 'Why?', read: something })
      const ballot = valid(decisionBody, { verdict: wanted === 'a' ? 'approve' : 'deny', reason, ...part })
      const { value } = await decide(context, client, grant, ballot)
      note(shown`${paint.good(value.status)}: ${value.next_action}`)
      return wanted === 'a' ? 'approved' : 'denied'
    } catch (thrown) {
      if (thrown instanceof Failure && thrown.exit === EXIT.usage) {
        note(shown`${paint.bad(thrown.message)}`)
        continue
      }
      if (!(thrown instanceof Refusal)) throw thrown
      note(shown`${paint.bad('refused:')} ${thrown.message}`)
      if (thrown.next !== undefined) note(shown`  → ${thrown.next}`)
      if (thrown.exit === EXIT.unauthenticated) throw thrown
      if (thrown.exit !== EXIT.unavailable) return 'refused'
    }
  }
}

function showForDecision(context: Context, grant: GrantAnswer, issuer: string): void {
  const { say, paint } = context
  say(shown`${paint.bold(grant.id)}  tier ${grant.tier}, filed ${grant.filedAt}, decide by ${grant.decideBy}`)
  say(shown`  ${paint.dim('this is what you decide on:')}`)
  showIntent(context, grant)
  facts(context, [['digest', digestShown(grant, issuer, paint)]])
  if (!isTrueTo(grant, issuer))
    say(paint.bad('  What is shown is not what the digest stands for: it cannot be approved here. Tell the operator.'))
  showTexts(context, grant)
  facts(context, [
    ...endFacts(grant),
    ...ruleFacts(grant.rule),
    ...grant.decisions.flatMap((one) => decisionFacts(one)),
    ...grant.conditions.map(conditionFact),
  ])
  for (const reason of grant.reasons) say(shown`  ${paint.dim('·')} ${reason}`)
}

function key(text: string, known: string): string {
  const first = text.slice(0, 1).toLowerCase()
  if (first === '' || !known.includes(first)) throw new Error(`Answer with one of: ${[...known].join(' ')}`)
  return first
}
function something(text: string): string {
  if (text === '') throw new Error('Say it in a few words; those who read it later need it.')
  return text
}
