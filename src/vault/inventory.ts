// What lies at a Vault and in the databases behind it in Writ's name, and its end. A second identity does the looking, because listing accessors
// and leases needs rights that the broker's own login must not have; the broker's login does the ending, and PostgreSQL is asked
// through the probe. It knows nothing of grants: whose an artefact is stands in its mark, whether it may live is asked elsewhere.
// Invariant: only what bears a mark is ever ended, and only under the names that the mark makes.
import type { Artefact, Inventory } from '../broker/ports.ts'
import type { VaultDatabase } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { type EntitlementId, type MintName, readMintId } from '../domain/ids.ts'
import { isBrokenOff, isThere, lookUpListed } from './accessors.ts'
import type { Backends, VaultBackend } from './backends.ts'
import { type Body, type VaultClient, vaultClient } from './client.ts'
import { failureOf, refused, saysGone, unanswered } from './failures.ts'
import { displayName, isMount, isSegment, loginName, mintOfLogin, mintOfRole, policyName } from './names.ts'
import { type FoundLogin, type PostgresLogins, postgresLogins } from './postgres-logins.ts'
import { slots } from './slots.ts'
import type { Timer } from './timer.ts'

/** Where an entitlement of a backend has its credentials made, by the policy of today. */
export interface Place {
  readonly entitlement: EntitlementId
  /** Undefined for any other path of Vault: of such a credential the hold is found, and what was made under it goes with it. */
  readonly database: VaultDatabase | undefined
}
export type Places = (backend: string) => readonly Place[]

export interface VaultInventory extends Inventory {
  /** Ends connections and timers. */
  stop(): void
}

/** Of this backend at a time: it must not take from what grants and ends need. */
const AT_ONCE = 4
const MOST_WAITING = 10_000
/** A list of a million accessors has some 30 MB. */
const MOST_BYTES = 128 * 2 ** 20
const LIST_MS = 15_000
/** A token is made in three writes, one after the other; by then the last of them is done. */
const SETTLED_MS = 500

const ACCESSORS = 'auth/token/accessors'
const DROP_HOLD = 'auth/token/revoke-accessor'
const REVOKE = 'sys/leases/revoke'
const LEASES = 'sys/leases/lookup/{mount}/creds'
const LEASES_OF = 'sys/leases/lookup/{mount}/creds/writ-{entitlement}-{mint}'
const ROLES = '{mount}/roles'
const ROLE = '{mount}/roles/writ-{entitlement}-{mint}'

/** What a token is to us. `others`: not made for a mint, so none of our business; `unmarked`: made as ours are, and says nothing. */
type Token = MintName | 'unmarked' | 'others'

interface Engine {
  readonly name: string
  readonly settings: VaultBackend
  readonly seek: VaultClient
  readonly end: VaultClient
  readonly room: ReturnType<typeof slots>
  readonly logins: ReadonlyMap<string, PostgresLogins>
  /** Of every accessor that was listed last: what it is never changes, and each look-up is a call. */
  readonly known: Map<string, Token>
  readonly heard: (said: string) => void
  readonly timer: Timer
}

/** The inventory of every backend that names a login for it. Everything rejects with a BrokerError. */
export function vaultInventory(
  backends: Backends,
  places: Places,
  timer: Timer,
  /** Told what the mark of a broker says, before anything that was listed with it is given out. */
  heard: (said: string) => void = () => undefined,
): VaultInventory {
  const engines = new Map(
    [...backends].flatMap(([name, settings]) => {
      const engine = engineOf(name, settings, timer, heard)
      return engine === undefined ? [] : [[name, engine] as const]
    }),
  )
  const engineFor = (backend: string): Engine => {
    const engine = engines.get(backend)
    if (engine === undefined) throw refused('backends.yaml', 'no_inventory', { definite: true })
    return engine
  }
  return {
    backends: [...engines.keys()],
    list: (backend) => everything(engineFor(backend), places(backend)),
    end: async (artefact) => {
      const engine = engineFor(artefact.backend)
      return engine.room.run(NEVER, () => endOne(engine, places(artefact.backend), artefact))
    },
    stop() {
      for (const { seek, end } of engines.values()) {
        seek.close()
        end.close()
      }
    },
  }
}

const NEVER = new AbortController().signal

function engineOf(
  name: string,
  settings: VaultBackend,
  timer: Timer,
  heard: (said: string) => void,
): Engine | undefined {
  const { inventory, address, ca, namespace, appRoleMount, callTimeoutMs, probes } = settings
  if (inventory === undefined) return undefined
  const at = { address: { url: address, ca }, namespace, appRoleMount, connections: AT_ONCE }
  const { roleIdFile, secretIdFile } = settings
  return {
    name,
    settings,
    seek: vaultClient({ ...at, ...inventory, callTimeoutMs: LIST_MS, mostBytes: MOST_BYTES }, timer),
    // A login is ended synchronously: the call takes as long as the database.
    end: vaultClient({ ...at, roleIdFile, secretIdFile, callTimeoutMs: Math.max(callTimeoutMs, LIST_MS) }, timer),
    room: slots(AT_ONCE, MOST_WAITING),
    logins: new Map([...probes].map(([connection, probe]) => [connection, postgresLogins(probe, timer)])),
    known: new Map(),
    heard,
    timer,
  }
}

/** Every part is read, whatever became of another; the first failure is told when all that could be read has been. */
async function* everything(engine: Engine, places: readonly Place[]): AsyncGenerator<Artefact> {
  const failures: unknown[] = []
  const away = new Map<string, unknown>()
  async function* part(work: AsyncIterable<Artefact>, database?: string): AsyncGenerator<Artefact> {
    try {
      yield* work
    } catch (thrown) {
      if (database === undefined) failures.push(thrown)
      else away.set(database, thrown)
    }
  }
  const mounts = [...new Set(places.flatMap(({ database }) => database?.mount ?? []))].filter(isMount)
  yield* part(holds(engine, places))
  for (const mount of mounts) {
    yield* part(leases(engine, mount, places))
    yield* part(roles(engine, mount))
  }
  const seen = new Set<string>()
  for (const [connection, logins] of engine.logins)
    yield* part(loginsOf(engine, places, { connection, logins, seen }), connection)
  if (failures.length > 0) throw unanswered('inventory', failures[0])
  const [first] = away.values()
  if (first !== undefined) throw databasesAway([...away.keys()], first)
}

function databasesAway(databases: readonly string[], first: unknown): BrokerError {
  const { facts = {}, cause } = first instanceof BrokerError ? first : {}
  return new BrokerError('not_confirmed', `These databases could not be looked through: ${databases.join(', ')}.`, {
    nextAction: 'Nothing: it is tried again. No login is made there meanwhile.',
    facts: { ...facts, databases },
    cause,
  })
}

async function* holds(engine: Engine, places: readonly Place[]): AsyncGenerator<Artefact> {
  const accessors = await names(engine, ACCESSORS, ACCESSORS)
  // That of the login that asks is among them: whoever says that there is none is not Vault.
  if (accessors.length === 0) throw refused(ACCESSORS, 'no_list')
  const listed = new Set(accessors)
  for (const accessor of engine.known.keys()) if (!listed.has(accessor)) engine.known.delete(accessor)
  // A look ends a token that is just being made: Vault takes it for one whose lease was lost. So whatever is new is left alone for a moment.
  if (accessors.some((accessor) => !engine.known.has(accessor))) await waited(engine.timer, SETTLED_MS)
  // All of them are looked at before the first is given out: the marks among them say how far the store had come.
  const tokens: Token[] = []
  for (let from = 0; from < accessors.length; from += AT_ONCE) {
    const some = accessors.slice(from, from + AT_ONCE)
    tokens.push(...(await Promise.all(some.map((accessor) => tokenOf(engine, places, accessor)))))
  }
  for (const [n, accessor] of accessors.entries()) {
    const token = tokens[n] ?? 'others'
    if (token === 'others') continue
    const mint = token === 'unmarked' ? undefined : token
    yield { backend: engine.name, kind: 'hold', place: '', handle: accessor, mint }
  }
}

const waited = (timer: Timer, ms: number): Promise<void> => new Promise((resolve) => timer.after(ms, resolve))

async function tokenOf(engine: Engine, places: readonly Place[], accessor: string): Promise<Token> {
  const known = engine.known.get(accessor)
  if (known !== undefined) return known
  const answer = await lookUpListed(engine.seek, accessor)
  // Nothing is there, or not any more, or not yet: it is not remembered.
  if (answer === undefined) return 'others'
  const token = readToken(engine, answer)
  // Nobody can use it, and nobody can end it. What a database gave under it is found there; of what another path gave nobody knows.
  if (isBrokenOff(answer)) return token === 'others' || isOfDatabase(places, answer) ? 'others' : 'unmarked'
  engine.known.set(accessor, token)
  return token
}

const isOfDatabase = (places: readonly Place[], { policies }: Body): boolean =>
  places.some(
    ({ entitlement, database }) =>
      database !== undefined && Array.isArray(policies) && policies.includes(policyName(entitlement)),
  )

function readToken({ settings, heard }: Engine, { path, display_name: name, meta }: Body): Token {
  if (path !== `auth/token/create/${settings.tokenRole}`) return 'others'
  const { grant, mint, [MARK]: mark } = objectOf(meta)
  if (mark !== undefined) {
    heard(String(mark))
    return 'others'
  }
  const found = typeof mint === 'string' ? readMintId(mint) : undefined
  const isWhole = found !== undefined && grant === found.grant && name === `token-${displayName(found.mint)}`
  return isWhole ? found : 'unmarked'
}
/** The member of a token's metadata that makes it a broker's mark (`marks.ts`) and nobody's hold; its value is what the broker says. */
export const MARK = 'mark'

async function* leases(engine: Engine, mount: string, places: readonly Place[]): AsyncGenerator<Artefact> {
  // Where a mount serves several databases nobody knows today of which one an earlier policy had it made.
  const here = places.flatMap((one) => (one.database?.mount === mount ? one.database.connection : []))
  const [database, ...others] = new Set(here)
  for (const folder of await names(engine, `sys/leases/lookup/${mount}/creds`, LEASES)) {
    const handle = folder.replace(/\/$/, '')
    const lease = { backend: engine.name, kind: 'lease' as const, place: mount, handle, mint: mintOfRole(handle) }
    yield database === undefined || others.length > 0 ? lease : { ...lease, database }
  }
}

async function* roles(engine: Engine, mount: string): AsyncGenerator<Artefact> {
  // A role of somebody else's in the same mount gives nobody anything by itself.
  for (const handle of await names(engine, `${mount}/roles`, ROLES))
    if (handle.startsWith('writ-'))
      yield { backend: engine.name, kind: 'role', place: mount, handle, mint: mintOfRole(handle) }
}

/** Logins are a server's and not a database's: one that two connections see is one. */
async function* loginsOf(
  engine: Engine,
  places: readonly Place[],
  from: { readonly connection: string; readonly logins: PostgresLogins; readonly seen: Set<string> },
): AsyncGenerator<Artefact> {
  const server = (connection: string): string => {
    const { host, port } = engine.settings.probes.get(connection) ?? { host: connection, port: 0 }
    return `${host}:${port}`
  }
  // Another server may have a role of the same name.
  const onServer = places.filter(({ database }) => database && server(database.connection) === server(from.connection))
  for (const found of await from.logins.list()) {
    const key = `${server(from.connection)}/${found.name}`
    if (from.seen.has(key)) continue
    from.seen.add(key)
    const place = placeOf(onServer, found)?.connection ?? from.connection
    const mint = mintOfLogin(found.name)
    yield { backend: engine.name, kind: 'login', place, handle: found.name, mint, database: place }
  }
}

const placeOf = (places: readonly Place[], { grantedRoles }: FoundLogin): VaultDatabase | undefined =>
  places.flatMap(({ database }) => database ?? []).find(({ grantedRole }) => grantedRoles.includes(grantedRole))

async function names(engine: Engine, path: string, template: string): Promise<readonly string[]> {
  const answer = await engine.seek.call({ verb: 'list', path, template }).catch((thrown: unknown) => {
    // An empty list is a 404 without a word.
    if (failureOf(thrown)?.reason === 'not_found') return { data: { keys: [] } }
    throw thrown
  })
  const { keys } = objectOf(answer?.data)
  if (!Array.isArray(keys)) throw refused(template, 'no_list')
  return keys.filter((key) => typeof key === 'string')
}

async function endOne(engine: Engine, places: readonly Place[], artefact: Artefact): Promise<boolean> {
  const { kind, place, handle, mint } = artefact
  // The mark is read again out of the handle: what is ended is what bears it, whoever asks.
  if (mint === undefined) throw refused('inventory', 'no_mark', { definite: true })
  switch (kind) {
    case 'lease':
      if (mintOfRole(handle)?.mint !== mint.mint || !isMount(place)) throw refused(LEASES_OF, 'unsafe_name')
      return endLeases(engine, place, handle)
    case 'hold':
      return endHold(engine, handle)
    case 'role':
      if (mintOfRole(handle)?.mint !== mint.mint || !isMount(place) || !isSegment(handle))
        throw refused(ROLE, 'unsafe_name')
      return endRole(engine, place, handle)
    case 'login': {
      if (handle !== loginName(mint.mint)) throw refused('postgresql', 'unsafe_name')
      const logins = engine.logins.get(place)
      if (logins === undefined) throw refused('backends.yaml', 'no_probe_for_connection')
      return logins.end(handle, await ownerOf(logins, places, place, handle))
    }
  }
}

/** Who owns what it made: as the entitlement says whose rights it has. */
async function ownerOf(
  logins: PostgresLogins,
  places: readonly Place[],
  connection: string,
  login: string,
): Promise<string | undefined> {
  const here = places.filter(({ database }) => database?.connection === connection)
  const owners = new Set(here.flatMap(({ database }) => database?.ownerRole ?? []))
  // Where all entitlements of the connection have one owner there is no question.
  if (owners.size === 1) return [...owners][0]
  const found = (await logins.list()).find(({ name }) => name === login)
  return found && placeOf(here, found)?.ownerRole
}

async function endLeases(engine: Engine, mount: string, role: string): Promise<boolean> {
  const path = `sys/leases/lookup/${mount}/creds/${role}`
  const found = await names(engine, path, LEASES_OF)
  for (const lease of found) {
    const body = { lease_id: `${mount}/creds/${role}/${lease}`, sync: true }
    await engine.end.call({ verb: 'write', path: REVOKE, template: REVOKE, body }).catch((thrown: unknown) => {
      if (!saysGone(thrown)) throw thrown
    })
  }
  if (found.length > 0 && (await names(engine, path, LEASES_OF)).length > 0) throw notEnded(LEASES_OF)
  return found.length > 0
}

async function endRole(engine: Engine, mount: string, role: string): Promise<boolean> {
  const isListed = async (): Promise<boolean> => (await names(engine, `${mount}/roles`, ROLES)).includes(role)
  if (!(await isListed())) return false
  await engine.end.call({ verb: 'delete', path: `${mount}/roles/${role}`, template: ROLE }).catch((thrown: unknown) => {
    if (!saysGone(thrown)) throw thrown
  })
  if (await isListed()) throw notEnded(ROLE)
  return true
}

async function endHold(engine: Engine, accessor: string): Promise<boolean> {
  if (!(await isThere(engine.end, accessor))) return false
  const body = { accessor }
  await engine.end.call({ verb: 'write', path: DROP_HOLD, template: DROP_HOLD, body }).catch((thrown: unknown) => {
    if (!saysGone(thrown)) throw thrown
  })
  if (await isThere(engine.end, accessor)) throw notEnded(DROP_HOLD)
  return true
}

const notEnded = (path: string): BrokerError =>
  new BrokerError('not_confirmed', 'Vault has not ended what was found there.', {
    nextAction: 'Nothing: it is tried again.',
    facts: { reason: 'something_is_left' },
    cause: { path, reason: 'something_is_left' },
  })

const objectOf = (value: unknown): Body =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : {}
