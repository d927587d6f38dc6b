// What must hold of the events of every grant, judged as each is read: THREATS.md §5, I1, I2, I3, I6 and I15, and DESIGN.md §4 rule 1.
import type { Journal, Life, Status, Told } from './journal.ts'
import { isOver, RANK, statusAfter } from './journal.ts'
import type { Report } from './violation.ts'

/** Who may ever say yes here, and who asked on whose behalf. */
export interface People {
  readonly persons: ReadonlySet<string>
  /** The natural persons behind a requester. */
  behind(requester: string): readonly string[]
}

/** Takes each event into the life of its grant, and holds it against everything before it. */
export function judgeEvents(lives: Map<string, Life>, told: readonly Told[], people: People, report: Report): void {
  for (const one of told) {
    // A freeze stands in the same order, under an id of its own; misuse is told of a grant and moves nothing.
    if (!one.grant.startsWith('g') || one.type === 'misuse') continue
    const life = lives.get(one.grant)
    oneEventPerVersion(life, one, report)
    onlyLegalSteps(life, one, report)
    if (life !== undefined) {
      rankNeverFalls(life, one, report)
      approvedBeforeIssued(life, one, report)
      approversAreOthers(life, one, people, report)
      usesAreBounded(life, one, report)
    }
    const status = statusAfter(life?.status ?? 'none', one.type) ?? life?.status ?? 'pending'
    if (life === undefined) lives.set(one.grant, { id: one.grant, status, version: one.version, told: [one] })
    else {
      life.status = status
      life.version = one.version
      life.told.push(one)
    }
  }
}

/** One commit, one event, one version: none is missing and none is there twice. */
function oneEventPerVersion(life: Life | undefined, { grant, version }: Told, report: Report): void {
  const expected = (life?.version ?? 0) + 1
  if (version === expected) return
  report({ invariant: 'oneEventPerVersion', grant, expected: `version ${expected}`, seen: `version ${version}` })
}

function onlyLegalSteps(life: Life | undefined, { grant, type }: Told, report: Report): void {
  const from = life?.status ?? 'none'
  if (statusAfter(from, type) !== undefined) return
  report({ invariant: 'onlyLegalSteps', grant, expected: `what can follow ${from}`, seen: type })
}

/** I6. The one way down is the release of a claim of which nothing was made. */
function rankNeverFalls(life: Life, { grant, type }: Told, report: Report): void {
  const to: Status | undefined = statusAfter(life.status, type)
  if (isOver(life.status))
    report({ invariant: 'I6 rankNeverFalls', grant, expected: `nothing after ${life.status}`, seen: type })
  if (to === undefined || RANK[to] >= RANK[life.status] || type === 'released') return
  report({ invariant: 'I6 rankNeverFalls', grant, expected: `at least ${life.status}`, seen: to })
}

/** I1. Whatever is claimed or issued was approved before, under the very same digest. */
function approvedBeforeIssued(life: Life, { grant, type, digest }: Told, report: Report): void {
  if (type !== 'issued' && type !== 'claimed') return
  if (life.told.some((earlier) => earlier.type === 'approved' && earlier.digest === digest)) return
  report({ invariant: 'I1 approvedBeforeIssued', grant, expected: `an approval of ${digest}`, seen: 'none before it' })
}

/** I3 and I15. An approval is the policy's own, or a natural person's who is not behind the asking. */
function approversAreOthers(life: Life, { grant, type, by }: Told, people: People, report: Report): void {
  if (type !== 'approved' && type !== 'approval_added') return
  if (by === 'policy') return
  const asked = life.told[0]?.by ?? ''
  if (people.persons.has(by) && !people.behind(asked).includes(by)) return
  report({ invariant: 'I3 approversAreOthers', grant, expected: `a person who is not behind ${asked}`, seen: by })
}

/** I2. Every grant here has one use: a second credential only after the first was given up, under the same try. */
function usesAreBounded(life: Life, { grant, type, details }: Told, report: Report): void {
  if (type !== 'issued' || details.again === true) return
  const live = new Set<unknown>()
  for (const earlier of life.told) {
    if (earlier.type === 'issued') live.add(earlier.details.mint)
    if (earlier.type === 'mint_closed')
      for (const mint of String(earlier.details.mints).split(',')) live.delete(Number(mint))
  }
  if (live.size === 0) return
  report({
    invariant: 'I2 usesAreBounded',
    grant,
    expected: 'one credential at a time, for one use',
    seen: `${live.size + 1}`,
  })
}

export const eventsOf = (journal: Pick<Journal, 'life'>, id: string | undefined): readonly string[] =>
  id === undefined ? [] : (journal.life(id)?.told.map(({ version, type }) => `${version} ${type}`) ?? [])
