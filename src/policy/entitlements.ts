// entitlements.yaml to immutable, complete Entitlements. The stricter of tier and entitlement always stands: what would loosen its tier
// is an error and never cut in silence, because somebody who wrote 8h and gets 4h finds out during the change.
// Floors that no file lifts are checked here; where a problem is found, nothing is compiled.
import type { z } from 'zod'
import {
  type ActionClass,
  type ApprovalRule,
  type CredentialRule,
  type Deputy,
  type Entitlement,
  EVIDENCE_KINDS,
  type Limits,
  NEVER_AUTOMATIC,
  type VaultCredential,
  worstResidue,
} from '../domain/entitlement.ts'
import { isName, named } from '../domain/ids.ts'
import { type Duration, days, duration, formatDuration, minutes, seconds, shortest } from '../domain/instant.ts'
import { asSet } from '../domain/intent.ts'
import { type Catalogue, FLAGS, type Flag } from '../domain/risk.ts'
import { atLeast, TIERS, type Tier } from '../domain/tier.ts'
import { MISUSE_ANSWERS } from '../domain/use.ts'
import {
  type EntitlementFile,
  MAX_ENTITLEMENTS,
  nameShape,
  type PeopleFile,
  parts,
  type TierFile,
} from './entitlements-file.ts'
import type { Place, PolicyProblem } from './problem.ts'
import { type Path, type Plain, readYaml } from './strict-yaml.ts'

export interface CompiledEntitlements {
  readonly revision: number
  readonly entitlements: readonly Entitlement[]
  /** Each entitlement as it is at every tier above its own that can hold it. */
  readonly raised: readonly Entitlement[]
  readonly catalogue: Catalogue
  readonly problems: readonly PolicyProblem[]
  place(path: Path): Place
}

type Report = (path: Path, message: string) => void
type Tiers = Partial<Record<Tier, TierFile>>

const DEFAULT_MAX_LIFE = minutes(15)
const DEFAULT_VERIFIER_CACHE = seconds(30)
const DEFAULT_USES = 1
const DEFAULT_MAX_APPROVERS = 10
const DEFAULT_AGENTS_USE = minutes(15)
const LEAST_ESCALATION = minutes(1)
const LONGEST_TERM = days(180)
const NOTHING_KNOWN: Catalogue = { destinations: {}, dataTypes: {} }
/** Stands in for a tier that could not be read, so that the other problems of its entitlements are told too. Never part of a policy. */
const UNBOUNDED: TierFile = {
  approvals: 1,
  maxDuration: days(365),
  horizon: days(365),
  decideWithin: days(365),
  maxUses: 1_000,
  maxLife: days(365),
}

/** Never throws. With any problem the entitlements are incomplete and must not be used. */
export function compileEntitlements(file: string, text: string): CompiledEntitlements {
  const yaml = readYaml(file, text)
  const problems = [...yaml.problems]
  const report: Report = (path, message) => {
    problems.push({ file, ...yaml.place(path), path: path.join('.'), message })
  }
  const done = (
    revision: number,
    { entitlements, raised }: Compiled,
    catalogue: Catalogue = NOTHING_KNOWN,
  ): CompiledEntitlements => ({ revision, entitlements, raised, catalogue, problems, place: yaml.place })
  if (yaml.value === undefined) return done(0, NONE)
  const known = ['revision', 'tiers', 'destinations', 'dataTypes', 'entitlements']
  const top = mapping(yaml.value, [], report, known)
  if (top === undefined) return done(0, NONE)
  const revision = parsed(parts.revision, top.revision, ['revision'], report)
  const tiers = compileTiers(top.tiers, report)
  const catalogue = {
    destinations: parsed(parts.destinations, top.destinations ?? {}, ['destinations'], report) ?? {},
    dataTypes: parsed(parts.dataTypes, top.dataTypes ?? {}, ['dataTypes'], report) ?? {},
  }
  return done(revision ?? 0, compileEach(top.entitlements, tiers, report), catalogue)
}

interface Compiled {
  readonly entitlements: readonly Entitlement[]
  readonly raised: readonly Entitlement[]
}
const NONE: Compiled = { entitlements: [], raised: [] }

function compileTiers(value: Plain | undefined, report: Report): Tiers {
  const found = mapping(value, ['tiers'], report, TIERS) ?? {}
  const tiers: Tiers = {}
  for (const tier of TIERS) {
    const member = found[tier]
    if (member === undefined) continue
    const rules = parsed(parts.tier, member, ['tiers', tier], report)
    tiers[tier] = rules ?? UNBOUNDED
    if (rules === undefined) continue
    if (rules.maxLife > rules.maxDuration)
      report(['tiers', tier, 'maxLife'], `Longer than the window may be (${formatDuration(rules.maxDuration)}).`)
    const useWithin = rules.useWithin ?? rules.maxDuration
    if (rules.agentsUseWithin !== undefined && rules.agentsUseWithin > useWithin)
      report(['tiers', tier, 'agentsUseWithin'], longerThanOthers(useWithin))
    const softer = TIERS.find((below) => below !== tier && atLeast(tier, below) && tiers[below]?.stepUp === true)
    if (softer !== undefined && rules.stepUp !== true)
      report(['tiers', tier, 'stepUp'], `The lower tier ${softer} asks for a passkey; write true.`)
    const laxer = TIERS.find(
      (below) => below !== tier && atLeast(tier, below) && (tiers[below]?.approvals ?? 0) > rules.approvals,
    )
    if (laxer !== undefined) {
      const least = tiers[laxer]?.approvals
      report(['tiers', tier, 'approvals'], `Fewer persons than the lower tier ${laxer} asks; write at least ${least}.`)
    }
  }
  return tiers
}

function compileEach(value: Plain | undefined, tiers: Tiers, report: Report): Compiled {
  const found = Object.entries(mapping(value, ['entitlements'], report) ?? {})
  if (found.length > MAX_ENTITLEMENTS) {
    report(['entitlements'], `At most ${MAX_ENTITLEMENTS} entitlements are read; these are ${found.length}.`)
    return NONE
  }
  if (value !== undefined && found.length === 0) report(['entitlements'], 'Nothing is offered; write an entitlement.')
  const entitlements = found.flatMap(([id, member]) => {
    const path = ['entitlements', id]
    parsed(nameShape, id, path, report)
    const written = parsed(parts.entitlement, member, path, report)
    if (written === undefined || !isName(id)) return []
    const tier = tiers[written.tier]
    if (tier === undefined)
      report([...path, 'tier'], `The tier ${written.tier} is not described; write it under tiers.`)
    return [compileOne(id, written, tier ?? UNBOUNDED, (at, message) => report([...path, ...at], message))]
  })
  return { entitlements, raised: entitlements.flatMap((entitlement) => raisedTiers(entitlement, tiers)) }
}

/**
 * The entitlement at every higher tier that is described: the stricter of both in everything, and never laxer than at a tier between, so
 * that nobody gains by a higher risk. What that tier never allows is left out.
 */
function raisedTiers(entitlement: Entitlement, tiers: Tiers): readonly Entitlement[] {
  const raised: Entitlement[] = []
  for (const tier of TIERS) {
    const rules = tiers[tier]
    if (rules === undefined || tier === entitlement.tier || !atLeast(tier, entitlement.tier)) continue
    const next = raisedTo(raised.at(-1) ?? entitlement, tier, rules)
    if (next !== undefined) raised.push(next)
  }
  return raised
}

function raisedTo(entitlement: Entitlement, tier: Tier, rules: TierFile): Entitlement | undefined {
  const credential = credentialAt(entitlement.credential, tier, rules)
  if (credential === undefined) return undefined
  const { approval, limits } = entitlement
  const bounds = tierLimits(rules)
  return {
    ...entitlement,
    tier,
    credential,
    approval:
      approval.mode === 'auto'
        ? approval
        : {
            ...approval,
            approvals: Math.max(approval.approvals, rules.approvals),
            stepUp: approval.stepUp || rules.stepUp === true,
          },
    limits: {
      maxDuration: shortest(limits.maxDuration, bounds.maxDuration),
      horizon: shortest(limits.horizon, bounds.horizon),
      decideWithin: shortest(limits.decideWithin, bounds.decideWithin),
      escalateWithin: shortest(limits.escalateWithin, bounds.escalateWithin),
      useWithin: shortest(limits.useWithin, bounds.useWithin),
      agentsUseWithin: shortest(limits.agentsUseWithin, bounds.agentsUseWithin),
      maxUses: Math.min(limits.maxUses, bounds.maxUses),
    },
    ticketRequired: entitlement.ticketRequired || rules.ticketRequired === true,
    planRequired: entitlement.planRequired || rules.planRequired === true,
    maxApprovers: Math.min(entitlement.maxApprovers, rules.maxApprovers ?? DEFAULT_MAX_APPROVERS),
  }
}

function credentialAt(credential: CredentialRule, tier: Tier, rules: TierFile): CredentialRule | undefined {
  const high = atLeast(tier, 'high')
  const maxResidue = rules.maxResidue ?? rules.maxDuration
  if (credential.kind === 'vault') {
    const lasting = credential.revocability === 'expiry'
    if (lasting && (high || maxResidue === 0)) return undefined
    if (credential.engine === 'database') return lasting && maxResidue < rules.maxDuration ? undefined : credential
    const life = shortest(credential.maxLife, rules.maxLife, rules.maxDuration)
    return { ...credential, maxLife: lasting ? shortest(life, maxResidue) : life }
  }
  const maxLife = shortest(credential.maxLife, rules.maxLife, rules.maxDuration)
  const verifierCache = shortest(credential.verifierCache, maxLife, maxResidue)
  return { ...credential, sender: high ? 'dpop' : credential.sender, maxLife, verifierCache }
}

/** What a tier allows, its defaults filled in. */
const tierLimits = (tier: TierFile): Limits => ({
  maxDuration: tier.maxDuration,
  horizon: tier.horizon,
  decideWithin: tier.decideWithin,
  escalateWithin: tier.escalateWithin ?? quarterOf(tier.decideWithin),
  useWithin: tier.useWithin ?? tier.maxDuration,
  agentsUseWithin: shortest(tier.agentsUseWithin ?? DEFAULT_AGENTS_USE, tier.useWithin ?? tier.maxDuration),
  maxUses: tier.maxUses,
})
const quarterOf = (span: Duration): Duration => duration(Math.max(LEAST_ESCALATION, Math.floor(span / 4_000) * 1_000))

function compileOne(id: string, written: EntitlementFile, tier: TierFile, report: Report): Entitlement {
  const limits = limitsOf(written, tier, report)
  const { target } = written
  const actions = Object.entries(written.actions)
  const names = Object.keys(written.actions)
  if (names.length === 0) report(['actions'], 'Nothing can be asked for; name at least one action.')
  if (names.length > 64) report(['actions'], 'Name at most 64 actions.')
  checkClaims(written, report)
  if (written.credential.kind === 'jwt' && target.audience === undefined)
    report(['target', 'audience'], 'A jwt needs its one audience: write the URI of the resource server.')
  if (written.credential.kind === 'vault' && target.audience !== undefined)
    report(['target', 'audience'], 'Only a jwt has an audience; remove it.')
  return {
    id: named.entitlement(id),
    title: written.title,
    tenant: named.tenant(written.tenant),
    openTo: distinct(written.openTo ?? [written.tenant], ['openTo'], report).map(named.tenant),
    tier: written.tier,
    target: { id: target.id, environment: target.environment, audience: target.audience ?? '' },
    actions: Object.fromEntries(actions.map(([action, does]) => [action, classIn(does)])),
    actionFlags: Object.fromEntries(
      actions.flatMap(([action, does]) =>
        typeof does === 'string' ? [] : [[action, distinctFlags(does.flags, ['actions', action, 'flags'], report)]],
      ),
    ),
    flags: distinctFlags(written.flags ?? [], ['flags'], report),
    scopes: distinct(written.scopes ?? [], ['scopes'], report),
    credential: credentialOf(written, tier, limits, report),
    approval: approvalOf(written, tier, report),
    limits,
    ticketRequired: stricterFlag('ticketRequired', written, tier, report),
    planRequired: stricterFlag('planRequired', written, tier, report),
    separateExecutor: written.separateExecutor ?? false,
    maxApprovers: tier.maxApprovers ?? DEFAULT_MAX_APPROVERS,
    release: releaseOf(written, report),
    bindClaims: written.bindClaims ?? {},
    onMisuse: onMisuseOf(written, report),
  }
}

/** In the order of the table, so that the order in the file means nothing. */
function onMisuseOf({ onMisuse }: EntitlementFile, report: Report): Entitlement['onMisuse'] {
  if (onMisuse === undefined) return undefined
  const answers = distinct(onMisuse.contain, ['onMisuse', 'contain'], report)
  return MISUSE_ANSWERS.filter((answer) => answers.includes(answer))
}

const classIn = (does: EntitlementFile['actions'][string]): ActionClass =>
  typeof does === 'string' ? does : does.class

const distinctFlags = (flags: readonly Flag[], path: Path, report: Report): readonly Flag[] => {
  const set = distinct(flags, path, report)
  return FLAGS.filter((flag) => set.includes(flag))
}

/** The commit whose authors are read must be one that is asked for, or the release could be of anything. */
function releaseOf({ release, scopes }: EntitlementFile, report: Report): Entitlement['release'] {
  if (release !== undefined && !(scopes ?? []).some((scope) => scope.startsWith(`${release.scope}:`)))
    report(['release', 'scope'], `No scope begins with ${release.scope}:; add ${release.scope}:* under scopes.`)
  return release
}

function limitsOf(written: EntitlementFile, tier: TierFile, report: Report): Limits {
  const asked = written.limits ?? {}
  const bounds = tierLimits(tier)
  const limit = (name: Exclude<keyof Limits, 'maxUses'>): Duration => {
    const own = asked[name]
    if (own !== undefined && own > bounds[name]) report(['limits', name], longer(own, bounds[name], written.tier))
    return shortest(bounds[name], own ?? bounds[name])
  }
  const decideWithin = limit('decideWithin')
  const useWithin = limit('useWithin')
  if (asked.agentsUseWithin !== undefined && asked.agentsUseWithin > useWithin)
    report(['limits', 'agentsUseWithin'], longerThanOthers(useWithin))
  const maxUses = asked.maxUses ?? DEFAULT_USES
  if (maxUses > tier.maxUses) {
    const bound = `${tier.maxUses} that the tier ${written.tier} allows`
    report(['limits', 'maxUses'], `More than the ${bound}; write at most that, or raise the tier's limit.`)
  }
  return {
    maxDuration: limit('maxDuration'),
    horizon: limit('horizon'),
    decideWithin,
    escalateWithin: shortest(limit('escalateWithin'), quarterUnless(asked.escalateWithin, decideWithin)),
    useWithin,
    agentsUseWithin: shortest(limit('agentsUseWithin'), useWithin),
    maxUses: Math.min(maxUses, tier.maxUses),
  }
}

/** What is shorter to decide is, where nothing else is said, shorter to escalate. */
const quarterUnless = (written: Duration | undefined, decideWithin: Duration): Duration =>
  written ?? quarterOf(decideWithin)

const longerThanOthers = (useWithin: Duration): string =>
  `Agents have no longer than others (${formatDuration(useWithin)}); write at most that.`

const longer = (own: Duration, bound: Duration, tier: Tier): string =>
  `${formatDuration(own)} is longer than the ${formatDuration(bound)} that the tier ${tier} allows; write at most that, or raise the tier's limit.`

function stricterFlag(
  name: 'ticketRequired' | 'planRequired',
  written: EntitlementFile,
  tier: TierFile,
  report: Report,
): boolean {
  if (tier[name] === true && written[name] === false)
    report([name], `The tier ${written.tier} requires it; remove this line, or choose another tier.`)
  return tier[name] === true || written[name] === true
}

function credentialOf(written: EntitlementFile, tier: TierFile, limits: Limits, report: Report): CredentialRule {
  const { credential } = written
  const atLeastHigh = atLeast(written.tier, 'high')
  if (credential.kind === 'vault') {
    const rule = vaultRule(credential, written.tier, tier, limits, report)
    const { revocability } = rule
    const residue = worstResidue(rule, limits.maxDuration)
    if (revocability === 'expiry' && atLeastHigh)
      report(
        ['credential', 'revocability'],
        'From tier high on a credential must end at once; write at_once or lower the tier.',
      )
    else if (tier.maxResidue !== undefined && residue > tier.maxResidue)
      report(
        ['credential', revocability === 'expiry' && rule.engine === 'path' ? 'maxLife' : 'revocability'],
        outlives(residue, tier.maxResidue, written.tier),
      )
    return rule
  }
  const sender = credential.sender ?? 'dpop'
  if (sender === 'bearer' && atLeastHigh)
    report(['credential', 'sender'], 'From tier high on a token is bound to a key; write dpop or remove the line.')
  const bound = shortest(tier.maxLife, limits.maxDuration)
  if (credential.maxLife !== undefined && credential.maxLife > tier.maxLife)
    report(['credential', 'maxLife'], longer(credential.maxLife, tier.maxLife, written.tier))
  else if (credential.maxLife !== undefined && credential.maxLife > bound)
    report(['credential', 'maxLife'], `Longer than the window may be; write at most ${formatDuration(bound)}.`)
  const maxLife = shortest(bound, credential.maxLife ?? DEFAULT_MAX_LIFE)
  if (credential.verifierCache !== undefined && credential.verifierCache > maxLife)
    report(
      ['credential', 'verifierCache'],
      `Longer than a token lives; write at most ${formatDuration(maxLife)}, or 0s if every verifier introspects.`,
    )
  const maxResidue = tier.maxResidue ?? maxLife
  if (credential.verifierCache !== undefined && credential.verifierCache > maxResidue)
    report(['credential', 'verifierCache'], outlives(credential.verifierCache, maxResidue, written.tier))
  const verifierCache = shortest(maxLife, maxResidue, credential.verifierCache ?? DEFAULT_VERIFIER_CACHE)
  return { kind: 'jwt', sender, maxLife, verifierCache }
}

const outlives = (residue: Duration, bound: Duration, tier: Tier): string =>
  `It may outlive a revoke by ${formatDuration(residue)}, and the tier ${tier} allows ${formatDuration(bound)}; write less, or raise the tier's maxResidue.`

type VaultFile = Extract<EntitlementFile['credential'], { kind: 'vault' }>

function vaultRule(
  written: VaultFile,
  tierName: Tier,
  tier: TierFile,
  limits: Limits,
  report: Report,
): VaultCredential {
  if (written.engine === 'database') return { ...written, revocability: written.revocability ?? 'at_once' }
  const { maxLife, path, revocability } = written
  const parameters = path.parameters ?? {}
  const at = ['credential', 'path']
  if (maxLife > tier.maxLife) report(['credential', 'maxLife'], longer(maxLife, tier.maxLife, tierName))
  else if (maxLife > limits.maxDuration)
    report(
      ['credential', 'maxLife'],
      `Longer than the window may be; write at most ${formatDuration(limits.maxDuration)}.`,
    )
  if (path.method === 'read' && path.parameters !== undefined)
    report([...at, 'parameters'], 'Only what is written has parameters; write method: write, or remove them.')
  if (path.method === 'read' && path.lifeParameter !== undefined)
    report([...at, 'lifeParameter'], 'Only what is written has parameters; write method: write, or remove the line.')
  if (path.lifeParameter !== undefined && Object.hasOwn(parameters, path.lifeParameter))
    report([...at, 'parameters', path.lifeParameter], 'The broker writes this one itself; remove it here.')
  if (path.endMember !== undefined && revocability === 'at_once')
    report([...at, 'endMember'], 'What ends at once has a lease, and that says how long it lives; remove the line.')
  const { mount, path: below, method, lifeParameter, endMember } = path
  return {
    kind: 'vault',
    backend: written.backend,
    engine: 'path',
    path: { mount, path: below, method, parameters, lifeParameter, endMember },
    maxLife: shortest(maxLife, tier.maxLife, limits.maxDuration),
    revocability,
  }
}

function approvalOf(written: EntitlementFile, tier: TierFile, report: Report): ApprovalRule {
  const { approval } = written
  if (approval !== 'auto') return peopleRule(approval, written.tier, tier, report)
  if (written.tier !== 'low')
    report(['approval'], `Only the tier low may be approved automatically; name owners for tier ${written.tier}.`)
  for (const [action, does] of Object.entries(written.actions)) {
    const kind = classIn(does)
    if (isNeverAutomatic(kind))
      report(['actions', action], `What is ${kind} is never approved automatically; name owners under approval.`)
  }
  return { mode: 'auto' }
}

const isNeverAutomatic = (kind: ActionClass): boolean => NEVER_AUTOMATIC.includes(kind)

function peopleRule(written: PeopleFile, tierName: Tier, tier: TierFile, report: Report): ApprovalRule {
  const reviewers = (written.reviewers ?? []).toSorted((a, b) => (a.role < b.role ? -1 : a.role > b.role ? 1 : 0))
  distinct(
    (written.reviewers ?? []).map(({ role }) => role),
    ['approval', 'reviewers'],
    report,
  )
  // Every seat is another person: the owner, and each reviewer of each role.
  const seats = 1 + reviewers.reduce((sum, { count }) => sum + (count ?? 1), 0)
  const needed = Math.max(tier.approvals, seats)
  const at: Path = ['approval', 'approvals']
  if (written.approvals !== undefined && written.approvals < tier.approvals)
    report(at, `Fewer than the ${tier.approvals} of the tier ${tierName}; write at least ${tier.approvals}.`)
  else if (written.approvals !== undefined && written.approvals < seats)
    report(at, `The owner and the reviewers already are ${seats} persons; write at least ${seats}, or remove the line.`)
  const approvals = Math.max(needed, written.approvals ?? needed)
  if (reviewers.length === 0 && approvals > 1)
    report(
      written.approvals === undefined ? ['approval'] : at,
      `${approvals} distinct persons must approve and only the owner may; name reviewers.`,
    )
  if (tier.stepUp === true && written.stepUp === false)
    report(['approval', 'stepUp'], `The tier ${tierName} requires it; remove this line, or choose another tier.`)
  return {
    mode: 'people',
    owner: named.person(written.owner),
    deputies: (written.deputies ?? []).map((deputy, n) =>
      deputyOf(deputy, written.owner, ['approval', 'deputies', n], report),
    ),
    reviewers: reviewers.map(({ role, group, count, criteria, evidence, veto }) => ({
      role,
      group: named.group(group),
      count: count ?? 1,
      criteria: criteria ?? {},
      evidence: asSet(evidence ?? []).flatMap((kind) => EVIDENCE_KINDS.filter((known) => known === kind)),
      veto: veto ?? false,
    })),
    approvals,
    stepUp: tier.stepUp === true || written.stepUp === true,
  }
}

function deputyOf(
  { person, group, from, until }: NonNullable<PeopleFile['deputies']>[number],
  owner: string,
  path: Path,
  report: Report,
): Deputy {
  if ((person === undefined) === (group === undefined)) report(path, 'Write either a person or a group.')
  if (person === owner) report([...path, 'person'], 'The owner is no deputy of their own; name somebody else.')
  if (until <= from) report([...path, 'until'], 'The term ends before it begins.')
  if (until - from > LONGEST_TERM)
    report([...path, 'until'], `A term is at most ${formatDuration(LONGEST_TERM)}; write an earlier end, and renew it.`)
  return {
    person: person === undefined ? undefined : named.person(person),
    group: group === undefined ? undefined : named.group(group),
    from,
    until,
  }
}

/** A claim can only be bound to a scope that may be asked for; otherwise nothing could ever be exchanged. */
function checkClaims(written: EntitlementFile, report: Report): void {
  for (const [claim, member] of Object.entries(written.bindClaims ?? {})) {
    if (!member.startsWith('scope:')) continue
    const prefix = `${member.slice('scope:'.length)}:`
    if (!(written.scopes ?? []).some((scope) => scope.startsWith(prefix)))
      report(['bindClaims', claim], `No scope begins with ${prefix}; add ${prefix}* under scopes.`)
  }
}

/** As a set, because order means nothing here; a repeated item is a mistake in counting. */
function distinct(items: readonly string[], path: Path, report: Report): readonly string[] {
  const twice = items.findIndex((item, index) => items.indexOf(item) !== index)
  if (twice >= 0) report([...path, twice], `${items[twice]} is here twice; keep one.`)
  return asSet(items)
}

function mapping(
  value: Plain | undefined,
  path: Path,
  report: Report,
  known?: readonly string[],
): Readonly<Record<string, Plain>> | undefined {
  const what = known === undefined ? 'a mapping from names' : `a mapping with: ${known.join(', ')}`
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    report(path, value === undefined ? `This is missing: write ${what}.` : `Write ${what}.`)
    return undefined
  }
  for (const key of Object.keys(value)) {
    if (known !== undefined && !known.includes(key))
      report([...path, key], `Remove what is unknown here (${key}); known are: ${known.join(', ')}.`)
  }
  return value as Readonly<Record<string, Plain>>
}

function parsed<Shape extends z.ZodType>(
  shape: Shape,
  value: Plain | undefined,
  path: Path,
  report: Report,
): z.output<Shape> | undefined {
  const result = shape.safeParse(value)
  if (result.success) return result.data
  for (const issue of result.error.issues) tell(issue, path, value, report)
  return undefined
}

/** One issue to one problem per place: an unknown key stands at that key, a union at the alternative that was meant. */
function tell(issue: z.core.$ZodIssue, base: Path, value: Plain | undefined, report: Report): void {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))]
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) report([...path, key], issue.message)
  } else if (issue.code === 'invalid_key') {
    report(path, issue.issues[0]?.message ?? issue.message)
  } else if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const asMapping = issue.errors.at(-1) ?? []
    if (asMapping.some(({ code, path: at }) => code === 'invalid_type' && at.length === 0))
      report(path, 'Write auto, or a mapping with owner, deputies, reviewers and approvals.')
    else for (const inner of asMapping) tell(inner, path, value, report)
  } else report(path, issue.message)
}
