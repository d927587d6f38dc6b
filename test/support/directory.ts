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
export async function shippedDirectory(readJwks: (path: string) => string = someJwks): Promise<PeopleDirectory> {
  const people = compiled(compilePeople(await config('people.yaml'), 'people.yaml'))
  const clients = compiled(compileClients(await config('clients.yaml'), 'clients.yaml', readJwks))
  return compiled(compileDirectory(people, clients, { issuers: ['login', 'ci'] }))
}
