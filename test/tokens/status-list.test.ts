// Signed status lists, read by libraries that are not ours: jose for the signature, the OpenWallet Foundation's for the content.
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import type { StatusLists } from '../../src/broker/ports.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { named, shard } from '../../src/domain/ids.ts'
import { after, type Duration, milliseconds, minutes, seconds } from '../../src/domain/instant.ts'
import { reveal } from '../../src/domain/secret.ts'
import { type ListName, printList } from '../../src/domain/status-list.ts'
import { jwks } from '../../src/tokens/jwks.ts'
import { rotate } from '../../src/tokens/key-ring.ts'
import { tokenSigner } from '../../src/tokens/sign.ts'
import { signedLists } from '../../src/tokens/status-list.ts'
import { freshRing, NOON } from '../support/keys.ts'
import { AUDIENCE, deployGrant, digestOf } from '../support/token-grants.ts'

const ISSUER = 'https://writ.example'
const LIST: ListName = { shard: shard(0), block: 0 }
const NAME = printList(LIST)
const TTL = seconds(30)

async function under(ttl: Duration = TTL) {
  let now = NOON
  const { ring, folder } = await freshRing(() => now)
  const lists = new Map([[NAME, Buffer.alloc(8)]])
  const state = {
    reads: 0,
    failing: undefined as BrokerError | undefined,
    slow: undefined as Promise<void> | undefined,
  }
  const port: StatusLists = {
    live: async (list) => {
      state.reads += 1
      const { failing } = state
      state.failing = undefined
      if (failing !== undefined) throw failing
      const read = lists.get(printList(list))
      const answer = read && Buffer.from(read)
      await state.slow
      return answer
    },
    all: async () => [LIST, { shard: shard(0), block: 3 }],
  }
  const signed = signedLists({ lists: port, ring, issuer: ISSUER, now: () => now, ttl })
  const token = async (name = NAME) => (await signed.list(name))?.token ?? ''
  return {
    ring,
    folder,
    signed,
    state,
    token,
    statusOf: async (idx: number) => getListFromStatusListJWT(await token()).getStatus(idx),
    set: (idx: number, live: boolean) => {
      const bits = lists.get(NAME) ?? Buffer.alloc(8)
      const bit = 128 >> (idx & 7)
      bits[idx >> 3] = live ? (bits[idx >> 3] ?? 0) | bit : (bits[idx >> 3] ?? 0) & ~bit
      lists.set(NAME, bits)
    },
    pass: (span: Duration) => {
      now = after(now, span)
    },
    verified: async (text: string, at = now) =>
      jwtVerify(text, createLocalJWKSet({ keys: jwks(ring, now).document.keys.map((key) => ({ ...key })) }), {
        typ: 'statuslist+jwt',
        algorithms: ['ES256'],
        issuer: ISSUER,
        subject: `${ISSUER}/status/${NAME}`,
        requiredClaims: ['sub', 'iat', 'exp', 'ttl', 'status_list'],
        currentDate: new Date(at),
      }),
  }
}
const iatOf = (text: string): number => decodeJwt(text).iat ?? 0

describe('a signed status list', () => {
  it('is one that others verify with our published keys, and says until when it counts', async () => {
    const { token, verified } = await under()
    const { payload, protectedHeader } = await verified(await token())
    expect(Object.keys(protectedHeader).sort()).toEqual(['alg', 'kid', 'typ'])
    const { status_list, ...claims } = payload
    expect(claims).toEqual({
      iss: ISSUER,
      sub: `${ISSUER}/status/${NAME}`,
      iat: NOON / 1_000,
      exp: NOON / 1_000 + 60,
      ttl: 30,
    })
    expect(status_list).toEqual({ bits: 2, lst: expect.stringMatching(/^[A-Za-z0-9_-]+$/) })
    expect((await token()).length).toBeLessThan(1_000)
  })

  it('says of a token what the store says of its grant, by the place that the token names', async () => {
    const { ring, set, statusOf } = await under()
    const facts = {
      grant: deployGrant(),
      audience: AUDIENCE,
      subject: named.principal('webshop-deploy'),
      jti: 'jti-1',
      issuedAt: NOON,
      notBefore: NOON,
      expiresAt: after(NOON, minutes(15)),
      policyDigest: digestOf('y'),
    }
    const issued = reveal(await tokenSigner({ ring, issuer: ISSUER, statusTtl: TTL }).sign(facts, undefined))
    const { idx, uri } = getStatusListFromJWT(issued)
    expect([idx, uri]).toEqual([deployGrant().born, `${ISSUER}/status/${NAME}`])
    expect(await statusOf(idx)).toBe(1)
    set(idx, true)
    expect([await statusOf(idx), await statusOf(idx + 1)]).toEqual([0, 1])
    set(idx, false)
    expect(await statusOf(idx)).toBe(1)
  })

  it('is signed again at once when it has changed, and otherwise when half of its ttl has passed', async () => {
    const { token, pass, set, verified } = await under()
    const first = await token()
    expect(await token()).toBe(first)
    pass(milliseconds(14_999))
    expect(await token()).toBe(first)
    set(5, true)
    const changed = await token()
    expect(iatOf(changed)).toBe(NOON / 1_000 + 14)
    expect(await token()).toBe(changed)
    pass(seconds(15))
    const again = await token()
    expect(iatOf(again)).toBe(NOON / 1_000 + 29)
    // Whoever has just got one may keep it for its ttl without it expiring in their hands.
    for (const text of [first, changed, again]) await verified(text, after(NOON, seconds(44)))
  })

  it('may be kept for so long that nobody is further behind than its ttl, and expires for everybody at twice that', async () => {
    for (const ttl of [seconds(1), seconds(2), seconds(30), seconds(3_600)]) {
      const { signed, pass, verified, set } = await under(ttl)
      const began = NOON
      set(1, true)
      for (let passed = 0; passed < ttl; passed += ttl / 4) {
        const { token, maxAgeSeconds } = (await signed.list(NAME)) ?? { token: '', maxAgeSeconds: -1 }
        const now = began + passed
        expect(Number.isInteger(maxAgeSeconds) && maxAgeSeconds >= 0).toBe(true)
        expect(Math.floor(now / 1_000) + maxAgeSeconds).toBeLessThanOrEqual(iatOf(token) + ttl / 1_000)
        pass((ttl / 4) as Duration)
      }
      const last = (await signed.list(NAME))?.token ?? ''
      const end = iatOf(last) * 1_000 + 2 * ttl
      await verified(last, (end - 1) as typeof NOON)
      await expect(verified(last, end as typeof NOON)).rejects.toThrow(/exp/)
    }
  })

  it('is signed by the key that signs at its time, and verifies through every rotation', async () => {
    const { ring, folder, token, pass, verified } = await under()
    const kids = new Set<string | undefined>()
    for (let n = 0; n < 3; n += 1) {
      kids.add((await verified(await token())).protectedHeader.kid)
      await rotate(folder, { now: after(NOON, minutes(20 * n)) })
      await ring.reload()
      pass(minutes(20))
    }
    expect(kids.size).toBe(3)
  })

  it('is not signed anew because the key folder was read again', async () => {
    const { ring, token } = await under()
    const first = await token()
    await ring.reload()
    expect(await token()).toBe(first)
  })

  it('is none where the store has none, whatever is asked for', async () => {
    const { signed, state } = await under()
    expect(await signed.list('0-1')).toBeUndefined()
    const before = state.reads
    for (const name of ['', 'x', '0-01', '../0-0', '0-0 ', '%30-0']) expect(await signed.list(name)).toBeUndefined()
    expect(state.reads).toBe(before)
  })

  it('is not told while the store does not answer, however lately it was signed', async () => {
    const { signed, state, token } = await under()
    await token()
    state.failing = new BrokerError('recovering', 'behind')
    await expect(signed.list(NAME)).rejects.toMatchObject({ code: 'recovering' })
    expect(await token()).not.toBe('')
  })

  it('is read for nobody from before they asked, and never twice at a time', async () => {
    const { state, set, statusOf } = await under()
    let go = () => {}
    state.slow = new Promise((resolve) => {
      go = resolve
    })
    set(3, true)
    const early = statusOf(3)
    await Promise.resolve()
    set(3, false)
    const late = Array.from({ length: 100 }, () => statusOf(3))
    expect(state.reads).toBe(1)
    go()
    expect([await early, new Set(await Promise.all(late)), state.reads]).toEqual([0, new Set([1]), 2])
    expect(await statusOf(3)).toBe(1)
  })

  it('goes on being read after a reading that failed, also for those who waited behind it', async () => {
    const { state, statusOf } = await under()
    state.failing = new BrokerError('store_unavailable', 'no')
    const first = statusOf(3)
    const second = statusOf(3)
    await expect(first).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(second).resolves.toBe(1)
    expect(await statusOf(3)).toBe(1)
  })

  it('is named among all', async () => {
    const { signed } = await under()
    expect(await signed.uris()).toEqual([`${ISSUER}/status/0-0`, `${ISSUER}/status/0-3`])
  })
})
