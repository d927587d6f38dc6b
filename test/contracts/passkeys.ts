// What every store of passkeys and of ceremonies must do, as guarantees. The ones in memory and those in Redis run the same suites.
import { beforeEach, expect, it } from 'vitest'
import type { Ceremonies, Passkeys } from '../../src/broker/ports.ts'
import { named } from '../../src/domain/ids.ts'
import { after, type Duration, minutes, seconds } from '../../src/domain/instant.ts'
import type { CountedPasskey } from '../../src/domain/passkey.ts'
import { NOON } from '../support/keys.ts'

export const OLIVIA = named.person('olivia')
export const LENA = named.person('lena')

export const passkeyOf = (credentialId: string, more: Partial<CountedPasskey> = {}): CountedPasskey => ({
  v: 1,
  person: OLIVIA,
  credentialId,
  publicKey: 'c3BraQ',
  algorithm: -7,
  transports: ['internal'],
  handle: 'aGFuZGxl',
  name: 'laptop',
  registeredAt: NOON,
  counter: 3,
  ...more,
})

export function passkeysContract(make: () => Promise<Passkeys>): void {
  let passkeys: Passkeys
  beforeEach(async () => {
    passkeys = await make()
  })

  it('gives back exactly what was added, oldest first, and nobody else’s', async () => {
    const [one, two] = [passkeyOf('one', { registeredAt: after(NOON, minutes(1)) }), passkeyOf('two')]
    expect(await passkeys.of(OLIVIA)).toEqual([])
    expect([await passkeys.add(one), await passkeys.add(two)]).toEqual([true, true])
    await passkeys.add(passkeyOf('three', { person: LENA }))
    expect(await passkeys.of(OLIVIA)).toEqual([two, one])
    expect((await passkeys.of(LENA)).map(({ credentialId }) => credentialId)).toEqual(['three'])
  })

  it('adds one once: it is neither doubled nor replaced, whoever comes at the same time', async () => {
    const added = await Promise.all(
      ['YQ', 'Yg', 'Yw'].map((publicKey) => passkeys.add(passkeyOf('one', { publicKey }))),
    )
    expect(added.filter((first) => first)).toHaveLength(1)
    const [kept] = await passkeys.of(OLIVIA)
    expect(kept?.publicKey).toBe(['YQ', 'Yg', 'Yw'][added.indexOf(true)])
  })

  it('counts only upwards, and one of two uses with the same count', async () => {
    await passkeys.add(passkeyOf('one'))
    expect(await passkeys.count(OLIVIA, 'one', 3)).toBe(false)
    const two = await Promise.all([passkeys.count(OLIVIA, 'one', 4), passkeys.count(OLIVIA, 'one', 4)])
    expect(two.filter((first) => first)).toHaveLength(1)
    expect([await passkeys.count(OLIVIA, 'one', 2), await passkeys.count(OLIVIA, 'one', 0)]).toEqual([false, false])
    expect(await passkeys.count(OLIVIA, 'one', 4_294_967_295)).toBe(true)
    expect((await passkeys.of(OLIVIA))[0]?.counter).toBe(4_294_967_295)
  })

  it('takes one that counts nothing any number of times, until it counts', async () => {
    await passkeys.add(passkeyOf('one', { counter: 0 }))
    expect([await passkeys.count(OLIVIA, 'one', 0), await passkeys.count(OLIVIA, 'one', 0)]).toEqual([true, true])
    expect(await passkeys.count(OLIVIA, 'one', 1)).toBe(true)
    expect(await passkeys.count(OLIVIA, 'one', 0)).toBe(false)
  })

  it('removes one for good: it is gone, cannot be counted, and is not removed twice', async () => {
    await passkeys.add(passkeyOf('one'))
    expect([await passkeys.remove(LENA, 'one'), await passkeys.remove(OLIVIA, 'one')]).toEqual([false, true])
    expect(await passkeys.of(OLIVIA)).toEqual([])
    expect(await passkeys.count(OLIVIA, 'one', 9)).toBe(false)
    expect(await passkeys.remove(OLIVIA, 'one')).toBe(false)
  })
}

export interface CeremoniesUnderTest {
  readonly ceremonies: Ceremonies
  /** Resolves when so much time has passed. */
  pass(span: Duration): Promise<void>
}

export function ceremoniesContract(make: () => Promise<CeremoniesUnderTest>): void {
  let under: CeremoniesUnderTest
  beforeEach(async () => {
    under = await make()
  })

  it('can be looked at any number of times, and is still there', async () => {
    const { ceremonies } = under
    await ceremonies.keep('hash', 'value', minutes(5))
    expect([await ceremonies.read('hash'), await ceremonies.read('hash')]).toEqual(['value', 'value'])
    expect(await ceremonies.read('other')).toBeUndefined()
  })

  it('is taken once, by one of fifty at the same time', async () => {
    const { ceremonies } = under
    await ceremonies.keep('hash', 'value', minutes(5))
    const taken = await Promise.all(Array.from({ length: 50 }, () => ceremonies.take('hash')))
    expect(taken.filter((value) => value === 'value')).toHaveLength(1)
    expect(taken.filter((value) => value === undefined)).toHaveLength(49)
    expect(await ceremonies.read('hash')).toBeUndefined()
  })

  it('is gone when its time is over', async () => {
    const { ceremonies, pass } = under
    await ceremonies.keep('hash', 'value', seconds(1))
    await pass(seconds(1))
    expect([await ceremonies.read('hash'), await ceremonies.take('hash')]).toEqual([undefined, undefined])
  })
}
