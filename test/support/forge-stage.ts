// A forge on this machine and the port that asks it, for tests that change what the forge says.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Author, Forges } from '../../src/broker/ports.ts'
import { openForges } from '../../src/forge/forges.ts'

/** In the shape of GitHub's own tokens. It must be in no error. */
export const TOKEN = 'ghp_CANARYcanaryCANARYcanaryCANARYcanary'

export interface ForgeStage {
  readonly tokenFile: string
  /** A port without anything remembered, whose table and clock the test holds. */
  open(more?: {
    readonly api?: string
    readonly deadlineMs?: number
    readonly ticks?: () => number
    readonly ca?: string
  }): Forges
  ask(repository: string, sha: string): Promise<readonly Author[]>
  stop(): void
}

export function forgeStage(kind: 'github' | 'gitlab', api: () => string): ForgeStage {
  const folder = mkdtempSync(join(tmpdir(), 'writ-forge-'))
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, `${TOKEN}\n`)
  const open: ForgeStage['open'] = ({ api: other, deadlineMs = 2_000, ticks = () => 0, ca } = {}) => {
    const table = new Map([['forge', { kind, name: 'forge', api: other ?? api(), tokenFile, ca }]])
    return openForges({ table: () => table, ticks, deadlineMs })
  }
  return {
    tokenFile,
    open,
    ask: (repository, sha) => open().authorsOf({ forge: 'forge', repository, sha }),
    stop: () => rmSync(folder, { recursive: true }),
  }
}

/** The roles of one user id, or undefined where the answer does not have it. */
export const rolesOf = (authors: readonly Author[], id: number) =>
  authors.find(({ account }) => account.subject === String(id))?.roles
