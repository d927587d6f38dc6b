// Who wrote a change at GitHub: everybody who can be told counts, and whatever cannot be told refuses.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { codeOf } from '../support/code-of.ts'
import { type ForgeStage, forgeStage, rolesOf, TOKEN } from '../support/forge-stage.ts'
import { EXPECTED, FIRST, LAST, PEOPLE, SQUASHED } from '../support/forge-story.ts'
import {
  account,
  activityShape,
  commitShape,
  type GithubServer,
  githubStory,
  type PullOf,
  REPOSITORY,
  REPOSITORY_ID,
  startGithub,
} from '../support/github-server.ts'

let server: GithubServer
let on: ForgeStage
beforeAll(async () => {
  server = await startGithub(TOKEN)
  on = forgeStage('github', () => `${server.url}/api/v3`)
})
afterAll(async () => {
  await server.stop()
  on.stop()
})
beforeEach(() => {
  server.story = githubStory()
})
const ask = (sha = SQUASHED) => on.ask(REPOSITORY, sha)

/** The request of the story with something else about it. */
const pull = (of: Partial<PullOf>): void => {
  server.story.pulls = { ...server.story.pulls, 7: { number: 7, ...of } }
}
/** The same for its first commit. */
const first = (of: Partial<Parameters<typeof commitShape>[0]>): void => {
  const [, last] = githubStory().commitsOf[7] ?? []
  if (last === undefined) throw new Error('the story has two commits')
  server.story.commitsOf = { 7: [commitShape({ sha: FIRST, author: account('dana'), ...of }), last] }
}
const sha = (n: number): string => n.toString(16).padStart(40, '0')
const stranger = { id: 666, login: 'mallory' }

describe('the authors of a change at GitHub', () => {
  it('are the same for a commit of the request itself', async () => {
    const authors = await ask(LAST)
    expect(authors.map(({ account: { subject } }) => subject)).toEqual(EXPECTED.map(([id]) => id))
  })

  it('are those of every merged request that GitHub names', async () => {
    server.story.pullsOf = { [SQUASHED]: [{ number: 7 }, { number: 9 }, { number: 8, merged: false }] }
    server.story.pulls[9] = { number: 9, user: stranger, head: sha(1), commits: 1 }
    server.story.commitsOf[9] = [commitShape({ sha: sha(1), author: account('ola') })]
    server.story.activities[REPOSITORY_ID] = [
      activityShape(sha(1), account('ola')),
      ...(githubStory().activities[REPOSITORY_ID] ?? []),
    ]
    expect(rolesOf(await ask(), stranger.id)).toEqual(['opener'])
  })

  it('are nobody where it was pushed past every request', async () => {
    server.story.pullsOf = {}
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('are nobody where the request is one of another repository', async () => {
    server.story.pullsOf = { [SQUASHED]: [{ number: 7, base: { id: 1, full_name: 'mallory/payments' } }] }
    expect(await codeOf(ask())).toBe('authors_unknown')
    expect(await codeOf(on.ask(String(REPOSITORY_ID), SQUASHED))).toBe('authors_unknown')
  })

  it('are nobody where no request that GitHub names contains the commit', async () => {
    pull({ mergeCommit: sha(5) })
    expect(await codeOf(ask())).toBe('authors_unknown')
    pull({ mergeCommit: null })
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('are nobody where GitHub answers with another commit', async () => {
    server.setInstead((query) => (query.has('sha') ? { body: [server.story.log[1]] } : { body: [] }))
    expect(await codeOf(ask())).toBe('authors_unknown')
    server.setInstead(undefined)
  })

  it.each<readonly [string, Partial<PullOf>]>([
    ['opened by nobody', { user: null }],
    ['merged by nobody', { mergedBy: null }],
    ['of a fork that is gone', { from: null }],
    ['with more commits than GitHub lists', { commits: 251 }],
    ['with more commits than it lists here', { commits: 3 }],
    ['with fewer commits than it lists here', { commits: 1 }],
    ['whose head is none of its commits', { head: sha(5) }],
    ['whose branch nobody is known to have pushed', { branch: 'other' }],
  ])('are nobody for a request %s', async (_, of) => {
    pull(of)
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it.each<readonly [string, Partial<Parameters<typeof commitShape>[0]>]>([
    ['an author without an account', { author: null, committer: account('dana') }],
    ['a committer without an account', { committer: null }],
    ['GitHub as committer, unsigned', { committer: { id: 19_864_447, login: 'web-flow' } }],
    ['a co-author of an unknown mail', { message: 'x\n\nCo-authored-by: M <mallory@elsewhere.example>' }],
    ['a co-author without a mail', { message: 'x\n\nCo-authored-by: Mallory' }],
    ['a co-author by login alone', { message: 'x\n\nCo-authored-by: M <mallory@users.noreply.127.0.0.1>' }],
    ['a co-author at another host', { message: 'x\n\nCo-authored-by: M <105+ola@users.noreply.evil.example>' }],
    ['a co-author in odd writing', { message: 'x\r\n   CO-AUTHORED-BY : M <mallory@elsewhere.example>\r\nmore' }],
    ['a launcher who is no user id', { message: 'x\n\nLaunched-By: mallory' }],
    ['a launcher who is zero', { message: 'x\n\nLaunched-By: 0' }],
  ])('are nobody with %s', async (_, of) => {
    first(of)
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('leave out GitHub itself only where it signed, and only as committer', async () => {
    const webFlow = { id: 19_864_447, login: 'web-flow' }
    first({ committer: webFlow, verified: true })
    expect(rolesOf(await ask(), webFlow.id)).toBeUndefined()
    first({ author: webFlow, committer: webFlow, verified: true })
    expect(rolesOf(await ask(), webFlow.id)).toEqual(['author'])
  })

  it('have whom a message adds, wherever in it, and lose nobody by one', async () => {
    first({ message: '* one\n  co-authored-by: Eve <EVE@northwind.example>\n\nlaunched-by: 777\n\nmore text' })
    const authors = await ask()
    expect(rolesOf(authors, 777)).toEqual(['launcher'])
    expect(rolesOf(authors, PEOPLE.eve)).toContain('co_author')
    for (const [id] of EXPECTED) expect(rolesOf(authors, Number(id))).toBeDefined()
  })

  it('have bots as the accounts they are', async () => {
    first({ author: { id: 49_699_333, login: 'dependabot[bot]' } })
    expect(rolesOf(await ask(), 49_699_333)).toEqual(['author', 'committer'])
  })

  it('are read from every page of commits', async () => {
    const commits = Array.from({ length: 250 }, (_, n) => commitShape({ sha: sha(n + 1), author: account('dana') }))
    commits[210] = commitShape({ sha: sha(211), author: stranger })
    server.story.commitsOf = { 7: commits }
    server.story.activities = { [REPOSITORY_ID]: [activityShape(sha(250), account('eve'))] }
    pull({ commits: 250, head: sha(250) })
    // Eve is known by the head's push alone now, so the squash's own co-author is not.
    server.story.log = [commitShape({ sha: SQUASHED, author: account('dana') })]
    const authors = await ask()
    expect(rolesOf(authors, stranger.id)).toEqual(['author', 'committer'])
    expect(rolesOf(authors, PEOPLE.eve)).toEqual(['pusher'])
  })
})

describe('who pushed, at GitHub', () => {
  const activities = (...of: readonly ReturnType<typeof activityShape>[]): void => {
    server.story.activities = { [REPOSITORY_ID]: of }
  }

  it('is everybody who brought a commit of the request to its branch, also by force or by a merge', async () => {
    activities(
      activityShape(LAST, account('ola'), 'rounding', 'pr_merge'),
      activityShape(LAST, stranger, 'rounding', 'force_push'),
      activityShape(FIRST, account('sam')),
    )
    const authors = await ask()
    expect(rolesOf(authors, stranger.id)).toEqual(['pusher'])
    expect(rolesOf(authors, PEOPLE.ola)).toContain('pusher')
    expect(rolesOf(authors, PEOPLE.sam)).toContain('pusher')
  })

  it('is nobody where the last push is not among the activities, or was nobody', async () => {
    activities(activityShape(FIRST, account('dana')))
    expect(await codeOf(ask())).toBe('authors_unknown')
    activities(activityShape(LAST, account('eve'), 'main'))
    expect(await codeOf(ask())).toBe('authors_unknown')
    activities(activityShape(LAST, null), activityShape(LAST, account('eve')))
    expect(await codeOf(ask())).toBe('authors_unknown')
    activities()
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('is found behind what happened to the branch since, up to 500 activities', async () => {
    const later = (count: number) => Array.from({ length: count }, (_, n) => activityShape(sha(n + 1), account('rob')))
    activities(...later(430), activityShape(LAST, stranger))
    expect(rolesOf(await ask(), stranger.id)).toEqual(['pusher'])
    activities(...later(500), activityShape(LAST, stranger))
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('is asked of the fork that the request came from', async () => {
    pull({ from: { id: 555, full_name: 'dana/payments' } })
    expect(await codeOf(ask())).toBe('authors_unknown')
    server.story.activities[555] = [activityShape(LAST, stranger)]
    expect(rolesOf(await ask(), stranger.id)).toEqual(['pusher'])
  })
})

describe('too much at GitHub', () => {
  const requests = (count: number, merged: boolean) => Array.from({ length: count }, () => ({ number: 7, merged }))
  it('is refused, not cut: merged requests over ten, and requests on a second page', async () => {
    server.story.pullsOf = { [SQUASHED]: requests(10, true) }
    expect(await ask()).toHaveLength(EXPECTED.length)
    server.story.pullsOf = { [SQUASHED]: requests(11, true) }
    expect(await codeOf(ask())).toBe('authors_unknown')
    server.story.pullsOf = { [SQUASHED]: [...requests(1, true), ...requests(100, false)] }
    expect(await codeOf(ask())).toBe('authors_unknown')
  })
})
