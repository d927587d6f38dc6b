// Every field that the API document knows: of each operation its path, query and header parameters, and its body at every depth, in every
// alternative. Invariant: nothing here is by hand, so that a field that the broker learns is tested from then on, or has no sample and fails.

export type Doc = { readonly [member: string]: unknown }
export interface Field {
  readonly operation: string
  readonly place: 'path' | 'query' | 'header' | 'body' | 'form' | 'whole' | 'oauth'
  /** Of a body the members down to it, `*` for any item or any member; of a parameter its name. */
  readonly at: readonly string[]
}
export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Doc
}
export interface Operation {
  readonly id: string
  readonly method: string
  /** As the document has it. */
  readonly path: string
  readonly parameters: readonly Parameter[]
  readonly media: string | undefined
  readonly body: Doc | undefined
  /** Where the schema of its body lies in the document. */
  readonly pointer: string
}

export const isDoc = (value: unknown): value is Doc =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const docIn = (value: unknown, member: string): Doc => {
  const found = isDoc(value) ? value[member] : undefined
  return isDoc(found) ? found : {}
}
const listIn = (value: Doc, member: string): readonly unknown[] => {
  const found = value[member]
  return Array.isArray(found) ? found : []
}

/** What a reference leads to. */
function resolved(document: Doc, value: unknown): Doc {
  if (!isDoc(value)) return {}
  const { $ref: ref } = value
  if (typeof ref !== 'string') return value
  const target = ref
    .slice(2)
    .split('/')
    .reduce<unknown>((node, name) => (isDoc(node) ? node[name] : undefined), document)
  return resolved(document, target)
}

const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')

export function operationsOf(document: Doc): readonly Operation[] {
  return Object.entries(docIn(document, 'paths')).flatMap(([path, methods]) =>
    Object.entries(isDoc(methods) ? methods : {}).map(([method, operation]) => {
      const content = docIn(docIn(operation, 'requestBody'), 'content')
      const media = Object.keys(content)[0]
      const schema = media === undefined ? undefined : docIn(content[media], 'schema')
      return {
        id: String(docIn(methods, method).operationId),
        method: method.toUpperCase(),
        path,
        parameters: listIn(docIn(methods, method), 'parameters').map((one) => parameterOf(document, one)),
        media,
        body: schema === undefined ? undefined : resolved(document, schema),
        pointer: `/paths/${escaped(path)}/${method}/requestBody/content/${escaped(media ?? '')}/schema`,
      }
    }),
  )
}

function parameterOf(document: Doc, value: unknown): Parameter {
  const { name, in: where, schema } = resolved(document, value)
  if (where !== 'path' && where !== 'query' && where !== 'header') throw new Error(`a parameter in ${String(where)}`)
  return { name: String(name), in: where, schema: resolved(document, schema) }
}

/** Every field of an operation, the request as a whole, and of the OAuth endpoints what their own table says. */
export function fieldsOf(document: Doc, operation: Operation): readonly Field[] {
  const { id, parameters, media, body } = operation
  const place = media === 'application/json' ? 'body' : 'form'
  return [
    ...parameters.map((parameter): Field => ({ operation: id, place: parameter.in, at: [parameter.name] })),
    ...(body === undefined ? [] : pathsIn(document, body).map((at): Field => ({ operation: id, place, at }))),
    { operation: id, place: 'whole', at: [] },
    ...(id === 'token' || id === 'introspect' ? [{ operation: id, place: 'oauth', at: [] } as const] : []),
  ]
}

/** Every path into a value of this schema, the value itself first. */
function pathsIn(document: Doc, schema: Doc): readonly (readonly string[])[] {
  const found = new Map<string, readonly string[]>()
  const walk = (value: unknown, at: readonly string[], seen: ReadonlySet<Doc>): void => {
    const here = resolved(document, value)
    if (seen.has(here)) return
    const next = new Set([...seen, here])
    found.set(JSON.stringify(at), at)
    for (const way of ['anyOf', 'oneOf', 'allOf']) for (const one of listIn(here, way)) walk(one, at, next)
    for (const [name, member] of Object.entries(docIn(here, 'properties'))) walk(member, [...at, name], next)
    for (const member of [here.items, here.additionalProperties, ...listIn(here, 'prefixItems')])
      if (isDoc(member)) walk(member, [...at, '*'], next)
  }
  walk(schema, [], new Set())
  return [...found.values()]
}

export const nameOf = ({ operation, place, at }: Field): string => `${operation} ${place} ${at.join('.')}`.trimEnd()
