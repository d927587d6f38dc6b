// What would become of an asking, in words: why this tier, who has to agree, until when, and what may remain after a revoke.
import { type DryRunAnswer, dryRunAnswer, entitlementsAnswer } from '../http/wire.ts'
import type { Asking } from './asking.ts'
import type { Client } from './client.ts'
import type { Context } from './command.ts'
import { counted, facts, quoted } from './facts.ts'
import { endFacts, ruleFacts, showIntent } from './show-grant.ts'
import { shown } from './shown.ts'

/** What would become of it, by the broker's own word. */
export async function explain(context: Context, client: Client, asking: Asking): Promise<void> {
  const withKey = await wantsKey(client, asking)
  const { value, raw } = await client.post('/v1/grants?dryRun=true', asking, dryRunAnswer, { again: 'safe', withKey })
  context.sayJson(raw)
  if (!context.json) showDryRun(context, value, asking)
}

/**
 * Whether our key is shown with the asking, so that the grant is bound to it: where the entitlement hands out what is bound to a key.
 * Whoever names another executor or key binds nothing to ours.
 */
export async function wantsKey(client: Client, asking: Asking): Promise<boolean> {
  if (asking.executor !== undefined) return false
  const wanted = [asking.entitlement, ...(asking.more ?? []).map(({ entitlement }) => entitlement)]
  const { value } = await client.get('/v1/entitlements', entitlementsAnswer)
  return value.entitlements.some(({ id, credential }) => wanted.includes(id) && credential.sender === 'dpop')
}

function showDryRun(context: Pick<Context, 'say' | 'paint'>, { grants }: DryRunAnswer, { task }: Asking): void {
  const { say, paint } = context
  for (const grant of grants) {
    say(shown`${paint.bold(grant.intent.entitlement)}  would be filed at tier ${grant.tier}`)
    for (const reason of grant.reasons) say(shown`  ${paint.dim('·')} ${reason}`)
    showIntent(context, grant)
    quoted(context, 'summary', task.summary)
    quoted(context, 'objective', task.objective ?? '')
    quoted(context, 'expected outcome', task.expectedOutcome ?? '')
    quoted(context, 'rollback', task.rollback ?? '')
    facts(context, [
      ['flags', grant.flags.join(', ')],
      ...(grant.approval === 'auto' ? [['approval', 'by the policy itself, at once'] as const] : ruleFacts(grant.rule)),
      ['could decide', grant.approval === 'auto' ? '' : counted(grant.couldDecide, 'person')],
      ['decide by', `${grant.decideBy}, and lapses at ${grant.lapsesAt}`],
      ['use within', `${grant.useWithin} of approval, or of the window’s opening`],
      ['bound to', grant.credential.sender === 'dpop' ? 'your key' : ''],
      ...endFacts(grant),
      ['digest', grant.digest],
      ['policy', `revision ${grant.policy.revision}`],
    ])
  }
}
