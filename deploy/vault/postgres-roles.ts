// Applies postgres.sql: the roles that Vault and the probe need in a database, made by a superuser. The same file works in psql.
// Invariant: passwords reach the server as SCRAM verifiers only, so that neither it nor its log ever holds one.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import pg from 'pg'

export type SchemaRights = 'USAGE' | 'USAGE, CREATE'

export interface PostgresRoles {
  readonly granted_role: string
  readonly owner_role: string
  readonly schema: string
  /** Of the granted role in that schema. */
  readonly schema_rights: SchemaRights
  readonly vault_login: string
  readonly vault_password: string
  readonly probe_login: string
  readonly probe_password: string
}

const ITERATIONS = 4096

/** What PostgreSQL stores of a password (RFC 5802, RFC 7677); good for the ASCII passwords that the set-up makes. */
export const scramVerifier = (password: string): string => {
  const salt = randomBytes(16)
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256')
  const key = (name: string) => createHmac('sha256', salted).update(name).digest()
  const storedKey = createHash('sha256').update(key('Client Key')).digest('base64')
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${key('Server Key').toString('base64')}`
}

/** psql's variables: :'name' as a literal, :"name" as an identifier, and one bare word that is checked by its type. */
const withVariables = (text: string, variables: Readonly<Record<string, string>>): string => {
  const value = (name: string): string => {
    const found = variables[name]
    if (found === undefined) throw new RangeError(`postgres.sql names ${name}, which nothing fills in`)
    return found
  }
  return text
    .replace(/^--.*$/gm, '')
    .replace(/:'(\w+)'|:"(\w+)"|:(schema_rights)\b/g, (_, literal?: string, identifier?: string, bare?: string) => {
      if (literal !== undefined) return pg.escapeLiteral(value(literal))
      return identifier !== undefined ? pg.escapeIdentifier(value(identifier)) : value(bare ?? '')
    })
}

const postgresRolesFile = (): string => readFileSync(new URL('postgres.sql', import.meta.url), 'utf8')

/** Makes what is missing and sets the two passwords. Nothing is changed if any statement fails. */
export const applyPostgresRoles = async (superuserUrl: string, roles: PostgresRoles): Promise<void> => {
  const client = new pg.Client({ connectionString: superuserUrl, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    await client.query(
      withVariables(postgresRolesFile(), {
        ...roles,
        vault_password: scramVerifier(roles.vault_password),
        probe_password: scramVerifier(roles.probe_password),
      }),
    )
  } finally {
    await client.end()
  }
}
