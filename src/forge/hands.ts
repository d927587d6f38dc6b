// What the adapters share: gathering accounts with their roles, and reading what a commit message says about who else took part.
// Invariant: a message can only add somebody or make the authors unknown; it takes nobody away.
import type { Author } from '../broker/ports.ts'
import { AUTHOR_ROLES, type AuthorRole, authorsUnknown } from '../domain/authorship.ts'

/** All digits of a commit: SHA-1, or SHA-256 where the repository has that. */
export const SHA = /^([0-9a-f]{40}|[0-9a-f]{64})$/
const REPOSITORY = /^(?!.*(^|\/)\.{1,2}(\/|$))([1-9]\d{0,18}|[A-Za-z0-9_.-]{1,100}(\/[A-Za-z0-9_.-]{1,100}){1,20})$/
/** A number, or a path of plain words: `.` and `..` would be another address. */
export const isRepository = (text: string): boolean => REPOSITORY.test(text)

/** An account as a forge shows it. */
export interface User {
  readonly id: number | string
  /** Undefined where only the id is known. */
  readonly login: string | undefined
}

export interface Hands {
  add(role: AuthorRole, user: User): void
  /** Sorted by account. Throws `authors_unknown` where nobody was added. */
  answer(): readonly Author[]
}

export function gather(forge: string): Hands {
  const found = new Map<string, { login: string | undefined; readonly roles: Set<AuthorRole> }>()
  return {
    add: (role, { id, login }) => {
      const known = found.get(String(id)) ?? { login, roles: new Set() }
      known.login ??= login
      known.roles.add(role)
      found.set(String(id), known)
    },
    answer: () => {
      if (found.size === 0) throw authorsUnknown('the forge names nobody')
      return [...found]
        .map(([subject, { login, roles }]) => ({
          account: { issuer: forge, subject },
          login: login ?? `user ${subject}`,
          roles: AUTHOR_ROLES.filter((role) => roles.has(role)),
        }))
        .toSorted((a, b) => (a.account.subject < b.account.subject ? -1 : 1))
    },
  }
}

export interface Trailers {
  /** Mail addresses in lower case. */
  readonly coAuthors: readonly string[]
  /** User ids. */
  readonly launchers: readonly string[]
}

/**
 * `Co-authored-by: Name <mail>` and `Launched-By: <user id>` in whatever line they stand: a squash moves them about, and one too many only
 * refuses. Throws `authors_unknown` for one that names nobody.
 */
export function trailersOf(message: string): Trailers {
  const named = (name: string, value: RegExp, of: string): readonly string[] =>
    message.split(/[\r\n\u2028\u2029]+/).flatMap((line) => {
      const [key = '', ...rest] = line.split(':')
      if (key.trim().toLowerCase() !== name) return []
      const [, found] = value.exec(rest.join(':')) ?? []
      if (found === undefined) throw authorsUnknown(`${of} is named without an account`)
      return [found.toLowerCase()]
    })
  return {
    coAuthors: named('co-authored-by', /<([^<>\s]+@[^<>\s]+)>\s*$/, 'a co-author'),
    launchers: named('launched-by', /^\s*([1-9]\d{0,18})\s*$/, 'who launched an agent'),
  }
}

/** At GitHub and GitLab a no-reply address begins with the user's id; `<host>` is the one of the API, without `api.`. */
export const noReplyHost = (api: string): string => `users.noreply.${new URL(api).hostname.replace(/^api\./, '')}`
