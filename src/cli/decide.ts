// One decision, by whichever command. Invariant: it names the digest that was reckoned here from what was shown, so that a vote is on
// exactly that and nothing else.
import { type GrantAnswer, grantAnswer, waitAnswer } from '../http/wire.ts'
import type { Options } from './arguments.ts'
import { PAGE_OPTIONS, signDecision } from './ceremony.ts'
import type { Client } from './client.ts'
import type { Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { Failure, Refusal, usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { headline, isTrueTo } from './show-grant.ts'
import { shown } from './shown.ts'

export type Verdict = 'approve' | 'deny'

export const DECISION_OPTIONS: Options = {
  reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' },
  digest: { takes: 'text', value: 'DIGEST', help: 'the revision you decide on, as you saw it; another is refused' },
  ...PAGE_OPTIONS,
}

export async function decideByWord(context: Context, verdict: Verdict): Promise<ExitCode> {
  const { given, say, note, paint } = context
  const id = grantIdIn(context)
  const reason = given.text('reason')
  if (reason === undefined) throw usage(`Say why: writ ${verdict} ${id} --reason TEXT.`)
  const client = await context.client()
  const { value: seen } = await client.get(`/v1/grants/${id}`, waitAnswer)
  const digest = given.text('digest')
  if (digest !== undefined && digest !== seen.digest)
    throw new Failure(EXIT.refused, `The grant has the digest ${seen.digest}, not the one you name.`, {
      next: `writ show ${id}`,
    })
  const { value, raw } = await decide(context, client, seen, { verdict, reason })
  context.sayJson(raw)
  say(headline(value, paint))
  note(shown`${value.next_action}`)
  return EXIT.ok
}

export async function decide(
  context: Context,
  client: Client,
  seen: GrantAnswer,
  ballot: { readonly verdict: Verdict; readonly reason: string },
): Promise<{ readonly value: GrantAnswer; readonly raw: unknown }> {
  if (ballot.verdict === 'approve' && !isTrueTo(seen, client.broker))
    throw new Failure(EXIT.refused, 'What the broker shows is not what its digest stands for.', {
      next: 'Do not approve it; tell the operator of the broker.',
    })
  const headers = { 'if-match': `"${seen.digest}"` }
  try {
    return await client.post(`/v1/grants/${seen.id}/decisions`, ballot, grantAnswer, { again: 'race', headers })
  } catch (thrown) {
    if (!(thrown instanceof Refusal) || thrown.code !== 'step_up_required') throw thrown
    return signDecision(context, client, seen, ballot)
  }
}
