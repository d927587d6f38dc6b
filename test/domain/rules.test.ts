// The lifecycle of grants and mints: what leads where, and what answers a passed deadline. The rules that decide have files of their own.
import { describe, expect, it } from 'vitest'
import { isTerminal, LIFECYCLE, mintMayGo, OVERDUE, STATUSES } from '../../src/domain/lifecycle.ts'

describe('lifecycle', () => {
  it('leads from everywhere to an end, and from an end nowhere', () => {
    const ends = STATUSES.filter(isTerminal)
    expect(ends.sort()).toEqual(['denied', 'ended', 'lapsed', 'withdrawn'])
    const reaches = (from: keyof typeof LIFECYCLE, seen = new Set<string>()): boolean =>
      isTerminal(from) || LIFECYCLE[from].some((to) => !seen.has(to) && reaches(to, new Set(seen).add(to)))
    for (const status of STATUSES) expect(reaches(status), status).toBe(true)
  })

  it('lets a mint be born claimed or live, never come back, and end closed', () => {
    const statuses = ['none', 'claimed', 'opened', 'live', 'closing', 'closed'] as const
    const edges = statuses.flatMap((from) => statuses.filter((to) => mintMayGo(from, to)).map((to) => `${from}>${to}`))
    expect(edges).toEqual([
      'none>claimed',
      'none>live',
      'claimed>opened',
      'claimed>closing',
      'claimed>closed',
      'opened>live',
      'opened>closing',
      'live>closing',
      'live>closed',
      'closing>closed',
    ])
  })

  it('has an answer to a passed deadline for every status that is not final', () => {
    for (const status of STATUSES) expect(OVERDUE[status] === 'nothing').toBe(isTerminal(status))
  })
})
