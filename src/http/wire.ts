// Every body and every answer of `/v1` as a strict schema: an unknown member is refused, a default is written here and nowhere else.
// Invariant: a text that passes shows exactly what it holds: no control, no bidirectional override, nothing invisible.
import { z } from 'zod'
import { CANARY_RESULTS, CANARY_STEPS } from '../domain/canary.ts'
import { ACTION_CLASSES, EVIDENCE_KINDS, REVIEWER_ROLES } from '../domain/entitlement.ts'
import { EVENT_TYPES } from '../domain/events.ts'
import { isAttemptId, isDigest, isGrantId, isName, isThumbprint, PATTERNS } from '../domain/ids.ts'
import { INSTANT_PATTERN, parseDuration, parseInstant } from '../domain/instant.ts'
import { STATUSES, type Status } from '../domain/lifecycle.ts'
import { isPasskeyName, PASSKEY_NAME } from '../domain/passkey.ts'
import { FLAGS, type Flag } from '../domain/risk.ts'
import { TIERS } from '../domain/tier.ts'
import { REFUSAL_REASONS, USE_OUTCOMES } from '../domain/use.ts'

// Controls but the line feed, which is judged apart; line and paragraph separators; bidirectional marks, embeddings, overrides and
// isolates; and whatever Unicode says need not be drawn: fillers, tags, soft hyphens, selectors. Joiners stay, because several scripts
// cannot be written without them, and so do the two selectors that make a character text or emoji.
const UNSEEN =
  /(?!\n)[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\u200b]|(?!\u200c|\u200d|\ufe0e|\ufe0f)\p{Default_Ignorable_Code_Point}/u

const showsItself = (text: string): boolean => text.isWellFormed() && !UNSEEN.test(text)
/** Something that a person sees: not only spaces and joiners. */
const showsSomething = (text: string): boolean => /[\p{L}\p{N}\p{P}\p{S}]/u.test(text)
const UNSEEN_MESSAGE = 'holds a control, bidirectional or invisible character, or half a surrogate pair'

// What `meta` holds here is for the API document, which cannot run a refinement. Of the unseen characters it names those of the first
// plane: not every reader of JSON Schema has Unicode's properties, nor one way to write the others.
const UNSEEN_SHOWN =
  '\\u0000-\\u0009\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufff8'

/** One line that a person reads. */
const line = (most: number) =>
  z
    .string()
    .max(most)
    .refine(showsItself, UNSEEN_MESSAGE)
    .refine((text) => !text.includes('\n'), 'is one line')
    .meta({ pattern: `^[^\\n${UNSEEN_SHOWN}]*$` })
/** Several lines that a person reads; only the line feed parts them. */
const lines = (most: number) =>
  z
    .string()
    .max(most)
    .refine(showsItself, UNSEEN_MESSAGE)
    .meta({ pattern: `^[^${UNSEEN_SHOWN}]*$` })
/** A name in somebody's system: printable ASCII without spaces. */
const word = (most: number) =>
  z
    .string()
    .max(most)
    .regex(/^[\x21-\x7e]+$/, 'is printable ASCII without spaces')
/** The system of a ticket: a ticket is shown, and asked for, as `system:id`, and one such word is one ticket. */
const ticketSystem = z
  .string()
  .max(64)
  .regex(/^[\x21-\x39\x3b-\x7e]+$/, 'is printable ASCII without spaces or colons')
/** What a run or session is called by whoever runs it: their text, as their tokens have it. */
const sessionName = line(512).min(1)
const address = z
  .string()
  .max(2_000)
  .refine(
    (text) => text === '' || (/^https?:\/\/[\x21-\x7e]+$/.test(text) && URL.canParse(text)),
    'is an http or https address',
  )
  .meta({ pattern: '^(https?://[\\x21-\\x7e]+)?$' })
const name = z
  .string()
  .refine(isName, 'is a name: lower case words joined by -, at most 32 characters')
  .meta({ pattern: PATTERNS.name, maxLength: 32 })
const digest = z
  .string()
  .refine(isDigest, 'is sha-256: and 43 characters of base64url')
  .meta({ pattern: PATTERNS.digest })
const thumbprint = z.string().refine(isThumbprint, 'is an RFC 7638 thumbprint').meta({ pattern: PATTERNS.thumbprint })
const time = z
  .string()
  .max(40)
  .refine((text) => parseInstant(text) !== undefined, 'is an RFC 3339 time with a zone')
  .meta({ format: 'date-time', pattern: INSTANT_PATTERN })
const span = z
  .string()
  .max(40)
  .refine((text) => (parseDuration(text) ?? 0) > 0, 'is a duration above zero like 30m or 1h30m')
  // Narrower than what is taken: hours and days that no calendar holds are left out.
  .meta({ pattern: '^([0-9]{1,9}(ms|s|m)|[0-9]{1,7}(h|d))+$' })

export const windowAsked = z.union([
  z.strictObject({
    opensAt: time.meta({ description: 'When the credential may begin, RFC 3339.' }),
    closesAt: time.meta({ description: 'When it is over, RFC 3339. The end never moves.' }),
  }),
  z.strictObject({ duration: span.meta({ description: 'A window that opens now and is this long.' }) }),
])

const byFlag = <T>(make: () => T): Record<Flag, T> =>
  Object.fromEntries(FLAGS.map((flag) => [flag, make()])) as Record<Flag, T>
const share = z.int().min(0).max(100)

const grantRef = z.string().refine(isGrantId, 'is not the id of a grant').meta({ pattern: PATTERNS.grantId })

/** What is asked of one entitlement; one asking may name several. */
const part = {
  entitlement: name.meta({ description: 'What is asked for; see GET /v1/entitlements.' }),
  actions: z.array(word(64)).min(1).max(20).meta({ description: 'Actions of the entitlement.' }),
  scope: z
    .array(word(200))
    .max(50)
    .default([])
    .meta({ description: 'What is touched inside the target, such as schema:payments.' }),
  dataTypes: z
    .array(word(64))
    .max(20)
    .default([])
    .meta({ description: 'Kinds of data that are touched, such as pii.' }),
  destination: z
    .union([z.literal(''), word(200)])
    .default('')
    .meta({ description: 'Where data goes to, if anywhere: an id of the policy’s catalogue; any other is untrusted.' }),
  credential: z
    .strictObject({ uses: z.int().min(1).max(1_000).default(1) })
    .prefault({})
    .meta({ description: 'How many credentials may be made inside the window.' }),
}

export const askBody = z.strictObject({
  ...part,
  task: z
    .strictObject({
      id: z
        .union([z.literal(''), word(100)])
        .default('')
        .meta({ description: 'The task in the caller’s own system.' }),
      summary: line(500)
        .min(1)
        .refine(showsSomething, 'says nothing')
        .meta({ description: 'What is done, in one line.' }),
      objective: lines(2_000).default('').meta({ description: 'Why it is done.' }),
      expectedOutcome: lines(2_000).default('').meta({ description: 'What is true afterwards.' }),
      rollback: lines(2_000).default('').meta({ description: 'How it is undone.' }),
    })
    .meta({ description: 'Texts that approvers read: immutable once filed and hashed into every decision.' }),
  changeClass: z
    .enum(['standard', 'normal', 'emergency'])
    .default('normal')
    .meta({ description: 'The class of the change.' }),
  impact: z
    .strictObject(byFlag(() => z.boolean().default(false)))
    .prefault({})
    .meta({ description: 'What the change may affect besides what follows from it: it can only raise the tier.' }),
  exposure: z
    .strictObject({
      segment: word(100).meta({ description: 'Who is exposed, such as a region or a ring.' }),
      from: share.default(0),
      to: share.meta({ description: 'The share of 100 that is exposed at most; a wider stage is a new grant.' }),
      rollbackCriteria: lines(1_000).default('').meta({ description: 'When the stage is taken back.' }),
    })
    .refine(({ from, to }) => from <= to, 'begins at no more than it ends with')
    .optional()
    .meta({ description: 'The stage of a gradual change.' }),
  plan: z
    .strictObject({
      digest: digest.meta({ description: 'Of the plan’s bytes.' }),
      mediaType: z
        .string()
        .max(100)
        .regex(/^[a-z0-9.+-]+\/[a-z0-9.+-]+$/i, 'is a media type')
        .default('application/octet-stream'),
      uri: address.default(''),
    })
    .optional()
    .meta({ description: 'The plan that will be executed, by its digest.' }),
  ticket: z
    .strictObject({ system: ticketSystem, id: word(100), url: address.default('') })
    .optional()
    .meta({ description: 'The change ticket.' }),
  window: windowAsked.meta({ description: 'Half-open: opensAt <= t < closesAt.' }),
  executor: z
    .strictObject({
      principal: name.optional(),
      key: thumbprint.optional(),
    })
    .refine(({ principal, key }) => principal !== undefined || key !== undefined, 'names a principal, a key, or both')
    .meta({ minProperties: 1 })
    .optional()
    .meta({ description: 'Who alone may exchange; the caller where it is left out.' }),
  replaces: grantRef
    .optional()
    .meta({ description: 'A grant of yours that nobody has exchanged yet: it is withdrawn when this one is filed.' }),
  more: z
    .array(z.strictObject(part))
    .max(9)
    .default([])
    .meta({ description: 'Further entitlements for the same task: each is filed as a linked grant of its own.' }),
})
export type AskBody = z.infer<typeof askBody>

const evidence = z
  .array(
    z.union([
      z.strictObject({ kind: z.literal('note'), text: lines(1_000).min(1).refine(showsSomething, 'says nothing') }),
      z.strictObject({
        kind: z.enum(EVIDENCE_KINDS),
        url: address.refine((text) => text !== '', 'is an http or https address'),
        digest: digest.meta({ description: 'Of what lies there.' }),
      }),
    ]),
  )
  .max(30)
  .meta({ description: 'What the decision rests on. A note is evidence of no kind that an entitlement names.' })
const accepts = z
  .array(
    z.strictObject({
      risk: z
        .string()
        .regex(/^(review:[a-z-]{1,32}|condition:[A-Za-z0-9_-]{12})$/, 'is review:<role> or condition:<id>')
        .meta({
          description: 'review:<role> for a review that is missing or negative, condition:<id> for one that is open.',
        }),
      until: time.meta({ description: 'When the acceptance is over; from then on it is a risk again.' }),
    }),
  )
  .meta({ description: 'Risks that the owner takes upon them by name.' })
const reason = lines(2_000).meta({ description: 'Why, for those who read it later.' })
export const decisionBody = z.strictObject({
  verdict: z.enum(['approve', 'deny']),
  reason: reason.default(''),
  digest: digest.optional().meta({ description: 'The revision decided on; or as If-Match.' }),
  as: z
    .enum(['owner', ...REVIEWER_ROLES])
    .optional()
    .meta({ description: 'In which seat; only needed by who could decide in several.' }),
  checklist: z
    .array(name)
    .max(64)
    .default([])
    .meta({ description: 'The criteria of the seat that were found true; the grant’s rule names them.' }),
  evidence: evidence.default([]),
  conditions: z
    .array(
      z.strictObject({
        text: lines(1_000).min(1).refine(showsSomething, 'says nothing'),
        owner: name.meta({ description: 'The person who does it.' }),
        due: time,
      }),
    )
    .max(20)
    .default([])
    .meta({ description: 'Yes, if: each blocks exchange until it is closed, or its risk is accepted.' }),
  accepts: accepts.max(50).default([]),
})
export const closureBody = z.strictObject({
  condition: z.string().regex(/^[A-Za-z0-9_-]{12}$/, 'is the id of a condition'),
  reason: reason.default(''),
  evidence: evidence.default([]),
})
export const acceptanceBody = z.strictObject({
  accepts: accepts.min(1).max(50),
  reason: reason.min(1).refine(showsSomething, 'says nothing'),
})
/** The same as what is decided, and where it is finished with a passkey. */
export const stepUpBody = z.union([decisionBody, closureBody, acceptanceBody])
/** Of a route to which nothing is said: it may be left out. */
export const noBody = z.strictObject({})
export const passkeyBody = z.strictObject({
  name: z
    .string()
    .refine(isPasskeyName, 'is up to 40 letters, digits and simple marks')
    .meta({ pattern: PASSKEY_NAME, description: 'What you call it.' }),
})
export const reasonBody = z.strictObject({ reason: reason.default('') })
export const exchangeBody = z.strictObject({
  attempt: z
    .string()
    .refine(isAttemptId, 'is 8 to 64 letters, digits, dots, dashes or underscores')
    .meta({ pattern: PATTERNS.attemptId })
    .optional()
    .meta({ description: 'Chosen by the caller: the same attempt and key never make a second credential.' }),
})
export const completeBody = z.strictObject({
  result: z
    .record(z.string().regex(/^[a-zA-Z][a-zA-Z0-9_.-]{0,63}$/, 'is a short name'), lines(1_000))
    .refine((result) => Object.keys(result).length <= 20, 'has at most 20 members')
    .meta({ maxProperties: 20 })
    .default({})
    .meta({ description: 'What came of the task.' }),
})

export const questionBody = z.strictObject({
  text: lines(1_000)
    .min(1)
    .refine(showsSomething, 'says nothing')
    .meta({ description: 'The question, or its answer.' }),
})

const whereBody = z
  .strictObject({
    task: word(100).optional().meta({ description: 'The task as the asking named it.' }),
    session: sessionName.optional().meta({ description: 'The run or session that asked.' }),
    ticket: z.strictObject({ system: ticketSystem, id: word(100) }).optional(),
  })
  .refine((where) => Object.values(where).some((value) => value !== undefined), 'names a task, a session or a ticket')
  .meta({ minProperties: 1, description: 'Every grant of yours to end for which all of this holds.' })
export const completionsBody = z.strictObject({ where: whereBody, result: completeBody.shape.result })
export const revocationsBody = z.strictObject({ where: whereBody, reason: reason.default('') })

/** What a freeze may name. */
const selector = {
  person: name.optional().meta({ description: 'The requester, the executor, or who answers for either.' }),
  agent: name.optional().meta({ description: 'Requester or executor.' }),
  workload: name.optional().meta({ description: 'Requester or executor.' }),
  sponsor: name.optional().meta({ description: 'Who answers for an agent or workload that is requester or executor.' }),
  tenant: name.optional().meta({ description: 'Of the target or of the requester.' }),
  target: word(200).optional(),
  environment: word(200).optional(),
  entitlement: name.optional(),
  task: word(100).optional().meta({ description: 'The task as the asking named it.' }),
  session: sessionName.optional().meta({ description: 'The run or session that asked, or that exchanges.' }),
  ticket: z.strictObject({ system: ticketSystem, id: word(100) }).optional(),
  planDigest: digest.optional(),
  key: thumbprint
    .optional()
    .meta({ description: 'The key of the executor, or one that is shown: RFC 7638 thumbprint.' }),
  approver: name.optional().meta({ description: 'Whoever approved it, or said anything else on it that is kept.' }),
  policyDigest: digest
    .optional()
    .meta({ description: 'Of the policy that it was filed or decided under, or would go on under now.' }),
  issuedBefore: time
    .optional()
    .meta({ description: 'Something was issued of it before this time, which is not in the future.' }),
}
export const freezeBody = z.strictObject({
  where: z
    .strictObject(selector)
    .refine((where) => Object.values(where).some((value) => value !== undefined), 'names who, what or where')
    .meta({
      minProperties: 1,
      description:
        'All of it must hold. It concerns targets and requesters of your own tenant alone, whatever it names.',
    }),
  reason: reason.default(''),
})
export type FreezeBody = z.infer<typeof freezeBody>
export const containmentBody = freezeBody.extend({
  freeze: z.boolean().default(true).meta({
    description: 'Whether it also stops what is new. Without, only what is there now is ended, and is dead for ever.',
  }),
})
export type ContainmentBody = z.infer<typeof containmentBody>

const count = (most: number) =>
  z
    .string()
    .regex(/^\d{1,4}$/, 'is a number')
    .transform(Number)
    .pipe(z.int().min(1).max(most))
    .meta({ type: 'integer', pattern: undefined, minimum: 1, maximum: most })
const cursor = z.string().regex(/^[A-Za-z0-9._:~-]{1,200}$/, 'is not a cursor of ours')
/** Of a store of many shards it is long. */
const position = z.string().regex(/^[A-Za-z0-9._:~-]{1,4000}$/, 'is not a position of ours')
const yes = z.literal('true').transform(() => true as const)
export const noQuery = z.strictObject({})
export const containQuery = z.strictObject({
  dryRun: yes.optional().meta({ description: 'Count what would be ended; do nothing.' }),
})
/** The stages of what a containment matched, in the words of its progress. */
export const STAGES_SHOWN = ['ending', 'failing', 'stopped', 'ended'] as const
export const containedQuery = z.strictObject({ stage: z.enum(STAGES_SHOWN).optional(), cursor: cursor.optional() })
export const askQuery = z.strictObject({
  dryRun: yes.optional().meta({ description: 'Say what would become of this asking; file nothing.' }),
})
const isStatus = (text: string): text is Status => (STATUSES as readonly string[]).includes(text)
export const listQuery = z.strictObject({
  limit: count(100).default(20),
  cursor: cursor.optional().meta({ description: 'The `next` of the page before.' }),
  status: z
    .string()
    .max(200)
    .transform((text) => text.split(','))
    .refine((all): all is Status[] => all.every(isStatus), 'is one or several statuses, joined by commas')
    .meta({ pattern: `^(${STATUSES.join('|')})(,(${STATUSES.join('|')}))*$` })
    .optional()
    .meta({ description: 'One or several statuses, joined by commas.' }),
  mine: yes.optional().meta({ description: 'Those you asked for, execute, or answer for.' }),
  waiting: yes.optional().meta({ description: 'Those that wait for your decision.' }),
  tenant: name.optional().meta({ description: 'Whose target it is.' }),
  entitlement: name.optional(),
  target: word(200).optional(),
  ticket: word(165).optional().meta({
    pattern: '^[\\x21-\\x39\\x3b-\\x7e]{1,64}:[\\x21-\\x7e]{1,100}$',
    description: 'system:id, such as servicenow:CHG0031337.',
  }),
  task: word(100).optional(),
  session: sessionName.optional().meta({ description: 'The run or session that asked.' }),
  filedFrom: time.optional().meta({ description: 'Filed at this time or later, RFC 3339.' }),
  filedTo: time.optional().meta({ description: 'Filed before this time, RFC 3339.' }),
})
export const eventsQuery = z.strictObject({
  after: cursor.optional().meta({ description: 'The id of the last event seen; only later ones follow.' }),
  limit: count(100).default(50),
})
export const revocationsQuery = z
  .strictObject({
    after: position.optional().meta({ description: 'A position as the feed gave it; only what ended later follows.' }),
    since: time
      .optional()
      .meta({ description: 'What ended at this time or later, RFC 3339. Now, where neither is said.' }),
    wait: z
      .string()
      .regex(/^\d{1,2}$/, 'is a number')
      .transform(Number)
      .pipe(z.int().min(0).max(30))
      .meta({ type: 'integer', pattern: undefined, minimum: 0, maximum: 30 })
      .optional()
      .meta({ description: 'Seconds to wait for the first one, at most 30.' }),
  })
  .refine(({ after, since }) => after === undefined || since === undefined, 'after and since exclude each other')
export const waitQuery = z
  .strictObject({
    wait: count(60).optional().meta({ description: 'Seconds to wait for a change, at most 60.' }),
    for: z.literal('status').optional().meta({ description: 'Wait for another status, not for any change.' }),
    since: z
      .enum(STATUSES as [string, ...string[]])
      .optional()
      .meta({ description: 'The status the caller saw last: answers at once if it is another.' }),
  })
  .refine(
    ({ wait, for: what, since }) => wait !== undefined || (what === undefined && since === undefined),
    'for and since go with wait',
  )

/** What a resource server says. */
export const acksBody = z.strictObject({
  position: position.meta({ description: 'Everything up to here is refused by this instance.' }),
  consumer: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'is 1 to 64 letters, digits, dots, dashes or underscores')
    .meta({ description: 'The name of the instance; one that stays over its restarts.' }),
})
const usedOf = {
  id: word(64).min(1).meta({ description: 'Chosen for each use: the same id again is the same use.' }),
  at: time,
  credential: word(255).min(1).meta({ description: 'The jti of the token.' }),
  action: line(200).min(1).refine(showsSomething, 'says nothing'),
  target: line(500).min(1).refine(showsSomething, 'says nothing'),
  argumentDigest: digest.optional().meta({ description: 'Of what the action was called with.' }),
}
export const usesBody = z.strictObject({
  uses: z
    .array(
      z.discriminatedUnion('outcome', [
        z.strictObject({ ...usedOf, outcome: z.literal('used') }),
        z.strictObject({
          ...usedOf,
          outcome: z.literal('refused'),
          reason: z.enum(REFUSAL_REASONS).meta({ description: 'Why it was refused.' }),
        }),
      ]),
    )
    .min(1)
    .max(100),
})

// Answers. Times are RFC 3339 in UTC.
const text = z.string()
const confirmation = z.strictObject({ asked: z.enum(['nothing', 'introspection', 'backend']), answer: text, at: text })
const outcome = z.enum(['completed', 'expired', 'revoked', 'failed'])
const cause = z.strictObject({ outcome, by: text, reason: text })

export const ruleAnswer = z.union([
  z.strictObject({ mode: z.literal('auto') }),
  z.strictObject({
    mode: z.literal('people'),
    owner: text.meta({ description: 'Decides last, and answers for it.' }),
    deputies: z.array(z.strictObject({ person: text.optional(), group: text.optional(), from: text, until: text })),
    reviewers: z.array(
      z.strictObject({
        role: z.enum(REVIEWER_ROLES),
        group: text,
        count: z.int(),
        criteria: z.record(text, text),
        evidence: z.array(z.enum(EVIDENCE_KINDS)),
        veto: z.boolean(),
      }),
    ),
    approvals: z.int(),
    stepUp: z.boolean().meta({ description: 'Each decision is signed with a passkey.' }),
  }),
])

export const mintAnswer = z.strictObject({
  n: z.int(),
  status: z.enum(['claimed', 'opened', 'live', 'closing', 'closed']),
  claimedAt: text,
  key: text.optional(),
  kind: z.enum(['jwt', 'vault']).optional(),
  jti: text.optional(),
  leaseId: text.optional(),
  fingerprint: text.optional(),
  issuedAt: text.optional(),
  expiresAt: text.optional(),
  closedAt: text.optional(),
  released: z.boolean().optional(),
  confirmation: confirmation.optional(),
})

export const factsAnswer = z.strictObject({
  approvedAt: text.optional(),
  useBy: text.optional().meta({ description: 'Not exchanged by then, the approval lapses.' }),
  escalatedAt: text.optional(),
  activeSince: text.optional(),
  at: text.optional(),
  by: text.optional(),
  reason: text.optional(),
  since: text.optional(),
  attempts: z.int().optional(),
  retryAt: text.optional(),
  lastError: text.optional(),
  stuckSince: text.optional(),
  outcome: outcome.optional(),
  cause: cause.optional(),
  endedAt: text.optional(),
  confirmation: confirmation.optional(),
  residueUntil: text
    .optional()
    .meta({ description: 'Until when something may still take the credential for good, at the latest.' }),
})

/** A signed statement of a person, or of the policy. What does not apply to its kind is left out. */
export const decisionAnswer = z.strictObject({
  act: z.enum(['vote', 'close', 'accept', 'retract']),
  by: text,
  as: text.optional(),
  deputyFor: text.optional(),
  verdict: z.enum(['approve', 'deny']).optional(),
  reason: text,
  at: text,
  checklist: z.array(text).optional(),
  evidence: z
    .array(
      z.union([
        z.strictObject({ kind: z.literal('note'), text }),
        z.strictObject({ kind: z.enum(EVIDENCE_KINDS), url: text, digest: text }),
      ]),
    )
    .optional(),
  conditions: z.array(text).optional().meta({ description: 'Ids of the conditions that it made.' }),
  condition: text.optional().meta({ description: 'The condition that it closed.' }),
  accepts: z.array(z.strictObject({ risk: text, until: text })).optional(),
  withdrawn: z.boolean().optional().meta({ description: 'This was taken back.' }),
  passkey: z.boolean().meta({ description: 'Signed with the person’s passkey, besides by the broker.' }),
})

/** The class of a credential and what it may leave behind, before anybody approves it. */
const revocability = {
  revocability: z.enum(['at_once', 'expiry']).meta({
    description: 'Whether it ends at once when it is revoked, or only by its own expiry.',
  }),
  residue: text.meta({ description: 'How long the credential may outlive a revoke, at worst.' }),
}

export const grantAnswer = z.strictObject({
  id: text,
  status: z.enum(STATUSES as [string, ...string[]]),
  scheduled: z.boolean().meta({ description: 'Approved, and the window is not open yet.' }),
  digest: text.meta({ description: 'The revision: what is voted on.' }),
  tier: z.enum(TIERS),
  flags: z
    .array(z.enum(FLAGS))
    .meta({ description: 'What follows from what is asked, and what was declared besides.' }),
  filedAt: text,
  decideBy: text.meta({ description: 'Undecided then, it is escalated.' }),
  lapsesAt: text.meta({ description: 'Undecided then, it lapses.' }),
  intent: z.strictObject({
    tenant: text,
    entitlement: text,
    requester: text,
    executor: z.strictObject({ principal: text, key: text.optional() }),
    manifests: z.strictObject({ requester: text.optional(), executor: text.optional() }),
    task: text,
    session: text,
    target: text,
    environment: text,
    actions: z.array(text),
    scope: z.array(text),
    dataTypes: z.array(text),
    destination: text,
    changeClass: text,
    impact: z.strictObject(byFlag(() => z.boolean())),
    exposure: z.strictObject({ segment: text, from: z.int(), to: z.int(), rollbackCriteria: text }).optional(),
    change: z.strictObject({ forge: text, repository: text, sha: text }).optional(),
    plan: z.strictObject({ digest: text, mediaType: text }).optional(),
    ticket: z.strictObject({ system: text, id: text }).optional(),
    window: z.strictObject({ opensAt: text, closesAt: text }),
    credential: z.strictObject({ kind: z.enum(['jwt', 'vault']), uses: z.int() }),
  }),
  texts: z.strictObject({
    summary: text,
    objective: text,
    expectedOutcome: text,
    rollback: text,
    ticketUrl: text,
    planUri: text,
  }),
  audience: text,
  policy: z.strictObject({ revision: z.int(), digest: text }),
  rule: ruleAnswer,
  reasons: z.array(text),
  ...revocability,
  decisions: z.array(decisionAnswer),
  conditions: z
    .array(
      z.strictObject({
        id: text,
        text,
        by: text,
        as: text,
        owner: text,
        due: text,
        open: z.boolean(),
      }),
    )
    .meta({
      description: 'Of the approvals that stand. One that is open blocks exchange, unless its risk is accepted.',
    }),
  replaces: text.optional(),
  linked: z.array(text).meta({ description: 'The other grants of the same asking.' }),
  mints: z.array(mintAnswer),
  facts: factsAnswer.meta({ description: 'What is true in this status.' }),
  result: z.record(text, text).optional(),
  next_action: text,
  links: z.record(text, text),
})
export type GrantAnswer = z.infer<typeof grantAnswer>

/** How far the word of an end has gone. */
export const reachAnswer = z.strictObject({
  consumers: z.int().meta({ description: 'Instances of the resource server that are to know.' }),
  acknowledged: z.int().meta({ description: 'Those of them that have said that they refuse it.' }),
  withinSeconds: z
    .number()
    .optional()
    .meta({ description: 'How long after the end the slowest of those said so; absent where none has.' }),
  pending: z.array(text).meta({
    description: 'The others: server/instance, or the server alone where no instance of it was ever heard of.',
  }),
})
/** What was reported of a grant's credentials. All zero: not reported. */
export const usesSummary = z.strictObject({
  used: z.int(),
  refused: z.int(),
  misuse: z.int().meta({ description: 'Refused uses that are misuse, of those that are kept.' }),
  notKept: z.int().meta({ description: 'How many are only counted, because as many as may be are kept.' }),
  lastReportedAt: text.optional(),
})
export const waitAnswer = z.strictObject({
  ...grantAnswer.shape,
  reach: reachAnswer
    .optional()
    .meta({ description: 'Of a grant that has left active, where a resource server is set up for its audience.' }),
  uses: usesSummary.optional().meta({ description: 'Of a grant of which a credential was made.' }),
  timed_out: z.boolean().optional(),
})
export const usesAnswer = z.strictObject({
  grant: text,
  digest: text,
  policy: z.strictObject({ revision: z.int(), digest: text }),
  decisions: z.array(decisionAnswer),
  uses: z.array(
    z.strictObject({
      id: text,
      at: text.meta({ description: 'By the clock of the resource server.' }),
      receivedAt: text,
      by: text.meta({ description: 'The resource server.' }),
      credential: text,
      outcome: z.enum(USE_OUTCOMES),
      reason: z.enum(REFUSAL_REASONS).optional(),
      misuse: z.boolean(),
      action: text,
      target: text,
      argumentDigest: text.optional(),
    }),
  ),
  summary: usesSummary,
})
export const reportedAnswer = z.strictObject({
  accepted: z.int().meta({ description: 'New here.' }),
  repeated: z.int().meta({ description: 'Reported before under the same id.' }),
  misuse: z.int().meta({ description: 'Of the new ones those that are misuse.' }),
})
export const revocationsAnswer = z.strictObject({
  revocations: z.array(
    z.strictObject({
      grant: text,
      audience: text,
      at: text,
      status: z.enum(['ending', 'ended']),
      position: text,
    }),
  ),
  position: text.meta({ description: 'Go on after this one.' }),
  timed_out: z.boolean().meta({ description: 'There was nothing, and the store was read up to the position.' }),
})
/** Of an answer that says nothing. */
export const emptyAnswer = z.null()
export const listAnswer = z.strictObject({ grants: z.array(grantAnswer), next: text.optional() })
export const exchangeAnswer = z.strictObject({
  grant: grantAnswer,
  mint: mintAnswer,
  credential: z.union([
    z.strictObject({
      kind: z.literal('jwt'),
      token: text,
      tokenType: z.enum(['DPoP', 'Bearer']),
      expiresAt: text,
      audience: text,
    }),
    z.strictObject({ kind: z.literal('vault'), secret: z.record(text, text), leaseId: text, expiresAt: text }),
  ]),
})
const event = {
  version: z.int(),
  type: z.enum(EVENT_TYPES),
  at: text,
  by: text,
  digest: text,
  policyDigest: text,
  details: z.record(text, z.union([text, z.number(), z.boolean(), z.array(text)])),
}
/** As JSON; as `text/event-stream` each of them is one message, its id the version. */
export const eventsAnswer = z.strictObject({ events: z.array(z.strictObject(event)) })
/** The same of every grant that the caller may see. `id` says where to go on: as `after`, or as Last-Event-ID. */
export const feedAnswer = z.strictObject({
  events: z.array(z.strictObject({ id: text, grant: text, ...event })),
  next: text.meta({ description: 'Go on after this one.' }),
})

/** What would become of an asking, before it is filed. One that would be refused is answered with its refusal. */
export const dryRunAnswer = z.strictObject({
  grants: z.array(
    z.strictObject({
      digest: text,
      intent: grantAnswer.shape.intent,
      tier: z.enum(TIERS),
      flags: z.array(z.enum(FLAGS)),
      reasons: z.array(text).meta({ description: 'Why this tier, and what is needed.' }),
      approval: z.enum(['auto', 'people']),
      rule: ruleAnswer,
      couldDecide: z.int().meta({ description: 'How many persons could approve this; nobody is named.' }),
      decideBy: text,
      lapsesAt: text,
      useWithin: text.meta({ description: 'How soon after approval, or opening, the first exchange must be.' }),
      audience: text,
      credential: z.strictObject({ kind: z.enum(['jwt', 'vault']), sender: z.enum(['dpop', 'bearer']).optional() }),
      ...revocability,
      policy: z.strictObject({ revision: z.int(), digest: text }),
    }),
  ),
})
export type DryRunAnswer = z.infer<typeof dryRunAnswer>

const said = { by: text, text, at: text }
export const questionsAnswer = z.strictObject({
  questions: z.array(z.strictObject({ n: z.int(), ...said, answer: z.strictObject(said).optional() })),
})

/** What became of each grant that an end by task, session or ticket found. */
export const endsAnswer = z.strictObject({
  grants: z.array(
    z.strictObject({
      id: text,
      status: z.enum(STATUSES as [string, ...string[]]),
      residueUntil: text.optional().meta({ description: 'Of one that has ended: what may be left is gone by then.' }),
      refused: text.optional().meta({ description: 'Why this one was left as it is: the code of a refusal.' }),
    }),
  ),
  confirmed: z.boolean().meta({ description: 'Whether nothing of them is left anywhere.' }),
})

export const freezeAnswer = z.strictObject({
  id: text,
  tenant: text.meta({
    description: 'Whose freeze it is: it bites where the target or the requester is of this tenant.',
  }),
  where: z.strictObject({
    person: text.optional(),
    agent: text.optional(),
    workload: text.optional(),
    sponsor: text.optional(),
    tenant: text.optional(),
    target: text.optional(),
    environment: text.optional(),
    entitlement: text.optional(),
    task: text.optional(),
    session: text.optional(),
    ticket: z.strictObject({ system: text, id: text }).optional(),
    planDigest: text.optional(),
    key: text.optional(),
    approver: text.optional(),
    policyDigest: text.optional(),
    issuedBefore: text.optional(),
  }),
  contains: z.boolean().meta({ description: 'Whether what matches and lived was ended as well: a containment.' }),
  reason: text,
  by: text,
  at: text,
  lifted: z
    .strictObject({ at: text, by: text, reason: text })
    .optional()
    .meta({ description: 'Where it is in force no more. What was filed before it was made stays dead.' }),
})
export type FreezeAnswer = z.infer<typeof freezeAnswer>
export const freezesAnswer = z.strictObject({ freezes: z.array(freezeAnswer) })

const tally = z.int().min(0)
export const containmentAnswer = z.strictObject({
  id: text.meta({ description: 'Of its freeze, by which it is lifted.' }),
  freeze: freezeAnswer,
  done: z.boolean().meta({
    description: 'Everything has been looked through, and every grant that matched has ended and is confirmed.',
  }),
  progress: z.strictObject({
    walked: tally.meta({ description: 'How much of what lives has been looked through, in parts.' }),
    walks: tally.meta({ description: 'Of how many parts.' }),
    matched: tally.meta({ description: 'Grants found so far: the sum of the four that follow.' }),
    ended: tally.meta({ description: 'Ended, and confirmed by whoever could say so.' }),
    stopped: tally.meta({ description: 'Nothing had been handed out of these; nothing will be.' }),
    ending: tally.meta({ description: 'The end has begun and is not confirmed: what was handed out may still work.' }),
    failing: tally.meta({ description: 'The end keeps failing; it is tried again for ever.' }),
    unreadable: tally.meta({ description: 'Records that could not be read. While there is one, it is not done.' }),
  }),
  etaSeconds: z.int().min(0).optional().meta({
    description:
      'How long until it is done, as it goes; while `walked` is less than `walks` at least so long. Absent while that cannot be said.',
  }),
  residueUntil: text.optional().meta({
    format: 'date-time',
    description:
      'Until then a verifier that does not ask the broker may still take something. Absent where that is over.',
  }),
})
export type ContainmentAnswer = z.infer<typeof containmentAnswer>
export const countedAnswer = z.strictObject({
  dryRun: z.literal(true),
  matched: tally,
  kinds: z.array(
    z.strictObject({ kind: z.enum(['jwt', 'vault']), status: z.enum(STATUSES as [string, ...string[]]), count: tally }),
  ),
  residueUntil: text.optional().meta({
    format: 'date-time',
    description: 'Until then, if it were contained now, a verifier that does not ask the broker could take something.',
  }),
  complete: z.boolean().meta({ description: 'False where a record could not be read.' }),
})
export type CountedAnswer = z.infer<typeof countedAnswer>
export const containedAnswer = z.strictObject({
  grants: z.array(
    z.strictObject({
      id: text,
      stage: z.enum(STAGES_SHOWN),
      status: z
        .enum(STATUSES as [string, ...string[]])
        .optional()
        .meta({ description: 'Absent where it has left for the archive.' }),
      outcome: text.optional(),
      confirmation: confirmation.optional(),
      residueUntil: text.optional(),
      attempts: z.int().optional().meta({ description: 'How often its end was tried.' }),
      lastError: text.optional(),
    }),
  ),
  next: text.optional().meta({ description: 'The cursor of the next page.' }),
})

export const whoamiAnswer = z.strictObject({
  principal: text,
  kind: z.enum(['person', 'workload', 'agent']),
  tenant: text,
  groups: z.array(text),
  sponsors: z.array(text),
  session: text,
  key: text.optional().meta({ description: 'RFC 7638 thumbprint of the key shown in this request.' }),
})
export const entitlementsAnswer = z.strictObject({
  entitlements: z.array(
    z.strictObject({
      id: text,
      title: text,
      tenant: text,
      tier: z.enum(TIERS),
      target: z.strictObject({ id: text, environment: text, audience: text }),
      actions: z.record(text, z.enum(ACTION_CLASSES)),
      scopes: z.array(text),
      credential: z.strictObject({ kind: z.enum(['jwt', 'vault']), sender: z.enum(['dpop', 'bearer']).optional() }),
      ...revocability,
      approval: ruleAnswer,
      limits: z.strictObject({ maxDuration: text, horizon: text, decideWithin: text, maxUses: z.int() }),
      ticketRequired: z.boolean(),
      planRequired: z.boolean(),
      separateExecutor: z.boolean(),
    }),
  ),
})
/** What an operation did, as the operation itself says. */
const begun = {
  url: text.meta({
    format: 'uri',
    description: 'The page, for the eyes of the person alone: open it in a browser that has their passkey.',
  }),
  expiresAt: text,
}
export const begunAnswer = z.strictObject(begun)
export const stepUpAnswer = z.strictObject({
  ...begun,
  statement: text.meta({ description: 'What the passkey signs, by its SHA-256: RFC 8785 canonical JSON.' }),
})
export const passkeysAnswer = z.strictObject({
  passkeys: z.array(z.strictObject({ id: text, name: text, registeredAt: text, transports: z.array(text) })),
})
/** The last canary of everything that comes from a backend. */
export const canariesAnswer = z.strictObject({
  canaries: z.array(
    z.strictObject({
      entitlement: text,
      backend: text,
      engine: z.enum(['database', 'path']),
      revocability: revocability.revocability,
      result: z.enum([...CANARY_RESULTS, 'none']).meta({
        description:
          'ok: made and confirmed gone. failed: shown not to work. unknown: it could not be tried. none: not tried yet.',
      }),
      step: z.enum(CANARY_STEPS).optional().meta({ description: 'Where it stopped.' }),
      reason: text.optional(),
      at: text.optional(),
      took: text.optional(),
      next: text.optional(),
    }),
  ),
})
export const operationAnswer = z.record(text, z.union([text, z.number(), z.boolean()]))
