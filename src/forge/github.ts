// Who had a hand in a commit, by GitHub's REST API (github.com and Enterprise Server). The change is the merged pull requests that GitHub
// names for the commit. Invariant: whoever is not shown with an account makes the authors unknown, and so does a list that was cut.
//
// The token needs to read contents, metadata and pull requests. Not known here: who merged a queue (GitHub names its bot, which must be
// an agent in people.yaml), pushers before the last 500 activities of a branch, and a fork or branch whose activity is gone.
import { z } from 'zod'
import type { Author } from '../broker/ports.ts'
import { authorsUnknown } from '../domain/authorship.ts'
import { gather, type Hands, noReplyHost, SHA, trailersOf, type User } from './hands.ts'
import { type Ask, type ForgeAddress, inquire, type Page } from './http.ts'

const HEADERS = { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' }
/** GitHub itself, as committer of what is done on its pages. */
const WEB_FLOW = 19_864_447
/** GitHub lists no more commits of a pull request than this. */
const MOST_COMMITS = 250
const MOST_PULLS = 10
const ACTIVITY_PAGES = 5
const PAGE = 100

const sha = z.string().regex(SHA)
/** Null for a mail without an account, `{}` for some that are gone: both are nobody. */
const account = z
  .object({ id: z.int().positive(), login: z.string().regex(/^[\w.-]{1,100}(\[bot\])?$/) })
  .nullable()
  .catch(null)
const repository = z.object({ id: z.int().positive(), full_name: z.string() })
const signed = z.object({ email: z.string() }).nullable()

const commitShape = z.object({
  sha,
  commit: z.object({
    author: signed,
    committer: signed,
    message: z.string(),
    verification: z.object({ verified: z.boolean() }).optional(),
  }),
  author: account,
  committer: account,
})
type Commit = z.output<typeof commitShape>

const foundPull = z.object({
  number: z.int().positive(),
  merged_at: z.string().nullable(),
  base: z.object({ repo: repository }),
})
const pullShape = z.object({
  number: z.int().positive(),
  merged: z.literal(true),
  merge_commit_sha: sha.nullable(),
  user: account,
  merged_by: account,
  commits: z.int().positive(),
  head: z.object({ ref: z.string(), sha, repo: repository.nullable() }),
})
type Pull = z.output<typeof pullShape>

const activity = z.object({ ref: z.string(), after: z.string(), actor: account })
type Activity = z.output<typeof activity>

interface Story {
  readonly pull: Pull
  readonly commits: readonly Commit[]
  readonly pushers: readonly User[]
}

export const githubForge =
  (at: ForgeAddress, deadlineMs: number) =>
  (change: { readonly repository: string; readonly sha: string }): Promise<readonly Author[]> =>
    inquire(at, { headers: HEADERS, deadlineMs }, async (ask) => {
      const isNumber = /^\d+$/.test(change.repository)
      const here = isNumber ? `/repositories/${change.repository}` : `/repos/${change.repository}`
      const [{ value: log }, pulls] = await Promise.all([
        // The log from this commit on, one commit long: the same commit without its files, which may be megabytes.
        ask(`${here}/commits`, { sha: change.sha, per_page: '1' }, z.array(commitShape)),
        ask(`${here}/commits/${change.sha}/pulls`, { per_page: String(PAGE) }, z.array(foundPull)),
      ])
      const [commit] = log
      if (commit?.sha !== change.sha) throw authorsUnknown('the forge answers with another commit')
      const merged = pulls.value.filter(
        ({ merged_at, base: { repo } }) =>
          merged_at !== null &&
          (isNumber ? String(repo.id) === change.repository : same(repo.full_name, change.repository)),
      )
      if (pulls.next !== undefined || merged.length > MOST_PULLS)
        throw authorsUnknown('the commit is in too many change requests')
      const stories = await Promise.all(merged.map(({ number }) => storyOf(ask, here, number)))
      const contains = ({ pull, commits }: Story): boolean =>
        pull.merge_commit_sha === change.sha || commits.some((one) => one.sha === change.sha)
      if (!stories.some(contains)) throw authorsUnknown('no merged change request contains the commit')
      return answerOf(at, commit, stories)
    })

async function storyOf(ask: Ask, here: string, number: number): Promise<Story> {
  const { value: pull } = await ask(`${here}/pulls/${number}`, {}, pullShape)
  if (pull.number !== number) throw authorsUnknown('the forge answers with another change request')
  if (pull.commits > MOST_COMMITS) throw authorsUnknown('the change request has too many commits')
  const pages = Array.from({ length: Math.ceil(pull.commits / PAGE) }, (_, n) => ({
    per_page: String(PAGE),
    page: String(n + 1),
  }))
  const [lists, activities] = await Promise.all([
    Promise.all(pages.map((page) => ask(`${here}/pulls/${number}/commits`, page, z.array(commitShape)))),
    activitiesOf(ask, pull),
  ])
  const commits = lists.flatMap(({ value }) => value)
  const shas = new Set(commits.map((one) => one.sha))
  if (shas.size !== pull.commits || !shas.has(pull.head.sha)) throw authorsUnknown('the list of commits is not whole')
  // Whoever brought any of these commits to the branch, by a push, a merge or by making the branch; the head's is the last pusher.
  const pushes = activities.filter(({ after }) => shas.has(after))
  if (!pushes.some(({ after }) => after === pull.head.sha)) throw authorsUnknown('who pushed last is not known')
  return { pull, commits, pushers: pushes.map(({ actor }) => known(actor, 'who pushed')) }
}

/** What happened to the branch that was merged, newest first. */
async function activitiesOf(ask: Ask, { head }: Pull): Promise<readonly Activity[]> {
  if (head.repo === null) throw authorsUnknown('the fork that the change came from is gone')
  const ref = `refs/heads/${head.ref}`
  const at = `/repositories/${head.repo.id}/activity`
  const found: Activity[] = []
  let cursor: string | undefined
  for (let page = 0; page < ACTIVITY_PAGES; page += 1) {
    const query = { ref, per_page: String(PAGE), ...(cursor === undefined ? {} : { after: cursor }) }
    const { value, next }: Page<readonly Activity[]> = await ask(at, query, z.array(activity))
    found.push(...value.filter((one) => one.ref === ref))
    cursor = next?.get('after') ?? undefined
    if (cursor === undefined) break
  }
  return found
}

function answerOf({ name, api }: ForgeAddress, commit: Commit, stories: readonly Story[]): readonly Author[] {
  const hands = gather(name)
  const commits = [commit, ...stories.flatMap((story) => story.commits)]
  const byMail = new Map(commits.flatMap(mailsOf))
  for (const one of commits) addCommit(hands, one, (mail) => byMail.get(mail) ?? userOfNoReply(mail, api))
  for (const { pull, pushers } of stories) {
    hands.add('opener', known(pull.user, 'who opened the change request'))
    hands.add('merger', known(pull.merged_by, 'who merged the change request'))
    for (const pusher of pushers) hands.add('pusher', pusher)
  }
  return hands.answer()
}

function addCommit(hands: Hands, one: Commit, userOf: (mail: string) => User | undefined): void {
  hands.add('author', known(one.author, 'an author'))
  const isGitHub = one.committer?.id === WEB_FLOW && one.commit.verification?.verified === true
  if (!isGitHub && one.committer?.id === WEB_FLOW) throw authorsUnknown('a commit says falsely that the forge made it')
  if (!isGitHub) hands.add('committer', known(one.committer, 'a committer'))
  const { coAuthors, launchers } = trailersOf(one.commit.message)
  for (const mail of coAuthors) hands.add('co_author', known(userOf(mail), 'a co-author'))
  for (const id of launchers) hands.add('launcher', { id, login: undefined })
}

/** The mails that GitHub itself found the accounts of. */
function mailsOf({ commit, author, committer }: Commit): readonly (readonly [string, User])[] {
  return (
    [
      [commit.author, author],
      [commit.committer, committer],
    ] as const
  ).flatMap(([by, user]) =>
    by === null || user === null || user.id === WEB_FLOW ? [] : [[by.email.toLowerCase(), user] as const],
  )
}

/** `<id>+<login>@users.noreply.<host>`. The older form without an id follows the login, which can change hands. */
function userOfNoReply(mail: string, api: string): User | undefined {
  const [local = '', host] = mail.split('@')
  const [, id] = /^([1-9]\d{0,18})\+[\w.[\]-]+$/.exec(local) ?? []
  return id === undefined || host !== noReplyHost(api) ? undefined : { id, login: undefined }
}

function known(user: User | null | undefined, who: string): User {
  if (user === null || user === undefined) throw authorsUnknown(`${who} has no account at the forge`)
  return user
}

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()
