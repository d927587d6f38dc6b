// One decision, by whichever command. Invariant: it names the digest that was reckoned here from what was shown, so that a vote is on
// exactly that and nothing else.
import { type GrantAnswer, grantAnswer, waitAnswer } from '../http/wire.ts'
import type { Options } from './arguments.ts'
import { ballotIn, REVIEW_OPTIONS, type Said } from './ballot.ts'
import { PAGE_OPTIONS, signDecision } from './ceremony.ts'
import type { Client } from './client.ts'
import type { Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { Failure, Refusal, usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { headline, isTrueTo } from './show-grant.ts'
import { shown } from './shown.ts'

export type Verdict = Said['verdict']

export const DECISION_OPTIONS: Options = {
  reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' },
  digest: { takes: 'text', value: 'DIGEST', help: 'the revision you decide on, as you saw it; another is refused' },
  ...REVIEW_OPTIONS,
  ...PAGE_OPTIONS,
}

export async function decideByWord(context: Context, verdict: Verdict): Promise<ExitCode> {
  const { given, say, note, paint } = context
  const id = grantIdIn(context)
  const reason = given.text('reason')
  if (reason === undefined) throw usage(`Say why: writ ${verdict} ${id} --reason TEXT.`)
  const ballot = ballotIn(given, verdict, reason)
  const client = await context.client()
  const { value: seen } = await client.get(`/v1/grants/${id}`, waitAnswer)
  const digest = given.text('digest')
  if (digest !== undefined && digest !== seen.digest)
    throw new Failure(EXIT.refused, `The grant has the digest ${seen.digest}, not the one you name.`, {
      next: `writ show ${id}`,
    })
  const { value, raw } = await decide(context, client, seen, ballot)
  context.sayJson(raw)
  say(headline(value, paint))
  note(shown`${value.next_action}`)
  return EXIT.ok
}

/** What is said after a vote, by a command of its own. */
export async function speakByWord(context: Context, to: 'closures' | 'acceptances', body: object): Promise<ExitCode> {
  const { say, note, paint } = context
  const id = grantIdIn(context)
  const client = await context.client()
  const { value: seen } = await client.get(`/v1/grants/${id}`, waitAnswer)
  mustBeTrue(seen, client)
  const { value, raw } = await speak(context, client, { seen, to, body })
  context.sayJson(raw)
  say(headline(value, paint))
  note(shown`${value.next_action}`)
  return EXIT.ok
}

export async function decide(context: Context, client: Client, seen: GrantAnswer, ballot: Said): Promise<Answered> {
  if (ballot.verdict === 'approve') mustBeTrue(seen, client)
  return speak(context, client, { seen, to: 'decisions', body: ballot })
}

/** Nothing is allowed on what the broker shows under another digest. */
export function mustBeTrue(seen: GrantAnswer, client: Client): void {
  if (!isTrueTo(seen, client.broker))
    throw new Failure(EXIT.refused, 'What the broker shows is not what its digest stands for.', {
      next: 'Do not approve it; tell the operator of the broker.',
    })
}

interface Answered {
  readonly value: GrantAnswer
  readonly raw: unknown
}
interface Speech {
  readonly seen: GrantAnswer
  readonly to: 'decisions' | 'closures' | 'acceptances'
  readonly body: object
}
/** Says it, on the page where the broker wants a passkey for it. */
export async function speak(context: Context, client: Client, { seen, to, body }: Speech): Promise<Answered> {
  const headers = to === 'decisions' ? { 'if-match': `"${seen.digest}"` } : {}
  try {
    return await client.post(`/v1/grants/${seen.id}/${to}`, body, grantAnswer, { again: 'race', headers })
  } catch (thrown) {
    if (!(thrown instanceof Refusal) || thrown.code !== 'step_up_required') throw thrown
    return signDecision(context, client, seen, body)
  }
}
