// What the relying party takes from a browser, and what it refuses. What it lets through, the check of every later exchange lets through too.
import { describe, expect, it } from 'vitest'
import { PASSKEY_ALGORITHMS, type PasskeyAlgorithm } from '../../src/domain/assertion.ts'
import type { CountedPasskey } from '../../src/domain/passkey.ts'
import { knowsPasskeys, relyingParty } from '../../src/webauthn/relying-party.ts'
import { stepUp } from '../../src/webauthn/step-up.ts'
import { passkeyOf } from '../contracts/passkeys.ts'
import { FLAGS, type SoftPasskey, softPasskey, type Wrong } from '../support/authenticator.ts'
import { codeOf } from '../support/code-of.ts'

const HERE = 'https://writ.example'
const TEXT = '{"typ":"writ/decision/v1"}'
const party = relyingParty(HERE)

async function registered(algorithm: PasskeyAlgorithm = -7): Promise<{ soft: SoftPasskey; passkey: CountedPasskey }> {
  const soft = softPasskey(HERE, algorithm)
  const made = await party.registration(soft.registration(TEXT), TEXT)
  return { soft, passkey: passkeyOf(made.credentialId, made) }
}

describe('a passkey that is registered', () => {
  it.each(PASSKEY_ALGORITHMS)(
    'is the very key of the authenticator, with algorithm %d, and signs',
    async (algorithm) => {
      const { soft, passkey } = await registered(algorithm)
      const { publicKey, credentialId, transports } = passkey
      expect({ publicKey, credentialId }).toEqual({ publicKey: soft.publicKey, credentialId: soft.credentialId })
      expect(transports).toEqual(['internal'])
      const answer = soft.response(TEXT)
      const { assertion, counter } = await party.assertion(answer, { text: TEXT, passkeys: [passkey] })
      expect(counter).toBe(passkey.counter + 1)
      expect(assertion).toEqual({ ...answer.response, credentialId, publicKey, algorithm })
      expect(stepUp(HERE).check(TEXT, assertion)).toBe(true)
    },
  )

  const WRONG: readonly (readonly [string, Wrong])[] = [
    ['for another challenge', { clientData: { challenge: 'YW5vdGhlcg' } }],
    ['for another act', { clientData: { type: 'webauthn.get' } }],
    ['at another origin', { clientData: { origin: 'https://evil.example' } }],
    ['for another relying party', { rpId: 'evil.example' }],
    ['without its user verified', { flags: FLAGS.present | FLAGS.attested }],
    ['without a user present', { flags: FLAGS.verified | FLAGS.attested }],
    ['without a key', { flags: FLAGS.present | FLAGS.verified, tail: Buffer.alloc(0) }],
  ]
  it.each(WRONG)('is refused when it was made %s', async (_, wrong) => {
    expect(await codeOf(party.registration(softPasskey(HERE).registration(TEXT, wrong), TEXT))).toBe('not_permitted')
  })
})

it('is known by its name: a public URL with an address has no passkeys', () => {
  const urls = [
    'https://writ.example',
    'http://localhost:8443',
    'https://10.1.2.3',
    'http://127.0.0.1:80',
    'https://[::1]:8443',
  ]
  expect(urls.map(knowsPasskeys)).toEqual([true, true, false, false, false])
  expect(relyingParty('https://writ.example:8443').id).toBe('writ.example')
})

describe('an assertion', () => {
  it('is refused over another text, by a passkey that the person has not, and under the key of another one', async () => {
    const { soft, passkey } = await registered()
    const other = await registered()
    const asked = (response: unknown, passkeys: readonly CountedPasskey[], text = TEXT) =>
      codeOf(party.assertion(response, { text, passkeys }))
    expect(await asked(soft.response(TEXT), [passkey], `${TEXT} `)).toBe('not_permitted')
    expect(await asked(soft.response(TEXT), [other.passkey])).toBe('not_permitted')
    expect(await asked(soft.response(TEXT), [])).toBe('not_permitted')
    const renamed = { ...soft.response(TEXT), id: other.soft.credentialId, rawId: other.soft.credentialId }
    expect(await asked(renamed, [passkey, other.passkey])).toBe('not_permitted')
    expect(await asked(soft.response(TEXT), [other.passkey, passkey])).toBe('accepted')
  })

  it('is refused when its counter has not risen, and taken from one that never counts', async () => {
    const { soft, passkey } = await registered()
    const asked = (counter: number, last: number) =>
      codeOf(
        party.assertion(soft.response(TEXT, { counter }), { text: TEXT, passkeys: [{ ...passkey, counter: last }] }),
      )
    expect([await asked(7, 7), await asked(6, 7), await asked(0, 7), await asked(8, 7), await asked(0, 0)]).toEqual([
      'not_permitted',
      'not_permitted',
      'not_permitted',
      'accepted',
      'accepted',
    ])
  })

  const WRONG: readonly (readonly [string, Wrong])[] = [
    ['without its user verified', { flags: FLAGS.present }],
    ['from another origin', { clientData: { origin: 'https://evil.example' } }],
    ['from a foreign frame without a name', { clientData: { crossOrigin: true } }],
    ['for another relying party', { rpId: 'evil.example' }],
    ['that would not hold at an exchange', { flags: FLAGS.present | FLAGS.verified, tail: Buffer.of(0xa0) }],
  ]
  it.each(WRONG)('is refused %s', async (_, wrong) => {
    const { soft, passkey } = await registered()
    const answer = party.assertion(soft.response(TEXT, wrong), { text: TEXT, passkeys: [passkey] })
    expect(await codeOf(answer)).toBe('not_permitted')
  })

  it('is not even looked at where it is no response of a browser', async () => {
    const { soft, passkey } = await registered()
    const good = soft.response(TEXT)
    for (const response of [
      undefined,
      null,
      'x',
      [],
      {},
      { ...good, response: {} },
      { ...good, type: 'password' },
      { ...good, id: 'a b' },
    ])
      expect(await codeOf(party.assertion(response, { text: TEXT, passkeys: [passkey] }))).toBe('invalid_request')
  })
})
