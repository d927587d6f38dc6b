// The contract of forges on everything that claims to be one: in memory, a file, GitHub's API and GitLab's.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { openForges } from '../../src/forge/forges.ts'
import { type ForgesUnderTest, forgesContract } from '../contracts/forges.ts'
import { EXPECTED, PEOPLE, ROLES, SQUASHED } from '../support/forge-story.ts'
import { type GithubServer, REPOSITORY, REPOSITORY_ID, startGithub } from '../support/github-server.ts'
import { type GitlabServer, PROJECT, PROJECT_ID, startGitlab } from '../support/gitlab-server.ts'
import { memoryForges } from '../support/memory-ports.ts'

const folder = mkdtempSync(join(tmpdir(), 'writ-forges-'))
let github: GithubServer
let gitlab: GitlabServer
beforeAll(async () => {
  github = await startGithub('ghs_contract')
  gitlab = await startGitlab('glpat-contract')
  writeFileSync(join(folder, 'gitlab-token'), 'glpat-contract')
  writeFileSync(join(folder, 'github-token'), 'ghs_contract\n')
})
afterAll(async () => {
  await Promise.all([github.stop(), gitlab.stop()])
  rmSync(folder, { recursive: true })
})

forgesContract('in memory', async () => {
  const forges = memoryForges()
  const authors = EXPECTED.map(([subject, roles]) => ({ account: { issuer: 'forge', subject }, login: subject, roles }))
  forges.add({ forge: 'forge', repository: REPOSITORY, sha: SQUASHED }, authors)
  return { forges, forge: 'forge', repository: REPOSITORY, setAnswering: forges.setAnswering }
})

forgesContract('a file', async () => {
  const file = join(folder, 'changes.yaml')
  const by = (role: string): string[] =>
    Object.entries(ROLES).flatMap(([login, roles]) =>
      roles.some((one) => one === role) ? [String(PEOPLE[login as keyof typeof PEOPLE])] : [],
    )
  const roles = Object.fromEntries([...new Set(Object.values(ROLES).flat())].map((role) => [role, by(role)]))
  const users = Object.fromEntries(Object.entries(PEOPLE).map(([login, id]) => [String(id), login]))
  writeFileSync(file, JSON.stringify({ users, changes: { [`${REPOSITORY}@${SQUASHED}`]: roles } }))
  const table = new Map([['forge', { kind: 'file' as const, name: 'forge', file }]])
  return {
    forges: openForges({ table: () => table, ticks: () => 0 }),
    forge: 'forge',
    repository: REPOSITORY,
    setAnswering: (to) => renameSync(to ? `${file}.gone` : file, to ? file : `${file}.gone`),
  }
})

const overHttp = (
  kind: 'github' | 'gitlab',
  server: { readonly url: string; setInstead(route: (() => undefined) | undefined): void },
  base: string,
  repository: string,
): ForgesUnderTest => {
  const tokenFile = join(folder, `${kind}-token`)
  const table = new Map([['forge', { kind, name: 'forge', api: `${server.url}${base}`, tokenFile, ca: undefined }]])
  return {
    forges: openForges({ table: () => table, ticks: () => 0, deadlineMs: 400 }),
    forge: 'forge',
    repository,
    setAnswering: (to) => server.setInstead(to ? undefined : () => undefined),
  }
}
forgesContract('GitHub, by path', async () => overHttp('github', github, '/api/v3', REPOSITORY))
forgesContract('GitHub, by id', async () => overHttp('github', github, '/api/v3', String(REPOSITORY_ID)))
forgesContract('GitLab, by path', async () => overHttp('gitlab', gitlab, '/api/v4', PROJECT))
forgesContract('GitLab, by id', async () => overHttp('gitlab', gitlab, '/api/v4', String(PROJECT_ID)))
