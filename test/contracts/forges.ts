// What every forge promises, whatever it is made of. Each has the change of `support/forge-story.ts`.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Forges } from '../../src/broker/ports.ts'
import { codeOf } from '../support/code-of.ts'
import { EXPECTED, OPEN, SQUASHED, UNKNOWN } from '../support/forge-story.ts'

export interface ForgesUnderTest {
  readonly forges: Forges
  readonly forge: string
  readonly repository: string
  setAnswering(answering: boolean): void
}

export function forgesContract(name: string, make: () => Promise<ForgesUnderTest>): void {
  describe(`forges: ${name}`, () => {
    let on: ForgesUnderTest
    beforeEach(async () => {
      on = await make()
    })
    const ask = (sha: string, { repository = on.repository, forge = on.forge } = {}) =>
      on.forges.authorsOf({ forge, repository, sha })

    it('names everybody who had a hand in the commit, each account once with every role', async () => {
      const authors = await ask(SQUASHED)
      expect(authors.map(({ account, roles }) => [account.subject, roles])).toEqual(EXPECTED)
      expect(new Set(authors.map(({ account }) => account.issuer))).toEqual(new Set([on.forge]))
      expect(authors.every(({ login }) => login.length > 0)).toBe(true)
    })

    it('answers the same when it is asked again, also at once', async () => {
      const [first, second] = await Promise.all([ask(SQUASHED), ask(SQUASHED)])
      expect(second).toEqual(first)
      expect(await ask(SQUASHED)).toEqual(first)
    })

    it('knows no authors of a commit that it does not have', async () => {
      expect(await codeOf(ask(UNKNOWN))).toBe('authors_unknown')
    })

    it('knows no authors of a commit that no merged change request contains', async () => {
      expect(await codeOf(ask(OPEN))).toBe('authors_unknown')
    })

    it.each([
      ['another repository', 'northwind/other'],
      ['another number', '999'],
      ['a way out of the path', '../../user'],
      ['a way out of a plain name', 'northwind/payments/../other'],
      ['a query', 'northwind/payments?per_page=1'],
      ['a fragment', 'northwind/payments#'],
      ['an encoded slash', 'northwind%2Fpayments'],
      ['nothing', ''],
    ])('knows no authors in %s', async (_, repository) => {
      expect(await codeOf(ask(SQUASHED, { repository }))).toBe('authors_unknown')
    })

    it.each([
      ['a branch', 'main'],
      ['a shortened commit', SQUASHED.slice(0, 12)],
      ['a commit in capitals', SQUASHED.toUpperCase()],
      ['a commit with something behind it', `${SQUASHED}\n`],
      ['a commit and a path', `${SQUASHED}/../main`],
      ['nothing', ''],
    ])('knows no authors of %s', async (_, sha) => {
      expect(await codeOf(ask(sha))).toBe('authors_unknown')
    })

    it('knows no authors at a forge of another name', async () => {
      for (const forge of ['elsewhere', '', '__proto__'])
        expect(await codeOf(ask(SQUASHED, { forge }))).toBe('authors_unknown')
    })

    it('says so where the forge does not answer, and answers again once it does', async () => {
      on.setAnswering(false)
      expect(await codeOf(ask(SQUASHED))).toBe('forge_unavailable')
      on.setAnswering(true)
      expect(await ask(SQUASHED)).toHaveLength(EXPECTED.length)
    })
  })
}
