// forges.yaml: which forges are asked who wrote a change, and where. Unknown keys are errors, and every problem is told with its line. It
// holds the place of a token, never a token; that file is read when it is used.
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { type Compiled, type Problem, type ReadFile, readConfig } from '../identity/config-file.ts'
import { lineField, nameField } from '../identity/fields.ts'
import { compileChanges } from './file.ts'
import type { ForgeAddress } from './http.ts'

export type ForgeSettings =
  | ({ readonly kind: 'github' | 'gitlab' } & ForgeAddress)
  | { readonly kind: 'file'; readonly name: string; readonly file: string }

/** By short name. */
export type ForgeTable = ReadonlyMap<string, ForgeSettings>
export const NO_FORGES: ForgeTable = new Map()

const path = lineField.max(1_024)
const over = (example: string) => ({
  api: z
    .string({ error: 'the base URL of the API is needed' })
    .max(500)
    .refine(isBase, 'an http or https URL without user, query, fragment and trailing slash is needed')
    .describe(`Base URL of its API, such as ${example}.`),
  tokenFile: path.describe('A file with a token that can read. It is read when it is used.'),
  caFile: path.optional().describe('PEM of the authority that signed its certificate; absent: the public ones.'),
})

function isBase(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, username, password, search, hash, href } = new URL(text)
  return /^https?:$/.test(protocol) && username + password + search + hash === '' && href.replace(/\/$/, '') === text
}

const ForgesFile = z.strictObject({
  forges: z.record(
    nameField,
    z.discriminatedUnion(
      'kind',
      [
        z.strictObject({ kind: z.literal('github'), ...over('https://api.github.com') }),
        z.strictObject({ kind: z.literal('gitlab'), ...over('https://gitlab.com/api/v4') }),
        z.strictObject({
          kind: z.literal('file'),
          file: path.describe('A file that says who wrote what: for development.'),
        }),
      ],
      { error: 'kind is github, gitlab or file' },
    ),
    { error: 'forges by name are needed' },
  ),
})

/** The JSON Schema for editors. */
export const forgesSchema = (): object => z.toJSONSchema(ForgesFile, { io: 'input', unrepresentable: 'any' })

export interface ForgesOptions {
  /** Of the file, for messages; relative paths inside it start from its folder. */
  readonly file: string
  /** Plain http is allowed on this machine. */
  readonly dev: boolean
  /** A forge is no issuer: an account there says who somebody is, and lets nobody in. */
  readonly issuers: readonly string[]
  readonly readFile: ReadFile
}

/** Compiles forges.yaml and the files of `kind: file`, or says everything that is wrong with them. */
export function compileForges(text: string, options: ForgesOptions): Compiled<ForgeTable> {
  const { file, dev } = options
  const { value, problems, line } = readConfig(text, file, ForgesFile)
  if (value === undefined) return { ok: false, problems }
  const found: Problem[] = []
  const warnings: Problem[] = []
  const fromHere = (named: string): string => resolve(dirname(file), named)
  const compiled = Object.entries(value.forges).map(([name, entry]): readonly [string, ForgeSettings] => {
    const problem = (member: string, message: string): Problem => {
      const at = ['forges', name, ...(member === '' ? [] : [member])]
      return { file, line: line(at), message: `${at.join('.')}: ${message}` }
    }
    const textOf = (member: string, named: string): string | undefined => {
      try {
        return options.readFile(fromHere(named))
      } catch {
        found.push(problem(member, 'this file cannot be read'))
        return undefined
      }
    }
    if (options.issuers.includes(name)) found.push(problem('', 'an issuer has this name; a forge needs another one'))
    if (entry.kind === 'file') {
      const changes = textOf('file', entry.file)
      const checked = changes === undefined ? undefined : compileChanges(changes, fromHere(entry.file), name)
      if (checked?.ok === false) found.push(...checked.problems)
      if (!dev) warnings.push(problem('kind', 'whoever can write this file says who wrote what'))
      return [name, { kind: 'file', name, file: fromHere(entry.file) }]
    }
    const { kind, api, tokenFile, caFile } = entry
    if (api.startsWith('http:') && !(dev && isThisMachine(new URL(api).hostname)))
      found.push(problem('api', 'https is needed: a token travels over it'))
    const ca = caFile === undefined ? undefined : textOf('caFile', caFile)
    return [name, { kind, name, api, tokenFile: fromHere(tokenFile), ca }]
  })
  return found.length > 0 ? { ok: false, problems: found } : { ok: true, value: new Map(compiled), warnings }
}

const isThisMachine = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(host)
