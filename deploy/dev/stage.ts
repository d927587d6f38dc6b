// A whole Writ on this machine: Redis, identity provider, and, when they are up, PostgreSQL and Vault with Writ's set-up; brokers as
// processes of their own. One piece of code for the quickstart, the journeys and the crash runs. Whatever it started, `stop` ends.
import { chmodSync, closeSync, copyFileSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { named } from '../../src/domain/ids.ts'
import { readConfiguration } from '../../src/rules.ts'
import { applyVaultSetup } from '../vault/setup.ts'
import { type ProofKey, proofKey } from './client.ts'
import { type IdentityProvider, startIdentityProvider } from './identity-provider.ts'
import { type PostgresService, startPostgres } from './postgres.ts'
import { type RedisService, startRedis } from './redis.ts'
import { freePort, launch, type Running, temporaryFolder } from './running.ts'
import type { Stage } from './story.ts'
import { startVault, type VaultService } from './vault.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** The options of Node with which `npm start` runs the broker. */
export function nodeOptions(): readonly string[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  return String(scripts.start)
    .split(' ')
    .filter((one) => one.startsWith('--'))
}
const SERVERS = ['webshop-api', 'desk-api', 'reports-api'] as const
const DATABASE = 'payments'

export interface StageOptions {
  /** Where everything lies; a temporary folder that goes with `stop` where absent. */
  readonly dir?: string
  readonly port?: number
  /** What this machine is called in the public URL; `localhost` where browsers use passkeys, which know no relying party by an address. */
  readonly host?: '127.0.0.1' | 'localhost'
  /** False leaves the backends out (WRIT_VAULT=off). */
  readonly vault: boolean
}
export interface BrokerProcess {
  readonly url: string
  readonly pid: number
  output(): string
  hasExited(): boolean
  stop(): Promise<void>
  kill(): Promise<void>
  freeze(): void
  thaw(): void
}
export interface DevStage {
  readonly dir: string
  /** The first broker's, and the issuer of every broker of this stage. */
  readonly url: string
  readonly redis: RedisService
  readonly idp: IdentityProvider
  /** Settings for the n-th broker: 0 listens at `url`, others at ports of their own behind the same public URL. */
  settings(n: number, port: number): Record<string, string>
  startBroker(
    n?: number,
    /** `port`: of one that is started again and again, so that it does not take a new one each time. */
    more?: { readonly program?: string; readonly env?: Readonly<Record<string, string>>; readonly port?: number },
  ): Promise<BrokerProcess>
  /** PostgreSQL and Vault with Writ's set-up, at the addresses that the brokers know already. */
  bringVault(options?: {
    readonly copyable?: boolean
  }): Promise<{ readonly vault: VaultService; readonly postgres: PostgresService }>
  /** What `bringVault` started. */
  services(): Promise<{ readonly vault: VaultService; readonly postgres: PostgresService }>
  resourceServer(id: string): { readonly id: string; readonly privateKey: ProofKey['privateKey']; readonly kid: string }
  /** What the story needs. */
  story(say: (line: string) => void): Stage
  stop(): Promise<void>
}

export async function openStage(options: StageOptions): Promise<DevStage> {
  const temporary = options.dir === undefined ? await temporaryFolder('stage') : undefined
  const dir = options.dir ?? temporary?.path ?? ''
  for (const folder of ['', 'resource-servers', 'secrets'])
    mkdirSync(join(dir, folder), { recursive: true, mode: 0o700 })
  const keys = writeResourceServers(dir)
  const [port, postgresPort, vaultPort] = [options.port ?? (await freePort()), await freePort(), await freePort()]
  const url = `http://${options.host ?? '127.0.0.1'}:${port}`
  writeBackends(dir, `http://127.0.0.1:${vaultPort}`, { host: '127.0.0.1', port: postgresPort })
  const redis = await startRedis({ own: true })
  const { rules } = readConfiguration({
    mode: 'production',
    configDir: join(ROOT, 'config'),
    issuersFile: join(ROOT, 'config/issuers.yaml'),
    clientsFile: join(dir, 'clients.yaml'),
  })
  const idp = await startIdentityProvider({ brokerUrl: url, directory: rules.directory })
  await idp.writeIssuersFile(join(dir, 'issuers.yaml'))
  writeSecret(dir, 'redis-url', redis.url)
  const toStop: (() => Promise<void>)[] = [() => redis.stop(), () => idp.stop()]
  let services: { vault: VaultService; postgres: PostgresService } | undefined

  const settings = (n: number, at: number): Record<string, string> => ({
    WRIT_MODE: 'dev',
    WRIT_LISTEN: `127.0.0.1:${at}`,
    WRIT_PUBLIC_URL: url,
    WRIT_REDIS_URL_FILE: join(dir, 'secrets/redis-url'),
    WRIT_DATA_DIR: join(dir, `broker-${n}`),
    WRIT_KEYS_DIR: join(dir, 'keys'),
    // Brokers are started here again and again.
    NODE_COMPILE_CACHE: join(dir, 'compiled'),
    WRIT_CONFIG_DIR: join(ROOT, 'config'),
    WRIT_ISSUERS_FILE: join(dir, 'issuers.yaml'),
    WRIT_CLIENTS_FILE: join(dir, 'clients.yaml'),
    WRIT_BACKENDS_FILE: join(dir, 'backends.yaml'),
    WRIT_VAULT: options.vault ? 'on' : 'off',
    // The journeys ask for hundreds at a time in one person's name.
    WRIT_MAX_PENDING_PER_REQUESTER: '10000',
    WRIT_MAX_PENDING_PER_OWNER: '10000',
    // Whoever looks for what is left at the backends finds what was asked for, and nothing that was made for nobody.
    WRIT_CANARY_EVERY: '0s',
    // Who tries things out denies and asks again.
    WRIT_DENIED_RESTS: '1s',
  })

  const startBroker: DevStage['startBroker'] = async (n = 0, more = {}) => {
    const at = more.port ?? (n === 0 ? port : await freePort())
    const log = join(dir, `broker-${n}.log`)
    closeSync(openSync(log, 'a', 0o600))
    const running: Running = await launch(log, {
      command: process.execPath,
      args: [...nodeOptions(), more.program ?? join(ROOT, 'src/main.ts')],
      env: { ...plainEnvironment(), ...settings(n, at), ...more.env },
      cwd: ROOT,
      stopSignal: 'SIGTERM',
      orphanSignal: 'SIGKILL',
    })
    const broker: BrokerProcess = { ...running, url: `http://127.0.0.1:${at}` }
    toStop.push(() => broker.stop())
    await untilAlive(broker)
    return broker
  }

  return {
    dir,
    url,
    redis,
    idp,
    settings,
    startBroker,
    bringVault: async ({ copyable = false } = {}) => {
      const postgres = await startPostgres({ own: true, port: postgresPort, copyable })
      toStop.push(() => postgres.stop())
      const vault = await startVault({ own: true, port: vaultPort, copyable })
      toStop.push(() => vault.stop())
      await setUpDatabase(dir, vault, postgres)
      services = { vault, postgres }
      return services
    },
    services: async () => services ?? fail('bringVault was not called'),
    resourceServer: (id) => keys.get(id) ?? fail(`no resource server ${id}`),
    story: (say) => ({
      brokerUrl: url,
      personToken: idp.personToken,
      agentToken: idp.agentToken,
      ciToken: idp.ciToken,
      resourceServer: (id) => keys.get(id) ?? fail(`no resource server ${id}`),
      say,
      ...(services === undefined
        ? {}
        : {
            database: {
              host: '127.0.0.1',
              port: postgresPort,
              database: DATABASE,
              adminUrl: adminUrl(services.postgres),
            },
          }),
    }),
    stop: async () => {
      // Brokers first, then what they use.
      for (const stop of toStop.splice(0).reverse()) await stop().catch(() => undefined)
      temporary?.remove()
    },
  }
}

const fail = (message: string): never => {
  throw new Error(message)
}

/** Nothing of ours that would be a setting of the broker's. */
const plainEnvironment = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined || name.startsWith('WRIT_') ? [] : [[name, value]],
    ),
  )

async function untilAlive(broker: BrokerProcess): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    if (broker.hasExited()) throw new Error(`the broker did not start:\n${broker.output().slice(-4_000)}`)
    const alive = await fetch(`${broker.url}/healthz`).then(
      (answer) => answer.ok,
      () => false,
    )
    if (alive) return
    await pause(50)
  }
  throw new Error(`the broker does not answer:\n${broker.output().slice(-4_000)}`)
}

export function writeSecret(dir: string, name: string, value: string): void {
  const file = join(dir, 'secrets', name)
  writeFileSync(file, value, { mode: 0o600 })
  chmodSync(file, 0o600)
}

/** Key pairs for the example resource servers; clients.yaml names their public halves beside itself. */
export function writeResourceServers(
  dir: string,
): ReadonlyMap<string, { id: string; privateKey: ProofKey['privateKey']; kid: string }> {
  copyFileSync(join(ROOT, 'config/clients.yaml'), join(dir, 'clients.yaml'))
  return new Map(
    SERVERS.map((id) => {
      const { privateKey, thumbprint: kid } = proofKey()
      const { crv, kty, x, y } = privateKey.export({ format: 'jwk' })
      writeFileSync(
        join(dir, `resource-servers/${id}.jwks.json`),
        JSON.stringify({ keys: [{ kty, crv, x, y, kid, alg: 'ES256', use: 'sig' }] }),
      )
      return [id, { id, privateKey, kid }] as const
    }),
  )
}

/** Written before Vault and PostgreSQL are up, so that a broker can start meanwhile. JSON is YAML. */
export function writeBackends(
  dir: string,
  vaultAddress: string,
  postgres: { readonly host: string; readonly port: number },
): void {
  const backends = {
    'vault-main': {
      kind: 'vault',
      address: vaultAddress,
      roleIdFile: 'secrets/vault-role-id',
      secretIdFile: 'secrets/vault-secret-id',
      inventory: { roleIdFile: 'secrets/inventory-role-id', secretIdFile: 'secrets/inventory-secret-id' },
      probes: {
        payments: {
          ...postgres,
          database: DATABASE,
          user: 'writ_probe',
          passwordFile: 'secrets/probe-password',
        },
      },
    },
  }
  writeFileSync(join(dir, 'backends.yaml'), JSON.stringify({ backends }, undefined, 2))
}

const adminUrl = (postgres: Pick<PostgresService, 'url'>): string => {
  const url = new URL(postgres.url)
  url.pathname = `/${DATABASE}`
  return url.href
}

/** The example's database, and Writ's set-up of both; the secrets go into `dir`. Again is no harm. */
export async function setUpDatabase(
  dir: string,
  vault: Pick<VaultService, 'addr' | 'rootToken'>,
  postgres: Pick<PostgresService, 'url' | 'host' | 'port'>,
): Promise<void> {
  const admin = new pg.Client({ connectionString: postgres.url })
  await admin.connect()
  const { rowCount } = await admin.query('select from pg_database where datname = $1', [DATABASE])
  if (rowCount === 0) await admin.query(`create database ${DATABASE}`)
  await admin.end()
  const { broker, inventory, probes } = await applyVaultSetup({
    addr: vault.addr,
    adminToken: vault.rootToken,
    connections: {
      payments: {
        host: postgres.host,
        port: postgres.port,
        database: DATABASE,
        sslmode: 'disable',
        schema: 'public',
        schemaRights: 'USAGE, CREATE',
        by: { superuserUrl: adminUrl(postgres) },
      },
    },
    entitlements: [
      {
        id: named.entitlement('payments-migrator'),
        database: {
          mount: 'database',
          connection: 'payments',
          grantedRole: 'payments_migrator',
          ownerRole: 'payments_owner',
        },
      },
    ],
  })
  writeSecret(dir, 'vault-role-id', broker.roleId)
  writeSecret(dir, 'vault-secret-id', broker.secretId)
  writeSecret(dir, 'inventory-role-id', inventory.roleId)
  writeSecret(dir, 'inventory-secret-id', inventory.secretId)
  writeSecret(dir, 'probe-password', probes.payments?.password ?? fail('no probe login'))
}
