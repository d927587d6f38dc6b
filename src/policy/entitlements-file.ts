// The shape of entitlements.yaml: what each member may be, before anything is compared with anything else.
// Unknown keys are errors, and every message says what to write. The JSON Schema for editors is made from here.
import { z } from 'zod'
import {
  ACTION_CLASSES,
  EVIDENCE_KINDS,
  RESERVED_SEGMENTS,
  REVIEWER_ROLES,
  VAULT_SEGMENT,
} from '../domain/entitlement.ts'
import { type Duration, days, parseDuration, parseInstant, seconds } from '../domain/instant.ts'
import { FLAGS, SENSITIVITIES, TRUSTS } from '../domain/risk.ts'
import { TIERS } from '../domain/tier.ts'
import { MISUSE_ANSWERS } from '../domain/use.ts'

const must = (what: string) => (issue: { readonly input?: unknown }) =>
  issue.input === undefined ? `This is missing: write ${what}.` : `Write ${what}.`

const members = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `Remove what is unknown here (${issue.keys?.join(', ')}); known are: ${Object.keys(shape).join(', ')}.`
        : must(`a mapping with: ${Object.keys(shape).join(', ')}`)(issue),
  })

// It goes into addresses of the forge, where a segment of dots alone would lead elsewhere.
const SEGMENT = '(?!\\.{1,2}(/|$))[A-Za-z0-9_.-]+'
const REPOSITORY = `^${SEGMENT}(/${SEGMENT})*$`
const NAME = '^[a-z][a-z0-9]*(-[a-z0-9]+)*$'
const matching = (pattern: string, max: number, what: string) =>
  z
    .string({ error: must(what) })
    .regex(new RegExp(pattern), { error: `Write ${what}.` })
    .max(max, { error: `Write ${what}.` })

/** As `isName` in the domain; a test holds the two together. */
export const nameShape = matching(NAME, 32, 'a name: lower case words joined by "-", at most 32 characters')
const actionName = matching(
  '^[a-z][a-z0-9]*([._-][a-z0-9]+)*$',
  64,
  'an action such as db.migrate: lower case words joined by ".", "_" or "-"',
)
// The engine's own rule for unquoted identifiers, so that nothing has to be quoted to be safe.
const sqlName = matching('^[a-z][a-z0-9_]*$', 63, 'a role name: lower case letters, digits and "_"')
// RFC 6749 §3.3 allows more; what is left out would need escaping somewhere.
const scope = matching(
  '^[a-z0-9][A-Za-z0-9._/-]*(:[A-Za-z0-9._/-]+)*(:\\*)?$',
  128,
  'a scope such as report:read, or commit:* for every scope that begins with commit:',
)
const claimTarget = matching(
  '^(environment|scope:[a-z0-9][A-Za-z0-9._/-]*)$',
  64,
  '"environment", or "scope:<word>" for the scope member <word>:<claim>',
)
// RFC 8707 §2: an absolute URI without a fragment.
const audience = z
  .string({ error: must('the audience: an absolute URI') })
  .max(256, { error: 'Write a URI of at most 256 characters.' })
  .refine((text) => /^[a-z][a-z0-9+.-]*:[^\s#"<>\\^`{|}]+$/.test(text) && URL.canParse(text), {
    error: 'Write an absolute URI without a fragment, such as https://reports.example.',
  })

const LONGEST = days(365)
const span = (least: Duration) =>
  z
    .string({ error: must('a duration such as 90s, 15m, 4h or 14d') })
    .regex(/^(\d{1,9}(ms|s|m|h|d))+$/, { error: 'Write a duration such as 90s, 15m, 4h or 14d.' })
    .transform((text, context) => {
      const parsed = parseDuration(text)
      if (parsed !== undefined && parsed >= least && parsed <= LONGEST && parsed % 1_000 === 0) return parsed
      const bounds = least === 0 ? 'of at most 365d' : 'of at least 1s and at most 365d'
      context.addIssue({ code: 'custom', message: `Write a duration of whole seconds, ${bounds}.` })
      return z.NEVER
    })
const duration = span(seconds(1))
const cacheSpan = span(seconds(0))

const count = (max: number) =>
  z
    .int({ error: must(`a whole number from 1 to ${max}`) })
    .min(1, { error: `Write a whole number from 1 to ${max}; nothing below 1 is ever read as "none".` })
    .max(max, { error: `Write a whole number from 1 to ${max}.` })

const flag = z.boolean({ error: must('true or false') })
const title = z
  .string({ error: must('a title that a person understands') })
  .regex(/^\P{C}+$/u, { error: 'Write one line of printable text.' })
  .max(120, { error: 'Write at most 120 characters.' })
const listOf = <Item extends z.ZodType>(item: Item, least: number, what: string) =>
  z
    .array(item, { error: must(`a list of ${what}`) })
    .min(least, { error: `Name at least ${least} of ${what}.` })
    .max(64, { error: `Name at most 64 of ${what}.` })

const moment = z.string({ error: must('a time such as 2026-12-01T00:00:00Z') }).transform((text, context) => {
  const parsed = parseInstant(text)
  if (parsed !== undefined) return parsed
  context.addIssue({ code: 'custom', message: 'Write a time with its zone, such as 2026-12-01T00:00:00Z.' })
  return z.NEVER
})
const flagName = z.enum(FLAGS, { error: must(`one of: ${FLAGS.join(', ')}`) })
const flagNames = listOf(flagName, 0, `what it does beyond its class: ${FLAGS.join(', ')}`)
const catalogueId = matching('^[A-Za-z0-9][A-Za-z0-9._/-]*$', 64, 'an id: letters, digits, ".", "_", "/" or "-"')

const tier = members({
  approvals: count(8),
  maxDuration: duration,
  horizon: duration,
  decideWithin: duration,
  escalateWithin: duration.optional(),
  useWithin: duration.optional(),
  agentsUseWithin: duration.optional(),
  maxUses: count(1_000),
  maxLife: duration,
  maxResidue: cacheSpan.optional(),
  maxApprovers: count(1_000).optional(),
  stepUp: flag.optional(),
  ticketRequired: flag.optional(),
  planRequired: flag.optional(),
})

const jwtCredential = members({
  kind: z.literal('jwt'),
  sender: z.enum(['dpop', 'bearer'], { error: must('dpop or bearer') }).optional(),
  maxLife: duration.optional(),
  verifierCache: cacheSpan.optional(),
})
const ofVault = {
  kind: z.literal('vault'),
  backend: nameShape,
  revocability: z.enum(['at_once', 'expiry'], { error: must('at_once or expiry') }),
}
const databaseCredential = members({
  ...ofVault,
  engine: z.literal('database'),
  database: members({ mount: nameShape, connection: nameShape, grantedRole: sqlName, ownerRole: sqlName }),
  revocability: ofVault.revocability.optional(),
})
// As `isVaultPath` in the adapter, which asks again. Nothing in it leads elsewhere, stands for several paths, or is Vault's own house.
const VAULT_PATH = `^(?!(.*/)?(${RESERVED_SEGMENTS.join('|')})(/|$))(?!(.*/)?writ-)${VAULT_SEGMENT}(/${VAULT_SEGMENT})*$`
const vaultPath = matching(
  VAULT_PATH,
  200,
  `a path of Vault: words joined by "/", none of them ${RESERVED_SEGMENTS.join(', ')}, and none that begins with writ-`,
)
const parameterName = matching('^[a-z][a-z0-9_]*$', 64, 'the name of a parameter: lower case letters, digits and "_"')
// Vault's policy pins it: there `${` would begin an expression, and a "*" at an end would stand for any text.
const parameterText = z.string({ error: must('a text') }).regex(/^(?!\*)(?!.*\$\{)\P{C}{1,1000}(?<!\*)$/u, {
  error: 'Write one line of printable text, without "${" in it or "*" at an end.',
})
const pathCredential = members({
  ...ofVault,
  engine: z.literal('path'),
  path: members({
    mount: vaultPath,
    path: vaultPath,
    method: z.enum(['read', 'write'], { error: must('read or write') }),
    parameters: z
      .record(parameterName, parameterText, { error: must('a mapping from each parameter to its text') })
      .optional(),
    lifeParameter: parameterName.optional(),
    endMember: parameterName.optional(),
  }),
  maxLife: duration,
})
const vaultCredential = z.discriminatedUnion('engine', [databaseCredential, pathCredential], {
  error: must('the engine: database, or path for any other path of Vault'),
})

const deputy = members({
  person: nameShape.optional(),
  group: nameShape.optional(),
  from: moment,
  until: moment,
})
const criterion = z
  .string({ error: must('a sentence that a reviewer finds true or not') })
  .regex(/^\P{C}+$/u, { error: 'Write one line of printable text.' })
  .max(300, { error: 'Write at most 300 characters.' })
const reviewer = members({
  role: z.enum(REVIEWER_ROLES, { error: must(`one of: ${REVIEWER_ROLES.join(', ')}`) }),
  group: nameShape,
  count: count(8).optional(),
  criteria: z.record(nameShape, criterion, { error: must('a mapping from a name to a criterion') }).optional(),
  evidence: listOf(
    z.enum(EVIDENCE_KINDS, { error: must(`one of: ${EVIDENCE_KINDS.join(', ')}`) }),
    1,
    `kinds of evidence: ${EVIDENCE_KINDS.join(', ')}`,
  ).optional(),
  veto: flag.optional(),
})
const people = members({
  owner: matching(NAME, 32, 'the one person who owns the target and answers for it'),
  deputies: listOf(deputy, 0, 'deputies with a term').optional(),
  reviewers: listOf(reviewer, 0, 'reviewer roles').optional(),
  approvals: count(64).optional(),
  stepUp: flag.optional(),
})
const actionClass = z.enum(ACTION_CLASSES, { error: must(`one of: ${ACTION_CLASSES.join(', ')}`) })
const action = z.union([actionClass, members({ class: actionClass, flags: flagNames })])

const entitlement = members({
  title,
  tenant: nameShape,
  openTo: listOf(nameShape, 1, 'the tenants whose principals may ask').optional(),
  tier: z.enum(TIERS, { error: must(`one of: ${TIERS.join(', ')}`) }),
  target: members({ id: nameShape, environment: nameShape, audience: audience.optional() }),
  actions: z.record(actionName, action, {
    error: must('a mapping from each action to what it does, such as report.read: read'),
  }),
  flags: flagNames.optional(),
  scopes: listOf(scope, 0, 'scopes').optional(),
  credential: z.discriminatedUnion('kind', [jwtCredential, vaultCredential], {
    error: must('a credential with kind: jwt or kind: vault'),
  }),
  approval: z.union([z.literal('auto'), people]),
  limits: members({
    maxDuration: duration.optional(),
    horizon: duration.optional(),
    decideWithin: duration.optional(),
    escalateWithin: duration.optional(),
    useWithin: duration.optional(),
    agentsUseWithin: duration.optional(),
    maxUses: count(1_000).optional(),
  }).optional(),
  ticketRequired: flag.optional(),
  planRequired: flag.optional(),
  separateExecutor: flag.optional(),
  release: members({
    forge: nameShape,
    repository: matching(REPOSITORY, 200, 'a repository as its forge names it'),
    scope: matching('^[a-z0-9][A-Za-z0-9._/-]*$', 64, 'the word of the scope that holds the commit, such as commit'),
  }).optional(),
  bindClaims: z
    .record(matching('^[A-Za-z_][A-Za-z0-9_./:-]*$', 64, 'the name of a claim'), claimTarget, {
      error: must('a mapping from a claim to what it must equal'),
    })
    .optional(),
  onMisuse: members({
    contain: listOf(
      z.enum(MISUSE_ANSWERS, { error: must(`one of: ${MISUSE_ANSWERS.join(', ')}`) }),
      1,
      MISUSE_ANSWERS.join(', '),
    ),
  }).optional(),
})

export const MAX_ENTITLEMENTS = 1_000
/** Parsed member by member, so that one bad entitlement does not hide the problems of the next. */
const destinations = z.record(catalogueId, z.enum(TRUSTS, { error: must(`one of: ${TRUSTS.join(', ')}`) }), {
  error: must('a mapping from each destination to how far it is trusted'),
})
const dataTypes = z.record(catalogueId, z.enum(SENSITIVITIES, { error: must(`one of: ${SENSITIVITIES.join(', ')}`) }), {
  error: must('a mapping from each kind of data to how sensitive it is'),
})
export const parts = {
  tier,
  entitlement,
  people,
  destinations,
  dataTypes,
  revision: count(Number.MAX_SAFE_INTEGER),
} as const
export type TierFile = z.output<typeof tier>
export type EntitlementFile = z.output<typeof entitlement>
export type PeopleFile = z.output<typeof people>

/** The whole file, for the JSON Schema that editors use. */
export const entitlementsFile = z.strictObject({
  revision: parts.revision,
  tiers: z.strictObject({
    low: tier.optional(),
    elevated: tier.optional(),
    high: tier.optional(),
    critical: tier.optional(),
  }),
  destinations: destinations.optional(),
  dataTypes: dataTypes.optional(),
  entitlements: z.record(nameShape, entitlement),
})

/** The JSON Schema that editors use; what compares one member with another is checked only when the file is compiled. */
export const entitlementsSchema = (): object => z.toJSONSchema(entitlementsFile, { io: 'input' })
