// What misuse of a credential is answered with, as the policy says: the end of the grant, and the containment of its session, executor or task.
// Invariant: what is answered is an end. It waits for nobody's leave, and asking for it again changes nothing: neither while it is in force, nor
// by a report that was here before somebody lifted it.
import type { Freeze } from '../domain/freeze.ts'
import { type Grant, inStatus } from '../domain/grant.ts'
import { named } from '../domain/ids.ts'
import { isSameSelector, type Selector } from '../domain/selector.ts'
import type { MisuseAnswer } from '../domain/use.ts'
import { witness } from './change.ts'
import { type EndPorts, end } from './end.ts'
import type { FreezePorts } from './freeze.ts'

export type MisusePorts = EndPorts & FreezePorts

export interface Misuse {
  readonly grant: Grant
  readonly answers: readonly MisuseAnswer[]
  readonly reason: string
  /** Whether nothing like it had been reported: what was may have been answered, and that may have been taken back by somebody. */
  readonly isNew: boolean
}
export type AnswerMisuse = (misuse: Misuse) => Promise<void>

/** The broker froze, and no person. */
const BROKER = named.principal('broker')

export const answerMisuse =
  (p: MisusePorts): AnswerMisuse =>
  async (misuse) => {
    const { grant, reason } = misuse
    const selectors = misuse.answers.flatMap((answer) => selectorOf(p, grant, answer) ?? [])
    for (const selector of selectors) await containFor(p, misuse, selector)
    // What was never handed out cannot be misused; whatever was said of it ends nothing.
    if (inStatus(grant, 'issuing', 'active')) await end(p, grant.id, { outcome: 'revoked', by: 'broker', reason })
  }

/** Undefined where the grant names no such thing: then it ends alone. */
function selectorOf(p: Pick<FreezePorts, 'rulesToEnd'>, { ask }: Grant, answer: MisuseAnswer): Selector | undefined {
  const { session, task, executor } = ask.intent
  switch (answer) {
    case 'grant':
      return undefined
    case 'session':
      return session === '' ? undefined : { session }
    case 'task':
      return task === '' ? undefined : { task }
    case 'executor': {
      const principal = p.rulesToEnd().directory.principal(executor.principal)
      // Who is nobody any more gets nothing, and what they hold is ended for that.
      if (principal === undefined) return undefined
      return principal.kind === 'person' ? { person: principal.person } : { [principal.kind]: principal.id }
    }
  }
}

/** The record is the denial; the clean-up that follows every containment follows this one too. */
async function containFor(p: MisusePorts, { grant, reason, isNew }: Misuse, selector: Selector): Promise<void> {
  const { tenant } = grant.ask.intent
  // One that cannot be read must not keep anybody from freezing.
  const known = (await p.freezes.list().catch(() => [])).filter(
    (one) => one.contains && one.tenant === tenant && one.by === BROKER && isSameSelector(one.selector, selector),
  )
  const inForce = known.find(({ lifted }) => lifted === undefined)
  if (inForce === undefined && !isNew && known.some(({ at }) => at >= grant.ask.filedAt)) return
  const { person } = selector
  const made: Freeze = inForce ?? {
    v: 2,
    id: p.newFreezeId(),
    tenant,
    selector,
    reason,
    by: BROKER,
    at: p.nowToEnd(),
    contains: true,
    everything: false,
    answered: person === undefined ? {} : { person: p.rulesToEnd().directory.answeredForBy(person) },
    lifted: undefined,
  }
  // Again also where it is in force: it may not have reached every shard.
  const receipts = await p.freezes.put(made)
  await Promise.all(receipts.map((receipt) => witness(p, receipt)))
}
