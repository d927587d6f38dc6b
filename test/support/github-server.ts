// GitHub's REST API with the change of the story, in the shapes that it has, with the members that nobody reads.
import { type ForgeServer, paged, type Route, startForgeServer } from './forge-server.ts'
import { FIRST, LAST, type Login, OPEN, PEOPLE, SQUASHED } from './forge-story.ts'

export const REPOSITORY = 'northwind/payments'
export const REPOSITORY_ID = 812_345
const WEB_FLOW = { id: 19_864_447, login: 'web-flow' }
export type Account = { readonly id: number; readonly login: string }
export const account = (login: Login): Account => ({ id: PEOPLE[login], login })

export const userShape = ({ id, login }: Account) => ({
  login,
  id,
  node_id: 'MDQ6VXNlcjE=',
  avatar_url: `https://avatars.githubusercontent.com/u/${id}?v=4`,
  gravatar_id: '',
  url: `https://api.github.com/users/${login}`,
  html_url: `https://github.com/${login}`,
  followers_url: `https://api.github.com/users/${login}/followers`,
  organizations_url: `https://api.github.com/users/${login}/orgs`,
  received_events_url: `https://api.github.com/users/${login}/received_events`,
  type: login.endsWith('[bot]') ? 'Bot' : 'User',
  user_view_type: 'public',
  site_admin: false,
})

export interface CommitOf {
  readonly sha: string
  readonly author: Account | null
  readonly committer?: Account | null
  readonly message?: string
  readonly verified?: boolean
}
const mailOf = (of: Account | null): string =>
  of?.id === WEB_FLOW.id ? 'noreply@github.com' : `${of?.login ?? 'nobody'}@northwind.example`

export function commitShape({
  sha,
  author,
  committer = author,
  message = 'Round half even',
  verified = false,
}: CommitOf) {
  const url = `https://api.github.com/repos/${REPOSITORY}`
  const signed = { signature: `-----BEGIN PGP SIGNATURE-----\n${'x'.repeat(800)}`, payload: `tree ${sha}\n` }
  return {
    sha,
    node_id: 'MDY6Q29tbWl0',
    commit: {
      author: { name: author?.login ?? 'Nobody', email: mailOf(author), date: '2026-11-20T10:11:12Z' },
      committer: { name: committer?.login ?? 'Nobody', email: mailOf(committer), date: '2026-11-20T10:11:12Z' },
      message,
      tree: { sha, url: `${url}/git/trees/${sha}` },
      url: `${url}/git/commits/${sha}`,
      comment_count: 0,
      verification: {
        verified,
        reason: verified ? 'valid' : 'unsigned',
        ...(verified ? signed : { signature: null, payload: null }),
        verified_at: verified ? '2026-11-20T10:11:13Z' : null,
      },
    },
    url: `${url}/commits/${sha}`,
    html_url: `https://github.com/${REPOSITORY}/commit/${sha}`,
    comments_url: `${url}/commits/${sha}/comments`,
    author: author && userShape(author),
    committer: committer && userShape(committer),
    parents: [{ sha: '0'.repeat(40), url: `${url}/commits/0`, html_url: `https://github.com/${REPOSITORY}/commit/0` }],
  }
}

const repoShape = (id: number, full_name: string) => ({
  id,
  node_id: 'MDEwOlJlcG9zaXRvcnk=',
  name: full_name.split('/')[1],
  full_name,
  private: true,
  owner: { ...userShape({ id: 900, login: 'northwind' }), type: 'Organization' },
  fork: false,
  default_branch: 'main',
  pushed_at: '2026-11-21T08:00:00Z',
  topics: [],
  visibility: 'private',
})

export interface PullOf {
  readonly number: number
  readonly user?: Account | null
  readonly mergedBy?: Account | null
  readonly merged?: boolean
  readonly mergeCommit?: string | null
  readonly commits?: number
  readonly head?: string
  readonly branch?: string
  /** Null for a fork that is gone. */
  readonly from?: { readonly id: number; readonly full_name: string } | null
  readonly base?: { readonly id: number; readonly full_name: string }
}
export function pullShape(of: PullOf) {
  const { number, user = account('dana'), mergedBy = account('rob'), merged = true, mergeCommit = SQUASHED } = of
  const here = { id: REPOSITORY_ID, full_name: REPOSITORY }
  const { commits = 2, head = LAST, branch = 'rounding', from = here, base = here } = of
  return {
    url: `https://api.github.com/repos/${REPOSITORY}/pulls/${number}`,
    id: 1_000_000 + number,
    node_id: 'PR_kwDO',
    number,
    state: merged ? 'closed' : 'open',
    locked: false,
    title: 'Round half even',
    user: user && userShape(user),
    body: 'See the ticket.',
    created_at: '2026-11-19T08:00:00Z',
    updated_at: '2026-11-21T08:00:00Z',
    closed_at: merged ? '2026-11-21T08:00:00Z' : null,
    merged_at: merged ? '2026-11-21T08:00:00Z' : null,
    merge_commit_sha: mergeCommit,
    assignee: null,
    assignees: [],
    requested_reviewers: [],
    labels: [],
    draft: false,
    head: {
      label: `northwind:${branch}`,
      ref: branch,
      sha: head,
      user: userShape({ id: 900, login: 'northwind' }),
      repo: from && repoShape(from.id, from.full_name),
    },
    base: { label: 'northwind:main', ref: 'main', sha: '0'.repeat(40), repo: repoShape(base.id, base.full_name) },
    author_association: 'MEMBER',
    auto_merge: null,
    // What follows is in the single pull request only.
    merged,
    mergeable: null,
    rebaseable: null,
    mergeable_state: 'unknown',
    merged_by: merged && mergedBy ? userShape(mergedBy) : null,
    comments: 0,
    review_comments: 1,
    maintainer_can_modify: false,
    commits,
    additions: 4,
    deletions: 2,
    changed_files: 1,
  }
}

export const activityShape = (after: string, actor: Account | null, branch = 'rounding', type = 'push') => ({
  id: 1_296_269,
  node_id: 'PSH_kwLO',
  before: '0'.repeat(40),
  after,
  ref: `refs/heads/${branch}`,
  timestamp: '2026-11-20T10:12:00Z',
  activity_type: type,
  actor: actor && userShape(actor),
})

/** What GitHub knows. Each test has its own, and changes it. */
export interface GithubStory {
  log: readonly ReturnType<typeof commitShape>[]
  /** By the commit that they are asked for. */
  pullsOf: Record<string, readonly PullOf[]>
  pulls: Record<number, PullOf>
  commitsOf: Record<number, readonly ReturnType<typeof commitShape>[]>
  /** By the id of the repository, newest first. */
  activities: Record<number, readonly ReturnType<typeof activityShape>[]>
}

const COMMITS = [
  commitShape({ sha: FIRST, author: account('dana') }),
  commitShape({
    sha: LAST,
    author: account('eve'),
    message: `And test it\n\nCo-authored-by: Ola <105+ola@users.noreply.127.0.0.1>\nLaunched-By: ${PEOPLE.sam}\n`,
  }),
]
export const githubStory = (): GithubStory => ({
  log: [
    commitShape({
      sha: SQUASHED,
      author: account('dana'),
      committer: WEB_FLOW,
      verified: true,
      message: 'Round half even (#7)\n\n* And test it\n\nCo-authored-by: Eve <eve@northwind.example>',
    }),
    ...COMMITS,
    commitShape({ sha: OPEN, author: account('dana') }),
  ],
  pullsOf: { [SQUASHED]: [{ number: 7 }], [LAST]: [{ number: 7 }], [OPEN]: [{ number: 8, merged: false }] },
  pulls: { 7: { number: 7 }, 8: { number: 8, merged: false } },
  commitsOf: { 7: COMMITS, 8: [commitShape({ sha: OPEN, author: account('dana') })] },
  activities: {
    [REPOSITORY_ID]: [
      activityShape('0'.repeat(40), account('rob'), 'rounding', 'branch_deletion'),
      activityShape(SQUASHED, account('rob'), 'main', 'pr_merge'),
      activityShape(LAST, account('eve')),
      activityShape(FIRST, account('dana'), 'rounding', 'branch_creation'),
    ],
  },
})

export interface GithubServer extends ForgeServer {
  story: GithubStory
}

export async function startGithub(token: string): Promise<GithubServer> {
  const server: GithubServer = { ...(await startForgeServer(token)), story: githubStory() }
  const gone = { status: 404, body: { message: 'Not Found', documentation_url: 'https://docs.github.com/rest' } }
  const repo = `/api/v3/repositories/${REPOSITORY_ID}`
  const links = (path: string): string => `https://api.github.com/repositories/${REPOSITORY_ID}${path}`
  const both = (path: string, route: Route): void => {
    server.routes.set(`${repo}${path}`, route)
    server.routes.set(`/api/v3/repos/${REPOSITORY}${path}`, route)
  }
  both('/commits', (query) => {
    const at = server.story.log.findIndex(({ sha }) => sha === query.get('sha'))
    if (at < 0) return { status: 404, body: { message: `No commit found for SHA: ${query.get('sha')}` } }
    return paged(server.story.log.slice(at), query, { base: links('/commits') })
  })
  for (const sha of [SQUASHED, FIRST, LAST, OPEN])
    both(`/commits/${sha}/pulls`, (query) =>
      paged((server.story.pullsOf[sha] ?? []).map(pullShape), query, { base: links(`/commits/${sha}/pulls`) }),
    )
  for (const number of Array.from({ length: 20 }, (_, n) => n + 1)) {
    both(`/pulls/${number}`, () => {
      const pull = server.story.pulls[number]
      return pull === undefined ? gone : { body: pullShape(pull) }
    })
    both(`/pulls/${number}/commits`, (query) =>
      paged(server.story.commitsOf[number] ?? [], query, { base: links(`/pulls/${number}/commits`) }),
    )
  }
  for (const id of [REPOSITORY_ID, 555])
    server.routes.set(`/api/v3/repositories/${id}/activity`, (query) => {
      const all = (server.story.activities[id] ?? []).filter(({ ref }) => ref === query.get('ref'))
      return paged(all, query, { base: links('/activity'), cursor: true })
    })
  return server
}
