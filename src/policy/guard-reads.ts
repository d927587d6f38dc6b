// Which parts of a question the rules for one action look at. What none of them reads is not sent to the engine: most of a judgement's
// cost is handing over attributes, and questions that look equal to the rules then are equal, so that a verdict can be remembered.
// It errs towards sending: an access that is not understood reads everything it could mean.
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs'
import { ACTIONS, type Action } from './policy.ts'

/** Paths are `principal.tenant`, `resource.owners`, `context.ask`, `context.ask.uses`, and `parent:Group::northwind/soc`. */
export interface Reads {
  has(path: string): boolean
}
export const EVERYTHING: Reads = { has: () => true }

/** Whether a rule can concern this action. Errs towards yes: only a scope that plainly names other actions does not. */
export function concerns({ action: scope }: PolicyJson, action: Action): boolean {
  const named = JSON.stringify(scope)
  const names = (one: Action): boolean => named.includes(JSON.stringify(one))
  return scope.op === 'All' || names(action) || !ACTIONS.some(names)
}

export function readsOf(rules: readonly PolicyJson[]): Reads {
  const paths = new Set<string>()
  for (const rule of rules) {
    collectParents(rule, paths)
    for (const { body } of rule.conditions) collect(body, paths)
  }
  const covered = (path: string): boolean => {
    const [root = '', member = '', inner] = path.split('.')
    if (paths.has(path) || paths.has(`any.${inner ?? member}`)) return true
    if (root !== 'context') return false
    if (paths.has('context') || paths.has(`context.${member}.*`)) return true
    // A member is there as soon as something inside it is read.
    return inner === undefined && [...paths].some((read) => read.startsWith(`${path}.`))
  }
  const answers = new Map<string, boolean>()
  return {
    has: (path) => {
      const before = answers.get(path)
      if (before !== undefined) return before
      const answer = path.startsWith('parent:') ? paths.has(path) : covered(path)
      // Paths are from our own short list, but for parents, which are as many as there are groups.
      if (!path.startsWith('parent:')) answers.set(path, answer)
      return answer
    },
  }
}

/** Every entity that is named anywhere may be one that a principal or an entitlement is in. */
function collectParents(node: unknown, paths: Set<string>): void {
  if (!isObject(node)) return
  const { type, id } = node
  if (typeof type === 'string' && typeof id === 'string') paths.add(`parent:${type}::${id}`)
  for (const member of Object.values(node)) collectParents(member, paths)
}

function collect(node: unknown, paths: Set<string>): void {
  if (!isObject(node)) return
  const access = accessIn(node)
  const path = chain(node) ?? access?.path
  if (path !== undefined) {
    record(path, 'has' in node, paths)
    return
  }
  // Of something computed: whatever it is, this attribute of it is read.
  for (const attr of access?.attrs ?? []) paths.add(`any.${attr}`)
  for (const member of Object.values(node)) collect(member, paths)
}

/** `x.attr` and `x has attr.inner`; with the whole path where x is a plain chain. */
function accessIn(
  node: Readonly<Record<string, unknown>>,
): { readonly attrs: readonly string[]; readonly path: readonly string[] | undefined } | undefined {
  const access = isObject(node.has) ? node.has : node['.']
  if (!isObject(access)) return undefined
  const attrs = [access.attr].flat().map(String)
  const left = chain(access.left)
  return { attrs, path: left === undefined ? undefined : [...left, ...attrs] }
}

/** `context.ask.uses` as its parts; undefined for what is not a plain chain from a variable. */
function chain(node: unknown): readonly string[] | undefined {
  if (!isObject(node)) return undefined
  if (typeof node.Var === 'string') return [node.Var]
  const access = node['.']
  if (!isObject(access) || typeof access.attr !== 'string') return undefined
  const left = chain(access.left)
  return left === undefined ? undefined : [...left, access.attr]
}

function record(
  [root = '', member, inner]: readonly string[],
  asksOnlyWhetherThere: boolean,
  paths: Set<string>,
): void {
  if (root !== 'context') {
    // The entity itself is always sent; without an attribute only its identity is looked at.
    if (member !== undefined) paths.add(`${root}.${member}`)
  } else if (member === undefined) paths.add('context')
  else if (inner !== undefined) paths.add(`context.${member}.${inner}`)
  else paths.add(asksOnlyWhetherThere ? `context.${member}` : `context.${member}.*`)
}

const isObject = (node: unknown): node is Readonly<Record<string, unknown>> => typeof node === 'object' && node !== null
