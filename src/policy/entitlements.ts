// entitlements.yaml to immutable, complete Entitlements. The stricter of tier and entitlement always stands: what would loosen its tier
// is an error and never cut in silence, because somebody who wrote 8h and gets 4h finds out during the change.
// Floors that no file lifts are checked here; where a problem is found, nothing is compiled.
import type { z } from 'zod'
import {
  type ActionClass,
  type ApprovalRule,
  type CredentialRule,
  type Entitlement,
  type Limits,
  NEVER_AUTOMATIC,
} from '../domain/entitlement.ts'
import { isName, named } from '../domain/ids.ts'
import { type Duration, days, formatDuration, minutes, seconds, shortest } from '../domain/instant.ts'
import { asSet } from '../domain/intent.ts'
import { atLeast, TIERS, type Tier } from '../domain/tier.ts'
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
  readonly problems: readonly PolicyProblem[]
  place(path: Path): Place
}

type Report = (path: Path, message: string) => void
type Tiers = Partial<Record<Tier, TierFile>>

const DEFAULT_MAX_LIFE = minutes(15)
const DEFAULT_VERIFIER_CACHE = seconds(30)
const DEFAULT_USES = 1
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
  const done = (revision: number, entitlements: readonly Entitlement[]): CompiledEntitlements => ({
    revision,
    entitlements,
    problems,
    place: yaml.place,
  })
  if (yaml.value === undefined) return done(0, [])
  const top = mapping(yaml.value, [], report, ['revision', 'tiers', 'entitlements'])
  if (top === undefined) return done(0, [])
  const revision = parsed(parts.revision, top.revision, ['revision'], report)
  const tiers = compileTiers(top.tiers, report)
  return done(revision ?? 0, compileEach(top.entitlements, tiers, report))
}

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

function compileEach(value: Plain | undefined, tiers: Tiers, report: Report): readonly Entitlement[] {
  const found = Object.entries(mapping(value, ['entitlements'], report) ?? {})
  if (found.length > MAX_ENTITLEMENTS) {
    report(['entitlements'], `At most ${MAX_ENTITLEMENTS} entitlements are read; these are ${found.length}.`)
    return []
  }
  if (value !== undefined && found.length === 0) report(['entitlements'], 'Nothing is offered; write an entitlement.')
  return found.flatMap(([id, member]) => {
    const path = ['entitlements', id]
    parsed(nameShape, id, path, report)
    const written = parsed(parts.entitlement, member, path, report)
    if (written === undefined || !isName(id)) return []
    const tier = tiers[written.tier]
    if (tier === undefined)
      report([...path, 'tier'], `The tier ${written.tier} is not described; write it under tiers.`)
    return [compileOne(id, written, tier ?? UNBOUNDED, (at, message) => report([...path, ...at], message))]
  })
}

function compileOne(id: string, written: EntitlementFile, tier: TierFile, report: Report): Entitlement {
  const limits = limitsOf(written, tier, report)
  const { target, actions } = written
  const names = Object.keys(actions)
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
    actions,
    scopes: distinct(written.scopes ?? [], ['scopes'], report),
    credential: credentialOf(written, tier, limits, report),
    approval: approvalOf(written, tier, report),
    limits,
    ticketRequired: stricterFlag('ticketRequired', written, tier, report),
    planRequired: stricterFlag('planRequired', written, tier, report),
    bindClaims: written.bindClaims ?? {},
  }
}

function limitsOf(written: EntitlementFile, tier: TierFile, report: Report): Limits {
  const asked = written.limits ?? {}
  const limit = (name: 'maxDuration' | 'horizon' | 'decideWithin'): Duration => {
    const own = asked[name]
    if (own !== undefined && own > tier[name]) report(['limits', name], longer(own, tier[name], written.tier))
    return shortest(tier[name], own ?? tier[name])
  }
  const maxUses = asked.maxUses ?? DEFAULT_USES
  if (maxUses > tier.maxUses) {
    const bound = `${tier.maxUses} that the tier ${written.tier} allows`
    report(['limits', 'maxUses'], `More than the ${bound}; write at most that, or raise the tier's limit.`)
  }
  return {
    maxDuration: limit('maxDuration'),
    horizon: limit('horizon'),
    decideWithin: limit('decideWithin'),
    maxUses: Math.min(maxUses, tier.maxUses),
  }
}

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
    const revocability = credential.revocability ?? 'at_once'
    if (revocability === 'expiry' && atLeastHigh)
      report(
        ['credential', 'revocability'],
        'From tier high on a credential must end at once; write at_once or lower the tier.',
      )
    return { ...credential, revocability }
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
  const verifierCache = shortest(maxLife, credential.verifierCache ?? DEFAULT_VERIFIER_CACHE)
  return { kind: 'jwt', sender, maxLife, verifierCache }
}

function approvalOf(written: EntitlementFile, tier: TierFile, report: Report): ApprovalRule {
  const { approval } = written
  if (approval !== 'auto') return peopleRule(approval, written.tier, tier, report)
  if (written.tier !== 'low')
    report(['approval'], `Only the tier low may be approved automatically; name owners for tier ${written.tier}.`)
  for (const [action, kind] of Object.entries(written.actions)) {
    if (isNeverAutomatic(kind))
      report(['actions', action], `What is ${kind} is never approved automatically; name owners under approval.`)
  }
  return { mode: 'auto' }
}

const isNeverAutomatic = (kind: ActionClass): boolean => NEVER_AUTOMATIC.includes(kind)

function peopleRule(written: PeopleFile, tierName: Tier, tier: TierFile, report: Report): ApprovalRule {
  const owners = distinct(written.owners, ['approval', 'owners'], report)
  const reviewers = (written.reviewers ?? []).toSorted((a, b) => (a.group < b.group ? -1 : a.group > b.group ? 1 : 0))
  distinct(
    (written.reviewers ?? []).map(({ group }) => group),
    ['approval', 'reviewers'],
    report,
  )
  // Every seat is another person: one owner, and each reviewer of each group.
  const seats = 1 + reviewers.reduce((sum, { count }) => sum + count, 0)
  const needed = Math.max(tier.approvals, seats)
  const at: Path = ['approval', 'approvals']
  if (written.approvals !== undefined && written.approvals < tier.approvals)
    report(at, `Fewer than the ${tier.approvals} of the tier ${tierName}; write at least ${tier.approvals}.`)
  else if (written.approvals !== undefined && written.approvals < seats)
    report(at, `One owner and the reviewers already are ${seats} persons; write at least ${seats}, or remove the line.`)
  const approvals = Math.max(needed, written.approvals ?? needed)
  if (reviewers.length === 0 && approvals > owners.length)
    report(
      written.approvals === undefined ? ['approval', 'owners'] : at,
      `${approvals} distinct persons must approve and only ${owners.length} may; name more owners, or reviewers.`,
    )
  return {
    mode: 'people',
    owners: owners.map(named.person),
    reviewers: reviewers.map(({ group, count }) => ({ group: named.group(group), count })),
    approvals,
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
      report(path, 'Write auto, or a mapping with owners, reviewers and approvals.')
    else for (const inner of asMapping) tell(inner, path, value, report)
  } else report(path, issue.message)
}
