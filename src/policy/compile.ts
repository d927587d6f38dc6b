// Policy files to one immutable, named value. All or nothing: any problem in any file and there is no policy, only the list of problems.
// The digest is over what was compiled, so a comment or the order of keys changes nothing and a change of meaning always does.
import { createHash } from 'node:crypto'
import { type Canonical, canonical } from '../domain/canonical.ts'
import type { Entitlement } from '../domain/entitlement.ts'
import type { Digest, EntitlementId } from '../domain/ids.ts'
import type { Tier } from '../domain/tier.ts'
import { compileEntitlements } from './entitlements.ts'
import { compileGuards, FLOORS, guardJudge, type NamedEntity, type SourceText } from './guards.ts'
import type { Policy } from './policy.ts'
import { inOrder, type Place, PolicyError, placeAt } from './problem.ts'
import type { Path } from './strict-yaml.ts'

export interface PolicyFiles {
  /** entitlements.yaml */
  readonly entitlements: SourceText
  /** guards.cedar */
  readonly guards: SourceText
  /** guards.cedarschema */
  readonly schema: SourceText
}

/** Where names of the outside stand in the files, for the comparison with the people directory. */
export interface PolicySource {
  readonly entitlementsFile: string
  readonly guardsFile: string
  readonly named: readonly NamedEntity[]
  placeOf(path: Path): Place
  placeInGuards(offset: number): Place
}
export interface CompiledPolicy extends Policy {
  readonly source: PolicySource
}

/**
 * Compiles the three files. Throws PolicyError with every problem found, in the order of the files.
 * The revision is not part of the digest: it says which of two policies is newer, not what they mean.
 */
export function compilePolicy(files: PolicyFiles): CompiledPolicy {
  const { entitlements, raised, catalogue, revision, problems, place } = compileEntitlements(
    files.entitlements.file,
    files.entitlements.text,
  )
  const guards = compileGuards(files.guards, files.schema)
  const found = inOrder([...problems, ...guards.problems])
  if (found.length > 0) throw new PolicyError(found)

  const sorted = entitlements.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(frozen)
  const byId = new Map<EntitlementId, Entitlement>(sorted.map((entitlement) => [entitlement.id, entitlement]))
  const atTier = new Map(
    raised.map(frozen).map((entitlement) => [`${entitlement.id} ${entitlement.tier}`, entitlement]),
  )
  const rules = Object.fromEntries(guards.rules.map(({ id, json }) => [id, json]))
  // What came out of YAML and of the engine is JSON; `canonical` throws for what it cannot hold exactly.
  const meaning = {
    typ: 'writ/policy/v1',
    floors: FLOORS,
    entitlements: sorted,
    raised: [...atTier.values()].toSorted((a, b) => (`${a.id} ${a.tier}` < `${b.id} ${b.tier}` ? -1 : 1)),
    catalogue,
    guards: rules,
  } as unknown as Canonical
  const digest = `sha-256:${sha256(canonical(meaning))}` as Digest
  const judge = guardJudge(guards.rules, `guards ${sha256(canonical(rules as unknown as Canonical))}`)
  const source: PolicySource = {
    entitlementsFile: files.entitlements.file,
    guardsFile: files.guards.file,
    named: guards.named,
    placeOf: place,
    placeInGuards: (offset) => placeAt(files.guards.text, offset),
  }
  const all = Object.freeze(sorted)
  return Object.freeze({
    revision,
    digest,
    entitlement: (id: EntitlementId) => byId.get(id),
    entitlements: () => all,
    at: (id: EntitlementId, tier: Tier) => {
      const filed = byId.get(id)
      return filed?.tier === tier ? filed : atTier.get(`${id} ${tier}`)
    },
    catalogue: frozen(catalogue),
    judge,
    source: Object.freeze(source),
  })
}

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('base64url')

function frozen<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const member of Object.values(value)) frozen(member)
  return Object.freeze(value)
}
