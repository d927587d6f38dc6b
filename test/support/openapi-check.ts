// Holds an answer against the API document: status, media type, headers, body. Whatever the document does not name is a finding, so a
// test that sees one fails. Knows OpenAPI only as far as our own document goes.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'

export interface Exchanged {
  readonly method: string
  /** As sent, with or without a query. */
  readonly path: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly text: string
}

interface Response {
  readonly headers?: Readonly<
    Record<string, { readonly $ref?: string; readonly required?: boolean; readonly schema?: object }>
  >
  readonly content?: Readonly<Record<string, object>>
}
interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, Response | { readonly $ref: string }>>
}
type Node = { readonly [member: string]: unknown }

/** Headers of HTTP itself and of every answer of the broker. */
const EVERYWHERE = new Set([
  'connection',
  'content-length',
  'content-security-policy',
  'content-type',
  'cross-origin-resource-policy',
  'date',
  'keep-alive',
  'referrer-policy',
  'strict-transport-security',
  'transfer-encoding',
  'x-accel-buffering',
  'x-content-type-options',
])
/** With which a connection ends that does not speak HTTP, in time and within bounds. */
const NOT_HTTP: readonly number[] = [400, 408, 431]
function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    return false
  }
}
const escaped = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1')
const operations = (document: Node) => document.paths as Readonly<Record<string, Readonly<Record<string, Operation>>>>

/** The operation at this path of the route table. */
export const documented = (document: Node, method: string, path: string): Operation | undefined =>
  operations(document)[path.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]

/** What is wrong with an answer, in words; nothing when the document describes it. */
export function openApiCheck(document: Node): (exchanged: Exchanged) => readonly string[] {
  const ajv = new Ajv2020({ strict: false, validateSchema: false, allErrors: true })
  formats.default(ajv)
  ajv.addSchema({ ...document, $id: 'writ' })
  const compiled = new Map<string, ValidateFunction>()
  const validator = (pointer: string): ValidateFunction => {
    const found = compiled.get(pointer) ?? ajv.compile({ $ref: `writ#${pointer}` })
    compiled.set(pointer, found)
    return found
  }
  const problems = (pointer: string, value: unknown): readonly string[] => {
    const validate = validator(pointer)
    return validate(value)
      ? []
      : (validate.errors ?? []).map(
          ({ instancePath, message, params }) => `${instancePath || '/'} ${message} ${JSON.stringify(params)}`,
        )
  }
  const templates = Object.keys(operations(document)).map((path) => ({
    path,
    fits: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '[^/]+')}$`),
  }))
  const at = (ref: string): unknown =>
    ref
      .slice(2)
      .split('/')
      .reduce<unknown>((node, name) => (node as Node)[name.replaceAll('~1', '/').replaceAll('~0', '~')], document)

  return ({ method, path, status, headers, text }) => {
    const media = String(headers['content-type'] ?? '').split(';')[0] ?? ''
    const asked = path.split('?')[0] ?? ''
    const template = templates.find(({ fits }) => fits.test(asked))?.path
    const verb = method === 'HEAD' ? 'get' : method.toLowerCase()
    const operation = template === undefined ? undefined : operations(document)[template]?.[verb]
    if (template === undefined || operation === undefined) {
      // An address of which a part cannot be decoded is none; what is no HTTP has no method either, and ends its connection.
      const isAddress = template !== undefined && isDecodable(asked)
      const isHttp = !(NOT_HTTP.includes(status) && headers.connection === 'close')
      return unknown(isAddress, isHttp, status, media, text)
    }
    const named = operation.responses[String(status)]
    if (named === undefined) return [`${operation.operationId}: status ${status} is not documented`]
    const pointer = '$ref' in named ? named.$ref.slice(1) : `/paths/${escaped(template)}/${verb}/responses/${status}`
    const response = ('$ref' in named ? at(named.$ref) : named) as Response
    return [
      ...headersWrong(response, headers),
      ...bodyWrong(response, pointer, media, method === 'HEAD' ? undefined : text),
    ].map((what) => `${operation.operationId} ${status}: ${what}`)
  }

  /** An address or a method that has no meaning here. */
  function unknown(
    isAddress: boolean,
    isHttp: boolean,
    status: number,
    media: string,
    text: string,
  ): readonly string[] {
    if (isHttp && status !== (isAddress ? 405 : 404))
      return [`status ${status} where the document knows no such ${isAddress ? 'method' : 'address'}`]
    if (media === 'application/problem+json')
      return text === '' ? [] : problems('/components/schemas/Problem', JSON.parse(text))
    return problems('/components/schemas/OAuthError', JSON.parse(text))
  }

  function headersWrong(response: Response, headers: Exchanged['headers']): readonly string[] {
    const known = Object.entries(response.headers ?? {}).map(([name, header]) => ({
      name: name.toLowerCase(),
      ...((header.$ref === undefined ? header : at(header.$ref)) as { required?: boolean; schema?: object }),
    }))
    const names = new Set(known.map(({ name }) => name))
    return [
      ...known.flatMap(({ name, required, schema }) => {
        const value = headers[name]
        if (value === undefined) return required === true ? [`the header ${name} is missing`] : []
        const text = typeof value === 'string' ? value : value.join(', ')
        return schema === undefined || ajv.validate(schema, text) ? [] : [`the header ${name} is not as documented`]
      }),
      ...Object.keys(headers).flatMap((name) =>
        names.has(name) || EVERYWHERE.has(name) ? [] : [`the header ${name} is not documented`],
      ),
    ]
  }

  function bodyWrong(response: Response, pointer: string, media: string, text: string | undefined): readonly string[] {
    if (response.content === undefined && media === '') return text ? ['there is a body'] : []
    if (response.content?.[media] === undefined) return [`the media type ${media} is not documented`]
    if (text === undefined || !media.endsWith('json')) return []
    return problems(`${pointer}/content/${escaped(media)}/schema`, JSON.parse(text))
  }
}
