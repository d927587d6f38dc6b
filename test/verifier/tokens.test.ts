// What a token must be to count: the attack corpus. Every row is a token that somebody may try, signed or forged, and what it is refused as.
import { createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { planDigest, type Verdict, type Verifier } from '../../src/verifier/index.ts'
import { type ContractBroker, contractBroker, signingKey } from '../support/contract-broker.ts'
import { type Holder, holder, PUBLIC_URL, verifierAt } from '../support/verified.ts'

let broker: ContractBroker
let writ: Verifier
beforeAll(async () => {
  broker = await contractBroker()
  writ = verifierAt(broker, { reports: false })
})
afterAll(async () => {
  await writ.close()
  await broker.stop()
})

const code = (verdict: Verdict): string => (verdict.ok ? 'ok' : verdict.code)
const present = (token: string) => ({
  method: 'GET',
  target: '/',
  authorization: [`DPoP ${token}`],
  dpop: [],
})
const b64 = (value: unknown): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))).toString(
    'base64url',
  )
/** Header and claims as texts, signed with the broker's own key: what a broken or stolen signer might write. */
const signedText = (header: unknown, claims: unknown): string => {
  const input = `${b64(header)}.${b64(claims)}`
  const key = { key: broker.key.privateKey, dsaEncoding: 'ieee-p1363' as const }
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
}
const header = () => ({ alg: 'ES256', typ: 'at+jwt', kid: broker.key.kid })
const seconds = (from = 0): number => Math.floor(Date.now() / 1_000) + from

describe('a good token with its proof', () => {
  it('is accepted, and says what was approved', async () => {
    const one = await holder(broker)
    const verdict = await writ.verify(await one.request())
    expect(verdict).toMatchObject({
      ok: true,
      credential: {
        grant: one.grant,
        subject: 'vera',
        executor: 'vera',
        jkt: one.key.jkt,
        actions: ['deploy'],
        planDigest: `sha-256:${'p'.repeat(43)}`,
        ticket: 'servicenow:CHG0031337',
      },
    })
  })

  it('is accepted with a key of Ed25519 too', async () => {
    const one = await holder(broker, {}, 'EdDSA')
    expect(code(await writ.verify(await one.request()))).toBe('ok')
  })
})

describe('a token is refused', () => {
  const rows: readonly (readonly [what: string, as: string, make: (one: Holder) => Promise<string> | string])[] = [
    ['that is none', 'bad_token', () => 'nonsense'],
    ['that is empty between its dots', 'bad_token', () => '..'],
    ['with alg none', 'bad_token', () => `${b64({ ...header(), alg: 'none' })}.${b64(broker.claims())}.`],
    ['with alg none and a signature', 'bad_token', () => signedText({ ...header(), alg: 'none' }, broker.claims())],
    [
      'with HMAC by the public key',
      'bad_token',
      () => {
        const input = `${b64({ ...header(), alg: 'HS256' })}.${b64(broker.claims())}`
        return `${input}.${createHmac('sha256', JSON.stringify(broker.key.jwk)).update(input).digest('base64url')}`
      },
    ],
    ['with another alg in its header', 'bad_token', () => signedText({ ...header(), alg: 'ES384' }, broker.claims())],
    ['of another type: a JWT', 'bad_token', () => broker.token({}, { typ: 'JWT' })],
    ['of another type: a DPoP proof', 'bad_token', () => broker.token({}, { typ: 'dpop+jwt' })],
    ['of another type: a status list', 'bad_token', () => broker.token({}, { typ: 'statuslist+jwt' })],
    ['of another spelling of its type', 'bad_token', () => broker.token({}, { typ: 'application/at+jwt' })],
    ['without a type', 'bad_token', () => signedText({ alg: 'ES256', kid: broker.key.kid }, broker.claims())],
    ['without a kid', 'bad_token', () => signedText({ alg: 'ES256', typ: 'at+jwt' }, broker.claims())],
    ['with a kid that is a path', 'bad_token', () => broker.token({}, { kid: '../../dev/null' })],
    ['with a kid that is a member of every object', 'bad_token', () => broker.token({}, { kid: '__proto__' })],
    ['with jku', 'bad_token', () => broker.token({}, { jku: 'https://evil.example/jwks' })],
    ['with its own key', 'bad_token', () => broker.token({}, { jwk: broker.key.jwk })],
    ['with crit', 'bad_token', () => signedText({ ...header(), crit: ['exp'] }, broker.claims())],
    ['with b64', 'bad_token', () => signedText({ ...header(), b64: false }, broker.claims())],
    [
      'with a header member twice',
      'bad_token',
      () => signedText(`{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"${broker.key.kid}"}`, broker.claims()),
    ],
    [
      'with a claim twice',
      'bad_token',
      () => signedText(header(), JSON.stringify(broker.claims()).replace('{', '{"sub":"root",')),
    ],
    ['with claims that are a list', 'bad_token', () => signedText(header(), '[]')],
    [
      'with claims that are not UTF-8',
      'bad_token',
      () => signedText(header(), Buffer.from(JSON.stringify(broker.claims({ sub: 'é' })), 'latin1')),
    ],
    ['longer than 8 KB', 'bad_token', () => broker.token({ more: 'x'.repeat(9_000) })],
    ['signed by a key that nobody publishes', 'bad_token', async () => broker.token({}, {}, await signingKey())],
    [
      'signed by another key under the kid of ours',
      'bad_token',
      async () => broker.token({}, { kid: broker.key.kid }, await signingKey()),
    ],
    [
      'signed with RS256',
      'bad_token',
      () => {
        const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
        const input = `${b64({ ...header(), alg: 'RS256' })}.${b64(broker.claims())}`
        return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`
      },
    ],
    ['of another issuer', 'bad_token', () => broker.token({ iss: 'https://evil.example' })],
    ['of the issuer with a slash', 'bad_token', () => broker.token({ iss: `${broker.issuer}/` })],
    ['for another audience', 'wrong_audience', () => broker.token({ aud: 'https://desk.northwind.example' })],
    [
      'for two audiences',
      'wrong_audience',
      () => broker.token({ aud: [broker.claims().aud, 'https://other.example'] }),
    ],
    ['for a list of one audience', 'wrong_audience', () => broker.token({ aud: [broker.claims().aud] })],
    [
      'for an audience of another case',
      'wrong_audience',
      () => broker.token({ aud: String(broker.claims().aud).toUpperCase() }),
    ],
    ['that has expired', 'expired', () => broker.token({ iat: seconds(-400), nbf: seconds(-400), exp: seconds(-10) })],
    ['that begins later', 'not_yet_valid', () => broker.token({ iat: seconds(), nbf: seconds(60), exp: seconds(120) })],
    [
      'that was issued in the future',
      'not_yet_valid',
      () => broker.token({ iat: seconds(60), nbf: seconds(-9), exp: seconds(120) }),
    ],
    ['that ended before it began', 'bad_token', () => broker.token({ iat: seconds(), exp: seconds(-1) })],
    ['that lives longer than a day', 'bad_token', () => broker.token({ exp: seconds(90_000) })],
    ['with times that are texts', 'bad_token', () => broker.token({ exp: String(seconds(60)) })],
    ['with times that are fractions', 'bad_token', () => broker.token({ exp: seconds(60) + 0.5 })],
    ['with a time beyond every date', 'bad_token', () => broker.token({ exp: 1e300 })],
    ['whose window has closed', 'outside_window', () => broker.token(windowed(-600, -60))],
    ['whose window opens later', 'outside_window', () => broker.token(windowed(60, 600))],
    ['bound to something else', 'bad_token', () => broker.token({ cnf: { 'x5t#S256': 'a'.repeat(43) } })],
    ['bound to a key and something else', 'bad_token', (one) => broker.token({ cnf: { jkt: one.key.jkt, kid: 'x' } })],
    ['bound to nothing', 'bad_token', () => broker.token({ cnf: {} })],
    ['whose grant is not the one of the transaction', 'bad_token', () => broker.token(otherGrant())],
    ['that grants two things', 'bad_token', () => broker.token(twoDetails())],
    ['that grants something for another audience', 'bad_token', () => broker.token(elsewhere())],
    ...[
      'iss',
      'sub',
      'exp',
      'iat',
      'nbf',
      'jti',
      'txn',
      'client_id',
      'authorization_details',
      'https://writ.dev/claims/grant',
    ].map((claim) => [`without ${claim}`, 'bad_token', () => broker.token({ [claim]: undefined })] as const),
    ['without aud', 'wrong_audience', () => broker.token({ aud: undefined })],
  ]
  const windowed = (from: number, until: number) => {
    const claims = broker.claims()
    const [detail] = claims.authorization_details as Record<string, unknown>[]
    const at = (offset: number) => new Date(seconds(offset) * 1_000).toISOString()
    return { ...claims, authorization_details: [{ ...detail, window: { opensAt: at(from), closesAt: at(until) } }] }
  }
  const otherGrant = () => ({ ...broker.claims(), txn: `g0-${randomUUID()}` })
  const twoDetails = () => {
    const claims = broker.claims()
    const details = claims.authorization_details as unknown[]
    return { ...claims, authorization_details: [...details, ...details] }
  }
  const elsewhere = () => {
    const claims = broker.claims()
    const [detail] = claims.authorization_details as Record<string, unknown>[]
    return { ...claims, authorization_details: [{ ...detail, locations: ['https://desk.northwind.example'] }] }
  }

  it.each(rows)('%s: %s', async (_what, as, make) => {
    const one = await holder(broker)
    // Every row with a proof of its own too: the refusal is the token's.
    const token = await make(one)
    const before = broker.asked.filter((path) => path.includes('introspect')).length
    expect(code(await writ.verify(present(token)))).toBe(as)
    expect(broker.asked.filter((path) => path.includes('introspect')).length).toBe(before)
  })

  it('for a single bit of its text, wherever it stands', async () => {
    const bearer = verifierAt(broker, { acceptBearer: true, reports: false })
    const token = await broker.token()
    const asBearer = (text: string) => bearer.verify({ ...present(text), authorization: [`Bearer ${text}`] })
    expect(code(await asBearer(token))).toBe('ok')
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const accepted: string[] = []
    for (let at = 0; at < token.length; at += 1) {
      const value = letters.indexOf(token[at] ?? '')
      if (value < 0) continue
      for (const bit of [1, 32]) {
        const mutant = `${token.slice(0, at)}${letters[value ^ bit]}${token.slice(at + 1)}`
        if (code(await asBearer(mutant)) === 'ok') accepted.push(mutant)
      }
    }
    expect(accepted).toEqual([])
    await bearer.close()
  })

  it('in every other place and form than one Authorization field', async () => {
    const one = await holder(broker)
    const good = await one.request()
    for (const [authorization, as] of [
      [[], 'no_token'],
      [[good.authorization[0], good.authorization[0]], 'bad_token'],
      [[`${good.authorization[0]}, Bearer x`], 'bad_token'],
      [['Basic dzp3'], 'bad_token'],
      [['DPoP'], 'bad_token'],
      [[one.token], 'bad_token'],
    ] as const)
      expect(code(await writ.verify({ ...good, authorization: authorization as readonly string[] }))).toBe(as)
  })
})

describe('the plan', () => {
  const plan = 'CREATE TABLE settlement (id int)'
  const withPlan = (digest: string | undefined) => {
    const claims = broker.claims()
    return {
      ...claims,
      'https://writ.dev/claims/grant': { ...Object(claims['https://writ.dev/claims/grant']), plan_digest: digest },
    }
  }
  const one = async (digest: string | undefined) => {
    const claims = withPlan(digest)
    return await holder(broker, { ...claims })
  }

  it('that was approved is carried out, and no other one', async () => {
    const approved = await one(planDigest(plan))
    const verify = async (asked: string | (() => string)) =>
      code(await writ.verify(await approved.request(), { plan: asked }))
    expect(await verify(planDigest(plan))).toBe('ok')
    expect(await verify(() => planDigest(plan))).toBe('ok')
    expect(await verify(planDigest(`${plan};DROP TABLE ledger`))).toBe('wrong_plan')
    expect(await verify(() => undefined as unknown as string)).toBe('wrong_plan')
    expect(
      await verify(() => {
        throw new Error('the body was no plan')
      }),
    ).toBe('wrong_plan')
  })

  it('must be in the token where one is wanted', async () => {
    const none = await one(undefined)
    expect(code(await writ.verify(await none.request(), { plan: 'undefined' }))).toBe('wrong_plan')
    expect(code(await writ.verify(await none.request()))).toBe('ok')
  })

  it('is not reckoned for whoever has no good token and proof', async () => {
    let reckoned = 0
    const reckon = () => {
      reckoned += 1
      return planDigest(plan)
    }
    const approved = await one(planDigest(plan))
    const good = await approved.request()
    await writ.verify({ ...good, dpop: [] }, { plan: reckon })
    await writ.verify(present('nonsense'), { plan: reckon })
    expect(reckoned).toBe(0)
    expect(code(await writ.verify(good, { plan: reckon }))).toBe('ok')
    expect(reckoned).toBe(1)
  })

  it('takes no time that the token has not: what expired meanwhile is refused', async () => {
    let now = Date.now()
    const slow = verifierAt(broker, {
      now: () => now,
      reports: false,
      revocation: { by: 'status', maxStaleness: 3_600_000 },
    })
    const approved = await one(planDigest(plan))
    const verdict = await slow.verify(await approved.request(), {
      plan: async () => {
        now += 305_000
        return planDigest(plan)
      },
    })
    expect(code(verdict)).toBe('expired')
    await slow.close()
  })
})

it('an action that was not granted is refused', async () => {
  const one = await holder(broker)
  expect(code(await writ.verify(await one.request(), { needs: 'deploy' }))).toBe('ok')
  expect(code(await writ.verify(await one.request(), { needs: 'delete' }))).toBe('not_granted')
})

describe('keys', () => {
  const once = async (over: Parameters<typeof verifierAt>[1]) => {
    const other = verifierAt(broker, { reports: false, ...over })
    const verdict = await other.verify(await (await holder(broker)).request())
    await other.close()
    return code(verdict)
  }
  const answered = async (jwks: () => unknown) => {
    const { jwks: before } = broker.state
    broker.state.jwks = jwks
    return await once({}).finally(() => {
      broker.state.jwks = before
    })
  }

  it('that were handed in are good, and nobody asks for others', async () => {
    const { jwk, kid } = broker.key
    const before = broker.asked.filter((path) => path.includes('jwks')).length
    expect(await once({ keys: { set: { keys: [{ ...jwk, kid }] } } })).toBe('ok')
    expect(broker.asked.filter((path) => path.includes('jwks')).length).toBe(before)
  })

  it('that cannot be had, or are a set that cannot be used, refuse as not known', async () => {
    const { jwk, kid } = broker.key
    const one = { ...jwk, kid, alg: 'ES256', use: 'sig' }
    expect(await answered(() => ({ keys: [one] }))).toBe('ok')
    for (const jwks of [
      'nonsense',
      {},
      { keys: [] },
      { keys: [one, one] },
      { keys: [{ ...one, d: 'x' }] },
      { keys: Array.from({ length: 21 }, (_, n) => ({ ...one, kid: `k${n}` })) },
      { keys: [{ ...one, alg: 'RS256' }] },
      { keys: [one], more: 'x'.repeat(70_000) },
    ])
      expect([JSON.stringify(jwks).slice(0, 60), await answered(() => jwks)]).toEqual([expect.anything(), 'stale'])
  })

  it('are asked for once by many who come at once, and not again for a kid that nobody knows', async () => {
    const other = verifierAt(broker, { reports: false })
    const count = () => broker.asked.filter((path) => path.includes('jwks')).length
    const before = count()
    const one = await holder(broker)
    await Promise.all(Array.from({ length: 20 }, async () => other.verify(await one.request())))
    expect(count()).toBe(before + 1)
    const stranger = await signingKey()
    for (let n = 0; n < 20; n += 1)
      expect(code(await other.verify(present(await broker.token({}, {}, stranger))))).toBe('bad_token')
    expect(count()).toBe(before + 1)
    await other.close()
  })

  it('are used no more when they have not been read for a quarter of an hour', async () => {
    let shift = 0
    const other = verifierAt(broker, {
      reports: false,
      now: () => Date.now() + shift,
      monotonic: () => performance.now() + shift,
    })
    const fresh = async () => {
      broker.state.ahead = shift
      const one = await holder(broker)
      return code(await other.verify(await one.request({ iat: seconds(shift / 1_000) })))
    }
    expect(await fresh()).toBe('ok')
    broker.state.only = { '/oauth2/jwks': 500 }
    shift = 14 * 60_000
    expect(await fresh()).toBe('ok')
    shift = 16 * 60_000
    expect(await fresh()).toBe('stale')
    broker.state.only = {}
    // A second after the failure they are asked for again.
    shift += 1_000
    expect(await fresh()).toBe('ok')
    broker.state.ahead = 0
    await other.close()
  })
})

describe('options that cannot be meant', () => {
  it.each([
    ['plain http to another host', { issuer: 'http://writ.example.com' }],
    ['an issuer with a slash', { issuer: 'https://writ.example.com/' }],
    ['a user in the URL', { issuer: 'https://me:pw@writ.example.com' }],
    ['a tolerance of more than 5 s', { tolerance: 6_000 }],
    ['no audience', { audience: [] }],
    ['a public URL with a query', { publicUrl: `${PUBLIC_URL}/?x=1` }],
    ['a feed without a client key', { client: undefined, revocation: { by: 'feed' } }],
    ['introspection without a client key', { client: undefined }],
    ['a staleness of nothing', { revocation: { by: 'feed', maxStaleness: 0 } }],
    ['a staleness that is no number', { revocation: { by: 'status', maxStaleness: Number.NaN } }],
    ['an instance with a space', { revocation: { by: 'feed', instance: 'a b' } }],
    ['knowledge by nothing', { revocation: { by: 'hope' } }],
  ] as const)('are refused at once: %s', (_what, over) => {
    expect(() => verifierAt(broker, over as never)).toThrow()
  })
})
