// The stores of passkeys and ceremonies that the tests of the verbs stand on keep the promises that the ones in Redis keep.
import { describe } from 'vitest'
import { after, type Instant } from '../../src/domain/instant.ts'
import { ceremoniesContract, passkeysContract } from '../contracts/passkeys.ts'
import { NOON } from '../support/keys.ts'
import { memoryCeremonies, memoryPasskeys } from '../support/memory-ports.ts'

describe('passkeys in memory', () => {
  passkeysContract(async () => memoryPasskeys())
})

describe('ceremonies in memory', () => {
  ceremoniesContract(async () => {
    let now: Instant = NOON
    return {
      ceremonies: memoryCeremonies({ now: () => now }),
      pass: async (span) => {
        now = after(now, span)
      },
    }
  })
})
