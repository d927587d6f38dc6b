// The forges of forges.yaml as one port. Invariant: nothing but a whole commit id and a plain repository name gets into an address, and
// only answers are remembered, for half a minute: a refusal is asked again. Whoever asks for many commits at once cannot take the sockets
// that ending needs.
import type { Author, ChangeRef, Forges } from '../broker/ports.ts'
import { authorsUnknown } from '../domain/authorship.ts'
import type { ForgeSettings, ForgeTable } from './config.ts'
import { fileForge } from './file.ts'
import { githubForge } from './github.ts'
import { gitlabForge } from './gitlab.ts'
import { isRepository, SHA } from './hands.ts'
import { unavailable } from './http.ts'

type Forge = (change: { readonly repository: string; readonly sha: string }) => Promise<readonly Author[]>

export interface ForgesOptions {
  /** As configured now. Another table forgets what the former one answered. */
  table(): ForgeTable
  /** Monotonic milliseconds. */
  ticks(): number
  /** Of all calls that one question needs. */
  readonly deadlineMs?: number
}

const KEEP_MS = 30_000
const MOST_KEPT = 1_000
/** Questions that wait for a forge, each with a few connections. */
const MOST_AT_ONCE = 32

export function openForges({ table, ticks, deadlineMs = 3_000 }: ForgesOptions): Forges {
  let known = table()
  let waiting = 0
  const kept = new Map<string, { readonly authors: Promise<readonly Author[]>; until: number }>()
  return {
    authorsOf: async ({ forge, repository, sha }: ChangeRef) => {
      const current = table()
      if (current !== known) kept.clear()
      known = current
      const settings = current.get(forge)
      if (settings === undefined) throw authorsUnknown('no such forge is configured')
      if (!SHA.test(sha) || !isRepository(repository)) throw authorsUnknown('this is no commit of a repository')
      const ask = forgeOf(settings, deadlineMs)
      if (settings.kind === 'file') return ask({ repository, sha })
      const key = `${forge} ${repository} ${sha}`
      const found = kept.get(key)
      if (found !== undefined && ticks() < found.until) return found.authors
      if (waiting >= MOST_AT_ONCE) throw unavailable(forge, 'too many questions wait for it already')
      waiting += 1
      // Whoever asks meanwhile waits for the same answer.
      const asked = { authors: ask({ repository, sha }), until: Number.POSITIVE_INFINITY }
      const [oldest] = kept.keys()
      if (kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest)
      kept.delete(key)
      kept.set(key, asked)
      try {
        return await asked.authors
      } catch (thrown) {
        if (kept.get(key) === asked) kept.delete(key)
        throw thrown
      } finally {
        waiting -= 1
        asked.until = ticks() + KEEP_MS
      }
    },
  }
}

function forgeOf(settings: ForgeSettings, deadlineMs: number): Forge {
  switch (settings.kind) {
    case 'github':
      return githubForge(settings, deadlineMs)
    case 'gitlab':
      return gitlabForge(settings, deadlineMs)
    case 'file':
      return fileForge(settings)
  }
}
