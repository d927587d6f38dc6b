// GitLab's REST API v4 with the change of the story, in the shapes that it has, with the members that nobody reads. Dana and Ola use the
// private addresses of their profiles, Eve one that is public there, Rob one that only administrators see.
import { type ForgeServer, paged, type Route, startForgeServer } from './forge-server.ts'
import { FIRST, LAST, type Login, OPEN, PEOPLE, SQUASHED } from './forge-story.ts'

export const PROJECT = 'northwind/core/payments'
export const PROJECT_ID = 4_242

export const userShape = (login: Login) => ({
  id: PEOPLE[login],
  username: login,
  public_email: '',
  name: login,
  state: 'active',
  locked: false,
  avatar_url: `https://gitlab.example.com/uploads/-/system/user/avatar/${PEOPLE[login]}/avatar.png`,
  web_url: `https://gitlab.example.com/${login}`,
})

/** What `GET /users/:id` adds; `email` and `confirmed_at` for an administrator only. */
export interface Profile {
  readonly public_email?: string | null
  readonly email?: string
  readonly confirmed_at?: string | null
}

export interface CommitOf {
  readonly sha: string
  readonly author: string
  readonly committer?: string
  readonly message?: string
}
export const commitShape = ({ sha, author, committer = author, message = 'Round half even' }: CommitOf) => ({
  id: sha,
  short_id: sha.slice(0, 8),
  created_at: '2026-11-20T10:11:12.000+00:00',
  parent_ids: ['0'.repeat(40)],
  title: message.split('\n')[0],
  message,
  author_name: 'Some Name',
  author_email: author,
  authored_date: '2026-11-20T10:11:12.000+00:00',
  committer_name: 'Some Name',
  committer_email: committer,
  committed_date: '2026-11-20T10:11:12.000+00:00',
  trailers: {},
  extended_trailers: {},
  web_url: `https://gitlab.example.com/${PROJECT}/-/commit/${sha}`,
})

export interface RequestOf {
  readonly iid: number
  readonly state?: string
  readonly sha?: string | null
  readonly merge?: string | null
  readonly squash?: string | null
  readonly author?: Login | null
  readonly merger?: Login | null
  readonly mergedAt?: string | null
  readonly source?: number | null
  readonly target?: number
  readonly branch?: string
}
export function requestShape(of: RequestOf) {
  const { iid, state = 'merged', sha = LAST, merge = null, squash = SQUASHED, author = 'dana', merger = 'rob' } = of
  const { mergedAt = '2026-11-21T08:00:00.000Z', source = PROJECT_ID, target = PROJECT_ID, branch = 'rounding' } = of
  return {
    id: 9_000 + iid,
    iid,
    project_id: target,
    title: 'Round half even',
    description: 'See the ticket.',
    state,
    created_at: '2026-11-19T08:00:00.000Z',
    updated_at: '2026-11-21T08:00:00.000Z',
    merged_by: merger && userShape(merger),
    merge_user: merger && userShape(merger),
    merged_at: mergedAt,
    closed_by: null,
    closed_at: null,
    target_branch: 'main',
    source_branch: branch,
    user_notes_count: 1,
    upvotes: 0,
    downvotes: 0,
    author: author && userShape(author),
    assignees: [],
    assignee: null,
    reviewers: [userShape('rob')],
    source_project_id: source,
    target_project_id: target,
    labels: [],
    draft: false,
    milestone: null,
    merge_when_pipeline_succeeds: false,
    merge_status: 'can_be_merged',
    detailed_merge_status: 'not_open',
    sha,
    merge_commit_sha: merge,
    squash_commit_sha: squash,
    discussion_locked: null,
    should_remove_source_branch: null,
    force_remove_source_branch: true,
    reference: `!${iid}`,
    web_url: `https://gitlab.example.com/${PROJECT}/-/merge_requests/${iid}`,
    squash: true,
    has_conflicts: false,
    blocking_discussions_resolved: true,
  }
}

export const eventShape = (commit: string | null, author: Login | null, branch: string | null = 'rounding') => ({
  id: 77,
  project_id: PROJECT_ID,
  action_name: 'pushed to',
  target_id: null,
  target_iid: null,
  target_type: null,
  author_id: author && PEOPLE[author],
  target_title: null,
  created_at: '2026-11-20T10:12:00.000Z',
  author: author && userShape(author),
  imported: false,
  imported_from: 'none',
  push_data: {
    commit_count: 1,
    action: 'pushed',
    ref_type: 'branch',
    commit_from: '0'.repeat(40),
    commit_to: commit,
    ref: branch,
    commit_title: 'Round half even',
    ref_count: null,
  },
  author_username: author,
})

export const DANA = '101-dana@users.noreply.127.0.0.1'
export const EVE = 'eve@northwind.example'
export const ROB = 'rob@northwind.example'

/** What GitLab knows. Each test has its own, and changes it. */
export interface GitlabStory {
  commits: readonly ReturnType<typeof commitShape>[]
  /** By the commit that they are asked for. */
  requestsOf: Readonly<Record<string, readonly RequestOf[]>>
  commitsOf: Readonly<Record<number, readonly ReturnType<typeof commitShape>[]>>
  /** By the id of the project, newest first. */
  events: Readonly<Record<number, readonly ReturnType<typeof eventShape>[]>>
  /** Whom the search for an address finds. */
  search: Readonly<Record<string, readonly Login[]>>
  profiles: Readonly<Partial<Record<Login, Profile>>>
  /** By commit. */
  signatures: Readonly<Record<string, string>>
}

const COMMITS = [
  commitShape({
    sha: LAST,
    author: EVE,
    message: `And test it\n\nCo-authored-by: Ola <105-ola@users.noreply.127.0.0.1>\nLaunched-By: ${PEOPLE.sam}\n`,
  }),
  commitShape({ sha: FIRST, author: DANA }),
]
export const gitlabStory = (): GitlabStory => ({
  commits: [
    commitShape({
      sha: SQUASHED,
      author: DANA,
      committer: 'noreply@127.0.0.1',
      message: `Round half even\n\nCo-authored-by: Eve <${EVE}>`,
    }),
    ...COMMITS,
    commitShape({ sha: OPEN, author: DANA }),
  ],
  requestsOf: { [SQUASHED]: [{ iid: 7 }], [OPEN]: [{ iid: 8, state: 'opened', squash: null }] },
  commitsOf: { 7: COMMITS, 8: [commitShape({ sha: OPEN, author: DANA })] },
  events: {
    [PROJECT_ID]: [eventShape(LAST, 'eve'), eventShape(null, 'rob', null), eventShape(FIRST, 'dana')],
  },
  search: { [EVE]: ['eve'], [ROB]: ['rob'] },
  profiles: {
    eve: { public_email: 'Eve@northwind.example' },
    rob: { public_email: null, email: ROB, confirmed_at: '2020-01-01T00:00:00.000Z' },
  },
  signatures: { [SQUASHED]: 'verified_system' },
})

export interface GitlabServer extends ForgeServer {
  story: GitlabStory
}

export async function startGitlab(token: string): Promise<GitlabServer> {
  const server: GitlabServer = { ...(await startForgeServer(token)), story: gitlabStory() }
  const gone = { status: 404, body: { message: '404 Commit Not Found' } }
  const links = (path: string): string => `https://gitlab.example.com/api/v4/projects/${PROJECT_ID}${path}`
  const both = (path: string, route: Route): void => {
    for (const id of [String(PROJECT_ID), encodeURIComponent(PROJECT)])
      server.routes.set(`/api/v4/projects/${id}${path}`, route)
  }
  for (const sha of [SQUASHED, FIRST, LAST, OPEN]) {
    const at = `/repository/commits/${sha}`
    both(at, () => {
      const commit = server.story.commits.find(({ id }) => id === sha)
      const more = { status: 'success', project_id: PROJECT_ID, last_pipeline: null }
      return commit === undefined ? gone : { body: { ...commit, ...more } }
    })
    both(`${at}/merge_requests`, (query) =>
      paged((server.story.requestsOf[sha] ?? []).map(requestShape), query, { base: links(`${at}/merge_requests`) }),
    )
    both(`${at}/signature`, () => {
      const verification_status = server.story.signatures[sha]
      if (verification_status === undefined) return { status: 404, body: { message: '404 Signature Not Found' } }
      return { body: { signature_type: 'SSH', verification_status, key: null, commit_source: 'gitaly' } }
    })
  }
  for (const iid of Array.from({ length: 20 }, (_, n) => n + 1))
    both(`/merge_requests/${iid}/commits`, (query) =>
      paged(server.story.commitsOf[iid] ?? [], query, { base: links(`/merge_requests/${iid}/commits`) }),
    )
  for (const id of [PROJECT_ID, 555])
    server.routes.set(`/api/v4/projects/${id}/events`, (query) => {
      const isAsked = query.get('action') === 'pushed' && (query.get('before') ?? '') > '2026-11-21'
      return paged(isAsked ? (server.story.events[id] ?? []) : [], query, { base: links('/events') })
    })
  server.routes.set('/api/v4/users', (query) => ({
    body: (server.story.search[query.get('search') ?? ''] ?? []).map(userShape),
  }))
  for (const login of Object.keys(PEOPLE) as Login[])
    server.routes.set(`/api/v4/users/${PEOPLE[login]}`, () => ({
      body: { ...userShape(login), bio: '', ...server.story.profiles[login] },
    }))
  return server
}
