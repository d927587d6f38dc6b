// Who had a hand in a commit, as a file says: for development, and for a forge without an adapter whose facts a job of yours writes down.
// Whoever can write the file says who the authors are. It is read at each question, so a change counts at once.
import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { Author } from '../broker/ports.ts'
import { AUTHOR_ROLES, authorsUnknown } from '../domain/authorship.ts'
import { type Compiled, readConfig } from '../identity/config-file.ts'
import { lineField, unique } from '../identity/fields.ts'
import { gather, isRepository, SHA } from './hands.ts'
import { unavailable } from './http.ts'

const userId = z
  .string({ error: 'a user id in quotes is needed' })
  .regex(/^[1-9]\d{0,18}$/, 'a user id is a number in quotes')
const users = unique(userId)
const some = users.min(1, 'at least one user is needed')
const changeName = z.string().refine((text) => {
  const [repository = '', sha = '', ...more] = text.split('@')
  return isRepository(repository) && SHA.test(sha) && more.length === 0
}, 'a change is <id or full path of the repository>@<all digits of the commit, in lower case>')

const ChangesFile = z.strictObject({
  users: z.record(userId, lineField.max(100), { error: 'logins by user id are needed' }),
  changes: z.record(
    changeName,
    z.strictObject({
      author: some,
      committer: users.default([]),
      co_author: users.default([]),
      pusher: some,
      opener: some,
      merger: some,
      launcher: users.default([]),
    }),
    { error: 'changes by repository and commit are needed' },
  ),
})

/** Authors by `<repository>@<sha>`. */
export type Changes = ReadonlyMap<string, readonly Author[]>

export function compileChanges(text: string, file: string, forge: string): Compiled<Changes> {
  const { value, problems, line } = readConfig(text, file, ChangesFile)
  if (value === undefined) return { ok: false, problems }
  const logins = new Map(Object.entries(value.users))
  const compiled = Object.entries(value.changes).map(([name, roles]) => {
    const hands = gather(forge)
    const nobody = AUTHOR_ROLES.flatMap((role) => {
      for (const id of roles[role]) hands.add(role, { id, login: logins.get(id) })
      return roles[role].filter((id) => !logins.has(id)).map((id) => ({ path: ['changes', name, role], id }))
    })
    return { name, authors: hands.answer(), nobody }
  })
  const unknown = compiled.flatMap(({ nobody }) =>
    nobody.map(({ path, id }) => ({ file, line: line(path), message: `${path.join('.')}: users has no '${id}'` })),
  )
  if (unknown.length > 0) return { ok: false, problems: unknown }
  return { ok: true, value: new Map(compiled.map(({ name, authors }) => [name, authors])), warnings: [] }
}

export const fileForge =
  ({ name, file }: { readonly name: string; readonly file: string }) =>
  async (change: { readonly repository: string; readonly sha: string }): Promise<readonly Author[]> => {
    const text = await readFile(file, 'utf8').catch(() => undefined)
    const compiled = text === undefined ? undefined : compileChanges(text, file, name)
    if (compiled === undefined || !compiled.ok) throw unavailable(name, `${file} cannot be used`)
    const authors = compiled.value.get(`${change.repository}@${change.sha}`)
    if (authors === undefined) throw authorsUnknown('the forge does not know the commit, or does not show it')
    return authors
  }
