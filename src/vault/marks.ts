// The mark by which a broker knows a Vault again: an empty orphan token, made as the holds are and thrown away at once, of which only the accessor
// is kept. A Vault that was restored from an earlier copy has not got it. It needs no right that the broker has not got already.
// Invariant: nobody ever holds the token of a mark, and a mark that nobody tends dies within an hour.
import type { BackendMarks } from '../broker/ports.ts'
import { isThere } from './accessors.ts'
import type { Backends, VaultBackend } from './backends.ts'
import { type Body, type VaultClient, vaultClient } from './client.ts'
import { refused, saysGone } from './failures.ts'
import { MARK, type Places } from './inventory.ts'
import { policyName } from './names.ts'
import type { Timer } from './timer.ts'

export interface VaultMarks extends BackendMarks {
  stop(): void
}

const LIFE_SECONDS = 3_600
/** The broker's policy lets it open nothing that lives longer than a hold does; it is lifted afterwards, as a hold is. */
const BORN_SECONDS = 15
const CONNECTIONS = 2
const CREATE = 'auth/token/create/{role}'
const RENEW = 'auth/token/renew-accessor'
const REVOKE = 'auth/token/revoke-accessor'

/** Marks with connections and a login of their own: asking for one waits for nothing else. */
export function vaultMarks(
  backends: Backends,
  places: Places,
  timer: Timer,
  /** What the broker has to say to those who come after it; no secret. */
  says: () => string = () => '',
): VaultMarks {
  const engines = new Map(
    [...backends].map(([name, settings]) => [name, { settings, client: clientOf(settings, timer) }]),
  )
  const engineFor = (backend: string) => {
    const engine = engines.get(backend)
    if (engine === undefined) throw refused('backends.yaml', 'unknown_backend', { definite: true })
    return engine
  }
  return {
    async set(backend) {
      const { settings, client } = engineFor(backend)
      const [place] = places(backend)
      if (place === undefined) throw refused(CREATE, 'no_entitlement', { definite: true })
      const answer = await client.ask({
        verb: 'write',
        path: `auth/token/create/${settings.tokenRole}`,
        template: CREATE,
        once: true,
        body: {
          policies: [policyName(place.entitlement)],
          ttl: `${BORN_SECONDS}s`,
          renewable: true,
          display_name: 'g-mark',
          meta: { [MARK]: says() },
        },
      })
      const { accessor } = (answer.auth ?? {}) as Body
      if (typeof accessor !== 'string' || accessor === '') throw refused(CREATE, 'no_token')
      const body = { accessor, increment: `${LIFE_SECONDS}s` }
      await client.ask({ verb: 'write', path: RENEW, template: RENEW, body })
      return accessor
    },
    isThere: async (backend, mark) => isThere(engineFor(backend).client, mark),
    async drop(backend, mark) {
      const call = { verb: 'write', path: REVOKE, template: REVOKE, body: { accessor: mark } } as const
      await engineFor(backend)
        .client.call(call)
        .catch((thrown: unknown) => {
          if (!saysGone(thrown)) throw thrown
        })
    },
    stop() {
      for (const { client } of engines.values()) client.close()
    },
  }
}

const clientOf = (settings: VaultBackend, timer: Timer): VaultClient =>
  vaultClient(
    {
      address: { url: settings.address, ca: settings.ca },
      namespace: settings.namespace,
      appRoleMount: settings.appRoleMount,
      roleIdFile: settings.roleIdFile,
      secretIdFile: settings.secretIdFile,
      callTimeoutMs: settings.callTimeoutMs,
      connections: CONNECTIONS,
    },
    timer,
  )
