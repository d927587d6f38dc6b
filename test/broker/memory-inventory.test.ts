// The memory inventory of the tests keeps every promise of its port, so a pass tested on it behaves on Vault and PostgreSQL.
import { inventoryContract } from '../contracts/inventory.ts'
import { BACKEND, memoryInventory } from '../support/memory-inventory.ts'

inventoryContract('the memory inventory', async () => {
  const memory = memoryInventory()
  const handleOf = { lease: 'writ-e-', hold: 'accessor-', role: 'writ-e-', login: 'writ-' } as const
  return {
    inventory: memory.inventory,
    backend: BACKEND,
    plant: async (kind, mint) => void memory.plant(kind, mint),
    plantUnmarked: async (kind) => memory.plant(kind, undefined).handle,
    plantOthers: async () => async () => true,
    isThere: async (kind, { mint }) => memory.isThere(kind, `${handleOf[kind]}${mint}`),
    isUnmarkedThere: async (kind, handle) => memory.isThere(kind, handle),
    openSession: async (mint) => {
      const isOpen = memory.openSession(mint)
      return async () => isOpen()
    },
    freeze: async () => memory.setFrozen(true),
    thaw: async () => memory.setFrozen(false),
    stop: async () => undefined,
  }
})
