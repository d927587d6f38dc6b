// What a Vault leaves behind that dies while it makes a token, or while it ends one. It writes the accessor, then the token, so there is an accessor
// that leads to nothing: nobody can kill it between the two on purpose, so a token is made, and taken out of its data when it is dead. When it ends
// one it marks it, clears what belongs to it, and forgets it: a token that has much to clear is killed in the middle of that.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { VaultService } from '../../deploy/dev/vault.ts'

type Server = Pick<VaultService, 'addr' | 'rootToken' | 'dir' | 'kill' | 'restart'>
const TRIES = 20

/** Kills it as if it had been making a token then; answers the accessor that is left. */
export async function killWhileMaking(vault: Server): Promise<string> {
  if (vault.dir === undefined) throw new Error('its data are out of reach: bring it as copyable')
  const folder = join(vault.dir, 'storage/sys/token/id')
  for (let tries = 0; tries < TRIES; tries += 1) {
    const before = new Set(readdirSync(folder))
    const accessor = await newToken(vault)
    const made = readdirSync(folder).filter((name) => !before.has(name))
    // Somebody else's too: which is which stands nowhere.
    if (made.length !== 1) continue
    await vault.kill()
    rmSync(join(folder, String(made[0])))
    return accessor
  }
  throw new Error(`others made tokens at each of ${TRIES} tries`)
}

const MUCH = 3_000
const SEEN_WITHIN_MS = 20_000

/** Kills it while it ends this token, which may write to its cubbyhole. Rejects where it was through before that was seen. */
export async function killWhileRevoking(
  vault: Server,
  { token, accessor }: { token: string; accessor: string },
): Promise<void> {
  const ask = (path: string, body: unknown, as = vault.rootToken): Promise<Response> =>
    fetch(`${vault.addr}/v1/${path}`, { method: 'POST', headers: { 'x-vault-token': as }, body: JSON.stringify(body) })
  const waiting = Array.from({ length: MUCH }, (_, n) => n).values()
  const fill = async (): Promise<void> => {
    for (const n of waiting) await ask(`cubbyhole/${n}`, { n }, token)
  }
  await Promise.all([fill(), fill(), fill(), fill()])
  void ask('auth/token/revoke-accessor', { accessor }).catch(() => undefined)
  const until = performance.now() + SEEN_WITHIN_MS
  while (performance.now() < until) {
    const looked = await ask('auth/token/lookup-accessor', { accessor })
    if (!looked.ok) throw new Error('it was through before it was seen')
    const { data } = (await looked.json()) as { data: { num_uses: number } }
    if (data.num_uses < 0) return vault.kill()
  }
  throw new Error(`its end was not begun within ${SEEN_WITHIN_MS} ms`)
}

async function newToken({ addr, rootToken }: Server): Promise<string> {
  const response = await fetch(`${addr}/v1/auth/token/create`, {
    method: 'POST',
    headers: { 'x-vault-token': rootToken },
    body: JSON.stringify({ policies: ['default'], ttl: '1h' }),
  })
  if (!response.ok) throw new Error(`no token was made: ${response.status}`)
  const { auth } = (await response.json()) as { auth: { accessor: string } }
  return auth.accessor
}

/** The same server, which every so many kills dies while it makes a token. */
export function sometimesWhileMaking(
  vault: Server,
  every: number,
): Pick<Server, 'kill' | 'restart'> & { /** How often it did. */ readonly halfMade: () => number } {
  let [kills, halfMade] = [0, 0]
  return {
    halfMade: () => halfMade,
    restart: () => vault.restart(),
    kill: async () => {
      kills += 1
      if (kills % every !== 1) return vault.kill()
      // It may be busy, or just away: then it dies like that.
      await killWhileMaking(vault).then(
        () => {
          halfMade += 1
        },
        () => vault.kill(),
      )
    },
  }
}
