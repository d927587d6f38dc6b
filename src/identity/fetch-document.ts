// Reads one small JSON document of an issuer. Every address of the host is checked and the connection goes to a checked address, so
// that a name that resolves differently a moment later (DNS rebinding) changes nothing. No redirects, 64 KB and 3 seconds at most.
import { lookup } from 'node:dns/promises'
import { type IncomingMessage, request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { isIP } from 'node:net'
import { rootCertificates } from 'node:tls'
import { isPublicAddress } from './addresses.ts'
import { JWKS_BYTES } from './keys.ts'

/** The document's text. Rejects with an Error that is safe to log; it never holds what was read. */
export type FetchDocument = (url: string) => Promise<string>

/** All addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly string[]>

export interface FetchSettings {
  /** Development: plain http and private addresses are allowed. Everything else holds there too. */
  readonly dev: boolean
  readonly resolve?: Resolve
  /** A certificate authority trusted besides the public ones, PEM. */
  readonly ca?: string
}

const TIMEOUT_MS = 3_000

const byDns: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/** A fetcher with these settings. */
export function documentFetcher({ dev, resolve = byDns, ca }: FetchSettings): FetchDocument {
  return async (text) => {
    const url = checkedUrl(text, dev)
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    const address = await inTime(checkedAddress(url, dev, resolve), signal)
    return await read(url, address, { signal, ca })
  }
}

function checkedUrl(text: string, dev: boolean): URL {
  if (!URL.canParse(text)) throw new Error('the address of the keys is not a URL')
  const url = new URL(text)
  if (url.protocol !== 'https:' && !(dev && url.protocol === 'http:'))
    throw new Error('the address of the keys is not https')
  if (url.username !== '' || url.password !== '') throw new Error('the address of the keys names a user')
  return url
}

async function checkedAddress(url: URL, dev: boolean, resolve: Resolve): Promise<string> {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const addresses = isIP(host) === 0 ? await resolve(host) : [host]
  // All of them: a name with one public and one private address is a trap.
  if (!dev && !addresses.every(isPublicAddress)) throw new Error('the address of the keys is not a public one')
  const [address] = addresses
  if (address === undefined) throw new Error('the host of the keys has no address')
  return address
}

/** Settles with the promise or, at the signal, rejects; what the promise does later is of no interest. */
function inTime<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((settle, fail) => {
    signal.addEventListener('abort', () => fail(new Error('the keys took too long')), { once: true })
    promise.then(settle, fail)
  })
}

function read(
  url: URL,
  address: string,
  { signal, ca }: { readonly signal: AbortSignal; readonly ca: string | undefined },
): Promise<string> {
  return new Promise((settle, fail) => {
    const failed = (): void => fail(new Error(signal.aborted ? 'the keys took too long' : 'the keys could not be read'))
    const name = url.hostname.replace(/^\[|\]$/g, '')
    const options = {
      host: address,
      port: url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port),
      path: url.pathname + url.search,
      headers: { host: url.host, accept: 'application/json', connection: 'close' },
      agent: false,
      signal,
    }
    const answered = (response: IncomingMessage): void => {
      // Redirects are answers like any other that is not 200.
      if (response.statusCode !== 200) {
        response.destroy()
        fail(new Error(`the keys were answered with status ${response.statusCode}`))
        return
      }
      const parts: Buffer[] = []
      let size = 0
      response.on('data', (part: Buffer) => {
        size += part.length
        parts.push(part)
        if (size > JWKS_BYTES) {
          response.destroy()
          fail(new Error('the keys are larger than 64 KB'))
        }
      })
      response.on('end', () => {
        try {
          settle(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)))
        } catch {
          fail(new Error('the keys are not UTF-8'))
        }
      })
      response.on('error', failed)
    }
    const request =
      url.protocol === 'https:'
        ? // The certificate must be for the name, though we connect to the address. An address has no server name (RFC 6066 §3).
          tlsRequest(
            {
              ...options,
              servername: isIP(name) === 0 ? name : '',
              rejectUnauthorized: true,
              ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
            },
            answered,
          )
        : plainRequest(options, answered)
    request.on('error', failed)
    request.end()
  })
}
