// Finding grants: by who has a part in them, by tenant and status, by ticket, task or session; and the feed of what happened to them.
// Invariant: only sets that the caller's own tenant, parts or words name are read, and whatever may not be seen is left out, so that
// another tenant's grants can be neither seen nor counted.
import { BrokerError } from '../domain/errors.ts'
import type { Grant } from '../domain/grant.ts'
import type { EntitlementId, PrincipalId, TenantId } from '../domain/ids.ts'
import type { Instant } from '../domain/instant.ts'
import { STATUSES, type Status } from '../domain/lifecycle.ts'
import type { Caller, Principal } from '../domain/principal.ts'
import { waitsFor } from './decide.ts'
import type { FedEvent, Index, ListQuery, Ports, Rules } from './ports.ts'
import { mayView, type ViewPorts } from './view.ts'

/** All of it must hold; what is absent does not matter. */
export interface Filters {
  readonly statuses?: readonly Status[]
  /** Those the caller asked for, executes, or answers for. */
  readonly mine?: boolean
  /** Those that wait for the caller's decision. */
  readonly waiting?: boolean
  readonly tenant?: TenantId
  readonly entitlement?: EntitlementId
  readonly target?: string
  readonly ticket?: { readonly system: string; readonly id: string }
  readonly task?: string
  readonly session?: string
  readonly filedFrom?: Instant
  readonly filedTo?: Instant
}
export interface Page {
  readonly limit: number
  readonly cursor: string | undefined
}
export interface Listed {
  readonly grants: readonly Grant[]
  readonly next: string | undefined
}

/** What is read at a time, and how often at most, for one page of what the caller may see and asked for. */
const READ = 50
const READS = 20

/** Newest first. A page may hold fewer than `limit` grants, also none; `next` tells whether more may follow. */
export const list =
  (p: ViewPorts) =>
  async (caller: Caller, filters: Filters, page: Page): Promise<Listed> => {
    const rules = p.rules(await p.control())
    return walk(p, rules, caller, filters, page)
  }

/** The same for ending, which goes on while the store is recovering. */
export const listToEnd = (
  p: Pick<Ports, 'grants' | 'rulesToEnd'>,
  caller: Caller,
  filters: Filters,
  page: Page,
): Promise<Listed> => walk(p, p.rulesToEnd(), caller, filters, page, true)

async function walk(
  p: Pick<Ports, 'grants'>,
  rules: Rules,
  caller: Caller,
  filters: Filters,
  { limit, cursor }: Page,
  toEnd = false,
): Promise<Listed> {
  const of = indexesFor(rules, caller.principal, filters)
  const { filedFrom, filedTo } = filters
  const query: Omit<ListQuery, 'limit' | 'cursor'> = {
    of,
    toEnd,
    ...(filedFrom === undefined ? {} : { filedFrom }),
    ...(filedTo === undefined ? {} : { filedTo }),
  }
  const seen: { readonly grant: Grant; readonly place: string | undefined }[] = []
  const upTo = (most: number) => seen.slice(0, most).map(({ grant }) => grant)
  let next = cursor
  for (let reads = 0; reads < READS && of.length > 0; reads += 1) {
    const found = await p.grants.list({ ...query, limit: Math.max(limit, READ), cursor: next })
    for (const [n, grant] of found.grants.entries())
      if (fits(rules, caller.principal, grant, filters)) seen.push({ grant, place: found.places[n] })
    next = found.next
    const last = seen[limit - 1]
    if (last !== undefined) {
      const more = seen.length > limit || next !== undefined
      return { grants: upTo(limit), next: more ? last.place : undefined }
    }
    if (next === undefined) break
  }
  return { grants: upTo(limit), next: of.length === 0 ? undefined : next }
}

/** The smallest sets in which everything lies that the caller can see and asked for. */
function indexesFor(rules: Rules, principal: Principal, filters: Filters): readonly Index[] {
  const { ticket, task, session, waiting, mine, tenant } = filters
  const whom = mine === true ? ownOf(rules, principal) : [...ownOf(rules, principal), ...lookedAtBy(principal)]
  const parties = whom.map((party) => ({ party }))
  const tenants = [principal, ...whom.map((id) => rules.directory.principal(id))].flatMap((one) => one?.tenant ?? [])
  const ours = [...[...new Set(tenants)].map((tenant) => ({ tenant })), ...parties]
  if (ticket !== undefined) return ours.map((whose) => ({ whose, ticket }))
  if (session !== undefined) return ours.map((whose) => ({ whose, session }))
  if (task !== undefined) return ours.map((whose) => ({ whose, task }))
  const statuses = waiting === true ? (['pending'] as const) : (filters.statuses ?? STATUSES)
  const own = tenant === undefined || tenant === principal.tenant
  const inTenant = mine === true || !own ? [] : statuses.map((status) => ({ tenant: principal.tenant, status }))
  return waiting === true ? inTenant : [...inTenant, ...parties]
}

/** Itself, and whom a person answers for. */
const ownOf = ({ directory }: Rules, principal: Principal): readonly PrincipalId[] =>
  principal.kind === 'person' ? [principal.id, ...directory.answeredForBy(principal.person)] : [principal.id]

/** A person's agent may look at that person's grants, and does not own them. */
const lookedAtBy = (principal: Principal): readonly PrincipalId[] =>
  principal.kind === 'person' ? [] : principal.sponsors.map((person) => person as string as PrincipalId)

function fits(rules: Rules, principal: Principal, grant: Grant, filters: Filters): boolean {
  const { intent, filedAt } = grant.ask
  const { statuses, mine, waiting, tenant, entitlement, target, ticket, task, session, filedFrom, filedTo } = filters
  const is = <T>(wanted: T | undefined, found: T): boolean => wanted === undefined || wanted === found
  if (statuses !== undefined && !statuses.includes(grant.head.status)) return false
  if (!is(tenant, intent.tenant) || !is(entitlement, intent.entitlement) || !is(target, intent.target)) return false
  if (!is(task, intent.task) || !is(session, intent.session)) return false
  if (ticket !== undefined && (ticket.system !== intent.ticket?.system || ticket.id !== intent.ticket.id)) return false
  if ((filedFrom !== undefined && filedAt < filedFrom) || (filedTo !== undefined && filedAt >= filedTo)) return false
  if (
    mine === true &&
    !ownOf(rules, principal).some((id) => [intent.requester, intent.executor.principal].includes(id))
  )
    return false
  if (waiting === true && !waitsFor(rules, principal, grant)) return false
  return mayView(rules, principal, grant)
}

/** How many events are looked at in one go, and how often at most, for one page of the feed. */
const FEED_READ = 500
const FEED_READS = 4

/** What happened to the grants that the caller may see, oldest first, after this place; without one, only where `now` is. */
export const feed =
  (p: ViewPorts) =>
  async (
    caller: Caller,
    after: string | undefined,
    limit: number,
  ): Promise<{ readonly events: readonly FedEvent[]; readonly next: string }> => {
    const rules = p.rules(await p.control())
    const seen: FedEvent[] = []
    let read = await p.grants.feed(after, FEED_READ)
    for (let reads = 1; ; reads += 1) {
      seen.push(...read.events.filter(({ of }) => mayView(rules, caller.principal, of)))
      // A page is filled before it ends, so that where it ends tells of what is in it and not of what was passed over.
      if (!read.more || seen.length > limit || reads >= FEED_READS) break
      read = await p.grants.feed(read.next, FEED_READ)
    }
    const page = seen.slice(0, limit)
    return { events: page, next: seen.length > limit ? (page.at(-1)?.place ?? read.next) : read.next }
  }

/** A ticket as one word: `servicenow:CHG0031337`. Throws `invalid_request`. */
export function ticketOf(text: string): { readonly system: string; readonly id: string } {
  const [, system, id] = /^([^:]{1,64}):(.{1,100})$/.exec(text) ?? []
  if (system !== undefined && id !== undefined) return { system, id }
  throw new BrokerError('invalid_request', 'A ticket is written system:id.', { facts: { member: 'ticket' } })
}
