// What the verbs need of the outside, in domain words. Each port is a place to crash on purpose; each sentence about a promise here
// is a test of that port's contract suite. Everything rejects with a BrokerError, never with an adapter's own error.
import type { Assertion } from '../domain/assertion.ts'
import type { AuthorRole } from '../domain/authorship.ts'
import type { Canary, OpenCanary } from '../domain/canary.ts'
import type { Canonical } from '../domain/canonical.ts'
import type { Progress, Stage, Walk } from '../domain/containment.ts'
import type { Decision } from '../domain/decision.ts'
import type { Lane, VaultCredential } from '../domain/entitlement.ts'
import type { GrantEvent } from '../domain/events.ts'
import type { Bound, Denied, FloodLimits } from '../domain/flood.ts'
import type { Freeze, StoredFreeze } from '../domain/freeze.ts'
import type { Grant, Step } from '../domain/grant.ts'
import type {
  AttemptId,
  Digest,
  EntitlementId,
  FreezeId,
  GrantId,
  GroupId,
  MintId,
  MintName,
  PersonId,
  PrincipalId,
  Shard,
  TenantId,
} from '../domain/ids.ts'
import type { Duration, Instant } from '../domain/instant.ts'
import type { Status } from '../domain/lifecycle.ts'
import type { Lease, Mint } from '../domain/mint.ts'
import type { CountedPasskey } from '../domain/passkey.ts'
import type { EventId, Places } from '../domain/place.ts'
import type { Absence, Principal } from '../domain/principal.ts'
import type { Secret } from '../domain/secret.ts'
import type { ListName } from '../domain/status-list.ts'
import type { Use, UseOutcome } from '../domain/use.ts'
import type { Policy } from '../policy/policy.ts'

/** Under what an allowing decision was judged. If one of these moved before the commit, the commit is refused as `stale`. */
export interface Control {
  readonly policyRevision: number
  readonly policyDigest: Digest
  readonly peopleRevision: number
  readonly peopleDigest: Digest
  readonly freezeEpoch: number
}

/** An account as people.yaml names it: `issuer` is the short name of an issuer or of a forge. */
export interface Account {
  readonly issuer: string
  readonly subject: string
}

/** Who checks our tokens: each audience is one server's alone. */
export interface Server {
  readonly id: string
  readonly audiences: readonly string[]
}

/**
 * The people directory, an immutable value: who is behind an id. Unknown is undefined, and undefined means deny. Who is switched off is
 * nobody, and so is an agent or a workload none of whose sponsors is active; `sponsors` of a principal names the inactive ones too.
 */
export interface Directory {
  readonly revision: number
  readonly digest: Digest
  principal(id: PrincipalId): Principal | undefined
  /** Why there is no such principal; undefined where there is. */
  absence(id: PrincipalId): Absence | undefined
  /** Who is in the files and yet nobody now: what they were given is to end. */
  inactive(): readonly PrincipalId[]
  /**
   * Whose account this is, by exact text, also of somebody who is nobody now: who wrote a change stays its author. An account at a forge
   * tells who somebody is there; it never authenticates here.
   */
  byAccount(account: Account): Principal | undefined
  /** Every natural person, for the question whether anybody could decide at all. */
  persons(): readonly Principal[]
  /** The workloads and agents that this person answers for, whether they are anybody now or not. */
  answeredForBy(person: PersonId): readonly PrincipalId[]
  /** Persons, agents and workloads, for the question whether anybody operates. */
  principals(): readonly Principal[]
  /** What an agent is registered as: the digest of its model, prompt and tools. */
  manifestOf(id: PrincipalId): Digest | undefined
  /** Whether this principal reaches the target (its id) without Writ, as declared. */
  hasStandingAccess(id: PrincipalId, target: string): boolean
  /** The resource server of this id, as it is set up now. */
  resourceServer(id: string): Server | undefined
  resourceServers(): readonly Server[]
  /** Members are natural persons who are active. */
  group(tenant: TenantId, name: GroupId): { readonly administrative: boolean; readonly members: number }
}

/** Policy and directory as loaded in this broker right now. */
export interface Rules {
  readonly policy: Policy
  readonly directory: Directory
}

export interface Loaded {
  readonly grant: Grant
  /** The control record at the moment of the read. */
  readonly control: Control
  /** Where its birth stands in the shard's one order of commits: what a freeze that was stored there or later kills. 0 where that is not known. */
  readonly born: number
}

/** Where a commit stands in its shard's one order of commits, and what was written there. */
export interface Receipt {
  readonly shard: Shard
  readonly seq: number
  /** SHA-256 of the stored event text, base64url. */
  readonly eventHash: string
}

export interface Guard {
  /** Refused as `window_closed` when Redis's own clock has reached it. */
  readonly notAfter?: Instant
  /** Refused as `stale` when the control record says something else; as `recovering` when there is none. */
  readonly judgedUnder: Control
  /** Of a birth: refused as `too_many_pending` or `already_asked` where one is reached, in the order given. */
  readonly bounds?: readonly Bound[]
  /** Of a birth: refused as `too_many_requests` while one of these rests, with the fact `retryAfter`. */
  readonly denied?: readonly Denied[]
}

export type EndResult = { readonly id: GrantId; readonly receipt: Receipt | undefined }

export interface StoredEvent extends GrantEvent {
  readonly version: number
  readonly seq: number
}

/** Whose grants: those of a tenant's targets or requesters, or those that a principal executes for another. */
export type Whose = { readonly tenant: TenantId } | { readonly party: PrincipalId }
/** What grants can be found by: each is a set that is written in the same commit as the grant. No set is of everybody's grants. */
export type Index =
  | { readonly tenant: TenantId; readonly status: Status }
  | { readonly party: PrincipalId }
  | { readonly whose: Whose; readonly ticket: { readonly system: string; readonly id: string } }
  | { readonly whose: Whose; readonly task: string }
  | { readonly whose: Whose; readonly session: string }

/** A page of grants that are in at least one of these sets, newest first, each once. */
export interface ListQuery {
  readonly of: readonly Index[]
  readonly limit: number
  /** As a former page returned it. */
  readonly cursor: string | undefined
  /** Filed at this time or later, and before that one. */
  readonly filedFrom?: Instant
  readonly filedTo?: Instant
  /** Over the connection for ending, which goes on while the store is recovering. */
  readonly toEnd?: boolean
}

export interface Found {
  readonly grants: readonly Grant[]
  /** For each of them the cursor of a page that would end with it. */
  readonly places: readonly string[]
  /** Undefined where nothing follows. */
  readonly next: string | undefined
}

/** One event as it lies in the order of all, with the grant as it is now. */
export interface FedEvent extends StoredEvent {
  /** Where to go on after it. */
  readonly place: string
  readonly of: Grant
}

/** A grant that is over, in the very texts that are stored of it: a receipt's hash is that of its event's text. */
export interface Retired {
  readonly id: GrantId
  readonly version: number
  readonly ask: string
  readonly decisions: readonly string[]
  readonly head: string
  readonly events: readonly { readonly version: number; readonly seq: number; readonly text: string }[]
  /** What resource servers reported of its credentials. */
  readonly uses: readonly { readonly receivedAt: Instant; readonly text: string }[]
}

export interface LivePage {
  /** There before what it found is read, so that more can be asked for meanwhile. Undefined where that was all. */
  readonly cursor: string | undefined
  readonly found: Promise<LiveFound>
}
export interface LiveFound {
  readonly grants: readonly Pick<Loaded, 'grant' | 'born'>[]
  /** How many records could not be read. */
  readonly unread: number
}

export interface GrantStore {
  /** Undefined for a grant that does not exist. Rejects `recovering` when the control record is absent or behind what this broker has seen. */
  load(id: GrantId): Promise<Loaded | undefined>
  /**
   * Any number of them in calls of up to 100, each as `load` answers it; one that cannot be read is `unreadable` and hides no other. Rejects
   * `recovering` like `load`: what is not there proves nothing then.
   */
  loadEach(ids: readonly GrantId[]): Promise<readonly (Grant | 'unreadable' | undefined)[]>
  /** Like `load`, for ending: answers also while the store is recovering, because ending goes on then. */
  loadToEnd(id: GrantId): Promise<Grant | undefined>
  /**
   * The same of up to 100 at once. What does not exist is left out; what is damaged is named, and hides no other. Rejects where the store does
   * not answer.
   */
  loadManyToEnd(
    ids: readonly GrantId[],
  ): Promise<{ readonly grants: readonly Grant[]; readonly unreadable: readonly GrantId[] }>
  /**
   * Writes head, deadline, indexes and event together, or nothing. Refuses unless the stored version is the one the step came from
   * (`store_conflict`), the edge is legal and has a guard where it allows something (`wrong_status`), and every guard holds. Committing the very same step twice is refused, not repeated.
   * What a grant counts in (`tallies`) is written in the same commit; so is that the denial of a step that `rests` is remembered.
   * A rejection `store_unavailable` means unknown: it may have been written.
   */
  commit(step: Step, guard?: Guard): Promise<Receipt>
  /**
   * Up to 100 steps in one call, each judged alone; a refused one has no receipt. `contains`: of each that is written it is noted in the same commit
   * that this containment matched the grant, and in which stage it leaves it.
   */
  commitEach(steps: readonly Step[], contains?: FreezeId): Promise<readonly EndResult[]>
  /** What is due in this lane by Redis's clock, oldest first, each leased to the caller until now + lease: nobody else gets it meanwhile. */
  claimDue(lane: Lane, limit: number, lease: Duration): Promise<readonly GrantId[]>
  /** The events of one grant in order; none above its stored version. */
  events(id: GrantId): Promise<readonly StoredEvent[]>
  /** Rejects `invalid_request` for a cursor that is none. One record that cannot be read hides no other. */
  list(query: ListQuery): Promise<Found>
  /**
   * What was committed after this place, oldest first, at most about `limit` events and `more` where that was not all; without a place
   * only where to begin from now on. What was committed within this very millisecond comes with the next look. Where that was all, `next`
   * is a time and tells of no event. Events of grants that have been forgotten are not in it. Rejects `invalid_request` for a place that is none.
   */
  feed(
    after: string | undefined,
    limit: number,
  ): Promise<{ readonly events: readonly FedEvent[]; readonly next: string; readonly more: boolean }>
  /**
   * Some of what is not over in one lane of one shard, `about` so many, over the connection for ending. Whoever goes on from cursor to cursor until
   * there is none has got each grant that was there all the while, at least once, whatever was ended or claimed meanwhile. A cursor of another server
   * or of before its restart begins anew. One record that cannot be read hides no other.
   */
  live(of: LiveQuery): Promise<LivePage>
  /** How many grants of these tenants are in each status. */
  counts(tenants: readonly TenantId[]): Promise<Readonly<Record<Status, number>>>
  /** What has been over for at least `keep` by Redis's clock, oldest first; what cannot be read is left out. Rejects `recovering`. */
  retired(keep: Duration, limit: number): Promise<readonly Retired[]>
  /**
   * Removes these grants with their events and answers how many there were. Whatever is not over for `keep`, or is not at the version
   * named, stays; so does what more uses have been reported of than are named. Idempotent. Rejects `recovering`: what may have to be looked into
   * is left as it is.
   */
  forget(grants: readonly Forgettable[], keep: Duration): Promise<number>
}
export interface LiveQuery {
  readonly shard: Shard
  readonly lane: Lane
  readonly cursor: string | undefined
  readonly about: number
}
export type Forgettable = Pick<Retired, 'id' | 'version'> & Partial<Pick<Retired, 'uses'>>

/** A grant that went on its way to its end, or is there. */
export interface Revocation {
  readonly grant: GrantId
  readonly audience: string
  readonly at: Instant
  readonly status: 'ending' | 'ended'
  readonly shard: Shard
  readonly event: EventId
}
export interface RevocationsRead {
  readonly revocations: readonly Revocation[]
  /** Where to go on. */
  readonly next: Places
  /** By the store's own clock: everything until then was read. */
  readonly until: Instant
  /** There was more to read at this moment. */
  readonly more: boolean
}
export interface Acknowledgement {
  readonly server: string
  readonly consumer: string
  /** Everything up to here it refuses. */
  readonly places: Places
  /** From here on, up to `places`, nothing concerned it, as far as is known. */
  readonly unbroken: Places
}
/** Of one grant that has left `active`: how far the word of it has gone. */
export interface Reach {
  /** When it left. */
  readonly at: Instant
  /** Of each instance that counts when it acknowledged that, or a later place; undefined where it has not. */
  readonly consumers: readonly { readonly name: string; readonly acknowledgedAt: Instant | undefined }[]
}

export interface RevocationStore {
  /**
   * Which grants began or finished their end after this place, oldest first, of about `limit` events that are looked at; without a place only
   * where to begin from now on. Rejects `recovering` in every shard's state in which nothing is issued, and `store_unavailable`: an empty answer
   * means that there was nothing. What cannot be read is left out: no introspection answers for it either.
   */
  read(after: Places | undefined, limit: number): Promise<RevocationsRead>
  /** A place as `read` gave it, as text. Rejects `invalid_request` for what is none. */
  parse(text: string): Places
  /** The place that everything follows that was committed at this time or later. */
  since(at: Instant): Places
  /**
   * Remembers when this consumer first was at this place. Going back changes nothing. Rejects `invalid_request` for a place ahead of the store's
   * clock, `too_many_requests` where a server has too many consumers, `recovering`. An end never waits for it.
   */
  acknowledge(acknowledgement: Acknowledgement): Promise<void>
  /**
   * Undefined where the grant has not left `active`. An instance counts that had been heard of when it left, and within a day before; where
   * there was none, the first that was heard of afterwards.
   */
  reach(grant: GrantId, server: string): Promise<Reach | undefined>
}

/** A use as it was reported. */
export interface ReportedUse extends Use {
  readonly receivedAt: Instant
  /** The resource server. */
  readonly by: string
}
export interface UseToKeep {
  readonly use: Use
  /** Where it is misuse. */
  readonly event: GrantEvent | undefined
}
export interface UsesKept {
  readonly kept: readonly Use[]
  /** Counted alone: as many of their kind as may be are there. */
  readonly left: readonly Use[]
  /** Under an id that was there already. */
  readonly repeated: readonly Use[]
  /** Of the events that were written. */
  readonly receipts: readonly Receipt[]
}
export interface UseStore {
  /**
   * Keeps these uses of a grant, 1 to 100, each id once; of each outcome so many, and counts what is not kept. An event of one that is kept is in
   * the order of commits, under the grant's version, which it does not move. Undefined where there is no such grant. Rejects `recovering`.
   */
  report(grant: GrantId, by: string, uses: readonly UseToKeep[]): Promise<UsesKept | undefined>
  /** Oldest first, by when they came; what was not kept is only counted. */
  of(grant: GrantId): Promise<{
    readonly uses: readonly ReportedUse[]
    /** How many came, kept or not. */
    readonly counts: Readonly<Record<UseOutcome, number>>
    readonly left: number
  }>
}

/** What a broker does to its control record: at start, when a file changes, when an operator says so. */
export interface ControlStore {
  read(shard: Shard): Promise<{ readonly control: Control; readonly seq: number } | undefined>
  /** Creates the record of an empty shard, or raises its revisions. Refuses to lower one or to change a digest under the same revision (`policy_outdated`). */
  publish(
    shard: Shard,
    rules: Pick<Control, 'policyRevision' | 'policyDigest' | 'peopleRevision' | 'peopleDigest'>,
  ): Promise<Control>
}

/** How one shard of the store stands with what was lost there. */
export interface ShardRecovery {
  /** Why nothing is allowed; undefined when all is well. */
  readonly reason: string | undefined
  /** An operator has begun: what it may have brought back is being ended. As it was put on record there. */
  readonly clearing: string | undefined
  /** The last one that is over, as it was put on record. */
  readonly recovered: string | undefined
  /** The newest commit up to which everything is to end, or has ended; 0 where there was no recovery. */
  readonly floor: number
  /** The newest commit that this broker has seen, and the newest that is there. */
  readonly seen: number
  readonly here: number
  /** Nothing that this broker knows of is missing but the control record or its counter: no grant can have been brought back. */
  readonly intact: boolean
}

/** The store while it recovers: everything here goes on whatever state it is in, over the connection for ending. */
export interface RestoredStore {
  /** As it is now, by a call of its own. */
  recovery(shard: Shard): Promise<ShardRecovery>
  /**
   * Takes the control record away, so that no broker allows anything until everything born up to the floor has been ended and the shard is
   * accepted. The floor is above all that any broker may have seen, and each that had noticed the loss goes on by itself from there. Idempotent:
   * one that is under way stays, with its text. The caller must record who did it.
   */
  clear(shard: Shard, text: string): Promise<{ readonly floor: number; readonly text: string }>
  /** The ids of what was born after this place in the order of events ('' for the first), oldest first, and the place to go on from. */
  born(
    shard: Shard,
    after: string,
    limit: number,
  ): Promise<{ readonly ids: readonly GrantId[]; readonly next: string; readonly more: boolean }>
}

export interface FreezeStore {
  /**
   * Stores the freeze on every shard, and raises each shard's freeze epoch in the same commit, before it resolves. Goes on while the store is
   * recovering or full. Idempotent by id. A rejection `store_unavailable` means that it may be stored on some of them.
   */
  put(freeze: Freeze): Promise<readonly Receipt[]>
  /**
   * Stores the freeze in its lifted form; it stays, with its place in the order, so that what it killed stays dead. Idempotent: one that was
   * lifted before is answered as it was lifted then. Undefined where there is none. Rejects `stale` where the rules are not those it was
   * judged under, and `recovering`.
   */
  lift(
    freeze: Freeze,
    judgedUnder: Control,
  ): Promise<{ readonly freeze: Freeze; readonly receipts: readonly Receipt[] } | undefined>
  /** All of them, newest first, lifted ones included; answers also while the store is recovering. */
  list(): Promise<readonly Freeze[]>
  /** Those of one shard, with their places in its order; answers also while the store is recovering. */
  on(shard: Shard): Promise<readonly StoredFreeze[]>
  /**
   * Those by which a grant is judged under this control record: of its shard, or of the one where new grants are filed. Never older than
   * the record; read again only when its freeze epoch has moved. Rejects `recovering`.
   */
  under(control: Control, id?: GrantId): Promise<readonly StoredFreeze[]>
}

/** How far the clean-up behind each containment has come. All of it goes on while the store is recovering or full. */
export interface ContainmentStore {
  /**
   * The walk of this lane as far as it has come, leased to the caller; undefined where somebody else has it. What two callers do at once all the
   * same does no harm.
   */
  claim(of: WalkOf, lease: Duration): Promise<Walk | undefined>
  /** Keeps what was found and, where a walk is named, how far it has come, with the lease for as long again; in one commit. */
  note(id: FreezeId, shard: Shard, note: ContainmentNote): Promise<void>
  /** `lanes`: those that there are to walk on every shard. */
  progress(id: FreezeId, lanes: readonly Lane[]): Promise<Progress>
  /** What was matched and is in these stages, in the order of the stages. */
  page(id: FreezeId, stages: readonly Stage[], cursor: string | undefined, limit: number): Promise<ContainedPage>
}
export interface WalkOf {
  readonly id: FreezeId
  readonly shard: Shard
  readonly lane: Lane
}
export interface ContainmentNote {
  readonly stages: readonly { readonly id: GrantId; readonly stage: Stage }[]
  readonly residueUntil?: Instant | undefined
  readonly walk?: { readonly lane: Lane; readonly walk: Walk; readonly lease: Duration }
}
export interface ContainedPage {
  readonly grants: readonly { readonly id: GrantId; readonly stage: Stage }[]
  readonly next: string | undefined
}

/** What the status lists of our tokens say; see `domain/status-list.ts`. */
export interface StatusLists {
  /**
   * A bit per place of this list, set while the grant that was born there is live, in the order of `statusBytes`; undefined where there is no
   * such list. What a commit has changed is in every answer to a question that was asked after it. Rejects `recovering`.
   */
  live(list: ListName): Promise<Uint8Array | undefined>
  /** Those in which a token may still be alive, of every shard. */
  all(): Promise<readonly ListName[]>
}

/** An empty hold at a backend: found by its accessor, dead within seconds unless kept. */
export interface Hold {
  readonly accessor: string
  readonly token: Secret<string>
}
/** What is handed out, member by member. */
export type VaultSecret = Readonly<Record<string, string>>
export interface MintPlan {
  readonly grant: GrantId
  readonly mint: MintId
  readonly digest: Digest
  readonly entitlement: EntitlementId
  /** As filed in the ask, so that ending needs no policy. */
  readonly credential: VaultCredential
}

/** What the backend answers about a mint that was closed. */
export interface Gone {
  /** Nothing more will come, and what could be ended has ended. */
  readonly gone: boolean
  readonly answer: string
  /** Where something was made that nobody can end: how long after its making it ends by itself, at the latest. */
  readonly lasts?: Duration
}

export interface CredentialSource {
  /** Asks whether anything of this kind can be opened now, and makes nothing. Rejects as `open` does where it cannot. */
  reach(credential: VaultCredential): Promise<void>
  /** Opens an empty hold that dies by itself within 15 seconds unless `keep` is called. It holds no secret yet. */
  open(plan: MintPlan): Promise<Hold>
  /** Lifts the hold's life to `left`. */
  keep(hold: Hold, left: Duration): Promise<void>
  /** Makes the secret under the hold; it dies by itself within `left`. What cannot be revoked has a lease without an id. */
  issue(
    hold: Hold,
    plan: MintPlan,
    left: Duration,
  ): Promise<{ readonly lease: Lease; readonly secret: Secret<VaultSecret> }>
  /** Ends everything that this mint may have left, found by its ids alone. Idempotent: closing what is closed succeeds. */
  close(plan: MintPlan, mint: Mint): Promise<void>
  /** Asks the backend for leases and sessions, not for the accessor. An error or a time-out rejects; it is never read as gone. */
  confirmGone(plan: MintPlan, mint: Mint): Promise<Gone>
}

/** The last canary of each entitlement, and those that may still be there; the same for all brokers. Rejects `store_unavailable`. */
export interface Canaries {
  /** What cannot be read is left out: it says nothing. */
  all(): Promise<readonly Canary[]>
  last(entitlement: EntitlementId): Promise<Canary | undefined>
  keep(canary: Canary): Promise<void>
  /** Those that were noted and not ended; at most one of an entitlement. */
  open(): Promise<readonly OpenCanary[]>
  note(open: OpenCanary): Promise<void>
  ended(entitlement: EntitlementId): Promise<void>
  /** True for one at a time of any number of brokers, until it is given back or `lease` is over. */
  turn(entitlement: EntitlementId, lease: Duration): Promise<boolean>
  giveBack(entitlement: EntitlementId): Promise<void>
}

/** What may lie at a backend in Writ's name: Vault's token and lease, Vault's role, the database's login. In the order in which they are ended. */
export const ARTEFACT_KINDS = ['lease', 'hold', 'role', 'login'] as const
export type ArtefactKind = (typeof ARTEFACT_KINDS)[number]
/** One thing found at a backend. Its handle (an accessor, a lease's folder, a name) is no secret. */
export interface Artefact {
  readonly backend: string
  readonly kind: ArtefactKind
  /** The mount or the connection under which it is; empty for a hold. */
  readonly place: string
  readonly handle: string
  /** Whose it says it is; undefined where it lies among what is Writ's and bears no mark that can be read. */
  readonly mint: MintName | undefined
  /** The connection of the database without which it cannot be ended; absent where there is none, or it is not known. */
  readonly database?: string
}
export interface Inventory {
  /** The backends that can be looked through. */
  readonly backends: readonly string[]
  /**
   * Everything at this backend that bears Writ's name, and what lies among it without a mark. What others made elsewhere is not in it. Reads
   * handles, never a secret, and changes nothing. Rejects in the end where a part could not be read: then what it named is there all the same, and more may be.
   * Where it is only databases that could not be asked, the fact `databases` of the error has their connections.
   */
  list(backend: string): AsyncIterable<Artefact>
  /**
   * Ends it and asks whether it is gone; false where there was nothing to end. Sessions of a login are cut first. Idempotent. Rejects
   * where that is not certain, `not_confirmed` or as the backend says, and for what bears no mark.
   */
  end(artefact: Artefact): Promise<boolean>
}

/**
 * A mark that a broker leaves at a backend, to know it again: one that was restored from a copy made earlier has not got it. It holds no
 * secret, gives nothing, and dies by itself.
 */
export interface BackendMarks {
  /** Resolves when it is written. It dies an hour later at the latest. */
  set(backend: string): Promise<string>
  /** Whether it is there. An error or a time-out rejects; it is never read as an answer. */
  isThere(backend: string, mark: string): Promise<boolean>
  /** Idempotent. */
  drop(backend: string, mark: string): Promise<void>
}

export interface TokenFacts {
  readonly grant: Grant
  readonly audience: string
  readonly subject: PrincipalId
  readonly jti: string
  readonly issuedAt: Instant
  readonly notBefore: Instant
  readonly expiresAt: Instant
  readonly policyDigest: Digest
}
export interface TokenSigner {
  /** An RFC 9068 access token; bound to the key of the mint where there is one. Signing the same facts twice gives a token with the same jti, iat and exp. */
  sign(facts: TokenFacts, key: string | undefined): Promise<Secret<string>>
}

export interface DecisionSigner {
  sign(grant: GrantId, decision: Omit<Decision, 'signature'>): string
  /** False for anything that this broker group did not sign for exactly this grant. */
  verify(grant: GrantId, decision: Decision): boolean
}

/** The broker's signature under what it keeps for itself: whoever edits the store makes nothing that verifies. */
export interface RecordSigner {
  sign(typ: string, record: Canonical): string
  /** False for anything that this broker group did not sign as a record of this kind. */
  verify(typ: string, record: Canonical, signature: string): boolean
}

export interface StepUp {
  /**
   * Whether a passkey signed exactly this text, for this broker, with its user verified. Synchronous, because it is asked again at every
   * exchange; any oddity is false, and it never throws. It does not say whose passkey that is.
   */
  check(statementText: string, assertion: Assertion): boolean
}

export interface RelyingParty {
  /** Under which authenticators know this broker: the host of its public URL. */
  readonly id: string
  /**
   * The assertion in what a browser sent, if one of these passkeys made it over exactly this text and its counter has not gone back.
   * Rejects `not_permitted`; `invalid_request` for what is no response. The counter is the caller's to keep.
   */
  assertion(
    response: unknown,
    expected: { readonly text: string; readonly passkeys: readonly CountedPasskey[] },
  ): Promise<{ readonly assertion: Assertion; readonly counter: number }>
  /** The new passkey in what a browser sent, made for exactly this text. Rejects as `assertion` does. */
  registration(
    response: unknown,
    text: string,
  ): Promise<Pick<CountedPasskey, 'credentialId' | 'publicKey' | 'algorithm' | 'transports' | 'counter'>>
}

export interface Passkeys {
  /** This person's, oldest first. One that was altered, planted or moved from another person does not count. Rejects `store_unavailable`. */
  of(person: PersonId): Promise<readonly CountedPasskey[]>
  /** False where this person has that one already. */
  add(passkey: CountedPasskey): Promise<boolean>
  /** True where the counter rose by this, or where it counts nothing (0, and never more): so of two uses with one count one is the first. */
  count(person: PersonId, credentialId: string, counter: number): Promise<boolean>
  /** False where there was none. */
  remove(person: PersonId, credentialId: string): Promise<boolean>
}

/** What was begun and waits for a passkey, by the hash of its id, for a while. */
export interface Ceremonies {
  /** Rejects `store_unavailable`. */
  keep(hash: string, value: string, life: Duration): Promise<void>
  /** Undefined when it is over, was taken, or never was. */
  read(hash: string): Promise<string | undefined>
  /** The same, and of any number of takers one gets it. A rejection means that it may be gone. */
  take(hash: string): Promise<string | undefined>
}

export interface Timetable {
  /** Asks for a punctual look at what is due in this lane at `when`. A hint: losing it makes an end late, never absent. */
  at(lane: Lane, when: Instant): Promise<void>
}

export interface Seal {
  /** Resolves when the commit is on stable storage outside Redis. Rejects `log_unavailable`; then nothing may leave. */
  seal(receipt: Receipt): Promise<void>
}

/** What a caller may ask of the broker: ends have a budget of their own, so that nobody who asks too much cannot end any more. */
export type Budget = 'requests' | 'ends'
export interface Quota {
  readonly budget: Budget
  /** So many within so long, refilled evenly. */
  readonly most: number
  readonly perMs: number
  /** What is left, as far as this broker knows. */
  readonly left: number
  /** Undefined where one was taken; else how long until there is one. */
  readonly retryMs: number | undefined
}
export interface Limits {
  /** Takes one. Rejects `store_unavailable` for requests; ends are let through then. */
  take(who: PrincipalId, budget: Budget): Promise<Quota>
}

export interface Archive {
  /**
   * Resolves when all of them are on stable storage outside Redis. Rejects `log_unavailable`; then none may be forgotten. What is kept
   * again is there again: whoever reads the archive goes by id and version.
   */
  keep(grants: readonly Retired[]): Promise<void>
}

/** A change at a forge, by names that do not move: a repository and the exact commit. */
export interface ChangeRef {
  /** The forge's short name in forges.yaml. */
  readonly forge: string
  /** Its numeric id there, or its full path; the id is the one that nobody can take over. */
  readonly repository: string
  /** All hexadecimal digits, in lower case. */
  readonly sha: string
}
export interface Author {
  /** The issuer is the forge's short name, the subject its immutable numeric user id. */
  readonly account: Account
  /** For people to read: the login. Decides nothing. */
  readonly login: string
  /** At least one, in the order of AUTHOR_ROLES. */
  readonly roles: readonly AuthorRole[]
}
export interface Forges {
  /**
   * Everybody who had a hand in exactly this commit, each account once; never an empty list. Rejects `authors_unknown` for whatever is
   * doubtful: an unknown commit, no merged change request that contains it, an author without an account, a list that was cut;
   * `forge_unavailable` where the forge does not answer properly or in time.
   */
  authorsOf(change: ChangeRef): Promise<readonly Author[]>
}

export interface Ports {
  readonly grants: GrantStore
  readonly freezes: FreezeStore
  readonly containments: ContainmentStore
  readonly revocations: RevocationStore
  readonly uses: UseStore
  readonly credentials: CredentialSource
  readonly canaries: Canaries
  readonly tokens: TokenSigner
  readonly signatures: DecisionSigner
  readonly stepUp: StepUp
  readonly forges: Forges
  readonly records: RecordSigner
  readonly relyingParty: RelyingParty
  readonly passkeys: Passkeys
  readonly ceremonies: Ceremonies
  readonly timetable: Timetable
  readonly seal: Seal
  /** The rules as loaded now. Rejects `policy_outdated` when a newer policy is in force elsewhere. */
  rules(control: Control): Rules
  /** The rules as loaded here, for ending only: that goes on whatever the control record says. */
  rulesToEnd(): Rules
  /** The control record under which new grants are judged; rejects `recovering`. */
  control(): Promise<Control>
  /** Redis's time as sampled. Throws `clock_untrusted` after a jump. */
  now(): Instant
  /** Redis's time for ending, which goes on whatever the clock did. */
  nowToEnd(): Instant
  /** Resolves a set time from now, whatever else is done meanwhile; for when to say that there is no such grant. */
  evenly(): Promise<void>
  /** Resolves after so many milliseconds. Keeps no process alive. */
  pause(ms: number): Promise<void>
  newGrantId(): GrantId
  /** The one grant id of this text: the same at every broker, and of no other text. */
  grantIdOf(text: string): GrantId
  newAttemptId(): AttemptId
  newFreezeId(): FreezeId
  newTokenId(): string
  /** 256 random bits, base64url: who knows one may go on with its ceremony. */
  newCeremonyId(): string
  /** 0 <= n < 1, for jitter only. */
  jitter(): number
  sha256(text: string): string
  readonly flood: FloodLimits
  /** Where grants are, and what there is to end at: the same in every broker. */
  readonly shards: readonly Shard[]
  readonly lanes: readonly Lane[]
  /** The broker's public URL. */
  readonly issuer: string
}
