// An authenticator in software: makes the answers that a browser would send back, right ones and every kind of wrong one. CBOR and keys are
// written here by hand and by node:crypto, so that what reads them is not what wrote them.
import { generateKeyPairSync, hash, type KeyObject, randomBytes, sign } from 'node:crypto'
import type { Assertion, PasskeyAlgorithm } from '../../src/domain/assertion.ts'

export const FLAGS = { present: 0x01, verified: 0x04, eligible: 0x08, backedUp: 0x10, attested: 0x40, extended: 0x80 }

export interface Wrong {
  /** Instead of what a browser would say; `undefined` leaves the member out. */
  readonly clientData?: Readonly<Record<string, unknown>>
  readonly rpId?: string
  readonly flags?: number
  /** After the counter. */
  readonly tail?: Buffer
  readonly counter?: number
}

export interface SoftPasskey {
  readonly credentialId: string
  readonly algorithm: PasskeyAlgorithm
  readonly privateKey: KeyObject
  /** SPKI, base64url. */
  readonly publicKey: string
  registration(text: string, wrong?: Wrong): unknown
  /** The browser's answer to being asked to sign this text. Counts up, unless told otherwise. */
  response(text: string, wrong?: Wrong): SoftResponse
  assertion(text: string, wrong?: Wrong): Assertion
}
export interface SoftResponse {
  readonly id: string
  readonly rawId: string
  readonly type: 'public-key'
  readonly response: { readonly clientDataJSON: string; readonly authenticatorData: string; readonly signature: string }
}

const b64 = (bytes: Buffer): string => bytes.toString('base64url')

export function softPasskey(publicUrl: string, algorithm: PasskeyAlgorithm = -7): SoftPasskey {
  const { origin, hostname } = new URL(publicUrl)
  const { privateKey, publicKey } = pairOf(algorithm)
  const id = randomBytes(32)
  const credentialId = b64(id)
  let count = 0

  const clientDataOf = (type: string, text: string, wrong: Wrong): Buffer =>
    Buffer.from(
      JSON.stringify({
        type,
        challenge: hash('sha256', text, 'base64url'),
        origin,
        crossOrigin: false,
        ...wrong.clientData,
      }),
    )
  const dataOf = (flags: number, wrong: Wrong, tail = Buffer.alloc(0)): Buffer => {
    count += 1
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(wrong.counter ?? count)
    const head = [hash('sha256', wrong.rpId ?? hostname, 'buffer'), Buffer.of(wrong.flags ?? flags), counter]
    return Buffer.concat([...head, wrong.tail ?? tail])
  }
  const response = (text: string, wrong: Wrong = {}): SoftResponse => {
    const clientData = clientDataOf('webauthn.get', text, wrong)
    const data = dataOf(FLAGS.present | FLAGS.verified, wrong)
    const signed = Buffer.concat([data, hash('sha256', clientData, 'buffer')])
    const signature = b64(sign(algorithm === -8 ? null : 'sha256', signed, privateKey))
    return {
      id: credentialId,
      rawId: credentialId,
      type: 'public-key',
      response: { clientDataJSON: b64(clientData), authenticatorData: b64(data), signature },
    }
  }
  const spki = b64(publicKey.export({ format: 'der', type: 'spki' }))
  return {
    credentialId,
    algorithm,
    privateKey,
    publicKey: spki,
    response,
    assertion: (text, wrong) => ({ ...response(text, wrong).response, credentialId, publicKey: spki, algorithm }),
    registration: (text, wrong = {}) => {
      const attested = Buffer.concat([Buffer.alloc(16), Buffer.of(0, id.length), id, coseKey(publicKey, algorithm)])
      const data = dataOf(FLAGS.present | FLAGS.verified | FLAGS.attested, wrong, attested)
      const object = cbor({ fmt: 'none', attStmt: {}, authData: data })
      const clientDataJSON = b64(clientDataOf('webauthn.create', text, wrong))
      return {
        id: credentialId,
        rawId: credentialId,
        type: 'public-key',
        response: { clientDataJSON, attestationObject: b64(object), transports: ['internal', 'a-carrier-pigeon'] },
      }
    },
  }
}

const pairOf = (algorithm: PasskeyAlgorithm) =>
  algorithm === -7
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : algorithm === -8
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('rsa', { modulusLength: 2_048 })

function coseKey(key: KeyObject, algorithm: PasskeyAlgorithm): Buffer {
  const jwk = key.export({ format: 'jwk' })
  const bytes = (text = '') => Buffer.from(text, 'base64url')
  if (algorithm === -7)
    return cbor([
      [1, 2],
      [3, -7],
      [-1, 1],
      [-2, bytes(jwk.x)],
      [-3, bytes(jwk.y)],
    ])
  if (algorithm === -8)
    return cbor([
      [1, 1],
      [3, -8],
      [-1, 6],
      [-2, bytes(jwk.x)],
    ])
  return cbor([
    [1, 3],
    [3, -257],
    [-1, bytes(jwk.n)],
    [-2, bytes(jwk.e)],
  ])
}

type Cbor = number | string | Buffer | readonly (readonly [number, Cbor])[] | { readonly [name: string]: Cbor }
/** RFC 8949: integers, texts, bytes and maps, as far as authenticators write them. */
function cbor(value: Cbor): Buffer {
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value)
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value])
  const entries = Array.isArray(value) ? (value as readonly (readonly [number, Cbor])[]) : Object.entries(value)
  return Buffer.concat([head(5, entries.length), ...entries.flatMap(([key, member]) => [cbor(key), cbor(member)])])
}
function head(major: number, size: number): Buffer {
  if (size < 24) return Buffer.of((major << 5) | size)
  if (size < 256) return Buffer.of((major << 5) | 24, size)
  return Buffer.of((major << 5) | 25, size >> 8, size & 255)
}
