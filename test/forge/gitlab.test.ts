// Who wrote a change at GitLab, whose commits have addresses only: an address is somebody where GitLab says whose it is, and else nobody.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { codeOf } from '../support/code-of.ts'
import { type ForgeStage, forgeStage, rolesOf, TOKEN } from '../support/forge-stage.ts'
import { EXPECTED, FIRST, LAST, PEOPLE, SQUASHED } from '../support/forge-story.ts'
import {
  commitShape,
  DANA,
  EVE,
  eventShape,
  type GitlabServer,
  gitlabStory,
  PROJECT,
  PROJECT_ID,
  type RequestOf,
  ROB,
  startGitlab,
} from '../support/gitlab-server.ts'

let server: GitlabServer
let on: ForgeStage
beforeAll(async () => {
  server = await startGitlab(TOKEN)
  on = forgeStage('gitlab', () => `${server.url}/api/v4`)
})
afterAll(async () => {
  await server.stop()
  on.stop()
})
beforeEach(() => {
  server.story = gitlabStory()
})
const ask = (sha = SQUASHED) => on.ask(PROJECT, sha)
const request = (of: Partial<RequestOf>): void => {
  server.story.requestsOf = { [SQUASHED]: [{ iid: 7, ...of }] }
}
const first = (of: Partial<Parameters<typeof commitShape>[0]>): void => {
  const [last] = gitlabStory().commitsOf[7] ?? []
  if (last === undefined) throw new Error('the story has two commits')
  server.story.commitsOf = { 7: [last, commitShape({ sha: FIRST, author: DANA, ...of })] }
}
const sha = (n: number): string => n.toString(16).padStart(40, '0')

describe('an address at GitLab', () => {
  it('is somebody by the id in a private address, by being public, or confirmed for an administrator', async () => {
    first({ author: ROB, committer: `102-rob@users.noreply.127.0.0.1` })
    expect(rolesOf(await ask(), PEOPLE.rob)).toEqual(['author', 'committer', 'merger'])
  })

  it.each<readonly [string, () => void]>([
    ['nobody is found', () => (server.story.search = {})],
    ['two are found', () => (server.story.search = { [EVE]: ['eve', 'rob'] })],
    [
      'the one who is found shows another',
      () => (server.story.profiles = { eve: { public_email: 'eve@other.example' } }),
    ],
    ['the one who is found shows none', () => (server.story.profiles = { eve: { public_email: null } })],
    [
      'it is not confirmed',
      () => (server.story.profiles = { eve: { public_email: '', email: EVE, confirmed_at: null } }),
    ],
    ['it is empty', () => first({ author: '' })],
    ['it is a private one at another host', () => first({ author: '101-dana@users.noreply.evil.example' })],
    ['it is a private one without an id', () => first({ author: 'dana@users.noreply.127.0.0.1' })],
    ['it is a private one of user zero', () => first({ author: '0-dana@users.noreply.127.0.0.1' })],
    ['it is that of a co-author and unknown', () => first({ message: 'x\n\nCo-authored-by: M <m@elsewhere.example>' })],
  ])('is nobody where %s', async (_, change) => {
    change()
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('is not asked for where it holds an id', async () => {
    server.asked.length = 0
    await ask()
    expect(server.asked.filter((path) => path.includes('/users?'))).toEqual([
      `GET /api/v4/users?search=${encodeURIComponent(EVE)}&per_page=2`,
    ])
  })

  it('of GitLab itself is left out only as committer of what GitLab signed', async () => {
    server.story.signatures = { [SQUASHED]: 'verified' }
    expect(await codeOf(ask())).toBe('authors_unknown')
    server.story.signatures = {}
    expect(await codeOf(ask())).toBe('authors_unknown')
    server.story = gitlabStory()
    first({ author: 'noreply@127.0.0.1' })
    expect(await codeOf(ask())).toBe('authors_unknown')
  })
})

describe('the authors of a change at GitLab', () => {
  it.each<readonly [string, Partial<RequestOf>]>([
    ['opened by nobody', { author: null }],
    ['merged by nobody', { merger: null }],
    ['that is only closed', { state: 'closed' }],
    ['into another project', { target: 1 }],
    ['from a fork that is gone', { source: null }],
    ['merged nobody knows when', { mergedAt: null }],
    ['without a head', { sha: null }],
    ['whose head is none of its commits', { sha: sha(5) }],
    ['that does not contain the commit', { squash: null, merge: sha(5) }],
    ['whose branch nobody is known to have pushed', { branch: 'other' }],
  ])('are nobody for a request %s', async (_, of) => {
    request(of)
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('are those of a request that was merged without a squash', async () => {
    request({ squash: null, merge: SQUASHED })
    expect(await ask()).toHaveLength(EXPECTED.length)
  })

  it('are nobody where it was pushed past every request', async () => {
    server.story.requestsOf = {}
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('are nobody where GitLab answers with another commit, or one of another project', async () => {
    const path = `/api/v4/projects/${PROJECT_ID}/repository/commits/${SQUASHED}`
    const route = server.routes.get(path)
    if (route === undefined) throw new Error('the server has the commit')
    const right = { ...commitShape({ sha: SQUASHED, author: DANA }), project_id: PROJECT_ID }
    for (const [wrong, code] of [
      [{}, 'accepted'],
      [{ id: LAST }, 'authors_unknown'],
      [{ project_id: 1 }, 'authors_unknown'],
    ] as const) {
      server.routes.set(path, () => ({ body: { ...right, ...wrong } }))
      expect(await codeOf(on.ask(String(PROJECT_ID), SQUASHED))).toBe(code)
    }
    server.routes.set(path, route)
  })

  it('are read from every page of commits, up to 300', async () => {
    const commits = (count: number) => [
      ...Array.from({ length: count - 2 }, (_, n) => commitShape({ sha: sha(n + 1), author: DANA })),
      commitShape({ sha: sha(9_999), author: '777-mallory@users.noreply.127.0.0.1' }),
      commitShape({ sha: LAST, author: EVE }),
    ]
    server.story.commitsOf = { 7: commits(300) }
    expect(rolesOf(await ask(), 777)).toEqual(['author', 'committer'])
    server.story.commitsOf = { 7: commits(301) }
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('are nobody with more than fifty addresses', async () => {
    const by = (count: number) => [
      ...Array.from({ length: count }, (_, n) =>
        commitShape({ sha: sha(n + 1), author: `${n + 1_000}-u@users.noreply.127.0.0.1` }),
      ),
      commitShape({ sha: LAST, author: EVE }),
    ]
    server.story.commitsOf = { 7: by(48) }
    expect(await codeOf(ask())).toBe('accepted')
    server.story.commitsOf = { 7: by(49) }
    expect(await codeOf(ask())).toBe('authors_unknown')
  })

  it('are nobody with more requests than can be read whole', async () => {
    const requests = (count: number, state: string) => Array.from({ length: count }, () => ({ iid: 7, state }))
    server.story.requestsOf = { [SQUASHED]: requests(11, 'merged') }
    expect(await codeOf(ask())).toBe('authors_unknown')
    server.story.requestsOf = { [SQUASHED]: [...requests(1, 'merged'), ...requests(100, 'closed')] }
    expect(await codeOf(ask())).toBe('authors_unknown')
  })
})

describe('who pushed, at GitLab', () => {
  it('is everybody who pushed a commit of the request to its branch', async () => {
    server.story.events = {
      [PROJECT_ID]: [eventShape(LAST, 'sam'), eventShape(LAST, 'ola', 'other'), eventShape(FIRST, 'rob')],
    }
    const authors = await ask()
    expect(rolesOf(authors, PEOPLE.sam)).toContain('pusher')
    expect(rolesOf(authors, PEOPLE.rob)).toContain('pusher')
    expect(rolesOf(authors, PEOPLE.ola)).not.toContain('pusher')
  })

  it('is nobody where the last push is not among them, was one of many branches at once, or was nobody', async () => {
    for (const last of [eventShape(FIRST, 'eve'), eventShape(null, 'eve'), eventShape(LAST, null)]) {
      server.story.events = { [PROJECT_ID]: [last] }
      expect(await codeOf(ask())).toBe('authors_unknown')
    }
  })

  it('is found among 500 pushes to the project, and asked of the fork that the request came from', async () => {
    const others = (count: number) => Array.from({ length: count }, () => eventShape(sha(1), 'rob', 'main'))
    server.story.events = { [PROJECT_ID]: [...others(499), eventShape(LAST, 'sam')] }
    expect(rolesOf(await ask(), PEOPLE.sam)).toContain('pusher')
    server.story.events = { [PROJECT_ID]: [...others(500), eventShape(LAST, 'sam')] }
    expect(await codeOf(ask())).toBe('authors_unknown')
    request({ source: 555 })
    server.story.events = { 555: [eventShape(LAST, 'sam')] }
    expect(rolesOf(await ask(), PEOPLE.sam)).toContain('pusher')
  })
})
