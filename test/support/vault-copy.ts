// A copy of a running Vault's data, and its return at the same address: what putting a snapshot back does to everybody who used it since.
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { VaultService } from '../../deploy/dev/vault.ts'

/** Copies the data as they lie while nothing moves; the answer puts them back and starts Vault on them. */
export async function copyOf(vault: VaultService): Promise<() => Promise<void>> {
  if (vault.dir === undefined) throw new Error('its data are out of reach: bring it as copyable')
  const [storage, copy] = [join(vault.dir, 'storage'), join(vault.dir, 'copy')]
  await vault.freeze()
  rmSync(copy, { recursive: true, force: true })
  cpSync(storage, copy, { recursive: true })
  await vault.thaw()
  return async () => {
    await vault.kill()
    rmSync(storage, { recursive: true })
    cpSync(copy, storage, { recursive: true })
    await vault.restart()
  }
}
