// The shipped people.yaml and clients.yaml as a directory, with keys made here for the resource servers.
import { generateKeyPairSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { compileClients } from '../../src/identity/clients.ts'
import { type Compiled, explain } from '../../src/identity/config-file.ts'
import { compileDirectory, type PeopleDirectory } from '../../src/identity/directory.ts'
import { compilePeople } from '../../src/identity/people.ts'

/** The value, or a failure that says what is wrong with it. */
export function compiled<T>(result: Compiled<T>): T {
  if (!result.ok) throw new Error(explain(result.problems))
  return result.value
}

/** A JWK Set with one fresh public key. */
export function someJwks(): string {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'ES256' }] })
}

const config = (name: string): Promise<string> => readFile(new URL(`../../config/${name}`, import.meta.url), 'utf8')

/** `readJwks` answers a `jwksFile` of clients.yaml. */
export const shippedDirectory = (readJwks: (path: string) => string = someJwks): Promise<PeopleDirectory> =>
  directoryWith([], readJwks)

/** The shipped files with people.yaml edited: each pair is a text that must be there once and what stands there instead. */
export async function directoryWith(
  edits: readonly (readonly [string, string])[],
  readJwks: (path: string) => string = someJwks,
): Promise<PeopleDirectory> {
  let text = await config('people.yaml')
  for (const [from, to] of edits) {
    if (text.split(from).length !== 2) throw new Error(`people.yaml must hold ${from} exactly once`)
    text = text.replace(from, to)
  }
  const people = compiled(compilePeople(text, 'people.yaml'))
  const clients = compiled(compileClients(await config('clients.yaml'), 'clients.yaml', readJwks))
  return compiled(compileDirectory(people, clients, { issuers: ['login', 'ci'] }))
}

/** The shipped directory after these persons were switched off. */
export const withoutPersons = (...ids: readonly string[]): Promise<PeopleDirectory> =>
  directoryWith([
    ['revision: 1', 'revision: 2'],
    ...ids.map((id) => [`\n  ${id}:\n`, `\n  ${id}:\n    active: false\n`] as const),
  ])
