// Question and answer on a pending grant: who could decide asks, who asked for the grant answers. Both are events and change nothing else;
// a question is known by the version that it made. Invariant: only while the grant is pending, and only so many.
import { BrokerError, notFound } from '../domain/errors.ts'
import { advance, type GrantIn, inStatus } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import type { Caller } from '../domain/principal.ts'
import { change, eventOf, type Move, witness, wrongStatus } from './change.ts'
import { waitsFor } from './decide.ts'
import { answersFor } from './judge.ts'
import type { Control, Loaded, Ports, Rules, StoredEvent } from './ports.ts'
import { mayView, view } from './view.ts'

export interface Said {
  readonly by: string
  readonly text: string
  readonly at: Instant
}
export interface Question extends Said {
  readonly n: number
  readonly answer: Said | undefined
}
type QuestionPorts = Pick<Ports, 'grants' | 'rules' | 'control' | 'seal' | 'now'>

/** Each of them is an event of its grant for ever. */
const MOST_VERSIONS = 60

/** All questions of a grant that the caller may see, in order. */
export const questions =
  (p: Pick<Ports, 'grants' | 'rules' | 'control'>) =>
  async (caller: Caller, id: GrantId): Promise<readonly Question[]> => {
    await view(p)(caller, id)
    return asked(await p.grants.events(id))
  }

/** Asks whoever asked for the grant. Only those for whose decision it waits. */
export const ask =
  (p: QuestionPorts) =>
  async (caller: Caller, id: GrantId, text: string): Promise<readonly Question[]> => {
    await say(p, caller, id, (loaded, rules) => {
      if (waitsFor(rules, caller.principal, loaded.grant)) return { type: 'question_asked', details: { text } }
      throw new BrokerError('not_permitted', 'This grant does not wait for your decision.', {
        nextAction: 'Its owner and reviewers are shown with the grant; they may ask.',
      })
    })
    return asked(await p.grants.events(id))
  }

/** Answers question `n`, once. Only the requester, or who answers for it. */
export const answer =
  (p: QuestionPorts) =>
  async (caller: Caller, id: GrantId, n: number, text: string): Promise<readonly Question[]> => {
    await say(p, caller, id, async ({ grant }, rules) => {
      const { intent } = grant.ask
      const requester = rules.directory.principal(intent.requester)
      const own = caller.principal.id === intent.requester
      if (!own && (requester === undefined || !answersFor(caller.principal, requester))) {
        throw new BrokerError('not_permitted', 'Only the requester answers.', {
          nextAction: 'Let the requester answer, or a person who answers for it.',
        })
      }
      const found = asked(await p.grants.events(id)).find((question) => question.n === n)
      if (found === undefined || found.answer !== undefined) {
        throw new BrokerError('invalid_request', 'There is no such question, or it has been answered.', {
          nextAction: 'List the questions of this grant and answer one that is open.',
          facts: { member: 'n' },
        })
      }
      return { type: 'question_answered', details: { question: n, text } }
    })
    return asked(await p.grants.events(id))
  }

interface Saying {
  readonly type: 'question_asked' | 'question_answered'
  readonly details: Readonly<Record<string, string | number>>
}

async function say(
  p: QuestionPorts,
  caller: Caller,
  id: GrantId,
  what: (loaded: Loaded, rules: Rules) => Saying | Promise<Saying>,
): Promise<void> {
  const { receipt } = await change(p, id, async (loaded) => {
    const { grant, control } = loaded
    const rules = p.rules(control)
    if (!mayView(rules, caller.principal, grant)) throw notFound()
    const saying = await what(loaded, rules)
    if (!inStatus(grant, 'pending')) throw wrongStatus(grant, 'there is nothing to ask any more', 'Show the grant.')
    if (grant.version >= MOST_VERSIONS) {
      throw new BrokerError('too_many_requests', 'There is too much on this grant already.', {
        nextAction: 'Decide on it, or withdraw it and ask anew.',
      })
    }
    return saidStep(grant, caller, control, saying, p.now())
  })
  await witness(p, receipt)
}

function saidStep(grant: GrantIn<'pending'>, caller: Caller, control: Control, saying: Saying, now: Instant): Move {
  const event = eventOf(grant.ask, saying.type, now, caller.principal.id, saying.details, control)
  const step = advance(grant, { to: 'pending', facts: grant.head.facts, event })
  return { step, guard: { notAfter: grant.ask.lapsesAt, judgedUnder: control } }
}

const said = ({ by, at, details }: StoredEvent): Said => ({ by, text: String(details.text), at })

function asked(events: readonly StoredEvent[]): readonly Question[] {
  const answers = new Map(
    events.filter(({ type }) => type === 'question_answered').map((event) => [event.details.question, said(event)]),
  )
  return events
    .filter(({ type }) => type === 'question_asked')
    .map((event) => ({ n: event.version, ...said(event), answer: answers.get(event.version) }))
}
