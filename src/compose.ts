// The composition root: opens every adapter, binds the verbs to them, starts the doors, the queue, the sweep and the watch on the rules.
// The only file that may import everything, and the only place where ids and randomness are made.
import { createHash, hash, randomBytes, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type BackendGates, backendGates, type Closed, whyClosed } from './broker/backend-gates.ts'
import { type Broker, broker } from './broker/broker.ts'
import { canaryRound } from './broker/canary.ts'
import { cleanUp } from './broker/contain.ts'
import { EVENLY_MS } from './broker/evenly.ts'
import { offboard } from './broker/offboard.ts'
import { acceptClock, canaries, triedNow } from './broker/operate.ts'
import type { Archive, Artefact, CredentialSource, Ports, Rules } from './broker/ports.ts'
import { reconcile } from './broker/reconcile.ts'
import { lookAfter, type RecoverPorts, recover, recovery, type Walks } from './broker/recover.ts'
import { retire } from './broker/retire.ts'
import { publishedOf, type Rulebook, rulebook } from './broker/rulebook.ts'
import { readFiles } from './check.ts'
import { pageEndpoints } from './console/pages.ts'
import { type Lane, LOCAL_LANE, laneOf } from './domain/entitlement.ts'
import { BrokerError, isBrokerError } from './domain/errors.ts'
import { type AttemptId, freezeIdFrom, grantIdFrom, groupTag, type Shard, shard, type TenantId } from './domain/ids.ts'
import { formatInstant } from './domain/instant.ts'
import { aMinuteWentBy } from './domain/remembered.ts'
import { openForges } from './forge/forges.ts'
import type { Watch } from './http/app.ts'
import { type Door, httpDoor } from './http/door.ts'
import { type Check, healthEndpoints } from './http/health.ts'
import { problem } from './http/problem.ts'
import { authenticator, serverAuthenticator, tokenReader, trustIssuers } from './identity/authenticate.ts'
import { clientAuthenticator } from './identity/client-assertion.ts'
import { documentFetcher } from './identity/fetch-document.ts'
import { loginFor } from './identity/issuers.ts'
import { parseStrictJson } from './identity/strict-json.ts'
import { openArchive } from './log/archive.ts'
import { openWitness, type Witness } from './log/witness.ts'
import { introspectEndpoint } from './oauth/introspect.ts'
import { metadataEndpoints } from './oauth/metadata.ts'
import { statusEndpoints } from './oauth/status.ts'
import { tokenEndpoint } from './oauth/token.ts'
import { type Approvals, approvalsSeen } from './observe/approvals.ts'
import { doorWatch } from './observe/door-watch.ts'
import { type WatchedInventory, watchedInventory } from './observe/inventory.ts'
import { jsonLog, type Log, thrownRecord } from './observe/log.ts'
import {
  type Endings,
  endingsSeen,
  measuredCredentials,
  measuredExchange,
  measuredSeal,
  measuredStore,
  watchedReports,
} from './observe/measured.ts'
import { type Metrics, metrics } from './observe/metrics.ts'
import { scrape } from './observe/scrape.ts'
import { type WatchedSweep, watchedSweep } from './observe/sweeps.ts'
import { spansWatch, tracedCall, tracedPorts, tracedVerbs } from './observe/traced.ts'
import type { OnSpans, Traces } from './observe/traces.ts'
import { asksForPasskeys } from './policy/policy.ts'
import { batchOf, often, paced } from './queue/pace.ts'
import { openTimetable } from './queue/timetable.ts'
import { type QueueWorker, startWorker } from './queue/worker.ts'
import { grantCalls } from './redis/calls.ts'
import { redisCanaries } from './redis/canaries.ts'
import { type RedisClock, redisClock, timeOf } from './redis/clock.ts'
import {
  assertSafeRedis,
  connectRedis,
  type RedisConnections,
  redisAddress,
  safeAtEachConnect,
} from './redis/connect.ts'
import { firstDeadline } from './redis/due.ts'
import { redisGrantStore, type ShardStore } from './redis/grant-store.ts'
import { type Library, renderLibrary } from './redis/library.ts'
import { redisCeremonies, redisPasskeys } from './redis/passkeys.ts'
import { redisRateLimits } from './redis/rate-limits.ts'
import { redisUseOnce } from './redis/use-once.ts'
import { type Configuration, type LoadedRules, publisher, tellWarnings, watchRules } from './rules.ts'
import type { Settings } from './settings.ts'
import { grantedDetail } from './tokens/authorization-details.ts'
import { decisionSigner } from './tokens/decisions.ts'
import { DPOP_ALGORITHMS, proofChecker } from './tokens/dpop.ts'
import { jwks } from './tokens/jwks.ts'
import { ensureKeyRing, type KeyRing, loadKeyRing, PURPOSES } from './tokens/key-ring.ts'
import { recordSigner } from './tokens/records.ts'
import { tokenSigner } from './tokens/sign.ts'
import { type SignedLists, signedLists } from './tokens/status-list.ts'
import { ownTokenVerifier } from './tokens/verify-own.ts'
import type { Backends } from './vault/backends.ts'
import { type VaultCredentialSource, vaultCredentialSource } from './vault/credential-source.ts'
import { assertSafeEnvironment } from './vault/environment.ts'
import { type Places, vaultInventory } from './vault/inventory.ts'
import { vaultMarks } from './vault/marks.ts'
import { processTimer } from './vault/timer.ts'
import { knowsPasskeys, relyingParty } from './webauthn/relying-party.ts'
import { stepUp } from './webauthn/step-up.ts'

const SHARDS: readonly Shard[] = [shard(0)]
const HOME: Shard = shard(0)
const { version: VERSION }: { readonly version: string } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
)
const sha256 = (text: string): string => hash('sha256', text, 'base64url')

/** Everything that was opened for one broker, before a verb is bound: tests wrap `ports` and start the very same broker on them. */
export interface Adapters {
  readonly settings: Settings
  readonly ports: Ports
  readonly lanes: readonly Lane[]
  readonly log: Log
  readonly metrics: Metrics
  readonly endings: Endings
  readonly approvals: Approvals
  /** Absent where nothing is traced: then nothing is wrapped either. */
  readonly traces: Traces | undefined
  readonly clock: RedisClock
  readonly store: ShardStore
  readonly ring: KeyRing
  readonly connections: RedisConnections
  readonly witness: Witness
  readonly archive: Archive
  readonly vault: VaultCredentialSource | undefined
  /** Absent where there are no backends, or none of them names a login for the inventory. */
  readonly gates: BackendGates | undefined
  readonly places: Places
  readonly configuration: Configuration
  readonly backends: Backends | undefined
  readonly book: Rulebook
  /** Publishes what the files say; resolves to what hinders it, if anything. */
  publish(): Promise<string | undefined>
  close(): Promise<void>
}

/** Opens everything that a broker needs. Throws with every problem of settings, files, keys or Redis; what was opened is closed again. */
export async function openAdapters(
  settings: Settings,
  write: (line: string) => void = (line) => process.stdout.write(line),
): Promise<Adapters> {
  assertSafeEnvironment(process.env)
  const { configuration, backends } = readFiles(settings)
  const figures = metrics()
  let time = (): string => ''
  const traces = await tracesTo(
    settings.otlpUrl,
    spansWatch(figures, (level, message) => log(level, message)),
  )
  const log: Log = jsonLog({ write, time: () => time(), ...(traces === undefined ? {} : { traceId: traces.traceId }) })
  const toClose: (() => Promise<void> | void)[] = [() => traces?.close()]
  const close = async (): Promise<void> => {
    for (const undo of toClose.splice(0).reverse()) await undo()
  }
  try {
    const connections = connectRedis({
      address: redisAddress(settings.redisUrl),
      jitter: Math.random,
      onError: (connection, error) => log('warn', 'connection to redis', { error: error.message, backend: connection }),
    })
    toClose.push(() => connections.close())
    await connections.ready(10_000)
    const safety = { dev: settings.mode === 'dev' }
    for (const warning of await assertSafeRedis(connections.issue, safety))
      log('warn', 'redis settings', { reason: warning })
    const assertSafe = safeAtEachConnect(connections.issue, safety, (refusal) =>
      log('error', 'nothing is issued', thrownRecord(refusal)),
    )
    const clock = redisClock({
      time: timeOf(connections.end),
      monotonicNow: () => performance.now(),
      every,
      onError: () => undefined,
    })
    toClose.push(() => clock.stop())
    await clock.sample()
    time = () => formatInstant(clock.nowToEnd())
    tellWarnings(log, configuration.warnings)
    if (asksForPasskeys(configuration.rules.policy) && !knowsPasskeys(settings.publicUrl))
      log('warn', 'browsers take no passkey where the public URL has an address and no name: nobody can decide', {
        setting: 'WRIT_PUBLIC_URL',
      })
    if (settings.mode === 'dev') await ensureKeyRing(settings.keysDir)
    const ring = await loadKeyRing(settings.keysDir, { now: clock.nowToEnd })
    const witness = await openWitness(settings.dataDir, {
      onChange: (healthy) =>
        log(
          healthy ? 'info' : 'error',
          healthy ? 'the witness can be written again' : 'the witness cannot be written: issuing stops',
        ),
    })
    toClose.push(() => witness.close())
    const archive = await openArchive(settings.dataDir)
    toClose.push(() => archive.close())
    const library: Library = renderLibrary()
    const store = redisGrantStore({ ...connections, library, sha256, shards: SHARDS, lowWater: witness.highest })
    const book = rulebook(configuration.rules)
    const vault = backends && vaultCredentialSource(backends, processTimer, clock.nowToEnd)
    toClose.push(() => vault?.stop())
    const group = groupTag(createHash('sha256').update(settings.publicUrl).digest())
    const places = placesIn(book)
    const queue = openTimetable({
      redis: redisAddress(settings.redisUrl),
      shards: SHARDS,
      now: clock.nowToEnd,
      jitter: Math.random,
      onError: (error: unknown) =>
        log('warn', 'the queue does not take a job; the sweep ends what is due', thrownRecord(error)),
    })
    toClose.push(() => queue.close())
    // Without backends nothing is made there, but what was asked for still lapses in the lane of its backend.
    const named = configuration.rules.policy.entitlements().map(({ credential }) => laneOf(credential))
    const lanes = [...new Set([LOCAL_LANE, ...(backends?.keys() ?? []), ...named])]
    const endings = endingsSeen(clock.nowToEnd)
    const approvals = approvalsSeen(clock.nowToEnd)
    const measuring = { figures, endings, approvals, ticks: () => performance.now() }
    const records = recordSigner({ ring, now: clock.nowToEnd })
    const grants = measuredStore(store, measuring)
    const canaries = redisCanaries({ redis: connections.issue, shard: HOME, deadlineMs: 700 })
    const gates =
      backends &&
      gatesOf(backends, places, {
        grants,
        canaries,
        control: () => store.control(HOME),
        group,
        log,
        toClose,
        ...hearsay(group, witness, store),
      })
    const source = measuredCredentials(vault ?? NO_BACKEND, measuring)
    const plain: Ports = {
      grants,
      freezes: store.freezes,
      containments: store.containments,
      revocations: store.revocations,
      uses: store.uses,
      credentials: gates === undefined ? source : gates.guarded(source),
      canaries,
      tokens: tokenSigner({ ring, issuer: settings.publicUrl, statusTtl: settings.statusTtl }),
      signatures: decisionSigner({ ring, now: clock.nowToEnd }),
      records,
      stepUp: stepUp(settings.publicUrl),
      relyingParty: relyingParty(settings.publicUrl),
      passkeys: redisPasskeys({ redis: connections.issue, records, shard: HOME, deadlineMs: 700 }),
      ceremonies: redisCeremonies({ redis: connections.issue, shard: HOME, deadlineMs: 700 }),
      forges: openForges({ table: () => (book.current() as LoadedRules).forges, ticks: () => performance.now() }),
      timetable: queue,
      seal: measuredSeal(witness, measuring),
      rules: (control) => {
        assertSafe()
        return book.under(control)
      },
      rulesToEnd: () => book.current(),
      control: () => store.control(HOME),
      now: clock.now,
      nowToEnd: clock.nowToEnd,
      evenly: () => new Promise((resolve) => setTimeout(resolve, EVENLY_MS)),
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref()),
      newGrantId: () => grantIdFrom(HOME, group, randomBytes(17)),
      grantIdOf: (text) => grantIdFrom(HOME, group, createHash('sha256').update(text).digest()),
      newAttemptId: () => randomUUID() as AttemptId,
      newFreezeId: () => freezeIdFrom(randomBytes(17)),
      newTokenId: () => randomUUID(),
      newCeremonyId: () => randomBytes(32).toString('base64url'),
      jitter: Math.random,
      sha256,
      flood: settings.flood,
      shards: SHARDS,
      lanes,
      issuer: settings.publicUrl,
    }
    const ports = traces === undefined ? plain : tracedPorts(plain, traces)
    const publish = publisher({ store, shards: SHARDS, book, witness, log })
    await publish()
    return {
      settings,
      ports,
      lanes,
      log,
      metrics: figures,
      endings,
      approvals,
      traces,
      clock,
      store,
      ring,
      connections,
      witness,
      archive,
      vault,
      gates,
      places,
      configuration,
      backends,
      book,
      publish,
      close,
    }
  } catch (thrown) {
    await close()
    throw thrown
  }
}

/** Where credentials are made at a backend, by the policy that is loaded here. */
const placesIn =
  (book: Rulebook): Places =>
  (backend) =>
    book
      .current()
      .policy.entitlements()
      .flatMap(({ id, credential }) =>
        credential.kind === 'vault' && credential.backend === backend
          ? [{ entitlement: id, database: credential.engine === 'database' ? credential.database : undefined }]
          : [],
      )

/**
 * What the brokers of a group tell each other at the backends: how far each shard had come. So one that comes new, with an empty data folder, to a
 * Redis that was emptied or put back does not take everything that lives for orphans.
 */
function hearsay(group: string, witness: Pick<Witness, 'highest'>, store: Pick<ShardStore, 'heard'>) {
  return {
    says: (): string => `${group} ${SHARDS.map((of) => `${of}.${witness.highest(of)}`).join('_')}`,
    heard(said: string): void {
      const [, whose, far = ''] = /^([a-z2-7]{6}) (\d{1,4}\.\d{1,15}(?:_\d{1,4}\.\d{1,15})*)$/.exec(said) ?? []
      if (whose !== group) return
      for (const part of far.split('_')) {
        const [of, seq] = part.split('.').map(Number)
        for (const ours of SHARDS) if (ours === of && seq !== undefined) store.heard(ours, seq)
      }
    },
  }
}

function gatesOf(
  backends: Backends,
  places: Places,
  p: Pick<Ports, 'grants' | 'canaries' | 'control'> & {
    readonly group: string
    readonly log: Log
    readonly toClose: (() => void)[]
    readonly says: () => string
    readonly heard: (said: string) => void
  },
): BackendGates | undefined {
  for (const [backend, { inventory }] of backends)
    if (inventory === undefined)
      p.log('warn', 'nothing looks for orphans at this backend: it names no inventory login', { backend })
  const inventory = vaultInventory(backends, places, processTimer, p.heard)
  const marks = vaultMarks(backends, places, processTimer, p.says)
  p.toClose.push(inventory.stop, marks.stop)
  if (inventory.backends.length === 0) return undefined
  return backendGates({
    backends: inventory.backends,
    marks,
    reconcile: reconcile({ ...p, inventory, shards: SHARDS }),
    ticks: () => performance.now(),
    told: (backend, gate) =>
      gate === 'open'
        ? p.log('info', 'the backend is clean: logins are made there', { backend })
        : p.log(gate === 'not_looked_through' ? 'info' : 'error', 'no login is made at the backend', {
            backend,
            reason: whyClosed(gate),
          }),
  })
}

export interface RunningBroker {
  readonly broker: Broker
  /** Where it listens, as bound. */
  readonly port: number
  /** Answers those who wait, lets requests finish, then stops queue, sweep and clients. */
  stop(): Promise<void>
}

/** Binds the verbs to the ports and starts everything that calls them. */
export async function startBroker(adapters: Adapters, ports: Ports = adapters.ports): Promise<RunningBroker> {
  const { settings, log, lanes, metrics: figures, traces } = adapters
  const ticks = (): number => performance.now()
  const bound = broker(ports)
  const measured: Broker = {
    ...bound,
    exchange: measuredExchange(bound.exchange, { figures, ticks }),
    reportUses: watchedReports(bound.reportUses, { figures, log }),
  }
  const verbs = traces === undefined ? measured : tracedVerbs(measured, traces)
  const sweeps = watchedSweep({ sweep: verbs.sweep, lanes, figures, log, ticks })
  const traffic = often(ticks)
  const sweep = paced(sweeps.sweep, traffic.isSo)
  const worker = await startWorker({
    redis: redisAddress(settings.redisUrl),
    shards: SHARDS,
    now: ports.nowToEnd,
    jitter: Math.random,
    sweep,
    isCrowded: traffic.isSo,
    onError: (error: unknown) => log('warn', 'the queue worker', thrownRecord(error)),
  })
  const inventory = inventoryOf(adapters)
  const operate = recoverPorts(adapters, ports)
  const walks: Walks = new Map()
  const stops = [
    ...(inventory === undefined ? [] : [every(1_000, inventory.tick)]),
    ...lanes.map((lane) => sweepAlone(lane, sweep, settings.sweepEveryMs)),
    watchRules(adapters, every),
    offboardAlone(adapters, ports),
    containAlone(adapters, ports, traffic.isSo),
    recoverAlone(adapters, operate, walks),
    retireAlone(adapters, ports),
    ...(adapters.vault === undefined || settings.canaryEvery === 0 ? [] : [canariesAlone(adapters, ports)]),
    every(60_000, aMinuteWentBy),
    every(
      60_000,
      () =>
        void adapters.ring
          .reload()
          .catch((thrown: unknown) => log('error', 'the key folder cannot be read again', thrownRecord(thrown))),
    ),
  ]
  const door = doorOf(adapters, verbs, { worker, sweeps, inventory, operate, walks, traffic })
  const stop = async (): Promise<void> => {
    await door.close(10_000)
    for (const undo of stops) undo()
    await worker.close()
    await adapters.close()
  }
  try {
    // Whoever comes first need not be refused only because nothing was looked through yet.
    await inventory?.firstWithin(FIRST_PASS_MS)
    const port = await door.listen(settings.port, settings.host)
    log('info', 'listening', { address: settings.host, port, revision: adapters.book.current().policy.revision })
    return { broker: verbs, port, stop }
  } catch (thrown) {
    await stop()
    throw thrown
  }
}

/** What works by itself, and is asked how it does. */
interface Workers {
  readonly worker: QueueWorker
  readonly sweeps: WatchedSweep
  readonly inventory: WatchedInventory<Closed> | undefined
  readonly operate: RecoverPorts
  readonly walks: Walks
  /** Told of everything that is asked and answered. */
  readonly traffic: { note(): void }
}

/** How long the start waits for the first pass over the backends; ends and tokens need none. */
const FIRST_PASS_MS = 3_000

function inventoryOf({
  gates,
  places,
  metrics: figures,
  log,
  settings,
}: Adapters): WatchedInventory<Closed> | undefined {
  if (gates === undefined) return undefined
  return watchedInventory({
    gates,
    isUsed: (backend) => places(backend).length > 0,
    figures,
    log,
    ticks: () => performance.now(),
    everyMs: settings.inventoryEvery,
    jitter: Math.random,
  })
}

function doorOf(adapters: Adapters, verbs: Broker, workers: Workers): Door {
  const { operate, walks, traffic } = workers
  const { settings, ports, ring, clock, book, configuration, log, metrics: figures, connections, traces } = adapters
  const { publicUrl: issuer } = settings
  // Who calls is asked by the clock that never refuses: after a jump somebody must be able to revoke, and to accept it. Whatever allows
  // something asks `ports.now()` itself.
  const library = renderLibrary()
  const over = (redis: RedisConnections['issue'], deadlineMs: number) => grantCalls({ redis, library, deadlineMs })
  const once = redisUseOnce(over(connections.issue, 450), HOME)
  const useOnce = traces === undefined ? once : tracedCall(once, 'useOnce', traces)
  const directory = () => (book.current() as LoadedRules).directory
  const fetch = documentFetcher({ dev: settings.mode === 'dev' })
  const issuers = trustIssuers(configuration.issuers, { audience: issuer, fetch, now: clock.nowToEnd })
  const read = tokenReader({ issuers: () => issuers, now: clock.nowToEnd })
  const authenticate = authenticator({ read, directory })
  const proofs = proofChecker({ now: clock.nowToEnd, useOnce })
  const clientAssertion = clientAuthenticator({
    resourceServer: (id) => directory().resourceServer(id),
    issuer,
    tokenEndpoint: `${issuer}/oauth2/token`,
    useOnce,
    now: clock.nowToEnd,
  })
  const parseJson = (text: string): unknown => parseStrictJson(text)
  const limits = redisRateLimits({
    calls: { requests: over(connections.issue, 700), ends: over(connections.end, 700) },
    shard: HOME,
    rates: { requests: settings.rateLimit, ends: settings.rateLimitEnds },
    ticks: () => performance.now(),
  })
  const checks = checksOf(adapters, workers)
  return httpDoor({
    broker: verbs,
    issuer,
    nowToShow: ports.nowToEnd,
    limits,
    authenticate,
    proofs,
    parseJson,
    operations: {
      recover: recover(operate, walks),
      recovery: recovery(operate, walks),
      acceptClock: acceptClock(operate),
      canaries: canaries({ ...operate, canaries: ports.canaries, sha256 }),
    },
    clientAssertion,
    newRequestId: requestIds(),
    ticks: () => performance.now(),
    watch: trafficWatch(doorWatch(figures, log), traffic),
    ...(traces === undefined ? {} : { traced: traces.door }),
    trustedProxies: settings.trustedProxies,
    ...(settings.tls && { tls: { files: settings.tls, every, told: tellCertificate(log) } }),
    endpoints: [
      tokenEndpoint({
        broker: verbs,
        authenticate,
        proofs,
        parseJson,
        grantedDetail,
        nowToShow: ports.nowToEnd,
        limits,
        issuer,
      }),
      introspectEndpoint({
        broker: verbs,
        clientAssertion,
        serverByToken: serverAuthenticator({ read, directory }),
        proofs,
        verifyOwn: ownTokenVerifier({ ring, issuer, now: clock.nowToEnd }),
        grantedDetail,
        now: ports.now,
        issuer,
      }),
      ...metadataEndpoints({
        issuer,
        jwks: () => jwks(ring, clock.nowToEnd()),
        assertionAlgorithms: ['ES256', 'EdDSA', 'PS256', 'RS256'],
        proofAlgorithms: DPOP_ALGORITHMS,
        login: loginFor(configuration.issuers, issuer),
      }),
      ...statusEndpoints(statusLists(adapters)),
      ...pageEndpoints({
        broker: verbs,
        issuer,
        relyingPartyId: ports.relyingParty.id,
        sha256,
        parseJson,
        problem,
        told: ({ done, person, credentialId }) =>
          log('info', `a passkey was ${done === 'added' ? 'registered' : 'removed'}`, {
            principal: person,
            passkey: credentialId,
          }),
      }),
      ...healthEndpoints({ checks, metrics: scrapeOf(adapters, workers, checks), checkMs: 2_000 }),
    ],
  })
}

/** Dated by the clock that refuses after a jump: what cannot be dated must not be kept by anybody. */
function statusLists({ settings, ports, store, ring, traces }: Adapters): SignedLists {
  const { statuses } = store
  const live = traces === undefined ? statuses.live : tracedCall(statuses.live, 'status', traces)
  const lists = { ...statuses, live }
  return signedLists({ lists, ring, issuer: settings.publicUrl, now: ports.now, ttl: settings.statusTtl })
}

const trafficWatch = (
  watch: ReturnType<typeof doorWatch>,
  { note }: Workers['traffic'],
): ReturnType<typeof doorWatch> & Pick<Watch, 'asked'> => ({
  ...watch,
  asked: note,
  answered: (...answer) => {
    note()
    watch.answered(...answer)
  },
})

const tellCertificate =
  (log: Log) =>
  (refusal: string | undefined): void =>
    refusal === undefined
      ? log('info', 'the certificate was read again')
      : log('error', 'the changed certificate is refused, the former one stays', { reason: refusal })

function recoverPorts({ settings, store, book, clock, log, gates }: Adapters, ports: Ports): RecoverPorts {
  return {
    ...ports,
    shards: SHARDS,
    store,
    firstOperator: settings.firstOperator,
    acceptStore: (of, floor) => store.accept(of, publishedOf(book.current()), floor),
    acceptClock: clock.acceptJump,
    // Whatever the restored store knows nothing of any more is an orphan once it may be asked again: until a pass has ended it, nothing new
    // is made at that backend. Tokens need not wait for it.
    inventory: async () => {
      gates?.storeRestored()
      return undefined
    },
    record: async ({ what, by, asFirstOperator, reason }) =>
      log('warn', `${asFirstOperator ? 'the first operator' : 'an operator'} took over: ${what}`, {
        principal: by,
        reason,
      }),
  }
}

/** Every second: while an operator's recovery is under way, at whichever broker it was begun, what lives is ended, and then issuing resumes. */
function recoverAlone({ log, gates, store }: Adapters, p: RecoverPorts, walks: Walks): () => void {
  const look = lookAfter(p, walks)
  const lastSeen = new Map<Shard, string | undefined>()
  let running = false
  const run = async (): Promise<void> => {
    for (const shard of SHARDS) {
      // One that another broker has led to its end between two looks of ours.
      const { recovered } = await store.recovery(shard)
      if (lastSeen.has(shard) && lastSeen.get(shard) !== recovered) gates?.storeRestored()
      lastSeen.set(shard, recovered)
      const before = walks.get(shard)
      const { resumed, progress } = await look(shard)
      const { ended = 0, left = 0, waitsFor = '' } = progress ?? {}
      if (progress !== undefined && before === undefined)
        log('warn', 'the store was restored: what it may have brought back is being ended', { count: left })
      if (resumed) log('warn', 'what the store may have brought back has ended: issuing resumes', { count: ended })
      else if (waitsFor !== '' && before?.progress.waitsFor !== waitsFor)
        log('warn', 'nothing is issued yet', { reason: waitsFor })
    }
  }
  return every(1_000, () => {
    if (running) return
    running = true
    void run()
      .catch((thrown: unknown) => {
        // What does not answer is told by whoever asks it anyway.
        if (!isBrokerError(thrown)) log('error', 'the recovery of the store', thrownRecord(thrown))
      })
      .finally(() => {
        running = false
      })
  })
}

/** Whose targets there are today. Grants under an entitlement that is gone are counted while another one of its tenant is there. */
const tenantsOf = (policy: Rules['policy']): readonly TenantId[] => [
  ...new Set(policy.entitlements().map(({ tenant }) => tenant)),
]

function scrapeOf(adapters: Adapters, { worker, sweeps, inventory }: Workers, checks: readonly Check[]) {
  const { metrics: figures, endings, approvals, lanes, clock, witness, store, connections, book, ports } = adapters
  return scrape({
    figures,
    build: { version: VERSION, node: process.version },
    checks: checks.map(({ name }) => name),
    lanes,
    endings,
    approvals,
    now: clock.nowToEnd,
    counts: () => store.counts(tenantsOf(book.current().policy)),
    firstDeadline: firstDeadline(connections.end, SHARDS),
    sweepAgeMs: sweeps.ageMs,
    queueQuietMs: worker.quietMs,
    clockState: clock.state,
    witnessHealthy: witness.healthy,
    recovering: () => SHARDS.some((of) => store.recovering(of) !== undefined),
    tried: () => triedNow({ rulesToEnd: book.current, canaries: ports.canaries, sha256 }),
    ...(inventory === undefined ? {} : { inventory: inventory.figures }),
  })
}

function checksOf(adapters: Adapters, { worker, sweeps, inventory }: Workers): readonly Check[] {
  const { settings, store, clock, book, ring, witness, vault, ports, connections } = adapters
  const said = async (work: () => unknown): Promise<string | undefined> => {
    try {
      await work()
      return undefined
    } catch (thrown) {
      return isBrokerError(thrown) ? thrown.message : 'it failed'
    }
  }
  return [
    {
      name: 'redis',
      mend: 'see why in the answer; README.md says how redis must be set, and it is asked again each time',
      check: () => said(() => assertSafeRedis(connections.issue, { dev: settings.mode === 'dev' })),
    },
    {
      name: 'control',
      mend: 'see why in the answer; an operator restores it with writ recover',
      check: () => said(() => store.control(HOME)),
    },
    {
      name: 'policy',
      mend: 'give this broker the configuration files that the others have',
      check: () => said(async () => book.under(await ports.control())),
    },
    {
      name: 'clock',
      mend: 'set the clock of the redis host, then POST /v1/operations/accept-clock',
      check: () => said(() => clock.now()),
    },
    {
      name: 'keys',
      mend: 'make signing keys with npm run keys:rotate, in the folder that all brokers share',
      check: () => said(() => PURPOSES.map((purpose) => ring.keys().signing(purpose, clock.nowToEnd()))),
    },
    {
      name: 'witness',
      mend: 'make WRIT_DATA_DIR writable and give its disk room',
      check: async () => (witness.healthy() ? undefined : 'the witness file cannot be written'),
    },
    {
      name: 'sweep',
      mend: 'ends are not certain here: look for the cause in the log, and start this broker again if there is none',
      check: async () => {
        const dead = sweeps.dead()
        return dead.length === 0 ? undefined : `no sweep has worked lately in ${dead.join(', ')}`
      },
    },
    {
      name: 'queue',
      mend: 'nothing at once, the sweep ends what is due; look for the cause in the log',
      check: async () => (worker.healthy() ? undefined : 'no job was done lately'),
    },
    ...(vault === undefined
      ? []
      : [
          {
            name: 'vault',
            mend: 'see deploy/vault/README.md: address, AppRole files, rights',
            check: () => said(() => vault.ready()),
          },
        ]),
    ...inventoryChecks(adapters, inventory),
  ]
}

function inventoryChecks(
  { backends, places }: Adapters,
  inventory: WatchedInventory<Closed> | undefined,
): readonly Check[] {
  const without = [...(backends ?? [])].flatMap(([name, { inventory: login }]) => (login === undefined ? [name] : []))
  // Whoever asks for readiness is nobody in particular: the log has the names.
  const counted = (all: readonly Artefact[]): string =>
    [...Map.groupBy(all, ({ backend, kind }) => `${kind} at ${backend}`)]
      .map(([what, { length }]) => `${length} × ${what}`)
      .join(', ')
  if (backends === undefined) return []
  return [
    {
      name: 'inventory',
      mend: 'nothing at once: it opens by itself when all of it is gone; the log names what cannot be ended, and why',
      check: async () => {
        const [shut] = inventory?.closed() ?? []
        return shut && `${shut.backend}: ${whyClosed(shut.why)}`
      },
    },
    {
      name: 'inventory',
      mend: 'bring the database back, or see in the log what cannot be ended there; it opens by itself',
      warnsOnly: true,
      check: async () => {
        const shut = inventory?.shut() ?? []
        const named = shut.map(({ backend, databases }) => `${databases} behind ${backend}`).join(', ')
        return shut.length === 0 ? undefined : `no login is made at databases that were not looked through: ${named}`
      },
    },
    {
      name: 'inventory',
      mend: 'give backends.yaml the two files of the inventory login that npm run vault:setup writes',
      warnsOnly: true,
      check: async () => {
        const used = without.filter((backend) => places(backend).length > 0)
        return used.length === 0 ? undefined : `nothing looks for orphans at ${used.join(', ')}`
      },
    },
    {
      name: 'inventory',
      mend: 'the log names each: find out whose it is, another broker group’s or made by hand; Writ never touches it',
      warnsOnly: true,
      check: async () => {
        const unknown = inventory?.unknown() ?? []
        return unknown.length === 0 ? undefined : `unknown, and left alone: ${counted(unknown)}`
      },
    },
    {
      name: 'inventory',
      mend: 'see in the log why; it is tried again at each pass',
      warnsOnly: true,
      check: async () => {
        const failed = inventory?.failed() ?? []
        return failed.length === 0 ? undefined : `orphans that cannot be ended: ${counted(failed)}`
      },
    },
  ]
}

/** The plain interval: needs no job. A sweep that still runs is not doubled; one that found a full batch goes on at once. */
function sweepAlone(
  lane: Lane,
  sweep: (lane: Lane) => Promise<{ readonly more: boolean }>,
  everyMs: number,
): () => void {
  let running = false
  return every(everyMs, () => {
    if (running) return
    running = true
    const goOn = async (): Promise<void> => {
      while ((await sweep(lane)).more);
    }
    void goOn()
      .catch(() => undefined)
      .finally(() => {
        running = false
      })
  })
}

/** How soon what could not be ended is tried again, and how soon all is looked through although nothing was left: a Redis may have been restored. */
const OFFBOARD_AGAIN_MS = 30_000
const OFFBOARD_ANEW_MS = 600_000

/** At the start and within a second of every change of the people directory that is in force. */
function offboardAlone({ book, log }: Adapters, ports: Ports): () => void {
  const offboardAll = offboard(ports)
  let done: number | undefined
  let next = 0
  let running = false
  const run = async (): Promise<void> => {
    const { revision, ended, failed } = await offboardAll()
    done = revision
    next = performance.now() + (failed.length === 0 ? OFFBOARD_ANEW_MS : OFFBOARD_AGAIN_MS)
    if (ended > 0) log('info', 'grants of who is no longer active were ended', { count: ended, revision })
    for (const grant of failed.slice(0, 10)) log('warn', 'not ended now; it is tried again', { grant })
  }
  return every(1_000, () => {
    if (running || (done === book.current().directory.revision && performance.now() < next)) return
    running = true
    void run()
      // What hinders it is told by whoever publishes or sweeps; until then every second is a try.
      .catch((thrown: unknown) => {
        if (!isBrokerError(thrown))
          log('error', 'the grants of who is no longer active were not ended', thrownRecord(thrown))
      })
      .finally(() => {
        running = false
      })
  })
}

/** How soon a broker looks whether there is something to contain, or goes on after what is being ended. */
const CONTAIN_EVERY_MS = 300

/** The clean-up behind containments, in every broker: whoever comes first goes on where the last one was. */
function containAlone({ log }: Adapters, ports: Ports, isCrowded: () => boolean): () => void {
  const clean = cleanUp(ports)
  let running = false
  let stopped = false
  let open: readonly string[] = []
  let hindered: string | undefined
  const run = async (): Promise<void> => {
    for (let more = true; more && !stopped; ) {
      const done = await clean(batchOf(isCrowded()))
      hindered = undefined
      more = done.more
      for (const freeze of open.filter((id) => !done.open.some((other) => other === id)))
        log('info', 'a containment is done: everything that it matched has ended, and that is confirmed', { freeze })
      open = done.open
    }
  }
  const stop = every(CONTAIN_EVERY_MS, () => {
    if (running) return
    running = true
    void run()
      // Every look is a try. The same hindrance is told once: a freeze that cannot be read stops this and no sweep, so nobody else would say it.
      .catch((thrown: unknown) => {
        const { code = 'unexpected', reason = '' } = thrownRecord(thrown)
        const said = `${code} ${reason}`
        if (said !== hindered)
          log('warn', 'the clean-up behind a containment cannot go on; it is tried again', thrownRecord(thrown))
        hindered = said
      })
      .finally(() => {
        running = false
      })
  })
  return () => {
    stopped = true
    stop()
  }
}

/** About once a minute, each broker at its own moment: what several do at once is only archived more than once. */
function retireAlone({ settings, archive, log }: Adapters, ports: Ports): () => void {
  const retireBatch = retire({ ...ports, archive, retention: settings.retention })
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  const goOn = async (): Promise<void> => {
    let forgotten = 0
    try {
      for (let more = true; more && !stopped; ) {
        const done = await retireBatch()
        forgotten += done.forgotten
        more = done.more
      }
    } catch (thrown) {
      if (!stopped) log('warn', 'ended grants stay for now: they could not leave for the archive', thrownRecord(thrown))
    }
    if (forgotten > 0) log('info', 'ended grants have left for the archive', { count: forgotten })
    if (!stopped) wait()
  }
  const wait = (): void => {
    timer = setTimeout(() => void goOn(), 60_000 * (0.75 + Math.random() / 2))
  }
  wait()
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}

/** A look every few seconds at what is due; who makes one is settled between the brokers. */
const CANARY_LOOK_MS = 5_000

function canariesAlone({ settings, log }: Adapters, ports: Ports): () => void {
  const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
  const round = canaryRound({ ...ports, every: settings.canaryEvery, pause })
  let running = false
  let hindered = false
  const run = async (): Promise<void> => {
    for (const { entitlement, result, step, reason, took } of await round()) {
      const about = {
        entitlement,
        ...(step === undefined ? {} : { step }),
        ...(reason === undefined ? {} : { reason }),
      }
      if (result === 'ok') log('info', 'a canary was made and has ended', { ...about, ms: took })
      else if (result === 'failed') log('error', 'a canary failed: see writ doctor', { ...about, ms: took })
      else log('warn', 'a canary could not be tried', { ...about, ms: took })
    }
    hindered = false
  }
  return every(CANARY_LOOK_MS, () => {
    if (running) return
    running = true
    void run()
      .catch((thrown: unknown) => {
        // Told once: what hinders it is told by whoever publishes, too.
        if (!hindered) log('warn', 'canaries cannot be looked at', thrownRecord(thrown))
        hindered = true
      })
      .finally(() => {
        running = false
      })
  })
}

const NO_BACKEND: CredentialSource = (() => {
  const none = async (): Promise<never> => {
    throw new BrokerError('vault_refused', 'This broker runs without backends (WRIT_VAULT=off).', {
      facts: { definite: true },
    })
  }
  return { reach: none, open: none, keep: none, issue: none, close: none, confirmGone: none }
})()

/** Told to whoever asks about an answer: no other process has this beginning, and none of ours this end. */
function requestIds(): () => string {
  const begin = randomBytes(9).toString('base64url')
  let made = 0
  return () => {
    made += 1
    return `${begin}-${made.toString(36)}`
  }
}

/** Nothing of tracing is even loaded where it is off. */
async function tracesTo(url: string | undefined, onSpans: OnSpans): Promise<Traces | undefined> {
  if (url === undefined) return undefined
  const { openTraces } = await import('./observe/traces.ts')
  return openTraces({ url, version: VERSION, instance: randomUUID(), onSpans })
}

function every(ms: number, task: () => void): () => void {
  const timer = setInterval(task, ms)
  return () => clearInterval(timer)
}
