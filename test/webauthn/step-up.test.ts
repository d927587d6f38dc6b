// What an exchange believes of a passkey: exactly one text, signed here, by a user whom the authenticator verified. Everything else is a no.
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Assertion, PASSKEY_ALGORITHMS } from '../../src/domain/assertion.ts'
import { stepUp } from '../../src/webauthn/step-up.ts'
import { FLAGS, softPasskey, type Wrong } from '../support/authenticator.ts'

const HERE = 'https://writ.example'
const TEXT = '{"at":1,"by":"olivia","typ":"writ/decision/v1"}'
const { check } = stepUp(HERE)
const UP_UV = FLAGS.present | FLAGS.verified
const b64 = (text: string) => Buffer.from(text).toString('base64url')

describe('a passkey’s assertion', () => {
  it.each(PASSKEY_ALGORITHMS)('holds for exactly its text, with algorithm %d', (algorithm) => {
    const passkey = softPasskey(HERE, algorithm)
    const assertion = passkey.assertion(TEXT)
    expect(check(TEXT, assertion)).toBe(true)
    expect(check(TEXT, JSON.parse(JSON.stringify(assertion)))).toBe(true)
    expect(check(TEXT.replace('olivia', 'lena'), assertion)).toBe(false)
    expect(check(`${TEXT} `, assertion)).toBe(false)
  })

  it('holds with a backed up key, with extensions, and for a broker on a port of its own', () => {
    const passkey = softPasskey(HERE)
    const backed = UP_UV | FLAGS.eligible | FLAGS.backedUp
    expect(check(TEXT, passkey.assertion(TEXT, { flags: backed }))).toBe(true)
    expect(check(TEXT, passkey.assertion(TEXT, { flags: UP_UV | FLAGS.extended, tail: Buffer.of(0xa0) }))).toBe(true)
    const local = 'http://localhost:8443'
    expect(stepUp(local).check(TEXT, softPasskey(local).assertion(TEXT))).toBe(true)
  })

  const WRONG: readonly (readonly [string, Wrong])[] = [
    ['of another ceremony', { clientData: { type: 'webauthn.create' } }],
    ['of a payment', { clientData: { type: 'payment.get' } }],
    ['over another challenge', { clientData: { challenge: b64('another') } }],
    ['over the text itself', { clientData: { challenge: b64(TEXT) } }],
    ['without a challenge', { clientData: { challenge: undefined } }],
    ['from another origin', { clientData: { origin: 'https://evil.example' } }],
    ['from another port', { clientData: { origin: `${HERE}:8443` } }],
    ['from http', { clientData: { origin: 'http://writ.example' } }],
    ['from a subdomain', { clientData: { origin: 'https://a.writ.example' } }],
    ['from a list of origins', { clientData: { origin: [HERE] } }],
    ['from a foreign frame', { clientData: { crossOrigin: true } }],
    ['from a frame that says so in words', { clientData: { crossOrigin: 'true' } }],
    ['from below another page', { clientData: { topOrigin: 'https://evil.example' } }],
    ['for another relying party', { rpId: 'evil.example' }],
    ['for the parent domain', { rpId: 'example' }],
    ['without a user present', { flags: FLAGS.verified }],
    ['without its user verified', { flags: FLAGS.present }],
    ['without any flag', { flags: 0 }],
    ['with a new credential in it', { flags: UP_UV | FLAGS.attested, tail: Buffer.alloc(60) }],
    ['that is backed up and cannot be', { flags: UP_UV | FLAGS.backedUp }],
    ['with bytes that no flag announces', { tail: Buffer.of(0xa0) }],
    ['with extensions that are not there', { flags: UP_UV | FLAGS.extended }],
  ]
  it.each(WRONG)('does not hold %s', (_, wrong) => {
    expect(check(TEXT, softPasskey(HERE).assertion(TEXT, wrong))).toBe(false)
  })

  it('does not hold when any of its bytes was altered, or any member is missing, of another kind, or spelled otherwise', () => {
    const assertion = softPasskey(HERE).assertion(TEXT)
    const other = softPasskey(HERE).assertion(TEXT)
    for (const member of ['authenticatorData', 'clientDataJSON', 'signature', 'publicKey'] as const) {
      const bytes = Buffer.from(assertion[member], 'base64url')
      for (let at = 0; at < bytes.length; at++) {
        const flipped = Buffer.from(bytes)
        flipped[at] = (flipped[at] ?? 0) ^ 1
        const altered = { ...assertion, [member]: flipped.toString('base64url') }
        // A flipped bit in the header of a key may spell the same key otherwise.
        if (member === 'publicKey' && isSameKey(altered.publicKey, assertion.publicKey)) continue
        expect([member, at, check(TEXT, altered)]).toEqual([member, at, false])
      }
      for (const value of [
        '',
        '=',
        `${assertion[member]}=`,
        `${assertion[member]}\n`,
        ` ${assertion[member]}`,
        other[member],
      ]) {
        if (value === assertion[member]) continue
        const moved = { ...assertion, [member]: value }
        const isOthers = value === other[member] && member === 'clientDataJSON'
        expect([member, value, isOthers || check(TEXT, moved)]).toEqual([member, value, isOthers])
      }
      for (const value of [undefined, null, 7, [], {}, ['a']])
        expect([member, check(TEXT, { ...assertion, [member]: value } as unknown as Assertion)]).toEqual([
          member,
          false,
        ])
    }
    for (const credentialId of ['', '=', 7, undefined])
      expect(check(TEXT, { ...assertion, credentialId } as unknown as Assertion)).toBe(false)
    for (const nothing of [undefined, null, {}, [], 'x'])
      expect(check(TEXT, nothing as unknown as Assertion)).toBe(false)
  })

  it('does not hold under another person’s key', () => {
    const assertion = softPasskey(HERE).assertion(TEXT)
    const { publicKey } = softPasskey(HERE)
    expect(check(TEXT, { ...assertion, publicKey })).toBe(false)
  })

  it('does not hold when its key is passed off as one of another algorithm, curve or strength', () => {
    for (const algorithm of PASSKEY_ALGORITHMS) {
      const assertion = softPasskey(HERE, algorithm).assertion(TEXT)
      for (const other of [...PASSKEY_ALGORITHMS, -35, -37, -65_535, 0, -7.5, undefined] as const) {
        const renamed = { ...assertion, algorithm: other } as Assertion
        expect([algorithm, other, check(TEXT, renamed)]).toEqual([algorithm, other, other === algorithm])
      }
    }
    const assertion = softPasskey(HERE).assertion(TEXT)
    const keys = [
      generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
      generateKeyPairSync('rsa', { modulusLength: 1_024 }),
      generateKeyPairSync('ed448'),
    ]
    for (const { publicKey } of keys) {
      const spki = publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
      for (const algorithm of PASSKEY_ALGORITHMS)
        expect(check(TEXT, { ...assertion, publicKey: spki, algorithm })).toBe(false)
    }
  })

  it('does not hold over text that has no UTF-8 of its own, nor with client data that is no JSON object', () => {
    const passkey = softPasskey(HERE)
    expect(check('a\ud800', passkey.assertion('a\ud800'))).toBe(false)
    expect(check('a\ufffd', passkey.assertion('a\ud800'))).toBe(true)
    const assertion = passkey.assertion(TEXT)
    for (const text of ['null', '[]', '"x"', '', '{', `\ufeff${Buffer.from(assertion.clientDataJSON, 'base64url')}`])
      expect(check(TEXT, { ...assertion, clientDataJSON: b64(text) })).toBe(false)
  })
})

const isSameKey = (one: string, other: string): boolean => {
  const jwk = (spki: string) =>
    JSON.stringify(
      createPublicKey({ key: Buffer.from(spki, 'base64url'), format: 'der', type: 'spki' }).export({ format: 'jwk' }),
    )
  try {
    return jwk(one) === jwk(other)
  } catch {
    return false
  }
}
