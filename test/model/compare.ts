// Whether the store says what the model says, grant by grant and event by event; and what holds whatever the model says (THREATS.md §5),
// told from the store, the backend and the answers alone.
import type { GrantId } from '../../src/domain/ids.ts'
import type { Head, Row, Seen, SeenEvent, StoredDecision } from './look.ts'
import {
  behind,
  isFinal,
  MOST_PENDING_OF_OWNER,
  MOST_PENDING_OF_REQUESTER,
  PEOPLE,
  RANK,
  type Status,
  type Who,
} from './rules.ts'
import type { Answer, Stage } from './stage.ts'
import type { GrantState, MintState, State } from './state.ts'

const modelMint = ({ status, ...mint }: MintState) => ({
  n: mint.n,
  attempt: mint.attempt,
  keyed: mint.keyed,
  claimedAt: mint.claimedAt,
  status,
  deadline: mint.deadline,
  maker: mint.maker,
  handedOut: status === 'closing' ? mint.handedOut : undefined,
  released: status === 'closed' ? mint.released : undefined,
  expiresAt: status === 'live' ? mint.expiresAt : undefined,
})
const storedMint = (mint: Head['mints'][number], login: boolean): ReturnType<typeof modelMint> => ({
  n: mint.n,
  attempt: mint.attempt,
  keyed: mint.key !== undefined,
  claimedAt: mint.claimedAt,
  status: mint.status,
  deadline: mint.deadline,
  maker: mint.makerUntil,
  handedOut: mint.handedOut,
  released: mint.released,
  // A login's own end is the backend's to say.
  expiresAt: mint.status === 'live' && !login ? mint.expiresAt : undefined,
})

const viewed = (grant: GrantState) => ({
  version: grant.version,
  status: grant.status,
  votes: grant.votes.map(({ by, seat, verdict, takenBack }) => `${by} ${seat} ${verdict} ${takenBack}`),
  said: grant.said,
  escalated: grant.status === 'pending' ? grant.escalated : undefined,
  useBy: grant.status === 'approved' || grant.status === 'issuing' ? grant.useBy : undefined,
  attempts: isEnding(grant.status) ? grant.attempts : undefined,
  retryAt: isEnding(grant.status) ? grant.retryAt : undefined,
  outcome: isEnding(grant.status) || grant.status === 'ended' ? grant.outcome : undefined,
  mints: grant.mints.map(modelMint),
  due: [grant.login ? undefined : grant.due, grant.login ? grant.due : undefined],
  indexes: [String(grant.status)],
  isRetired: isFinal(grant.status),
  isLive: grant.status === 'active' && !grant.login,
})
const isEnding = (status: string): boolean => status === 'ending' || status === 'stuck'

const votesOf = (decisions: readonly StoredDecision[]): readonly string[] => {
  const back = decisions.flatMap(({ act, vote }) => (act === 'retract' ? (vote ?? []) : []))
  return decisions
    .filter(({ act }) => act === 'vote')
    .map(({ by, seat, verdict, signature }) => `${by} ${seat} ${verdict} ${back.includes(signature)}`)
}
const stored = ({ head, ...row }: Row, login: boolean): ReturnType<typeof viewed> => ({
  version: row.version,
  status: head.status,
  votes: [...votesOf(row.decisions)],
  said: row.decisions.length,
  escalated: head.status === 'pending' ? head.facts.escalatedAt !== undefined : undefined,
  useBy: head.facts.useBy,
  attempts: head.facts.attempts,
  retryAt: head.facts.retryAt,
  outcome: isEnding(head.status) ? head.facts.cause?.outcome : head.facts.outcome,
  mints: head.mints.map((mint) => storedMint(mint, login)).toSorted((a, b) => a.n - b.n),
  due: [...row.due],
  // The status stands twice, in the head and beside it for the store.
  indexes: row.status === head.status ? [...row.indexes] : ['head and status differ'],
  isRetired: row.isRetired,
  isLive: row.isLive,
})

/** Undefined where they are the same. */
export function difference(grant: GrantState | undefined, row: Row | undefined, login: boolean): string | undefined {
  const model = JSON.stringify(grant && viewed(grant))
  const store = JSON.stringify(row && stored(row, login))
  return model === store ? undefined : `model ${model}\nstore ${store}`
}

/** Freezes, and where they and the births stand in the one order: what was born before one is dead. */
export function freezesDiffer({ freezes, grants }: State, seen: Seen, stage: Stage): string | undefined {
  const text = (one: { selector: object; contains: boolean; lifted: boolean }): string =>
    JSON.stringify([Object.entries(one.selector).sort(), one.contains, one.lifted])
  const inOrder = (all: readonly (readonly [number, string])[]): string =>
    all
      .toSorted(([a], [b]) => a - b)
      .map(([, what]) => what)
      .join(' ')
  const model = inOrder([
    ...freezes.map((one) => [one.at, `${stage.freezeIdOf(one.name)} ${text(one)}`] as const),
    ...[...grants.values()].map(({ born, name }) => [born, stage.idOf(name)] as const),
  ])
  const store = inOrder([
    ...seen.freezes.map((one) => [one.seq, `${one.id} ${text({ ...one, lifted: one.lifted !== undefined })}`] as const),
    ...[...seen.rows].map(([id, { born }]) => [born, id] as const),
  ])
  return model === store ? undefined : `births and freezes:\nmodel ${model}\nstore ${store}`
}

/** How many wait for whom. */
export function waitingDiffers(state: State, seen: Seen): string | undefined {
  const waiting = [...state.grants.values()].filter(({ status, auto }) => status === 'pending' && !auto)
  const model = [
    ...PEOPLE.map((who) => waiting.filter(({ requester }) => behind(requester) === who).length),
    waiting.length,
  ]
  const isOver =
    seen.waiting.slice(0, -1).some((many) => many > MOST_PENDING_OF_REQUESTER) ||
    (seen.waiting.at(-1) ?? 0) > MOST_PENDING_OF_OWNER
  if (isOver) return `I22: more wait than may: ${seen.waiting.join()}`
  return model.join() === seen.waiting.join() ? undefined : `waiting: model ${model}, store ${seen.waiting}`
}

export interface Asked {
  readonly requester: Who
  readonly executor: Who
  readonly closesAt: number
  readonly opensAt: number
  readonly uses: number
}
/** What does not hold, told without the model's state. It keeps what it saw before. */
export function invariants(stage: Stage, askedOf: (id: GrantId) => Asked | undefined) {
  const told = new Map<string, SeenEvent[]>()
  const ranks = new Map<string, { rank: number; status: string }>()
  let seq = 0
  let answered = 0
  let signed = 0
  const eventsOf = (grant: string): SeenEvent[] => told.get(grant) ?? []

  function events(news: readonly SeenEvent[]): string[] {
    const wrong: string[] = []
    for (const event of news) {
      if (event.seq <= seq) wrong.push(`events are not in the order of commits: ${event.seq} after ${seq}`)
      seq = event.seq
      if (event.grant.startsWith('f-')) continue
      const before = eventsOf(event.grant)
      if (event.version !== before.length + 1)
        wrong.push(`one event per version: ${event.version} after ${before.length}`)
      if (before.some(({ digest }) => digest !== event.digest)) wrong.push('an event of another digest')
      // I1: whatever is issued was approved before, for the very same digest.
      if (event.type === 'issued' && !before.some(({ type }) => type === 'approved'))
        wrong.push('I1: issued, never approved')
      told.set(event.grant, [...before, event])
    }
    return wrong
  }

  function grants(rows: Seen['rows'], now: number): string[] {
    const wrong: string[] = []
    for (const [id, row] of rows) {
      const { status, mints } = row.head
      if (eventsOf(id).length !== row.version)
        wrong.push(`${id}: ${eventsOf(id).length} events of ${row.version} versions`)
      const isOver = isFinal(status)
      const deadlines = row.due.filter((one) => one !== undefined).length
      if (deadlines !== (isOver ? 0 : 1)) wrong.push(`${id}: ${status} with ${deadlines} deadlines`)
      if (isOver && mints.some((mint) => mint.status !== 'closed')) wrong.push(`${id}: over with an open mint`)
      wrong.push(...fell(id, status, mints), ...approvals(id, row))
      const asked = askedOf(id)
      const ended = mints.flatMap((mint) => (mint.status === 'live' ? (mint.expiresAt ?? []) : []))
      if (asked !== undefined && ended.some((at) => at > asked.closesAt))
        wrong.push(`I5: ${id} lives beyond its window`)
      if (mints.some(({ claimedAt }) => claimedAt > now)) wrong.push(`${id}: claimed in the future`)
    }
    return wrong
  }

  function fell(id: string, status: Status, mints: Head['mints']): string[] {
    const before = ranks.get(id)
    const rank = RANK[status]
    ranks.set(id, { rank, status })
    if (before === undefined || rank >= before.rank) return []
    const isGivenBack = before.status === 'issuing' && status === 'approved' && mints.at(-1)?.released === true
    return isGivenBack ? [] : [`I6: ${id} fell from ${before.status} to ${status}`]
  }

  /** I3, I15: only persons, each once, and none who has a part. */
  function approvals(id: GrantId, { decisions }: Row): string[] {
    const asked = askedOf(id)
    if (asked === undefined) return []
    const parts = [behind(asked.requester), behind(asked.executor)]
    const votes = decisions.filter(({ act, by }) => act === 'vote' && by !== 'policy')
    const strangers = votes.filter(({ by }) => !PEOPLE.some((who) => who === by && !parts.includes(who)))
    return strangers.map(({ by }) => `I3: ${by} decided on ${id}`)
  }

  function released(): string[] {
    const wrong: string[] = []
    const news = stage.answers.slice(answered)
    answered = stage.answers.length
    for (const answer of news) {
      const issued = eventsOf(answer.grant).filter(({ type }) => type === 'issued')
      const isSealed = issued.some((event) => stage.sealed.some((receipt) => receipt.seq === event.seq))
      if (!isSealed) wrong.push(`I1: ${answer.grant} answered what is not sealed`)
      const others = stage.answers.filter(({ grant }) => grant === answer.grant)
      const tries = new Set(others.map(({ attempt }) => attempt)).size
      const uses = askedOf(answer.grant)?.uses ?? 0
      if (tries > uses) wrong.push(`I2: ${answer.grant} gave ${tries} of ${uses}`)
      wrong.push(...sameTry(answer, others))
    }
    for (const { facts } of stage.signed.slice(signed)) {
      const { opensAt, closesAt } = facts.grant.ask.intent.window
      if (facts.expiresAt > closesAt || facts.notBefore < opensAt) wrong.push(`I5: a token beyond its window`)
    }
    signed = stage.signed.length
    return wrong
  }
  /** I17: one try, one token. */
  const sameTry = (answer: Answer, others: readonly Answer[]): string[] =>
    answer.kind === 'jwt' &&
    others.some(({ attempt, secret }) => attempt === answer.attempt && secret !== answer.secret)
      ? [`I17: ${answer.grant} gave two tokens for one try`]
      : []

  /** I9: what lives at the backend belongs to a mint that is not closed. */
  function artefacts(rows: Seen['rows']): string[] {
    return stage.backend.leases().flatMap(({ mint }) => {
      const cut = mint.lastIndexOf('-')
      const row = [...rows].find(([id]) => id === mint.slice(0, cut))?.[1]
      const known = row?.head.mints.find(({ n }) => String(n) === mint.slice(cut + 1))
      return known !== undefined && known.status !== 'closed' ? [] : [`I9: ${mint} lives and is ${known?.status}`]
    })
  }

  return (seen: Seen): readonly string[] => [
    ...events(seen.events),
    ...grants(seen.rows, stage.now()),
    ...released(),
    ...artefacts(seen.rows),
  ]
}
