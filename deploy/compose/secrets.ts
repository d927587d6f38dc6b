// Makes the secrets of the compose set-up as files, once: `npm run compose:secrets`. The folder is ours alone; the files in it can be read by
// every user, because a container sees them as its own user.
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const SECRETS = fileURLToPath(new URL('../../.writ/compose', import.meta.url))

const random = (): string => randomBytes(24).toString('hex')

/** Leaves alone what is there: the databases know their passwords already. */
export function makeSecrets(folder: string): void {
  if (existsSync(join(folder, 'complete'))) return
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const put = (name: string, text: string): void => {
    writeFileSync(join(folder, name), `${text}\n`)
    chmodSync(join(folder, name), 0o444)
  }
  const redis = random()
  put('redis-url', `redis://writ:${redis}@redis:6379`)
  put('redis-acl', redisAcl(redis))
  put('postgres-password', random())
  const vault = random()
  put('vault-token', vault)
  // Vault's development server takes its token from nowhere else.
  put('vault.env', `VAULT_DEV_ROOT_TOKEN_ID=${vault}`)
  put('complete', 'made by npm run compose:secrets; remove the folder together with the volumes')
}

/** Whoever has no password may ask whether Redis is there. Writ may not change settings, users or persistence. */
export const redisAcl = (password: string): string =>
  [
    'user default on nopass resetkeys resetchannels -@all +ping',
    `user writ on #${createHash('sha256').update(password).digest('hex')} ~* &* +@all -@admin -@dangerous +info +config|get`,
  ].join('\n')

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  makeSecrets(SECRETS)
  process.stdout.write(`secrets are in ${SECRETS}\n`)
}
