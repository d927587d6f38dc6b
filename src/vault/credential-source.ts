// Credentials through Vault: the CredentialSource of DESIGN.md §6. Logins of the database engine, and what any other path gives
// (`path-engine.ts`). It knows nothing of grants; it makes, ends and asks.
//
// Why `close` and `confirmGone` find everything, wherever the maker stopped (each line is a crash or a lost reply after it):
// 1. claimed             Nothing. Not even a role: `issue` comes after the accessor is recorded.
// 2. hold opened         A token without a secret, which only the dead maker knew, and which dies within 15 s. Nothing can be made under it.
// 3. accessor recorded   As 2, and found by its accessor. A maker that wakes up later holds a revoked token: it may still write the
//                        Vault role (which gives nobody anything), but reading a secret is denied.
// 4. kept, role written  As 3, with a longer life. The role's name is made of the ids.
// 5. secret read, lease  The lease is not recorded, and finding it would need sudo, which the broker must not have. Revoking the
//    not recorded        accessor makes Vault end the leases under it, in its own time: so it is confirmed by the accessor being gone
//                        (no further secret) and by PostgreSQL having no login of that name, no session and no statement making one.
//    …still being read   Vault cancels the work when the connection breaks. If it is finished all the same, under a token that is
//                        gone, Vault keeps the lease until the role's ttl and nobody has the password: the probe sees the login,
//                        says "not gone", and the native end, before the window's, is the last resort.
//    The same, path     Nothing can be asked behind the engine, so it is said how long it may last; its secret never left.
// 6. lease recorded      It is revoked by id, synchronously, and confirmed by Vault no longer knowing it, and by the probe.
// 7. Vault put back from  Vault knows neither lease nor hold, and the login is there all the same: it is ended in PostgreSQL itself, or
//    an earlier copy      it would never be gone.
import type { CredentialSource, Gone, Hold, MintPlan, VaultSecret } from '../broker/ports.ts'
import { isCanary } from '../domain/canary.ts'
import type { VaultDatabaseCredential, VaultPathCredential } from '../domain/entitlement.ts'
import { BrokerError } from '../domain/errors.ts'
import { type Duration, duration, type Instant, toSeconds } from '../domain/instant.ts'
import type { Lease, Mint } from '../domain/mint.ts'
import { type Secret, secret } from '../domain/secret.ts'
import { isThere, LOOKUP_ACCESSOR, reach } from './accessors.ts'
import type { Backends, VaultBackend } from './backends.ts'
import { type Body, type VaultClient, vaultClient } from './client.ts'
import { failureOf, misdeclared, refused, saysGone, unanswered, unavailable } from './failures.ts'
import { displayName, isMount, isSegment, loginName, policyName, roleName } from './names.ts'
import { bodyFor, FAULTS, given, isVaultPath, pathOf } from './path-engine.ts'
import { type PostgresLogins, postgresLogins } from './postgres-logins.ts'
import { type Left, type Probe, postgresProbe } from './postgres-probe.ts'
import { type Slots, slots } from './slots.ts'
import { databaseStatements } from './statements.ts'
import { type Timer, within } from './timer.ts'

/** How long an unrecorded hold lives. */
const HOLD_SECONDS = 15
/** Under this no login is begun. */
const LEAST_SECONDS = 10
/** The role's ttl is this much below the time left: Vault adds 5 s to VALID UNTIL, and a second goes by until the secret is read. */
const MARGIN_SECONDS = 6
const VALID_UNTIL_EXTRA_SECONDS = 5

export interface VaultCredentialSource extends CredentialSource {
  /** Logs in and checks that each backend's login may not do more than it must. Rejects with what is wrong. */
  ready(): Promise<void>
  /** Ends connections and timers. */
  stop(): void
}

/** One backend at work. Issue and end have connections, logins and budgets of their own: neither can hold up the other. */
interface Engine {
  readonly name: string
  readonly settings: VaultBackend
  readonly issue: VaultClient
  readonly end: VaultClient
  readonly issuing: Slots
  readonly ending: Slots
  readonly probes: ReadonlyMap<string, Probe>
  /** Since 1970. */
  nowSeconds(): number
  readonly logins: ReadonlyMap<string, PostgresLogins>
}
interface BackendHold extends Hold {
  readonly backend: string
}

/**
 * The credential source over every backend of `config/backends.yaml`. Everything rejects with a BrokerError: `vault_refused`,
 * `vault_unavailable` (each with the fact `definite`: true where the call changed nothing), `window_closing`, `not_confirmed`.
 * `now` is the time of day, only for what says when it ends instead of how long it lives.
 */
export function vaultCredentialSource(backends: Backends, timer: Timer, now: () => Instant): VaultCredentialSource {
  const nowSeconds = (): number => now() / 1_000
  const engines = new Map([...backends].map(([name, settings]) => [name, engineOf(name, settings, timer, nowSeconds)]))
  const engineFor = (backend: string): Engine => {
    const engine = engines.get(backend)
    if (engine === undefined) throw refused('backends.yaml', 'unknown_backend', { definite: true })
    return engine
  }

  /** In a slot of the issuing side, under one deadline for all its calls. */
  const issuing = <T>(engine: Engine, template: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    bounded(timer, engine.settings.issueTimeoutMs, engine.issuing, template, work)
  const ending = <T>(engine: Engine, template: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
    bounded(timer, engine.settings.endTimeoutMs, engine.ending, template, work)

  return {
    async reach({ backend }) {
      const engine = engineFor(backend)
      await issuing(engine, LOOKUP_ACCESSOR, (signal) => reach(engine.issue, signal))
    },
    async open(plan) {
      const engine = engineFor(plan.credential.backend)
      checkPlan(engine, plan)
      return issuing(engine, OPEN, (signal) => openHold(engine, plan, signal))
    },
    async keep(hold, left) {
      const engine = engineFor((hold as BackendHold).backend)
      await issuing(engine, KEEP, (signal) => keepHold(engine, hold, left, signal))
    },
    async issue(hold, plan, left) {
      const engine = engineFor(plan.credential.backend)
      checkPlan(engine, plan)
      const startedAt = timer.now()
      // What is left is counted from the call: waiting for a slot and for Vault eats from it.
      const leftNow = (): number => left - (timer.now() - startedAt)
      if (leftNow() < LEAST_SECONDS * 1_000) throw windowClosing()
      const { credential } = plan
      return credential.engine === 'database'
        ? issuing(engine, READ, (signal) => makeLogin(engine, hold, { ...plan, credential }, leftNow, signal))
        : issuing(engine, PATH, (signal) => makeFromPath(engine, hold, credential, leftNow, signal))
    },
    async close(plan, mint) {
      const engine = engineFor(plan.credential.backend)
      await ending(engine, REVOKE, (signal) => closeMint(engine, plan, mint, signal))
    },
    async confirmGone(plan, mint) {
      const engine = engineFor(plan.credential.backend)
      return timed(timer, engine.settings.endTimeoutMs, LOOKUP, (signal) => askWhatIsLeft(engine, plan, mint, signal))
    },
    async ready() {
      await Promise.all([...engines.values()].flatMap((engine) => [engine.issue, engine.end].map(checkRights)))
    },
    stop() {
      for (const engine of engines.values()) {
        engine.issue.close()
        engine.end.close()
      }
    },
  }
}

const OPEN = 'auth/token/create/{role}'
const KEEP = 'auth/token/renew-accessor'
const ROLE = '{mount}/roles/writ-{entitlement}-{mint}'
const READ = '{mount}/creds/writ-{entitlement}-{mint}'
const PATH = '{mount}/{path}'
const REVOKE = 'sys/leases/revoke'
const LOOKUP = 'sys/leases/lookup'
const DROP_HOLD = 'auth/token/revoke-accessor'

function engineOf(name: string, settings: VaultBackend, timer: Timer, nowSeconds: () => number): Engine {
  const client = (connections: number): VaultClient =>
    vaultClient(
      {
        address: { url: settings.address, ca: settings.ca },
        namespace: settings.namespace,
        appRoleMount: settings.appRoleMount,
        roleIdFile: settings.roleIdFile,
        secretIdFile: settings.secretIdFile,
        callTimeoutMs: settings.callTimeoutMs,
        connections,
      },
      timer,
    )
  return {
    name,
    settings,
    issue: client(settings.issueConcurrency),
    end: client(settings.endConcurrency),
    issuing: slots(settings.issueConcurrency, settings.issueQueue),
    ending: slots(settings.endConcurrency, settings.endQueue),
    probes: new Map([...settings.probes].map(([connection, probe]) => [connection, postgresProbe(probe, timer)])),
    nowSeconds,
    logins: new Map([...settings.probes].map(([connection, probe]) => [connection, postgresLogins(probe, timer)])),
  }
}

const bounded = <T>(
  timer: Timer,
  ms: number,
  room: Slots,
  template: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> => timed(timer, ms, template, (signal) => room.run(signal, () => work(signal)))

/** The same without a slot of its own. */
const timed = <T>(timer: Timer, ms: number, template: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
  within(timer, ms, work).catch((thrown: unknown) => {
    throw unanswered(template, thrown)
  })

/** Refused before anything is made: what could not be confirmed gone later, and names that do not belong into a path. */
function checkPlan(engine: Engine, { credential, entitlement, mint }: MintPlan): void {
  if (credential.engine === 'path') {
    const { mount, path } = credential.path
    if (!isVaultPath(mount) || !isVaultPath(path)) throw refused(PATH, 'unsafe_name', { definite: true })
    return
  }
  const { mount, connection, grantedRole, ownerRole } = credential.database
  if (!isMount(mount) || !isSegment(connection) || !isSegment(roleName(entitlement, mint)))
    throw refused(ROLE, 'unsafe_name', { definite: true })
  if (!engine.probes.has(connection)) throw refused('backends.yaml', 'no_probe_for_connection', { definite: true })
  try {
    databaseStatements(grantedRole, ownerRole)
  } catch {
    throw refused(ROLE, 'unsafe_name', { definite: true })
  }
}

async function openHold(engine: Engine, plan: MintPlan, signal: AbortSignal): Promise<BackendHold> {
  const policy = policyName(plan.entitlement)
  const answer = await engine.issue.ask({
    verb: 'write',
    path: `auth/token/create/${engine.settings.tokenRole}`,
    template: OPEN,
    body: {
      policies: [policy],
      ttl: `${HOLD_SECONDS}s`,
      renewable: true,
      display_name: displayName(plan.mint),
      meta: { grant: plan.grant, mint: plan.mint, digest: plan.digest },
    },
    signal,
  })
  const auth = objectOf(answer.auth)
  const { client_token: token, accessor, lease_duration: lifeSeconds } = auth
  // A batch token has no accessor, is in no list and cannot be revoked, and neither could be ended what is made under it.
  if (auth.token_type === 'batch') throw refused(OPEN, 'hold_is_a_batch_token')
  if (typeof token !== 'string' || token === '' || typeof accessor !== 'string' || accessor === '')
    throw refused(OPEN, 'no_token')
  // It must die by itself, alone (not with the broker's login), and be found by nothing but its accessor.
  if (typeof lifeSeconds !== 'number' || lifeSeconds > HOLD_SECONDS || auth.renewable !== true || auth.orphan !== true)
    throw refused(OPEN, 'not_the_hold_that_was_asked')
  if (!Array.isArray(auth.policies) || auth.policies.join() !== policy)
    throw refused(OPEN, 'not_the_hold_that_was_asked')
  return { backend: engine.name, accessor, token: secret(token) }
}

async function keepHold(engine: Engine, hold: Hold, left: Duration, signal: AbortSignal): Promise<void> {
  const increment = toSeconds(left)
  const answer = await engine.issue.ask({
    verb: 'write',
    path: KEEP,
    template: KEEP,
    body: { accessor: hold.accessor, increment: `${increment}s` },
    signal,
  })
  const lifeSeconds = objectOf(answer.auth).lease_duration
  if (typeof lifeSeconds !== 'number' || lifeSeconds > increment) throw refused(KEEP, 'lives_longer_than_asked')
  // A login dies with its hold. Where Vault's own limits are below the window, it would end in the middle of the work, unannounced.
  if (lifeSeconds < increment - 2) throw refused(KEEP, 'vault_caps_the_hold')
}

interface Issued {
  readonly lease: Lease
  readonly secret: Secret<VaultSecret>
}

async function makeLogin(
  engine: Engine,
  hold: Hold,
  plan: MintPlan & { readonly credential: VaultDatabaseCredential },
  leftNow: () => number,
  signal: AbortSignal,
): Promise<Issued> {
  const { mount, connection, grantedRole, ownerRole } = plan.credential.database
  const role = roleName(plan.entitlement, plan.mint)
  const { creation, revocation } = databaseStatements(grantedRole, ownerRole)
  const left = leftNow()
  if (left < LEAST_SECONDS * 1_000) throw windowClosing()
  const ttlSeconds = Math.floor(left / 1_000) - MARGIN_SECONDS
  await engine.issue.call({
    verb: 'write',
    path: `${mount}/roles/${role}`,
    template: ROLE,
    body: {
      db_name: connection,
      creation_statements: creation,
      revocation_statements: revocation,
      default_ttl: `${ttlSeconds}s`,
      max_ttl: `${ttlSeconds}s`,
    },
    signal,
  })
  const path = `${mount}/creds/${role}`
  const answer = await engine.issue.ask({ verb: 'read', path, template: READ, token: hold.token, once: true, signal })
  const leaseId = typeof answer.lease_id === 'string' ? answer.lease_id : ''
  const wrong = wrongLogin(answer, path, loginName(plan.mint), ttlSeconds)
  const late = leftNow() < (ttlSeconds + VALID_UNTIL_EXTRA_SECONDS) * 1_000
  if (wrong !== undefined || late) {
    // The login exists and nobody but this line knows its lease, so it is ended here; the caller ends the rest of the mint.
    if (leaseId !== '') await revokeLease(engine, leaseId, undefined).catch(() => undefined)
    throw wrong === undefined ? unavailable(READ, 'too_slow_for_the_window') : refused(READ, wrong)
  }
  const durationSeconds = Number(answer.lease_duration)
  return { lease: { id: leaseId, durationSeconds }, secret: secret(loginOf(objectOf(answer.data))) }
}

/**
 * What the entitlement's path gives, if it is what the entitlement declares and ends by itself within the window. What is not handed out is
 * ended here as far as Vault can; what Vault cannot end, nobody but this line has seen.
 */
async function makeFromPath(
  engine: Engine,
  hold: Hold,
  credential: VaultPathCredential,
  leftNow: () => number,
  signal: AbortSignal,
): Promise<Issued> {
  const left = Math.min(leftNow(), credential.maxLife)
  if (left < LEAST_SECONDS * 1_000) throw windowClosing()
  const path = pathOf(credential)
  const body = bodyFor(credential, Math.floor(left / 1_000) - MARGIN_SECONDS)
  const answer = await engine.issue.ask({
    ...(body === undefined ? { verb: 'read' as const } : { verb: 'write' as const, body }),
    ...{ path, template: PATH, token: hold.token, once: true as const, signal },
  })
  const made = given(credential, answer, engine.nowSeconds())
  const late = made.wrong === undefined && leftNow() < made.lease.durationSeconds * 1_000
  if (made.wrong === undefined && !late) return { lease: made.lease, secret: secret(made.secret) }
  if (made.lease?.id.startsWith(`${path}/`) === true)
    await revokeLease(engine, made.lease.id, undefined).catch(() => undefined)
  throw made.wrong === undefined ? windowClosing() : misdeclared(PATH, made.wrong, FAULTS[made.wrong])
}

/** Why a login must not be handed out, or undefined. */
function wrongLogin(answer: Body, path: string, login: string, ttlSeconds: number): string | undefined {
  const { lease_id: leaseId, lease_duration: durationSeconds } = answer
  const { username, password } = objectOf(answer.data)
  if (typeof leaseId !== 'string' || !leaseId.startsWith(`${path}/`)) return 'no_lease'
  if (typeof durationSeconds !== 'number' || durationSeconds <= 0) return 'no_lease_duration'
  if (durationSeconds > ttlSeconds) return 'lives_longer_than_asked'
  if (typeof password !== 'string' || password === '') return 'no_password'
  // Under another name the probe would not find it, and would say "gone" of what lives.
  return username === login ? undefined : 'user_name_template_differs'
}

const loginOf = (data: Body): VaultSecret =>
  Object.fromEntries(Object.entries(data).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))

/** Lease, hold, role. Each is asked to go whatever became of the others before; what is gone already is a success. */
async function closeMint(engine: Engine, plan: MintPlan, mint: Mint, signal: AbortSignal): Promise<void> {
  const { lease, accessor } = leftBy(mint)
  if (lease !== undefined && lease.id !== '') await revokeLease(engine, lease.id, signal)
  if (accessor !== undefined)
    await engine.end
      .call({ verb: 'write', path: DROP_HOLD, template: DROP_HOLD, body: { accessor }, signal })
      .catch(unlessGone)
  // Another engine's path is the operator's, and stays.
  if (plan.credential.engine === 'path') return
  const { mount } = plan.credential.database
  if (!isMount(mount) || !isSegment(roleName(plan.entitlement, plan.mint))) throw refused(ROLE, 'unsafe_name')
  const path = `${mount}/roles/${roleName(plan.entitlement, plan.mint)}`
  await engine.end.call({ verb: 'delete', path, template: ROLE, signal }).catch(unlessGone)
}

/** `sync`: an answer means that the backend has run the statements, not that they are queued. */
const revokeLease = async (engine: Engine, leaseId: string, signal: AbortSignal | undefined): Promise<void> => {
  const wanted = { verb: 'write' as const, path: REVOKE, template: REVOKE, body: { lease_id: leaseId, sync: true } }
  await engine.end.call(signal === undefined ? wanted : { ...wanted, signal }).catch((thrown: unknown) => {
    // Vault gives the database's refusal back as a bad request. It is no disagreement between the broker and Vault.
    if (failureOf(thrown)?.reason === 'status_400') throw backendRefuses()
    return unlessGone(thrown)
  })
}

async function askWhatIsLeft(engine: Engine, plan: MintPlan, mint: Mint, signal: AbortSignal): Promise<Gone> {
  const { lease: recorded, accessor } = leftBy(mint)
  const { credential } = plan
  const lease = recorded?.id === '' ? undefined : recorded
  // Only Vault's answer takes a slot: while the database is asked, another end can go on there.
  const inTurn = (work: () => Promise<boolean>): Promise<boolean> => engine.ending.run(signal, work)
  if (lease !== undefined && (await inTurn(() => isLeaseThere(engine.end, lease.id, signal))))
    return { gone: false, answer: 'Vault: the lease is still there' }
  // Without a lease on record the hold itself must be gone: under a living one a secret could still be made.
  if (lease === undefined && accessor !== undefined && (await inTurn(() => isThere(engine.end, accessor, signal))))
    return { gone: false, answer: 'Vault: the hold is still there' }
  const vault =
    lease !== undefined ? 'Vault: invalid lease' : accessor !== undefined ? 'Vault: invalid accessor' : 'Vault: no hold'
  if (credential.engine === 'path') return whatLasts(credential, vault, recorded, accessor)
  const probe = engine.probes.get(credential.database.connection)
  if (probe === undefined) throw refused('backends.yaml', 'no_probe_for_connection')
  // Of what a canary is to find out one part is whether the probe can still log in.
  const found = await probe.left(loginName(plan.mint), signal, isCanary(plan.mint))
  const isForgotten = found.logins > 0 && (lease !== undefined || accessor !== undefined)
  const left = isForgotten ? await endForgotten(engine, plan, credential, probe, signal) : found
  return {
    gone: left.logins + left.sessions + left.statements === 0,
    answer: `${vault}; PostgreSQL: ${left.logins} logins, ${left.sessions} sessions, ${left.statements} statements`,
  }
}

/** Behind a path nobody can be asked: Vault's word for a lease, and for the rest how long it may last. */
function whatLasts(
  { revocability, maxLife }: VaultPathCredential,
  vault: string,
  recorded: Lease | undefined,
  accessor: string | undefined,
): Gone {
  if (recorded === undefined && accessor === undefined) return { gone: true, answer: vault }
  if (revocability === 'at_once' && recorded !== undefined) return { gone: true, answer: vault }
  const lasts = recorded === undefined ? maxLife : duration(recorded.durationSeconds * 1_000)
  const what =
    revocability === 'expiry'
      ? 'what was made cannot be revoked and ends by itself'
      : 'what may have been made was never handed out, and ends with its hold or by itself'
  return { gone: true, answer: `${vault}; ${what}`, lasts }
}

/**
 * A login under a lease, or a hold, that Vault knows nothing of: Vault is just ending it, which takes no harm from this, or has forgotten it, and
 * then nobody else ends it. What is left afterwards is asked all the same, so a failure here says nothing.
 */
async function endForgotten(
  engine: Engine,
  { mint }: MintPlan,
  { database }: VaultDatabaseCredential,
  probe: Probe,
  signal: AbortSignal,
): Promise<Left> {
  const { connection, ownerRole } = database
  const login = loginName(mint)
  await engine.logins
    .get(connection)
    ?.end(login, ownerRole)
    .catch(() => undefined)
  return probe.left(login, signal)
}

async function isLeaseThere(client: VaultClient, lease: string, signal: AbortSignal): Promise<boolean> {
  try {
    await client.ask({ verb: 'write', path: LOOKUP, template: LOOKUP, body: { lease_id: lease }, signal })
    return true
  } catch (thrown) {
    if (saysGone(thrown)) return false
    throw thrown
  }
}

const unlessGone = (thrown: unknown): undefined => {
  if (saysGone(thrown)) return undefined
  throw thrown
}

const leftBy = (mint: Mint): { readonly lease: Lease | undefined; readonly accessor: string | undefined } => ({
  lease: 'lease' in mint ? mint.lease : undefined,
  accessor: 'accessor' in mint ? mint.accessor : undefined,
})

/** What the broker's login must not be able to do; a policy with `*` or root would. */
const FORBIDDEN = [
  'auth/token/create',
  'auth/token/create-orphan',
  'sys/policies/acl/writ-broker',
  'sys/mounts',
  'sys/raw/core',
  'sys/leases/revoke-prefix/database',
  'sys/leases/revoke-force/database',
  'database/config/any',
  'database/roles/any',
  'database/creds/any',
]

async function checkRights(client: VaultClient): Promise<void> {
  const template = 'sys/capabilities-self'
  const answer = await client.ask({ verb: 'write', path: template, template, body: { paths: FORBIDDEN } })
  const data = objectOf(answer.data)
  const allowed = FORBIDDEN.filter((path) => {
    const capabilities = data[path]
    return !(Array.isArray(capabilities) && capabilities.length === 1 && capabilities[0] === 'deny')
  })
  if (allowed.length > 0) throw refused(template, `broker_may_too_much:${allowed[0]}`)
}

const objectOf = (value: unknown): Body =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : {}

const backendRefuses = (): BrokerError =>
  new BrokerError('not_confirmed', 'The backend has not ended what it gave.', {
    nextAction:
      'Nothing: it is tried again. If it stays so, whoever runs the database must see what is left in the way.',
    facts: { reason: 'revocation_failed' },
    cause: { path: REVOKE, reason: 'revocation_failed' },
  })

const windowClosing = (): BrokerError =>
  new BrokerError('window_closing', 'The window closes too soon for a login.', {
    nextAction: 'Ask for a new window.',
    facts: { definite: true },
  })
