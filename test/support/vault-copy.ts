// A copy of a running server's data, and its return at the same address: what putting a snapshot back does to everybody who used it since.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Controls } from '../../deploy/dev/running.ts'

type Server = Controls & { readonly dir: string | undefined }

/** Copies the folder as it lies while nothing moves; the answer puts it back and starts the server on it. */
async function copied(server: Server, folder: 'storage' | 'data'): Promise<() => Promise<void>> {
  if (server.dir === undefined) throw new Error('its data are out of reach: bring it as copyable')
  const [place, copy] = [join(server.dir, folder), join(server.dir, 'copy')]
  await server.freeze()
  rmSync(copy, { recursive: true, force: true })
  // Owners and modes too: a database trusts no folder of somebody else's.
  execFileSync('cp', ['-a', place, copy])
  await server.thaw()
  return async () => {
    await server.kill()
    rmSync(place, { recursive: true })
    execFileSync('cp', ['-a', copy, place])
    await server.restart()
  }
}

export const copyOfVault = (vault: Server): Promise<() => Promise<void>> => copied(vault, 'storage')
export const copyOfPostgres = (postgres: Server): Promise<() => Promise<void>> => copied(postgres, 'data')
