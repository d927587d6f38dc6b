// Who may operate the broker, and the first operator of the settings, who counts only while the guards let nobody. The store is well here: what
// a recovery does is `recover.test.ts`.
import { describe, expect, it } from 'vitest'
import { acceptClock } from '../../src/broker/operate.ts'
import type { Directory } from '../../src/broker/ports.ts'
import { type RecoverPorts, recover } from '../../src/broker/recover.ts'
import { named, shard } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import type { Principal } from '../../src/domain/principal.ts'
import type { Policy } from '../../src/policy/policy.ts'
import { codeOf } from '../support/code-of.ts'
import { shippedDirectory } from '../support/directory.ts'
import { policyWith, world } from '../support/world.ts'

const policy = policyWith()
const w = await world()
const shipped = await shippedDirectory()
const principalOf = (id: string, directory: Directory = shipped): Principal => {
  const found = directory.principal(named.principal(id))
  if (found === undefined) throw new Error(`nobody is called ${id}`)
  return found
}
/** The shipped people without the only operator that the shipped guards know. */
const withoutOperators: Directory = {
  ...shipped,
  principal: (id) => (id === 'oscar' ? undefined : shipped.principal(id)),
  persons: () => shipped.persons().filter(({ id }) => id !== 'oscar'),
  principals: () => shipped.principals().filter(({ id }) => id !== 'oscar'),
}

function ports(first: string | undefined, directory: Directory, over: Policy = policy) {
  const recorded: unknown[] = []
  const done: string[] = []
  const operate: RecoverPorts = {
    ...w.ports,
    store: w.store,
    inventory: async () => undefined,
    shards: [shard(0)],
    firstOperator: first === undefined ? undefined : named.principal(first),
    rulesToEnd: () => ({ policy: over, directory }),
    acceptStore: async () => {
      done.push('store')
      return { seq: 7 }
    },
    acceptClock: () => {
      done.push('clock')
      return instant(0)
    },
    record: async (act) => void recorded.push(act),
  }
  const by = (principal: Principal) => ({ principal, key: undefined, session: '', facts: {} })
  return {
    recorded,
    done,
    recover: (principal: Principal) => codeOf(recover(operate, new Map())(by(principal), 'why')),
    acceptClock: (principal: Principal) => codeOf(acceptClock(operate)(by(principal), 'why')),
  }
}

describe('the first operator', () => {
  it('may operate while nobody else could, and every use says so on record', async () => {
    const p = ports('vera', withoutOperators)
    await p.recover(principalOf('vera'))
    await p.acceptClock(principalOf('vera'))
    expect(p.done).toEqual(['store', 'clock'])
    expect(p.recorded).toEqual([
      { what: 'recover', by: 'vera', asFirstOperator: true, reason: 'why' },
      { what: 'accept_clock', by: 'vera', asFirstOperator: true, reason: 'why' },
    ])
  })

  it('may not once the guards permit anybody', async () => {
    const p = ports('vera', shipped)
    expect(await p.recover(principalOf('vera'))).toBe('not_permitted')
    expect([p.done, p.recorded]).toEqual([[], []])
  })

  it('may not where a workload or an agent is permitted', async () => {
    const machinesOperate: Policy = {
      ...policy,
      judge: ({ principal }) => ({ allowed: principal.id === 'webshop-deploy', because: [] }),
    }
    expect(await ports('vera', shipped, machinesOperate).recover(principalOf('vera'))).toBe('not_permitted')
  })

  it('is nobody else: not an agent, not another person, not somebody unknown', async () => {
    expect(await ports('vera-agent', withoutOperators).recover(principalOf('vera-agent'))).toBe('not_permitted')
    expect(await ports('webshop-deploy', withoutOperators).recover(principalOf('webshop-deploy'))).toBe('not_permitted')
    expect(await ports('vera', withoutOperators).recover(principalOf('olivia'))).toBe('not_permitted')
    // The directory of today decides, not who somebody was when the token was checked.
    expect(await ports('oscar', withoutOperators).recover(principalOf('oscar'))).toBe('not_permitted')
    expect(await ports(undefined, withoutOperators).recover(principalOf('vera'))).toBe('not_permitted')
  })
})

describe('an operator of the guards', () => {
  it('operates, and not as the first', async () => {
    const p = ports('vera', shipped)
    await p.recover(principalOf('oscar'))
    expect(p.recorded).toEqual([{ what: 'recover', by: 'oscar', asFirstOperator: false, reason: 'why' }])
  })

  it('takes nothing over that cannot be put on record', async () => {
    const done: string[] = []
    const operate: RecoverPorts = {
      ...w.ports,
      store: w.store,
      inventory: async () => undefined,
      shards: [shard(0)],
      firstOperator: undefined,
      rulesToEnd: () => ({ policy, directory: shipped }),
      acceptStore: async () => {
        done.push('store')
        return { seq: 7 }
      },
      acceptClock: () => instant(0),
      record: () => Promise.reject(new Error('no record')),
    }
    const caller = { principal: principalOf('oscar'), key: undefined, session: '', facts: {} }
    await expect(recover(operate, new Map())(caller, 'why')).rejects.toThrow('no record')
    expect(done).toEqual([])
  })
})
