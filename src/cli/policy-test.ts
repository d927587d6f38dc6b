// Cases of a policy: who may do what, written beside it and run against it. Invariant: a case names principals and entitlements of the files
// themselves, and the question is the one that the broker asks: the same judge, the same context.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Entitlement } from '../domain/entitlement.ts'
import { type Digest, named } from '../domain/ids.ts'
import { after, instant, minutes, parseDuration } from '../domain/instant.ts'
import type { Intent } from '../domain/intent.ts'
import type { Principal } from '../domain/principal.ts'
import { assessed, FLAGS, type Flag } from '../domain/risk.ts'
import { type Problem, readConfig } from '../identity/config-file.ts'
import { ACTIONS, mayBeOfBroker, type Question, type Verdict } from '../policy/policy.ts'
import type { LoadedRules } from '../rules.ts'
import { hasCode } from './profiles.ts'

const Ask = z.strictObject({
  actions: z.array(z.string()).optional(),
  scope: z.array(z.string()).default([]),
  dataTypes: z.array(z.string()).default([]),
  destination: z.string().default(''),
  changeClass: z.enum(['standard', 'normal', 'emergency']).default('normal'),
  impact: z
    .strictObject(
      Object.fromEntries(FLAGS.map((flag) => [flag, z.boolean().default(false)])) as Record<
        Flag,
        z.ZodDefault<z.ZodBoolean>
      >,
    )
    .prefault({}),
  duration: z
    .string()
    .refine((text) => (parseDuration(text) ?? 0) > 0, 'a duration such as 30m is needed')
    .default('30m'),
  uses: z.int().min(1).default(1),
  ticket: z
    .string()
    .regex(/^[^:]+:.+$/, 'write system:id')
    .optional(),
  plan: z.boolean().default(false),
})
const Case = z.strictObject({
  name: z.string().min(1).max(200),
  principal: z.string(),
  action: z.enum(ACTIONS),
  entitlement: z.string().optional(),
  /** Whose grant it is, where that is somebody else. */
  requester: z.string().optional(),
  ask: Ask.prefault({}),
  expect: z.enum(['allow', 'deny'], { error: 'write allow or deny' }),
  /** The rules that must have decided, all of them. */
  because: z.array(z.string()).optional(),
})
type Case = z.output<typeof Case>
export const CasesFile = z.strictObject({ cases: z.array(Case).min(1, 'at least one case is needed') })

export interface CaseResult {
  readonly file: string
  readonly line: number
  readonly name: string
  readonly holds: boolean
  /** What the policy answered, in words. */
  readonly seen: string
}

export function runCases(
  folder: string,
  rules: LoadedRules,
): { readonly results: readonly CaseResult[]; readonly problems: readonly Problem[] } {
  const results: CaseResult[] = []
  const problems: Problem[] = []
  const files = casesIn(join(folder, 'tests'))
  if (files.length === 0)
    problems.push({ file: join(folder, 'tests'), line: 1, message: 'there is no case here: write tests/*.yaml' })
  for (const file of files) {
    const { value, problems: wrong, line } = readConfig(readFileSync(file, 'utf8'), file, CasesFile)
    problems.push(...wrong)
    for (const [n, one] of (value?.cases ?? []).entries()) {
      const at = { file, line: line(['cases', n]) }
      const question = questionOf(one, rules)
      if (typeof question === 'string') problems.push({ ...at, message: `${one.name}: ${question}` })
      else results.push({ ...at, name: one.name, ...compared(one, rules.policy.judge(question)) })
    }
  }
  return { results, problems }
}

function casesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => /\.ya?ml$/.test(name))
      .sort()
      .map((name) => join(folder, name))
  } catch (thrown) {
    if (hasCode(thrown, 'ENOENT')) return []
    throw thrown
  }
}

function compared(
  { expect, because }: Case,
  { allowed, because: rules }: Verdict,
): { readonly holds: boolean; readonly seen: string } {
  const fits = because === undefined || because.toSorted().join() === rules.toSorted().join()
  const seen = `${allowed ? 'allow' : 'deny'}, by ${rules.join(', ') || 'no rule permits it'}`
  return { holds: fits && allowed === (expect === 'allow'), seen }
}

/** The question, or what is wrong with the case. */
function questionOf(one: Case, { policy, directory }: LoadedRules): Question | string {
  const principal = directory.principal(named.principal(one.principal))
  if (principal === undefined) return `nobody is called ${one.principal}`
  const requester = one.requester === undefined ? principal : directory.principal(named.principal(one.requester))
  if (requester === undefined) return `nobody is called ${one.requester}`
  if (one.entitlement === undefined) {
    if (!mayBeOfBroker(one.action)) return `${one.action} needs an entitlement`
    return { action: one.action, principal }
  }
  const entitlement = policy.entitlement(named.entitlement(one.entitlement))
  if (entitlement === undefined) return `there is no entitlement ${one.entitlement}`
  const strange = one.ask.actions?.find((action) => !Object.hasOwn(entitlement.actions, action))
  if (strange !== undefined) return `${one.entitlement} has no action ${strange}`
  const intent = intentOf(one, entitlement, requester)
  // At the tier that follows from what is asked, as the verbs judge it.
  const {
    tier,
    entitlement: raised,
    risk,
  } = assessed(policy, { offered: entitlement, intent, requesterTenant: requester.tenant }, [])
  if (raised === undefined) return `what is asked is of tier ${tier}, at which ${one.entitlement} cannot be had`
  return { action: one.action, principal, entitlement: raised, requester, intent, risk }
}

/** What would be asked: every action of the entitlement, unless the case says which. */
function intentOf({ ask }: Case, entitlement: Entitlement, requester: Principal): Intent {
  const opensAt = instant(0)
  const [system = '', ...id] = (ask.ticket ?? '').split(':')
  return {
    tenant: entitlement.tenant,
    entitlement: entitlement.id,
    requester: requester.id,
    executor: { principal: requester.id, key: undefined },
    manifests: { requester: undefined, executor: undefined },
    task: 'case',
    session: '',
    target: entitlement.target.id,
    environment: entitlement.target.environment,
    actions: ask.actions ?? Object.keys(entitlement.actions),
    scope: ask.scope,
    dataTypes: ask.dataTypes,
    destination: ask.destination,
    changeClass: ask.changeClass,
    exposure: undefined,
    change: undefined,
    impact: ask.impact,
    plan: ask.plan ? { digest: `sha-256:${'A'.repeat(43)}` as Digest, mediaType: 'application/json' } : undefined,
    ticket: ask.ticket === undefined ? undefined : { system, id: id.join(':') },
    window: { opensAt, closesAt: after(opensAt, parseDuration(ask.duration) ?? minutes(30)) },
    credential: { kind: entitlement.credential.kind, uses: ask.uses },
  }
}
