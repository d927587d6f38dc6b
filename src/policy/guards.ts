// guards.cedar, validated strictly against its schema and parsed once. Deny wins; an evaluation error, an unknown answer or a
// question too large to be honest is a refusal that names itself. Floors hold whatever the file says.
import {
  type DetailedError,
  type PolicyJson,
  policyToJson,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/nodejs'
import { NEVER_AUTOMATIC } from '../domain/entitlement.ts'
import { memory } from '../domain/remembered.ts'
import { type Call, callFor } from './guard-question.ts'
import { concerns, EVERYTHING, type Reads, readsOf } from './guard-reads.ts'
import { type RuleText, readGuardText } from './guard-text.ts'
import { ACTIONS, type Action, mayBeOfBroker, type Question, type Verdict } from './policy.ts'
import { type PolicyProblem, placeAt } from './problem.ts'
import { SPECIMENS } from './specimens.ts'

export interface SourceText {
  /** As shown in problems. */
  readonly file: string
  readonly text: string
}

/** An entity that a rule names, such as `Group::"northwind/soc"`, and where. */
export interface NamedEntity {
  readonly type: string
  readonly id: string
  readonly rule: string
  readonly offset: number
}
interface Rule extends RuleText {
  readonly id: string
  readonly json: PolicyJson
}
export interface CompiledGuards {
  readonly rules: readonly Rule[]
  readonly named: readonly NamedEntity[]
  readonly problems: readonly PolicyProblem[]
}

const RULE_ID = /^[a-z0-9]+([.-][a-z0-9]+)*$/

/** Parses, bounds and validates. Never throws; with any problem the guards must not be used. */
export function compileGuards(guards: SourceText, schema: SourceText): CompiledGuards {
  const bounded = readGuardText(guards.file, guards.text)
  const problems = [...bounded.problems, ...readGuardText(schema.file, schema.text).problems]
  const rules = bounded.rules.flatMap((rule) => {
    const parsed = parseRule(guards, rule)
    if ('json' in parsed) return [parsed]
    problems.push(...parsed.problems)
    return []
  })
  const ids = new Set<string>()
  for (const { id, offset } of rules) {
    if (ids.has(id)) problems.push(problemAt(guards, offset, id, `The @id ${id} is here twice; choose another.`))
    ids.add(id)
  }
  if (bounded.problems.length === 0 && bounded.rules.length === 0)
    problems.push(problemAt(guards, 0, '', 'Nothing is permitted; write at least one rule.'))
  if (problems.length === 0) problems.push(...checkSchema(schema))
  if (problems.length === 0) problems.push(...validateRules(guards, schema, rules))
  const named = rules.flatMap((rule) => entitiesIn(rule))
  return { rules, named, problems }
}

const problemAt = (source: SourceText, offset: number, path: string, message: string): PolicyProblem => ({
  file: source.file,
  ...placeAt(source.text, offset),
  path,
  message,
})

function parseRule(guards: SourceText, rule: RuleText): Rule | { readonly problems: readonly PolicyProblem[] } {
  const answer = policyToJson(rule.text)
  if (answer.type === 'failure')
    return { problems: answer.errors.map((error) => engineProblem(guards, rule, '', error)) }
  const id = answer.json.annotations?.id
  if (typeof id !== 'string' || !RULE_ID.test(id) || id.length > 64) {
    const message =
      'Give the rule a name that people see as the reason: @id("who-does-what"), lower case words and "-".'
    return { problems: [problemAt(guards, rule.offset, '', message)] }
  }
  return { ...rule, id, json: answer.json }
}

/** The engine counts bytes from the start of the rule. */
function engineProblem(guards: SourceText, rule: RuleText, path: string, error: DetailedError): PolicyProblem {
  const bytes = error.sourceLocations?.[0]?.start ?? 0
  const before = Buffer.from(rule.text).subarray(0, bytes).toString('utf8')
  const expected = error.sourceLocations?.[0]?.label
  const help = error.help ?? expected ?? undefined
  const message = error.message.replace('failed to parse policy from string: ', '').replace(/^for policy `[^`]*`, /, '')
  return problemAt(
    guards,
    rule.offset + before.length,
    path,
    help === undefined ? `${message}.` : `${message}; ${help}.`,
  )
}

const setOf = (rules: readonly Rule[]): { readonly staticPolicies: Record<string, string> } => ({
  staticPolicies: Object.fromEntries(rules.map(({ id, text }) => [id, text])),
})

function validateRules(guards: SourceText, schema: SourceText, rules: readonly Rule[]): readonly PolicyProblem[] {
  const answer = validate({ schema: schema.text, policies: setOf(rules), validationSettings: { mode: 'strict' } })
  if (answer.type === 'failure')
    return answer.errors.map(({ message, help }) =>
      problemAt(guards, 0, '', `${message}; ${help ?? 'correct the schema'}.`),
    )
  // A warning is a rule that can never apply or a text that reads differently from what it is: both are mistakes.
  const found = [...answer.validationErrors, ...answer.validationWarnings].flatMap(({ policyId, error }) => {
    const rule = rules.find(({ id }) => id === policyId)
    return rule === undefined ? [] : [engineProblem(guards, rule, policyId, error)]
  })
  const others = answer.otherWarnings.map(({ message }) => problemAt(guards, 0, '', `${message}.`))
  // One mistake is told once per kind of principal; the place says enough.
  return [...new Map([...found, ...others].map((one) => [`${one.line}:${one.column}:${one.path}`, one])).values()]
}

/** The schema must describe what the broker really asks, or the guards would be validated against something else. */
function checkSchema(schema: SourceText): readonly PolicyProblem[] {
  const name = 'writ-check'
  const parsed = preparseSchema(name, schema.text)
  if (parsed.type === 'failure') {
    return parsed.errors.map((error) => {
      const before = Buffer.from(schema.text)
        .subarray(0, error.sourceLocations?.[0]?.start ?? 0)
        .toString('utf8')
      return problemAt(schema, before.length, '', `${error.message}; ${error.help ?? 'correct the schema'}.`)
    })
  }
  preparsePolicySet(name, { staticPolicies: {} })
  for (const question of SPECIMENS) {
    const answer = statefulIsAuthorized({
      ...callFor(question, EVERYTHING),
      preparsedPolicySetId: name,
      preparsedSchemaName: name,
      validateRequest: true,
    })
    if (answer.type === 'success') continue
    const asked = `${question.action} by a ${question.principal.kind}`
    const message = `The schema does not describe what the broker asks (${asked}): ${answer.errors[0]?.message}; restore the schema that came with this version.`
    return [problemAt(schema, 0, '', message)]
  }
  return []
}

function entitiesIn(rule: Rule): readonly NamedEntity[] {
  const found: NamedEntity[] = []
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    if ('type' in node && 'id' in node && typeof node.type === 'string' && typeof node.id === 'string') {
      const at = rule.text.indexOf(`${node.type}::${JSON.stringify(node.id)}`)
      found.push({ type: node.type, id: node.id, rule: rule.id, offset: rule.offset + Math.max(0, at) })
    }
    for (const member of Object.values(node)) walk(member)
  }
  walk(rule.json)
  return found
}

const refusal = (...because: readonly string[]): Verdict =>
  Object.freeze({ allowed: false, because: Object.freeze(because) })

/** Longer texts would make matching slow, and no honest asking has them. */
const MAX_TEXT = 2_048
const MAX_ITEMS = 256
const MAX_REMEMBERED = 8_192
const MAX_KEY = 4_096

interface Prepared {
  readonly name: string
  readonly reads: Reads
}

/** `name` must be different for different rules: the engine keeps the parsed sets under it for the life of the process. */
export function guardJudge(rules: readonly Rule[], name: string): (question: Question) => Verdict {
  const prepared = new Map(ACTIONS.map((action) => [action, prepare(rules, action, name)]))
  const remembered = memory<string, Verdict>(MAX_REMEMBERED)
  return (question) => {
    const floor = floorAgainst(question)
    if (floor !== undefined) return refusal(`floor: ${floor}`)
    const set = prepared.get(question.action)
    if (set === undefined) return refusal('error: the guards are not loaded')
    const call = callFor(question, set.reads)
    // The whole call and nothing but the call is what the engine sees, so equal texts have equal verdicts.
    const key = JSON.stringify(call)
    const before = remembered.get(key)
    if (before !== undefined) return before
    const verdict = evaluate(call, set.name)
    if (key.length <= MAX_KEY) remembered.set(key, verdict)
    return verdict
  }
}

/** Only the rules that can concern an action are asked about it. Undefined where the engine refuses them. */
function prepare(rules: readonly Rule[], action: Action, name: string): Prepared | undefined {
  const concerned = rules.filter(({ json }) => concerns(json, action))
  const set = `${name} ${action}`
  if (preparsePolicySet(set, setOf(concerned)).type === 'failure') return undefined
  return { name: set, reads: readsOf(concerned.map(({ json }) => json)) }
}

function evaluate(call: Call, preparsedPolicySetId: string): Verdict {
  try {
    const answer = statefulIsAuthorized({ ...call, preparsedPolicySetId })
    if (answer.type === 'failure') return refusal(`error: ${answer.errors[0]?.message ?? 'no answer'}`)
    const { decision, diagnostics } = answer.response
    // Cedar skips a rule that fails, which for a forbid would be an allow.
    if (diagnostics.errors.length > 0)
      return refusal(...diagnostics.errors.map(({ policyId, error }) => `error: ${policyId}: ${error.message}`))
    return Object.freeze({ allowed: decision === 'allow', because: Object.freeze(diagnostics.reason.toSorted()) })
  } catch {
    return refusal('error: the question could not be evaluated')
  }
}

/** Raised when a floor below changes, so that the digest of a policy changes with what it means. */
export const FLOORS = 2

/** What no file can permit; the verbs check more. Undefined where no floor is touched. */
function floorAgainst({ action, principal, entitlement, intent }: Question): string | undefined {
  if (!ACTIONS.includes(action)) return 'an unknown action'
  if (intent !== undefined && isOversized(intent)) return 'an asking too large to be judged'
  if (mayBeOfBroker(action)) return principal.kind === 'person' ? undefined : 'only persons operate, freeze and audit'
  if (entitlement === undefined) return 'no entitlement'
  if (action === 'Approve') {
    if (principal.kind !== 'person') return 'only persons approve'
    if (principal.tenant !== entitlement.tenant) return 'only the owning tenant approves'
  }
  if (action === 'Request' || action === 'Exchange' || action === 'AutoApprove') {
    if (!entitlement.openTo.includes(principal.tenant)) return 'not offered to this tenant'
  }
  if (action === 'AutoApprove') {
    const classes = (intent?.actions ?? []).map((name) =>
      Object.hasOwn(entitlement.actions, name) ? entitlement.actions[name] : undefined,
    )
    const automatic =
      classes.length > 0 && classes.every((kind) => kind !== undefined && !NEVER_AUTOMATIC.includes(kind))
    if (entitlement.approval.mode !== 'auto' || entitlement.tier !== 'low' || !automatic) return 'never automatic'
  }
  return undefined
}

const isOversized = ({ actions, scope, dataTypes, destination, ticket }: NonNullable<Question['intent']>): boolean =>
  [actions, scope, dataTypes].some((list) => list.length > MAX_ITEMS || list.some((item) => item.length > MAX_TEXT)) ||
  destination.length > MAX_TEXT ||
  (ticket?.system.length ?? 0) > MAX_TEXT
