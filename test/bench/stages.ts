// The servers that scenes share: started when the first asks for one, ended when no later scene plays there. A quick run has one broker for all.
import pg from 'pg'
import type { Servers } from './about.ts'
import { type OidcSide, startOidc } from './oidc-side.ts'
import { type Ours, startOurs } from './ours.ts'
import type { StageName } from './scene.ts'

export interface Stages {
  /** The broker of this stage, with all that belongs to it. */
  ours(name: Exclude<StageName, 'oidc'>): Promise<Ours>
  oidc(): Promise<OidcSide>
  /** Ends all but these. */
  keep(names: readonly StageName[]): Promise<void>
}

export interface StagesOptions {
  readonly quick: boolean
  /** Is told which servers ran. */
  readonly servers: Servers
  say(line: string): void
}

export function openStages({ quick, servers, say }: StagesOptions): Stages {
  const brokers = new Map<string, Promise<Ours>>()
  let oidc: Promise<OidcSide> | undefined
  const placeOf = (name: StageName): string => (quick ? 'quick' : name)
  return {
    ours: (name) => {
      const place = placeOf(name)
      const known = brokers.get(place)
      if (known !== undefined) return known
      say(`starting Redis, PostgreSQL, Vault and a broker (${place})`)
      const starting = startOurs({ vault: true, ...(name === 'large' ? { redisMemory: '12gb' } : {}) }).then(
        async (ours) => {
          Object.assign(servers, await versionsOf(ours))
          return ours
        },
      )
      brokers.set(place, starting)
      return starting
    },
    oidc: () => {
      oidc ??= startOidc()
      return oidc
    },
    keep: async (names) => {
      const kept = names.filter((name) => name !== 'oidc').map(placeOf)
      for (const [place, starting] of [...brokers])
        if (!kept.includes(place)) {
          brokers.delete(place)
          await starting.then(
            (ours) => ours.stop(),
            () => undefined,
          )
        }
      if (oidc === undefined || names.includes('oidc')) return
      const ending = oidc
      oidc = undefined
      await ending.then(
        (side) => side.stop(),
        () => undefined,
      )
    },
  }
}

async function versionsOf({ redis, stage }: Ours): Promise<Servers> {
  const { vault, postgres } = await stage.services()
  const health = await fetch(`${vault.addr}/v1/sys/health`).then((answer) => answer.json())
  const admin = new pg.Client({ connectionString: postgres.url })
  await admin.connect()
  const { rows } = await admin.query('show server_version').finally(() => admin.end())
  return {
    redis: /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown',
    vault: String(Reflect.get(Object(health), 'version')),
    postgres: String(rows[0]?.server_version),
  }
}
