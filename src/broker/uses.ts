// What resource servers report of credentials: each use, and each refusal with its reason. Invariant: a report is taken only from the server of the
// grant's audience, and is somebody's word; what it sets off is an end, never an allowance.
import { notFound } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { GrantId } from '../domain/ids.ts'
import type { Caller } from '../domain/principal.ts'
import { type MisuseReason, misuseOf, type Use } from '../domain/use.ts'
import { eventOf, witness } from './change.ts'
import type { AnswerMisuse } from './misuse.ts'
import type { Ports, UseToKeep } from './ports.ts'
import { type Reached, reachOf, serverOf } from './revocations.ts'
import { type ViewPorts, view } from './view.ts'

export interface Reported {
  /** New here, kept or only counted. */
  readonly accepted: number
  readonly repeated: number
  /** Of the new ones, by what became of them. */
  readonly used: number
  readonly refused: number
  /** Of the new ones those that are misuse, by their reasons. */
  readonly misuse: readonly MisuseReason[]
}

type ReportPorts = Pick<Ports, 'grants' | 'uses' | 'rulesToEnd' | 'seal' | 'nowToEnd'>

export const reportUses =
  (p: ReportPorts, answerMisuse: AnswerMisuse) =>
  async (serverId: string, id: GrantId, uses: readonly Use[]): Promise<Reported> => {
    const server = serverOf(p, serverId)
    const grant = (await p.grants.load(id))?.grant
    if (grant === undefined || !server.audiences.includes(grant.ask.audience)) throw notFound()
    const done = await p.uses.report(
      id,
      server.id,
      uses.map((use) => toKeep(p, grant, server.id, use)),
    )
    if (done === undefined) throw notFound()
    await Promise.all(done.receipts.map((receipt) => witness(p, receipt)))
    const fresh = [...done.kept, ...done.left]
    // Also where all were here before: the first report may have died in between.
    const found = [...fresh, ...done.repeated].find((use) => misuseOf(use) !== undefined)
    if (found !== undefined) await answered(p, answerMisuse, { grant, use: found, isNew: fresh.includes(found) })
    return {
      accepted: fresh.length,
      repeated: done.repeated.length,
      used: fresh.filter(({ outcome }) => outcome === 'used').length,
      refused: fresh.filter(({ outcome }) => outcome === 'refused').length,
      misuse: fresh.flatMap((use) => misuseOf(use) ?? []),
    }
  }

function toKeep(p: Pick<Ports, 'nowToEnd'>, { ask }: Grant, by: string, use: Use): UseToKeep {
  const reason = misuseOf(use)
  if (reason === undefined) return { use, event: undefined }
  const { action, target, credential } = use
  const details = { use: use.id, reason, action, target, credential }
  return { use, event: eventOf(ask, 'misuse', p.nowToEnd(), by, details) }
}

/** As the policy loaded here says of this entitlement: ending goes on whatever the control record says. */
async function answered(
  p: ReportPorts,
  answerMisuse: AnswerMisuse,
  { grant, use, isNew }: { readonly grant: Grant; readonly use: Use; readonly isNew: boolean },
): Promise<void> {
  const { intent } = grant.ask
  const entitlement = p.rulesToEnd().policy.entitlement(intent.entitlement)
  const answers = (entitlement?.tenant === intent.tenant ? entitlement.onMisuse : undefined) ?? []
  if (answers.length === 0) return
  await answerMisuse({ grant, answers, reason: `misuse was reported: ${misuseOf(use) ?? ''}`, isNew })
}

type KnownUses = Awaited<ReturnType<Ports['uses']['of']>>
export interface Beside {
  readonly reach: Reached | undefined
  readonly uses: KnownUses
}

/** What is known of a grant beside itself; for whoever has just been shown the grant. */
export const beside =
  (p: Pick<Ports, 'revocations' | 'uses' | 'rulesToEnd'>) =>
  async (grant: Grant): Promise<Beside> => {
    const [reach, uses] = await Promise.all([reachOf(p, grant), p.uses.of(grant.id)])
    return { reach, uses }
  }

export const usesOf =
  (p: ViewPorts & Pick<Ports, 'uses'>) =>
  async (caller: Caller, id: GrantId): Promise<{ readonly grant: Grant; readonly known: KnownUses }> => {
    const grant = await view(p)(caller, id)
    return { grant, known: await p.uses.of(id) }
  }
