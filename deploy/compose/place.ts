// Where things are inside the compose network, and what its secrets hold: known to the set-up and to the story.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A name: browsers know no relying party, and so no passkey, by an address. */
export const BROKER_URL = 'http://localhost:8480'
export const SECOND_BROKER_URL = 'http://127.0.0.1:8481'
export const VAULT_ADDRESS = 'http://vault:8200'
export const POSTGRES = { host: 'postgres', port: 5432 } as const
/** What other programs of this container need in order to sign in; `npm run dev:token` reads it too. */
export const STATE_FILE = fileURLToPath(new URL('../../.writ/dev.json', import.meta.url))

export const secretOf = (name: string): string => readFileSync(`/run/secrets/${name}`, 'utf8').trim()
export const postgresUrl = (): string =>
  `postgresql://postgres:${secretOf('postgres-password')}@${POSTGRES.host}:${POSTGRES.port}/postgres`
