// Redis functions as typed calls: named keys and arguments in, a checked reply out. Nothing here knows what a reply means.
// Invariant: a call is sent once. It is repeated only when Redis says that the function does not exist, which means it did not run.
import { Command, type Redis } from 'ioredis'
import { z } from 'zod'
import type { FreezeId, Shard } from '../domain/ids.ts'
import type { ListName } from '../domain/status-list.ts'
import { damaged, within } from './connect.ts'
import {
  acksKey,
  consumersKey,
  containmentKeys,
  dueKey,
  type GrantKeys,
  shardKeys,
  statusKey,
  statusListsKey,
} from './keys.ts'
import { type FunctionName, type Library, loadLibrary } from './library.ts'

/** How far a shard's one order of commits has come: the sequence, and the stream id of the newest event ('' for none). */
export interface Position {
  readonly seq: number
  readonly event: string
}
/** A step as Redis sees it: opaque texts, and what the store itself judges. */
export interface StepRecord {
  readonly keys: GrantKeys
  readonly id: string
  readonly lane: string
  readonly from: string
  readonly to: string
  /** The version it makes; 1 at birth. */
  readonly version: number
  readonly head: string
  readonly event: string
  readonly ask: string
  readonly filedAt: number
  readonly deadline: number | undefined
  /** The set that the grant is in until this step, and the one that it is in afterwards; the same at birth. */
  readonly leaves: string
  readonly enters: string
  /** The sets that it is in for ever: entered at birth only. */
  readonly lasting: readonly string[]
  /** The sets that it is in no more after this step. */
  readonly parts: readonly string[]
  /** What rests from this step on, and for how long. */
  readonly denied: readonly string[]
  readonly restsMs: number
  /** Where the grant was born; 0 for unknown. */
  readonly born: number
  /** Its place in a status list, where this step says something about that: the list, the set of all lists, and until when the list is kept. */
  readonly listed:
    | { readonly list: string; readonly lists: string; readonly place: number; readonly keepUntil: number }
    | undefined
  /** A text for each; the store appends those that it does not have. Empty where the store is known to have it. */
  readonly decisions: readonly string[]
}

const text = z.string()
const count = z.int().nonnegative()
const head = <Tag extends string>(tag: Tag) => [z.literal(tag), z.literal([0, 1]), count, text] as const

const failed = [z.tuple([...head('malformed'), text])] as const
const refused = [
  z.tuple([...head('exists')]),
  z.tuple([...head('missing')]),
  z.tuple([...head('conflict'), count, text]),
  z.tuple([...head('illegal'), text, text]),
] as const
const guarded = [
  z.tuple([...head('late'), count]),
  z.tuple([...head('absent')]),
  z.tuple([...head('stale')]),
  z.tuple([...head('behind')]),
  z.tuple([...head('full'), count, text]),
  z.tuple([...head('resting'), count]),
] as const
const rowRefusal = ['exists', 'missing', 'conflict', 'illegal', 'malformed'] as const

const REPLIES = {
  grant_commit: z.union([z.tuple([...head('ok')]), ...guarded, ...refused, ...failed]),
  grant_end_commit: z.union([z.tuple([...head('ok')]), ...refused, ...failed]),
  grant_commit_each: z.union([
    z.tuple([
      ...head('ok'),
      z.array(z.union([z.tuple([z.literal('ok'), count]), z.tuple([z.enum(rowRefusal)], z.union([text, count]))])),
    ]),
    ...failed,
  ]),
  claim_due: z.union([z.tuple([...head('ok'), z.array(text)]), ...failed]),
  grant_load: z.union([
    z.tuple([...head('ok'), text, z.array(z.union([z.tuple([]), z.tuple([count, text, text, z.array(text), count])]))]),
    ...failed,
  ]),
  grant_events: z.union([z.tuple([...head('ok'), z.array(z.tuple([count, count, text]))]), ...failed]),
  grant_list: z.union([z.tuple([...head('ok'), z.array(z.tuple([text, count]))]), ...failed]),
  grant_feed: z.union([
    z.tuple([...head('ok'), text, count, z.array(z.tuple([text, text, count, count, text]))]),
    ...failed,
  ]),
  grant_counts: z.union([z.tuple([...head('ok'), z.array(count)]), ...failed]),
  grant_retired: z.union([z.tuple([...head('ok'), z.array(text)]), z.tuple([...head('behind')]), ...failed]),
  grant_forget: z.union([z.tuple([...head('ok'), count]), z.tuple([...head('behind')]), ...failed]),
  control_read: z.union([z.tuple([...head('ok'), text, count, text, text, z.literal([0, 1])]), ...failed]),
  control_publish: z.union([
    z.tuple([...head('ok'), text]),
    z.tuple([...head('lower'), text]),
    z.tuple([...head('differs'), text]),
    z.tuple([...head('absent')]),
    z.tuple([...head('used')]),
    ...failed,
  ]),
  shard_clear: z.union([z.tuple([...head('ok'), count, text]), ...failed]),
  shard_accept: z.union([z.tuple([...head('ok'), text]), z.tuple([...head('moved'), count]), ...failed]),
  grant_born: z.union([z.tuple([...head('ok'), text, count, z.array(text)]), ...failed]),
  freeze_put: z.union([z.tuple([...head('ok'), count]), ...failed]),
  freeze_lift: z.union([
    z.tuple([...head('ok'), count, text]),
    z.tuple([...head('missing')]),
    z.tuple([...head('behind')]),
    z.tuple([...head('absent')]),
    z.tuple([...head('stale')]),
    ...failed,
  ]),
  freezes: z.union([z.tuple([...head('ok'), text, z.array(z.tuple([count, text]))]), ...failed]),
  grant_live: z.union([z.tuple([...head('ok'), text, text, z.array(text)]), ...failed]),
  containment_claim: z.union([z.tuple([...head('ok'), text]), z.tuple([...head('held')]), ...failed]),
  containment_note: z.union([z.tuple([...head('ok')]), ...failed]),
  containment_read: z.union([z.tuple([...head('ok'), z.array(text), count, z.array(count), text, count]), ...failed]),
  containment_page: z.union([z.tuple([...head('ok'), z.array(z.tuple([text, count]))]), ...failed]),
  use_once: z.union([z.tuple([...head('ok'), z.literal([0, 1])]), ...failed]),
  revocation_ack: z.union([
    z.tuple([...head('ok')]),
    z.tuple([...head('behind')]),
    z.tuple([...head('ahead')]),
    z.tuple([...head('full')]),
    ...failed,
  ]),
  revocation_left: z.union([z.tuple([...head('ok'), z.array(z.tuple([text, text])), z.array(text)]), ...failed]),
  revocation_acked: z.union([z.tuple([...head('ok'), z.array(text)]), ...failed]),
  use_report: z.union([
    z.tuple([...head('ok'), z.array(z.tuple([z.enum(['kept', 'left', 'repeated']), count]))]),
    z.tuple([...head('missing')]),
    z.tuple([...head('behind')]),
    ...failed,
  ]),
  use_read: z.union([
    z.tuple([...head('ok'), z.array(z.tuple([count, text])), z.array(z.tuple([text, count]))]),
    ...failed,
  ]),
  rate_take: z.union([z.tuple([...head('ok'), count, count, count]), ...failed]),
  status_read: z.union([z.tuple([...head('ok'), text, z.literal([0, 1]), z.instanceof(Uint8Array)]), ...failed]),
  status_lists: z.union([z.tuple([...head('ok'), z.array(text)]), ...failed]),
} as const satisfies Record<FunctionName, z.ZodType>
export type Reply<Name extends FunctionName> = z.infer<(typeof REPLIES)[Name]>

/** What every reply begins with: tag, behind, seq, event. */
export type AnyReply = readonly [string, number, number, string, ...unknown[]]

export interface Calling {
  readonly redis: Redis
  readonly library: Library
  /** The whole call, a reload of the library included, is answered or rejected within this time. */
  readonly deadlineMs: number
}
export type Calls = ReturnType<typeof grantCalls>

/** Every call rejects `store_unavailable` and nothing else. */
export function grantCalls({ redis, library, deadlineMs }: Calling) {
  let loading: Promise<void> | undefined
  const load = (): Promise<void> => {
    loading ??= loadLibrary(redis, library).finally(() => {
      loading = undefined
    })
    return loading
  }

  const send = async (name: FunctionName, keys: readonly string[], args: readonly (string | number)[]) => {
    const sent = [library.nameOf(name), keys.length, ...keys, ...args] as const
    const call = async () => {
      if (name === 'status_read')
        return bytesLast(await redis.sendCommand(new Command('fcall', [...sent], { replyEncoding: null })))
      if (OF_MANY.has(name)) return redis.sendCommand(new Command('fcall', [...sent], { replyEncoding: 'utf8' }))
      return redis.fcall(...sent)
    }
    try {
      return await call()
    } catch (thrown) {
      if (!isUnknownFunction(thrown)) throw thrown
      await load()
      return await call()
    }
  }
  const call = async <Name extends FunctionName>(
    name: Name,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<Reply<Name>> => {
    const answer = await within(deadlineMs, send(name, keys, args))
    if (isWell(name, answer)) return answer as Reply<Name>
    const reply = REPLIES[name].safeParse(answer)
    if (!reply.success) throw damaged(new Error(`${name} answered what nobody knows`))
    return reply.data as Reply<Name>
  }

  return {
    commit: (shard: Shard, seen: Position, guard: GuardRecord, step: StepRecord) =>
      call(
        'grant_commit',
        [
          ...base(shard),
          shardKeys(shard).retire,
          ...stepKeys(shard, step),
          ...guard.bounds.map(({ key }) => key),
          ...guard.denied,
        ],
        [
          ...at(seen),
          guard.notAfter ?? '',
          guard.judged,
          guard.bounds.length,
          guard.denied.length,
          ...guard.bounds.map(({ most }) => most),
          ...stepArgs(step),
        ],
      ),
    endCommit: (shard: Shard, seen: Position, step: StepRecord) =>
      call(
        'grant_end_commit',
        [...base(shard), shardKeys(shard).retire, ...stepKeys(shard, step)],
        [...at(seen), ...stepArgs(step)],
      ),
    commitEach: (shard: Shard, seen: Position, steps: readonly StepRecord[], contained?: ContainedRecord) =>
      call(
        'grant_commit_each',
        [
          ...base(shard),
          shardKeys(shard).retire,
          ...(contained === undefined ? [] : containing(shard, contained.id)),
          ...steps.flatMap((step) => stepKeys(shard, step)),
        ],
        [
          ...at(seen),
          contained?.stages.join('') ?? '',
          contained?.keepMs ?? 0,
          contained?.residue ?? 0,
          ...steps.flatMap(stepArgs),
        ],
      ),
    claimDue: (shard: Shard, seen: Position, claim: { lane: string; limit: number; leaseMs: number }) =>
      call('claim_due', [...base(shard), dueKey(shard, claim.lane)], [...at(seen), claim.limit, claim.leaseMs]),
    /** Without asks each is '': they come by `asks`. */
    load: (shard: Shard, seen: Position, grants: readonly GrantKeys[], { asks }: { readonly asks: boolean }) =>
      call(
        'grant_load',
        [...base(shard), ...grants.flatMap((grant) => [grant.ask, grant.decisions, grant.head])],
        [...at(seen), asks ? 1 : 0],
      ),
    /** The asks alone, '' for one that is not there. Many texts on their way through a function cost more than all else that it does. */
    asks: async (_shard: Shard, grants: readonly GrantKeys[]): Promise<readonly string[]> => {
      const sent = new Command('mget', [...grants.map(({ ask }) => ask)], { replyEncoding: 'utf8' })
      const send = async (): Promise<unknown> => redis.sendCommand(sent)
      const found = await within(deadlineMs, send())
      if (!Array.isArray(found) || !found.every((text) => text === null || isText(text)))
        throw damaged(new Error('asks that are no texts'))
      return found.map((text: string | null) => text ?? '')
    },
    events: (shard: Shard, seen: Position, grant: GrantKeys) =>
      call('grant_events', [...base(shard), grant.head], at(seen)),
    list: (shard: Shard, seen: Position, page: PageRecord) =>
      call(
        'grant_list',
        [...base(shard), ...page.indexes],
        [...at(seen), page.limit, page.after?.filedAt ?? '', page.after?.id ?? '', page.from ?? ''],
      ),
    feed: (shard: Shard, seen: Position, page: { after: string; limit: number }) =>
      call('grant_feed', base(shard), [...at(seen), page.after, page.limit]),
    counts: (shard: Shard, seen: Position, indexes: readonly string[]) =>
      call('grant_counts', [...base(shard), ...indexes], at(seen)),
    retired: (shard: Shard, seen: Position, { keepMs, limit }: { keepMs: number; limit: number }) =>
      call('grant_retired', [...base(shard), shardKeys(shard).retire], [...at(seen), keepMs, limit]),
    forget: (shard: Shard, seen: Position, keepMs: number, grants: readonly ForgetRecord[]) =>
      call(
        'grant_forget',
        [
          ...base(shard),
          shardKeys(shard).retire,
          ...grants.flatMap(({ keys, indexes }) => [keys.ask, keys.decisions, keys.head, keys.uses, ...indexes]),
        ],
        [
          ...at(seen),
          keepMs,
          ...grants.flatMap(({ id, version, uses, indexes }) => [id, version, uses, indexes.length]),
        ],
      ),
    readControl: (shard: Shard, seen: Position) => call('control_read', base(shard), at(seen)),
    publish: (shard: Shard, seen: Position, record: string, mayCreate: boolean) =>
      call('control_publish', base(shard), [...at(seen), record, mayCreate ? 1 : 0]),
    clear: (shard: Shard, seen: Position, recovery: string) =>
      call('shard_clear', base(shard), [...at(seen), recovery]),
    accept: (shard: Shard, seen: Position, { record, floor }: { record: string; floor: number | undefined }) =>
      call('shard_accept', base(shard), [...at(seen), record, floor ?? '']),
    born: (shard: Shard, seen: Position, page: { after: string; limit: number }) =>
      call('grant_born', base(shard), [...at(seen), page.after, page.limit]),
    putFreeze: (shard: Shard, seen: Position, freeze: FreezeRecord) =>
      call(
        'freeze_put',
        [...base(shard), shardKeys(shard).freezes],
        [...at(seen), freeze.id, freeze.text, freeze.event],
      ),
    liftFreeze: (shard: Shard, seen: Position, freeze: FreezeRecord & { readonly rules: string }) =>
      call(
        'freeze_lift',
        [...base(shard), shardKeys(shard).freezes],
        [...at(seen), freeze.id, freeze.text, freeze.event, freeze.rules],
      ),
    freezes: (shard: Shard, seen: Position) => call('freezes', [...base(shard), shardKeys(shard).freezes], at(seen)),
    live: (shard: Shard, seen: Position, page: { lane: string; cursor: string; run: string; about: number }) =>
      call('grant_live', [...base(shard), dueKey(shard, page.lane)], [...at(seen), page.cursor, page.run, page.about]),
    claimWalk: (shard: Shard, seen: Position, { id, lane, leaseMs }: { id: FreezeId; lane: string; leaseMs: number }) =>
      call('containment_claim', [...base(shard), containmentKeys(shard, id).walks], [...at(seen), lane, leaseMs]),
    noteContained: (shard: Shard, seen: Position, id: FreezeId, note: NoteRecord) =>
      call(
        'containment_note',
        [...base(shard), ...containing(shard, id)],
        [
          ...at(seen),
          note.lane,
          note.walk,
          note.leaseMs,
          note.residue,
          note.keepMs,
          ...note.stages.flatMap(({ stage, id: grant }) => [stage, grant]),
        ],
      ),
    readContainment: (shard: Shard, seen: Position, id: FreezeId, stages: number) =>
      call('containment_read', [...base(shard), ...containing(shard, id)], [...at(seen), stages]),
    pageContained: (
      shard: Shard,
      seen: Position,
      id: FreezeId,
      page: { from: number; to: number; offset: number; limit: number },
    ) =>
      call(
        'containment_page',
        [...base(shard), containmentKeys(shard, id).matched],
        [...at(seen), page.from, page.to, page.offset, page.limit],
      ),
    useOnce: (shard: Shard, seen: Position, { mark, until }: { mark: string; until: number }) =>
      call('use_once', [...base(shard), mark], [...at(seen), until]),
    readStatus: (shard: Shard, seen: Position, list: ListName) =>
      call('status_read', [...base(shard), statusKey(list)], at(seen)),
    statusLists: (shard: Shard, seen: Position) =>
      call('status_lists', [...base(shard), statusListsKey(shard)], at(seen)),
    acknowledge: (shard: Shard, seen: Position, ack: AckRecord) =>
      call(
        'revocation_ack',
        [...base(shard), acksKey(shard, ack.server, ack.consumer), consumersKey(shard, ack.server)],
        [...at(seen), ack.consumer, ack.event, ack.unbroken, ack.most, ack.keepMs, ack.mostConsumers, ack.freshMs],
      ),
    left: (shard: Shard, seen: Position, { grant, server }: { grant: GrantKeys; server: string }) =>
      call('revocation_left', [...base(shard), grant.head, consumersKey(shard, server)], at(seen)),
    acked: (
      shard: Shard,
      seen: Position,
      { server, consumers, event }: { server: string; consumers: readonly string[]; event: string },
    ) =>
      call(
        'revocation_acked',
        [...base(shard), ...consumers.map((consumer) => acksKey(shard, server, consumer))],
        [...at(seen), event],
      ),
    reportUses: (
      shard: Shard,
      seen: Position,
      { keys, id, most, uses }: { keys: GrantKeys; id: string; most: number; uses: readonly UseRecord[] },
    ) =>
      call(
        'use_report',
        [...base(shard), keys.head, keys.uses],
        [...at(seen), id, most, ...uses.flatMap((use) => [use.id, use.kind, use.text, use.event])],
      ),
    uses: (shard: Shard, seen: Position, grant: GrantKeys) => call('use_read', [...base(shard), grant.uses], at(seen)),
    take: (shard: Shard, seen: Position, rate: { bucket: string; perMs: number; most: number; want: number }) =>
      call('rate_take', [...base(shard), rate.bucket], [...at(seen), rate.perMs, rate.most, rate.want]),
  }
}

export interface FreezeRecord {
  readonly id: string
  readonly text: string
  readonly event: string
}

/** The containment that ends them, and the number of the stage in which each step leaves its grant: below ten. */
export interface ContainedRecord {
  readonly id: FreezeId
  readonly keepMs: number
  /** The latest moment at which something of these may still be taken; 0 for none. */
  readonly residue: number
  readonly stages: readonly number[]
}

export interface NoteRecord {
  /** '' where only stages are noted. */
  readonly lane: string
  readonly walk: string
  readonly leaseMs: number
  readonly residue: number
  readonly keepMs: number
  readonly stages: readonly { readonly id: string; readonly stage: number }[]
}

export interface AckRecord {
  readonly server: string
  readonly consumer: string
  readonly event: string
  /** From here on nothing concerns it, up to `event`; '' where that is not known. */
  readonly unbroken: string
  readonly most: number
  readonly keepMs: number
  readonly mostConsumers: number
  readonly freshMs: number
}

export interface UseRecord {
  readonly id: string
  /** Of each kind so many are kept. */
  readonly kind: string
  readonly text: string
  /** '' where it is no event. */
  readonly event: string
}

export interface ForgetRecord {
  readonly keys: GrantKeys
  readonly id: string
  readonly version: number
  /** How many uses were read of it. */
  readonly uses: number
  /** Every set that it is in. */
  readonly indexes: readonly string[]
}

export interface PageRecord {
  readonly indexes: readonly string[]
  readonly limit: number
  /** Where the former page ended: only what was filed before it follows, or at the same time under a lower id. */
  readonly after: { readonly filedAt: number; readonly id: string } | undefined
  /** Filed at this time or later. */
  readonly from: number | undefined
}

export interface GuardRecord {
  readonly notAfter: number | undefined
  /** The control record as judged, in its stored form. */
  readonly judged: string
  /** Sets that must hold fewer than so many. */
  readonly bounds: readonly { readonly key: string; readonly most: number }[]
  /** What must not rest. */
  readonly denied: readonly string[]
}

/** Whether this is one of the two replies that nearly all are, by hand: what this does not know the schema judges. */
function isWell(name: FunctionName, answer: unknown): boolean {
  if (!Array.isArray(answer) || answer[0] !== 'ok' || (answer[1] !== 0 && answer[1] !== 1)) return false
  if (!isCount(answer[2]) || typeof answer[3] !== 'string') return false
  if (name === 'grant_commit') return answer.length === 4
  if (name !== 'grant_load' || answer.length !== 6 || typeof answer[4] !== 'string') return false
  const rows: unknown = answer[5]
  return Array.isArray(rows) && rows.every(isGrantRow)
}
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0
const isText = (value: unknown): boolean => typeof value === 'string'
const isGrantRow = (row: unknown): boolean =>
  Array.isArray(row) &&
  (row.length === 0 ||
    (row.length === 5 &&
      isCount(row[0]) &&
      isText(row[1]) &&
      isText(row[2]) &&
      Array.isArray(row[3]) &&
      row[3].every(isText) &&
      isCount(row[4])))

/**
 * Calls that are of many grants already. Gathering them with others would only make them wait: of gathered calls no more are sent until the last
 * have been answered, and two batches that go on side by side would take turns.
 */
const OF_MANY: ReadonlySet<FunctionName> = new Set([
  'grant_load',
  'grant_commit_each',
  'claim_due',
  'grant_live',
  'containment_note',
])

/** Only the bits of a list are bytes; all the rest of such a reply is text and numbers. */
const bytesLast = (reply: unknown): unknown =>
  Array.isArray(reply)
    ? reply.map((part, at) => (Buffer.isBuffer(part) && at !== BITS_AT ? part.toString('utf8') : part))
    : reply
const BITS_AT = 6

const isUnknownFunction = (thrown: unknown): boolean =>
  thrown instanceof Error && /^ERR Function not found/i.test(thrown.message)

const base = (shard: Shard): readonly string[] => [shardKeys(shard).control, shardKeys(shard).events]
const stepKeys = (shard: Shard, { keys, lane, leaves, enters, ...step }: StepRecord): readonly string[] => [
  keys.ask,
  keys.decisions,
  keys.head,
  dueKey(shard, lane),
  leaves,
  enters,
  ...step.lasting,
  ...step.parts,
  ...step.denied,
  ...(step.listed === undefined ? [] : [step.listed.list, step.listed.lists]),
]
const containing = (shard: Shard, id: FreezeId): readonly string[] => {
  const { walks, matched } = containmentKeys(shard, id)
  return [walks, matched]
}
const at = (seen: Position): readonly (string | number)[] => [seen.seq, seen.event]
const stepArgs = (step: StepRecord): readonly (string | number)[] => [
  step.id,
  step.from,
  step.to,
  step.version,
  step.head,
  step.event,
  step.ask,
  step.filedAt,
  step.deadline ?? '',
  step.lasting.length,
  step.parts.length,
  step.denied.length,
  step.restsMs,
  step.born,
  step.listed?.place ?? '',
  step.listed?.keepUntil ?? '',
  step.decisions.length,
  ...step.decisions,
]
