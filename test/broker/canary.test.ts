// Canaries: whether ending works is known before it matters, at every broker; a secret is never looked at, nothing piles up, and what could not
// be tried stops nobody.
import { describe, expect, it } from 'vitest'
import { type CanaryPorts, canaryRound } from '../../src/broker/canary.ts'
import { canaries } from '../../src/broker/operate.ts'
import { CANARY_DIGEST, isCanary } from '../../src/domain/canary.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { mintId, named } from '../../src/domain/ids.ts'
import { hours, minutes, seconds } from '../../src/domain/instant.ts'
import { codeOf } from '../support/code-of.ts'
import { policyWith, type World, world } from '../support/world.ts'

const MIGRATOR = named.entitlement('payments-migrator')
const portsOf = (w: World, more: Partial<CanaryPorts> = {}): CanaryPorts => ({
  ...w.ports,
  every: hours(1),
  // The tries of one canary lie within a few seconds.
  pause: async () => undefined,
  ...more,
})
const round = (w: World, more: Partial<CanaryPorts> = {}) => canaryRound(portsOf(w, more))()
const refusing = (code: 'not_confirmed' | 'vault_refused' | 'vault_unavailable', reason: string) => async () => {
  throw new BrokerError(code, 'no', { facts: { reason } })
}
/** A source on which one operation always answers so. */
const broken = (w: World, part: Partial<CanaryPorts['credentials']>): Partial<CanaryPorts> => ({
  credentials: { ...w.backend.source, ...part },
})
const whole = (w: World) => ({ holds: w.backend.holds(), leases: w.backend.leases() })
const NOTHING = { holds: [], leases: [] }

describe('a canary', () => {
  it('is made of each entitlement of a backend when it is loaded, ended, and leaves nothing', async () => {
    const w = await world()
    const [canary, ...more] = await round(w)
    expect(more).toEqual([])
    expect(canary).toMatchObject({ entitlement: MIGRATOR, result: 'ok', step: undefined, reason: undefined })
    expect([w.backend.calls('issue'), w.backend.calls('close')]).toEqual([1, 1])
    expect(whole(w)).toEqual(NOTHING)
    expect(await w.ports.canaries.open()).toEqual([])
  })

  it('is called what it is wherever it may be found, and no mint of a grant is ever called that', async () => {
    const w = await world()
    const seen: string[] = []
    const open: CanaryPorts['credentials']['open'] = async (plan) => {
      seen.push(plan.mint, plan.digest)
      expect(isCanary(plan.mint)).toBe(true)
      return w.backend.source.open(plan)
    }
    await round(w, broken(w, { open }))
    expect(seen[1]).toBe(CANARY_DIGEST)
    const { grant, mint } = await w.approvedLogin().then((one) => w.broker.exchange(w.as('vera'), one.id))
    expect(isCanary(mintId(grant.id, mint.n))).toBe(false)
    expect(isCanary(mintId(grant.id, 10))).toBe(false)
  })

  it('is made again when its time has come or its rule has changed, and not before', async () => {
    const w = await world()
    expect(await round(w)).toHaveLength(1)
    w.advance(minutes(47))
    expect(await round(w)).toHaveLength(0)
    w.advance(minutes(14))
    expect(await round(w)).toHaveLength(1)
    await w.publish({
      policy: policyWith(
        ['revision: 1', 'revision: 2'],
        ['grantedRole: payments_migrator', 'grantedRole: payments_reader'],
      ),
    })
    expect(await round(w)).toHaveLength(1)
    expect(await round(w)).toHaveLength(0)
  })

  it('is made by one of several brokers', async () => {
    const w = await world()
    w.backend.fault('issue', 'hang')
    const first = round(w)
    await expect.poll(() => w.backend.hanging('issue')).toBe(1)
    expect(await round(w)).toEqual([])
    w.backend.release('issue')
    expect(await first).toHaveLength(1)
    expect(w.backend.calls('issue')).toBe(1)
  })

  it('is written down before it is made, and ended by whoever comes next when its broker died at any line', async () => {
    for (let stop = 0; ; stop += 1) {
      const w = await world({ nativeExpiry: false })
      let calls = 0
      const dying = <T extends object>(port: T): T =>
        new Proxy(port, {
          get: (target, name) => {
            const method = Reflect.get(target, name)
            if (typeof method !== 'function') return method
            return async (...args: readonly unknown[]) => {
              calls += 1
              if (calls > stop) throw new Error('it died')
              return method.apply(target, args)
            }
          },
        })
      const died = await round(w, {
        canaries: dying(w.ports.canaries),
        credentials: dying(w.backend.source),
      }).then(
        () => false,
        () => true,
      )
      w.advance(minutes(5))
      await round(w)
      expect(w.backend.leases(), `after ${stop} calls`).toEqual([])
      expect(await w.ports.canaries.open(), `after ${stop} calls`).toEqual([])
      expect(await w.ports.canaries.last(MIGRATOR)).toMatchObject({ result: 'ok' })
      if (!died) break
      expect(stop).toBeLessThan(60)
    }
  })

  it('shows that ending does not work, and no second one is made beside the first until it has ended', async () => {
    const w = await world({ nativeExpiry: false })
    const close = refusing('not_confirmed', 'revocation_failed')
    expect(await round(w, broken(w, { close }))).toMatchObject([
      { result: 'failed', step: 'end', reason: 'revocation_failed' },
    ])
    for (let tries = 0; tries < 3; tries += 1) {
      w.advance(minutes(1))
      expect(await round(w, broken(w, { close }))).toMatchObject([{ result: 'failed', step: 'end' }])
    }
    expect(w.backend.calls('issue')).toBe(1)
    w.advance(minutes(1))
    expect(await round(w)).toMatchObject([{ result: 'ok' }])
    expect(w.backend.calls('issue')).toBe(2)
    expect(whole(w).leases).toEqual([])
  })

  it.each([
    [
      'the credential is still there',
      { confirmGone: async () => ({ gone: false, answer: 'there' }) },
      'failed',
      'confirm',
      'still_there',
    ],
    ['the probe may not log in', { confirmGone: refusing('not_confirmed', '28P01') }, 'failed', 'confirm', '28P01'],
    ['the database is starting', { confirmGone: refusing('not_confirmed', '57P03') }, 'unknown', 'confirm', '57P03'],
    [
      'the database does not answer',
      { confirmGone: refusing('not_confirmed', 'timeout') },
      'unknown',
      'confirm',
      'timeout',
    ],
    [
      'nobody listens',
      { confirmGone: refusing('not_confirmed', 'ECONNREFUSED') },
      'unknown',
      'confirm',
      'ECONNREFUSED',
    ],
    ['Vault may not end it', { close: refusing('vault_refused', 'status_403') }, 'failed', 'end', 'status_403'],
    ['Vault does not answer', { close: refusing('vault_unavailable', 'timeout') }, 'unknown', 'end', 'timeout'],
    [
      'Vault gives what is not declared',
      { issue: refusing('vault_refused', 'no_lease') },
      'failed',
      'make',
      'no_lease',
    ],
    ['Vault is sealed', { open: refusing('vault_unavailable', 'sealed') }, 'unknown', 'make', 'sealed'],
  ] as const)('when %s', async (_, part, result, step, reason) => {
    const w = await world()
    expect(await round(w, broken(w, part))).toMatchObject([{ result, step, reason }])
    // It is soon tried again.
    expect((await w.ports.canaries.last(MIGRATOR))?.next).toBeLessThanOrEqual(w.now() + minutes(1))
  })

  it('of an entitlement that is gone is ended all the same', async () => {
    const w = await world({ nativeExpiry: false })
    await round(w, broken(w, { close: refusing('vault_unavailable', 'timeout') }))
    expect(w.backend.leases()).toHaveLength(1)
    const { policy } = w.book.current()
    const none = { ...policy, revision: policy.revision + 1, entitlements: () => [], entitlement: () => undefined }
    await w.publish({ policy: none })
    expect(await round(w)).toEqual([])
    expect(w.backend.leases()).toEqual([])
    expect(await w.ports.canaries.open()).toEqual([])
  })
})

describe('where ending was shown not to work', () => {
  const failed = async (part: (w: World) => Partial<CanaryPorts>) => {
    const w = await world()
    const grant = await w.approvedLogin()
    await round(w, part(w))
    return { w, grant }
  }

  it('nothing is handed out, the approval stays good, and it works again once a canary has ended', async () => {
    const { w, grant } = await failed((w) => broken(w, { close: refusing('not_confirmed', 'revocation_failed') }))
    const opened = w.backend.calls('open')
    const refusal = await w.broker.exchange(w.as('vera'), grant.id).catch((thrown: unknown) => thrown)
    expect(refusal).toMatchObject({ code: 'vault_refused', facts: { definite: true, reason: 'canary_failed' } })
    expect(w.backend.calls('open')).toBe(opened)
    expect((await w.broker.view(w.as('vera'), grant.id)).head.status).toBe('approved')
    w.advance(seconds(61))
    await round(w)
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id))).toBe('accepted')
  })

  it.each([
    ['where it could not be tried', (w: World) => broken(w, { close: refusing('vault_unavailable', 'timeout') })],
    ['where only making did not work', (w: World) => broken(w, { issue: refusing('vault_refused', 'no_lease') })],
    [
      'where none was made',
      (w: World) => ({
        control: async () => Promise.reject(new BrokerError('recovering', 'no')),
        canaries: w.ports.canaries,
      }),
    ],
  ])('it goes on %s', async (_, part) => {
    const w = await world()
    const grant = await w.approvedLogin()
    await round(w, part(w)).catch(() => undefined)
    expect(await codeOf(w.broker.exchange(w.as('vera'), grant.id))).toBe('accepted')
  })

  it('what is handed out is refused too while nobody can say whether it works', async () => {
    const w = await world()
    const grant = await w.approvedLogin()
    const last = async () => {
      throw new BrokerError('store_unavailable', 'no')
    }
    const verbs = w.another({ canaries: { ...w.ports.canaries, last } })
    expect(await codeOf(verbs.exchange(w.as('vera'), grant.id))).toBe('store_unavailable')
  })

  it('a token has nothing to do with it', async () => {
    const { w } = await failed((w) => broken(w, { close: refusing('not_confirmed', 'revocation_failed') }))
    const token = await w.approvedToken()
    expect(await codeOf(w.broker.exchange(w.as('triage-agent', { key: 'k'.repeat(43) as never }), token.id))).toBe(
      'accepted',
    )
  })
})

it('operators, and nobody else, see the last canary of the rule of today', async () => {
  const w = await world()
  const { rulesToEnd } = w.ports
  const first = named.principal('oscar')
  const show = canaries({ ...w.ports, rulesToEnd, firstOperator: first })
  await expect(show(w.as('vera'))).rejects.toMatchObject({ code: 'not_permitted' })
  const operator = rulesToEnd()
    .directory.principals()
    .find((principal) => rulesToEnd().policy.judge({ action: 'Operate', principal }).allowed)
  if (operator === undefined) throw new Error('nobody operates')
  const as = w.as(operator.id)
  expect(await show(as)).toMatchObject([{ entitlement: MIGRATOR, canary: undefined }])
  await round(w)
  expect(await show(as)).toMatchObject([{ entitlement: MIGRATOR, canary: { result: 'ok' } }])
  await w.publish({
    policy: policyWith(
      ['revision: 1', 'revision: 2'],
      ['grantedRole: payments_migrator', 'grantedRole: payments_reader'],
    ),
  })
  expect(await show(as)).toMatchObject([{ entitlement: MIGRATOR, canary: undefined }])
})
