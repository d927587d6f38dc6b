// The listener with a certificate of its own, asked by a real TLS client.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readCertificate } from '../../src/http/certificate.ts'
import { certificateFor } from '../support/certificate.ts'
import { type Stage, stage } from './door.ts'

const NAME = 'writ.example'
const first = certificateFor(NAME)
const second = certificateFor(NAME)
let folder: string
let files: { certFile: string; keyFile: string }
let door: Stage
let told: (string | undefined)[]
/** What the door's interval would do. */
let look: () => void

const put = ({ cert, key }: { readonly cert: string; readonly key: string }): void => {
  writeFileSync(files.certFile, cert)
  writeFileSync(files.keyFile, key)
}
const get = (ca: string): Promise<number | string> =>
  new Promise((resolve) => {
    const options = { host: '127.0.0.1', port: door.port, servername: NAME, ca, agent: false, path: '/healthz' }
    request({ ...options, headers: { host: NAME } }, (res) => {
      res.resume()
      res.once('end', () => resolve(res.statusCode ?? 0))
    })
      .once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end()
  })
const handshake = (maxVersion: 'TLSv1.2' | 'TLSv1.3', ca: string): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: door.port, servername: NAME, ca, maxVersion }, () => {
      resolve(socket.getProtocol() ?? '')
      socket.destroy()
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'writ-tls-'))
  files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') }
  told = []
  put(first)
  const every = (_: number, task: () => void) => {
    look = task
    return () => undefined
  }
  door = await stage(undefined, { tls: { files, every, told: (refusal) => told.push(refusal) } })
})
afterEach(async () => {
  await door.stop()
  rmSync(folder, { recursive: true })
})

describe('a listener with its own certificate', () => {
  it('answers https, and nobody who does not know the certificate', async () => {
    expect(await get(first.cert)).toBe(200)
    expect(await get(second.cert)).not.toBe(200)
  })

  it('keeps every limit of the plain one', async () => {
    const plain = await stage()
    const limits = ({ door: { server } }: Stage) => [
      server.headersTimeout,
      server.requestTimeout,
      server.keepAliveTimeout,
      server.maxHeadersCount,
      server.timeout,
    ]
    expect(limits(door)).toEqual(limits(plain))
    expect(limits(door)).toEqual([10_000, 20_000, 65_000, 64, 90_000])
    await plain.stop()
  })

  it('speaks TLS 1.3 and nothing older, also after a new certificate', async () => {
    expect(await handshake('TLSv1.3', first.cert)).toBe('TLSv1.3')
    expect(await handshake('TLSv1.2', first.cert)).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
    put(second)
    look()
    expect(await handshake('TLSv1.3', second.cert)).toBe('TLSv1.3')
    expect(await handshake('TLSv1.2', second.cert)).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
  })

  it('takes a new certificate over without a restart', async () => {
    look()
    expect(told).toEqual([])
    put(second)
    look()
    look()
    expect(told).toEqual([undefined])
    expect(await get(second.cert)).toBe(200)
    expect(await get(first.cert)).not.toBe(200)
  })

  it('keeps the one it has where a new one cannot be used, says so once, and takes the next good one', async () => {
    writeFileSync(files.certFile, second.cert)
    look()
    look()
    expect(told).toEqual([expect.stringContaining('ERR_OSSL_X509_KEY_VALUES_MISMATCH')])
    expect(await get(first.cert)).toBe(200)
    writeFileSync(files.keyFile, second.key)
    look()
    expect(told.slice(1)).toEqual([undefined])
    expect(await get(second.cert)).toBe(200)
    rmSync(files.keyFile)
    look()
    look()
    expect(told.slice(2)).toEqual([expect.stringContaining('ENOENT')])
    expect(await get(second.cert)).toBe(200)
  })
})

describe('a certificate that cannot be used', () => {
  it('is refused without a word of what is in the files', () => {
    writeFileSync(files.keyFile, 'a secret that is no key')
    expect(() => readCertificate(files)).toThrow(/tls\.key cannot be used together: ERR_/)
    expect(() => readCertificate(files)).not.toThrow(/a secret/)
    rmSync(files.certFile)
    expect(() => readCertificate(files)).toThrow(/tls\.crt cannot be read: ENOENT/)
  })
})
