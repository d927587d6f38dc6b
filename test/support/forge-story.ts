// One change that every forge of the tests knows: Dana opened a request, Eve added the last commit with Ola's help and pushed it, an agent
// worked for Sam, and Rob merged all of it as one commit.
import type { AuthorRole } from '../../src/domain/authorship.ts'

const digits = (digit: string): string => digit.repeat(40)
/** What came onto the main branch. */
export const SQUASHED = digits('a')
/** The two commits of the request. */
export const FIRST = digits('b')
export const LAST = digits('c')
/** In a request that nobody has merged. */
export const OPEN = digits('d')
export const UNKNOWN = digits('e')

export const PEOPLE = { dana: 101, rob: 102, sam: 103, eve: 104, ola: 105 } as const
export type Login = keyof typeof PEOPLE

export const ROLES: Readonly<Record<Login, readonly AuthorRole[]>> = {
  dana: ['author', 'committer', 'pusher', 'opener'],
  rob: ['merger'],
  sam: ['launcher'],
  eve: ['author', 'committer', 'co_author', 'pusher'],
  ola: ['co_author'],
}
/** By user id, sorted by it. */
export const EXPECTED: readonly (readonly [string, readonly AuthorRole[]])[] = [
  ['101', ROLES.dana],
  ['102', ROLES.rob],
  ['103', ROLES.sam],
  ['104', ROLES.eve],
  ['105', ROLES.ola],
]
