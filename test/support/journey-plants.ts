// Plants for the journeys: a stage's own Vault and PostgreSQL, and mints as the brokers of that stage, or of another group, would name them.
import { createHash, randomBytes } from 'node:crypto'
import type { PostgresService } from '../../deploy/dev/postgres.ts'
import type { VaultService } from '../../deploy/dev/vault.ts'
import { type GrantId, grantIdFrom, groupTag, type MintName, mintId, readMintId, shard } from '../../src/domain/ids.ts'
import { type Eyes, query } from './journey-actors.ts'
import { type Plants, plants } from './vault-plants.ts'
import { DATABASE, ENTITLEMENT } from './vault-world.ts'

export interface JourneyPlants extends Plants {
  asRoot(method: string, path: string, body?: unknown, token?: string): Promise<unknown>
  query(text: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
}

export function journeyPlants(services: {
  readonly vault: VaultService
  readonly postgres: PostgresService
}): JourneyPlants {
  const { vault, postgres } = services
  const asRoot: JourneyPlants['asRoot'] = async (method, path, body, token = vault.rootToken) => {
    const response = await fetch(`${vault.addr}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': token },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${response.status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  const ask: JourneyPlants['query'] = (text, values) => query(postgres, text, values)
  return {
    ...plants({
      asRoot,
      query: ask,
      postgres: { host: postgres.host, port: postgres.port, database: 'payments' },
      entitlement: ENTITLEMENT,
      database: DATABASE,
    }),
    asRoot,
    query: ask,
  }
}

export const groupOfUrl = (url: string): string => groupTag(createHash('sha256').update(url).digest())
export const mintOf = (grant: GrantId, n = 1): MintName => {
  const found = readMintId(mintId(grant, n))
  if (found === undefined) throw new Error(`${grant} has no mints`)
  return found
}
/** The mint of a grant that nobody ever asked for. */
export const absentMint = (group: string): MintName => mintOf(grantIdFrom(shard(0), group, randomBytes(20)))

/** What of these is there, by the eyes of the administrators: one look at each list, however many they are. */
export async function stillThere(see: Eyes, mints: readonly MintName[]): Promise<Readonly<Record<string, number>>> {
  const isOne = (text: string): boolean => mints.some(({ mint }) => text.endsWith(mint))
  const [roles, logins] = [await see.roles(), await see.logins()]
  const leases = (await see.vault('LIST', 'sys/leases/lookup/database/creds/')).body?.data?.keys ?? []
  const accessors: readonly string[] = (await see.vault('LIST', 'auth/token/accessors')).body.data.keys
  const held = await Promise.all(
    accessors.map(async (accessor) => {
      const { body } = await see.vault('POST', 'auth/token/lookup-accessor', { accessor })
      return isOne(body.data?.meta?.mint ?? '')
    }),
  )
  return {
    leases: leases.filter((folder: string) => isOne(folder.replace(/\/$/, ''))).length,
    holds: held.filter(Boolean).length,
    roles: roles.filter(isOne).length,
    logins: logins.filter(isOne).length,
  }
}
