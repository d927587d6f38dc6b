// The relying party of the passkeys: what browsers send back, verified by a library that is not ours and then by `stepUp`, which the exchange
// will ask again. Invariant: an assertion that leaves here is one that holds at every later exchange.
import type { KeyObject } from 'node:crypto'
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { z } from 'zod'
import type { RelyingParty } from '../broker/ports.ts'
import { type Assertion, PASSKEY_ALGORITHMS } from '../domain/assertion.ts'
import { BrokerError } from '../domain/errors.ts'
import type { CountedPasskey } from '../domain/passkey.ts'
import { publicKeyOf } from './keys.ts'
import { challengeOf, stepUp } from './step-up.ts'

const base64url = (most: number) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/)
    .max(most)
/** Extensions are not asked for, and what they answer is not looked at. */
const credential = { id: base64url(1_400), rawId: base64url(1_400), type: z.literal('public-key') }
const Asserted = z.object({
  ...credential,
  response: z.object({
    clientDataJSON: base64url(4_096),
    authenticatorData: base64url(4_096),
    signature: base64url(2_048),
  }),
})
const TRANSPORTS = ['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb'] as const
const Registered = z.object({
  ...credential,
  response: z.object({
    clientDataJSON: base64url(4_096),
    attestationObject: base64url(16_384),
    /** Names that are not of this list are left out: they are hints. */
    transports: z.array(z.string()).max(20).default([]),
  }),
})

/** Browsers know a relying party by a name alone: at an address like 192.0.2.1 nobody can register or sign. */
export const knowsPasskeys = (publicUrl: string): boolean => !/^(\[.*\]|[\d.]+)$/.test(new URL(publicUrl).hostname)

/** Loaded when a passkey is first used: it is large, and no start should wait for it. */
const library = async () => ({ ...(await import('@simplewebauthn/server')), ...(await import('./cose.ts')) })

export function relyingParty(publicUrl: string): RelyingParty {
  const { origin, hostname } = new URL(publicUrl)
  const { check } = stepUp(publicUrl)
  return {
    id: hostname,
    assertion: async (response, { text, passkeys }) => {
      const sent = parsed(Asserted, response)
      const passkey = passkeys.find(({ credentialId }) => credentialId === sent.id)
      if (passkey === undefined) throw refused('This passkey is not one of yours here.')
      const assertion: Assertion = {
        credentialId: passkey.credentialId,
        authenticatorData: sent.response.authenticatorData,
        clientDataJSON: sent.response.clientDataJSON,
        signature: sent.response.signature,
        publicKey: passkey.publicKey,
        algorithm: passkey.algorithm,
      }
      const counter = await verified(async () => {
        const { verifyAuthenticationResponse, coseOf } = await library()
        const answer = await verifyAuthenticationResponse({
          response: { ...sent, clientExtensionResults: {} } satisfies AuthenticationResponseJSON,
          expectedChallenge: challengeOf(text),
          expectedOrigin: origin,
          expectedRPID: hostname,
          requireUserVerification: true,
          credential: {
            id: passkey.credentialId,
            publicKey: coseOf(keyOf(passkey), passkey.algorithm),
            counter: passkey.counter,
          },
        })
        return answer.verified && check(text, assertion) ? answer.authenticationInfo.newCounter : undefined
      })
      return { assertion, counter }
    },
    registration: async (response, text) => {
      const sent = parsed(Registered, response)
      const transports = TRANSPORTS.filter((name) => sent.response.transports.includes(name))
      return verified(async () => {
        const { verifyRegistrationResponse, spkiOfCose } = await library()
        const answer = await verifyRegistrationResponse({
          response: {
            ...sent,
            response: { ...sent.response, transports },
            clientExtensionResults: {},
          } satisfies RegistrationResponseJSON,
          expectedChallenge: challengeOf(text),
          expectedOrigin: origin,
          expectedRPID: hostname,
          requireUserVerification: true,
          supportedAlgorithmIDs: [...PASSKEY_ALGORITHMS],
        })
        if (!answer.verified || answer.registrationInfo.fmt !== 'none') return undefined
        const { credential } = answer.registrationInfo
        const [found] = PASSKEY_ALGORITHMS.flatMap((algorithm) => {
          const publicKey = spkiOfCose(credential.publicKey, algorithm)
          return publicKey === undefined ? [] : [{ algorithm, publicKey }]
        })
        if (found === undefined || credential.id !== sent.id) return undefined
        return { credentialId: credential.id, ...found, transports, counter: credential.counter }
      })
    },
  }
}

function keyOf({ publicKey, algorithm }: CountedPasskey): KeyObject {
  const key = publicKeyOf(publicKey, algorithm)
  if (key === undefined) throw new Error('the key is not one of its algorithm')
  return key
}

function parsed<T>(schema: z.ZodType<T>, response: unknown): T {
  const result = schema.safeParse(response)
  if (result.success) return result.data
  throw new BrokerError('invalid_request', 'This is not what a browser answers with.', {
    facts: { members: result.error.issues.slice(0, 5).map(({ path }) => path.join('.').slice(0, 100)) },
  })
}

const refused = (message: string, cause?: unknown) =>
  new BrokerError('not_permitted', message, {
    nextAction: 'Begin again, with a passkey that you have registered here.',
    ...(cause === undefined ? {} : { cause }),
  })

/** What cannot be read, or says something else, did not come from the right passkey for the right text. */
async function verified<T>(work: () => Promise<T | undefined>): Promise<T> {
  let cause: unknown
  try {
    const answer = await work()
    if (answer !== undefined) return answer
  } catch (thrown) {
    cause = thrown
  }
  throw refused('The passkey did not sign this, here, with its user verified.', cause)
}
