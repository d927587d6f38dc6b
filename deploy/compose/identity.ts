// The container beside the brokers: sets Vault and PostgreSQL up, writes the development configuration to the folder given as argument, then
// is the identity provider without passwords. Development only; it shares the brokers' network name space, so that it listens on their
// loopback alone and nobody outside can be anybody. When it answers, everything the brokers read is there.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readConfiguration } from '../../src/rules.ts'
import { ensureKeyRing } from '../../src/tokens/key-ring.ts'
import { startIdentityProvider } from '../dev/identity-provider.ts'
import { setUpDatabase, writeBackends, writeResourceServers } from '../dev/stage.ts'
import { BROKER_URL, POSTGRES, postgresUrl, STATE_FILE, secretOf, VAULT_ADDRESS } from './place.ts'

const [dir = '/shared'] = process.argv.slice(2)
const configDir = fileURLToPath(new URL('../../config', import.meta.url))

for (const folder of ['resource-servers', 'secrets']) mkdirSync(join(dir, folder), { recursive: true, mode: 0o700 })
const resourceServers = writeResourceServers(dir)
writeBackends(dir, VAULT_ADDRESS, POSTGRES)
await setUpDatabase(
  dir,
  { addr: VAULT_ADDRESS, rootToken: secretOf('vault-token') },
  { ...POSTGRES, url: postgresUrl() },
)
await ensureKeyRing(join(dir, 'keys'))
const { rules } = readConfiguration({
  mode: 'production',
  configDir,
  issuersFile: join(configDir, 'issuers.yaml'),
  clientsFile: join(dir, 'clients.yaml'),
})
const idp = await startIdentityProvider({ port: 9_000, brokerUrl: BROKER_URL, directory: rules.directory })
await idp.writeIssuersFile(join(dir, 'issuers.yaml'))
const { loginUrl, ciUrl, clientSecrets } = idp
const servers = [...resourceServers.values()].map(({ privateKey, ...server }) => ({
  ...server,
  jwk: privateKey.export({ format: 'jwk' }),
}))
writeFileSync(STATE_FILE, JSON.stringify({ brokerUrl: BROKER_URL, loginUrl, ciUrl, clientSecrets, servers }), {
  mode: 0o600,
})
process.stdout.write('ready\n')
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void idp.stop().then(() => process.exit(0)))
