// Who had a hand in a commit, by GitLab's REST API v4 (gitlab.com and self-managed). The change is the merged merge requests that GitLab
// names for the commit. Invariant: whoever cannot be told by an account makes the authors unknown, and so does a list that was cut.
//
// A commit at GitLab has mail addresses, not accounts. One is believed to be somebody's only where GitLab itself says so: a private
// address, which holds the user id, or an address that GitLab shows as confirmed on that one user (public, or any where an administrator's
// token asks). So without such addresses nothing is released. Not known here: who pushed many branches at once, or before the last 500
// pushes to the project until the merge. The token needs `read_api` and must be a member's.
import { z } from 'zod'
import type { Author } from '../broker/ports.ts'
import { authorsUnknown } from '../domain/authorship.ts'
import { gather, noReplyHost, SHA, trailersOf, type User } from './hands.ts'
import { type Ask, type ForgeAddress, inquire, type Page } from './http.ts'

const MOST_REQUESTS = 10
const MOST_MAILS = 50
const COMMIT_PAGES = 3
const EVENT_PAGES = 5
const PAGE = '100'

const sha = z.string().regex(SHA)
const id = z.int().positive()
const user = z.object({ id, username: z.string().regex(/^[\w.-]{1,255}$/) })
const person = user.nullish()

const listed = z.object({ id: sha, author_email: z.string(), committer_email: z.string(), message: z.string() })
const commitShape = listed.extend({ project_id: id })
type Commit = z.output<typeof listed>

const requestShape = z.object({
  iid: id,
  state: z.string(),
  merged_at: z.string().nullish(),
  target_project_id: id,
  source_project_id: id.nullish(),
  source_branch: z.string(),
  sha: sha.nullish(),
  merge_commit_sha: sha.nullish(),
  squash_commit_sha: sha.nullish(),
  author: person,
  merge_user: person,
  /** Of versions before 14.7. */
  merged_by: person,
})
type Request = z.output<typeof requestShape>

/** A public address must be a confirmed one. The others are shown to administrators only. */
const userShape = user.extend({
  public_email: z.string().nullish(),
  email: z.string().nullish(),
  confirmed_at: z.string().nullish(),
})

const event = z.object({
  author: person,
  push_data: z
    .object({ ref_type: z.string(), ref: z.string().nullable(), commit_to: z.string().nullable() })
    .optional(),
})

interface Story {
  readonly request: Request
  readonly commits: readonly Commit[]
  readonly pushers: readonly User[]
}

export const gitlabForge =
  (at: ForgeAddress, deadlineMs: number) =>
  (change: { readonly repository: string; readonly sha: string }): Promise<readonly Author[]> =>
    inquire(at, { headers: {}, deadlineMs }, async (ask) => {
      const here = `/projects/${encodeURIComponent(change.repository)}`
      const [{ value: commit }, requests] = await Promise.all([
        ask(`${here}/repository/commits/${change.sha}`, { stats: 'false' }, commitShape),
        ask(`${here}/repository/commits/${change.sha}/merge_requests`, { per_page: PAGE }, z.array(requestShape)),
      ])
      const isNumber = /^\d+$/.test(change.repository)
      if (commit.id !== change.sha || (isNumber && String(commit.project_id) !== change.repository))
        throw authorsUnknown('the forge answers with another commit')
      const merged = requests.value.filter(
        ({ state, target_project_id }) => state === 'merged' && target_project_id === commit.project_id,
      )
      if (requests.next !== undefined || merged.length > MOST_REQUESTS)
        throw authorsUnknown('the commit is in too many change requests')
      const stories = await Promise.all(merged.map((request) => storyOf(ask, here, request)))
      const contains = ({ request, commits }: Story): boolean =>
        request.merge_commit_sha === change.sha ||
        request.squash_commit_sha === change.sha ||
        commits.some((one) => one.id === change.sha)
      if (!stories.some(contains)) throw authorsUnknown('no merged change request contains the commit')
      return answerOf({ ask, here, at }, commit, stories)
    })

async function storyOf(ask: Ask, here: string, request: Request): Promise<Story> {
  const [commits, events] = await Promise.all([
    pagesOf(COMMIT_PAGES, async (page) => ask(`${here}/merge_requests/${request.iid}/commits`, page, z.array(listed))),
    eventsOf(ask, request),
  ])
  if (commits.isCut) throw authorsUnknown('the change request has too many commits')
  const shas = new Set(commits.found.map((one) => one.id))
  if (typeof request.sha !== 'string' || !shas.has(request.sha))
    throw authorsUnknown('the list of commits is not whole')
  const pushes = events.filter(
    ({ push_data: push }) =>
      push?.ref_type === 'branch' &&
      push.ref === request.source_branch &&
      push.commit_to !== null &&
      shas.has(push.commit_to),
  )
  if (!pushes.some(({ push_data: push }) => push?.commit_to === request.sha))
    throw authorsUnknown('who pushed last is not known')
  return { request, commits: commits.found, pushers: pushes.map(({ author }) => userFrom(author, 'who pushed')) }
}

/** Pushes to the project that the change came from until it was merged, newest first; a branch that is new was pushed, too. */
async function eventsOf(ask: Ask, request: Request): Promise<readonly z.output<typeof event>[]> {
  const { source_project_id: source, merged_at } = request
  if (typeof source !== 'number') throw authorsUnknown('the fork that the change came from is gone')
  const mergedAt = Date.parse(merged_at ?? '')
  if (Number.isNaN(mergedAt)) throw authorsUnknown('when the change was merged is not known')
  // A day, without it: two days on is after the merge in every time zone.
  const before = new Date(mergedAt + 2 * 86_400_000).toISOString().slice(0, 10)
  const { found } = await pagesOf(EVENT_PAGES, async (page) =>
    ask(`/projects/${source}/events`, { action: 'pushed', before, ...page }, z.array(event)),
  )
  return found
}

async function pagesOf<T>(
  most: number,
  ask: (page: Readonly<Record<string, string>>) => Promise<Page<readonly T[]>>,
): Promise<{ readonly found: readonly T[]; readonly isCut: boolean }> {
  const found: T[] = []
  for (let page = 1; page <= most; page += 1) {
    const { value, next } = await ask({ per_page: PAGE, page: String(page) })
    found.push(...value)
    if (next === undefined) return { found, isCut: false }
  }
  return { found, isCut: true }
}

interface Asking {
  readonly ask: Ask
  readonly here: string
  readonly at: ForgeAddress
}

async function answerOf(asking: Asking, commit: Commit, stories: readonly Story[]): Promise<readonly Author[]> {
  const { at } = asking
  const hands = gather(at.name)
  const commits = new Map([commit, ...stories.flatMap((story) => story.commits)].map((one) => [one.id, one]))
  const said = [...commits.values()].map((one) => ({ one, ...trailersOf(one.message) }))
  const mails = new Set(said.flatMap(({ one, coAuthors }) => [authorOf(one), ...committersOf(one, at), ...coAuthors]))
  if (mails.size > MOST_MAILS) throw authorsUnknown('too many addresses took part')
  const [users] = await Promise.all([
    Promise.all([...mails].map(async (mail) => [mail, await userOf(asking, mail)] as const)),
    Promise.all([...commits.values()].map((one) => checkMadeHere(asking, one))),
  ])
  const byMail = new Map(users)
  const by = (mail: string): User => {
    const found = byMail.get(mail)
    if (found === undefined) throw authorsUnknown('an address is no account that the forge vouches for')
    return found
  }
  for (const { one, coAuthors, launchers } of said) {
    hands.add('author', by(authorOf(one)))
    for (const mail of committersOf(one, at)) hands.add('committer', by(mail))
    for (const mail of coAuthors) hands.add('co_author', by(mail))
    for (const launcher of launchers) hands.add('launcher', { id: launcher, login: undefined })
  }
  for (const { request, pushers } of stories) {
    hands.add('opener', userFrom(request.author, 'who opened the change request'))
    hands.add('merger', userFrom(request.merge_user ?? request.merged_by, 'who merged the change request'))
    for (const pusher of pushers) hands.add('pusher', pusher)
  }
  return hands.answer()
}

const authorOf = ({ author_email }: Commit): string => author_email.toLowerCase()
/** Nobody where GitLab names itself: then `checkMadeHere` asks whether it really was. */
const committersOf = ({ committer_email: mail }: Commit, at: ForgeAddress): readonly string[] =>
  mail.toLowerCase() === itself(at) ? [] : [mail.toLowerCase()]
/** What GitLab writes as committer of what it signs itself, when somebody works on its pages. */
const itself = ({ api }: ForgeAddress): string => `noreply@${new URL(api).hostname}`

async function checkMadeHere({ ask, here, at }: Asking, one: Commit): Promise<void> {
  if (committersOf(one, at).length > 0) return
  const signature = z.object({ verification_status: z.string() })
  const { value } = await ask(`${here}/repository/commits/${one.id}/signature`, {}, signature)
  if (value.verification_status !== 'verified_system')
    throw authorsUnknown('a commit says falsely that the forge made it')
}

/** Undefined where GitLab does not vouch that exactly one user has this address. */
async function userOf({ ask, at }: Asking, mail: string): Promise<User | undefined> {
  const [local = '', host] = mail.split('@')
  const [, userId] = /^([1-9]\d{0,18})-[\w.-]+$/.exec(local) ?? []
  if (host === noReplyHost(at.api)) return userId === undefined ? undefined : { id: userId, login: undefined }
  const { value: found } = await ask('/users', { search: mail, per_page: '2' }, z.array(user))
  const [only, ...others] = found
  if (only === undefined || others.length > 0) return undefined
  const { value: shown } = await ask(`/users/${only.id}`, {}, userShape)
  const confirmed = [shown.public_email, ...(typeof shown.confirmed_at === 'string' ? [shown.email] : [])]
  return shown.id === only.id && confirmed.some((one) => one?.toLowerCase() === mail)
    ? { id: shown.id, login: shown.username }
    : undefined
}

function userFrom(found: z.output<typeof person>, who: string): User {
  if (found === null || found === undefined) throw authorsUnknown(`${who} has no account at the forge`)
  return { id: found.id, login: found.username }
}
