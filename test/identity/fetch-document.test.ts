// Reading keys over the network: nothing but public addresses, nothing but what was checked, and never much or for long.
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isPublicAddress } from '../../src/identity/addresses.ts'
import { documentFetcher } from '../../src/identity/fetch-document.ts'
import { certificateFor } from '../support/certificate.ts'
import { startTokenMaker, type TokenMaker } from '../support/token-maker.ts'

let trap: Server
let connections = 0
let trapPort = 0
let issuer: TokenMaker

beforeAll(async () => {
  trap = createServer((socket) => {
    connections += 1
    socket.destroy()
  })
  await new Promise<void>((settle) => {
    // On every address of this machine, IPv6 too where there is one.
    trap.listen(0, settle)
  })
  trapPort = (trap.address() as AddressInfo).port
  issuer = await startTokenMaker()
})
afterAll(async () => {
  trap.close()
  await issuer.stop()
})

/** Hosts that are this machine or its network, in every spelling that a URL allows. */
const INSIDE = [
  '127.0.0.1',
  '127.1',
  '127.0.1',
  '127.255.255.254',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '0177.0.0.1',
  '0177.1',
  '017700000001',
  '0',
  '0.0.0.0',
  '00.0.0.0',
  '0x0',
  '10.0.0.1',
  '10.255.255.255',
  '0xa.1',
  '012.0.0.1',
  '100.64.0.1',
  '100.127.255.255',
  '169.254.169.254',
  '0xa9fea9fe',
  '2852039166',
  '169.254.43518',
  '0251.0376.0251.0376',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.0.2.1',
  '192.88.99.1',
  '192.168.0.1',
  '192.168.257',
  '0xc0a80001',
  '198.18.0.1',
  '198.19.255.255',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.250',
  '240.0.0.1',
  '255.255.255.255',
  '4294967295',
  '１２７.０.０.１',
  '127。0。0。1',
  '①②⑦.0.0.1',
  '%31%32%37.0.0.1',
  '[::1]',
  '[::]',
  '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:10.0.0.1]',
  '[::ffff:169.254.169.254]',
  '[::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b:1::a00:1]',
  '[2002:7f00:1::]',
  '[2001:0:7f00:1::]',
  '[2001:db8::1]',
  '[fe80::1]',
  '[fec0::1]',
  '[fc00::1]',
  '[fd00:ec2::254]',
  '[ff02::1]',
  '[100::1]',
  '[3fff::1]',
  '[2001:2::1]',
]

describe('outside development', () => {
  it('has a corpus of more than 60 spellings', () => {
    expect(new Set(INSIDE).size).toBe(INSIDE.length)
    expect(INSIDE.length).toBeGreaterThan(60)
  })

  it.each(INSIDE)('never connects to https://%s', async (host) => {
    const fetch = documentFetcher({ dev: false, resolve: async () => ['127.0.0.1'] })
    // By its reason, so that an unreachable address is not taken for a refused one.
    await expect(fetch(`https://${host}:${trapPort}/jwks`)).rejects.toThrow(/not a public one|not a URL/)
    expect(connections).toBe(0)
  })

  it.each([
    ['plain http', 'http://issuer.example/jwks'],
    ['a file', 'file:///etc/passwd'],
    ['data', 'data:application/json,{}'],
    ['ftp', 'ftp://issuer.example/jwks'],
    ['a user in the URL', 'https://user:pass@issuer.example/jwks'],
    ['no URL', 'issuer.example/jwks'],
    ['nothing', ''],
  ])('refuses %s before any name is looked up', async (_, url) => {
    let asked = 0
    const fetch = documentFetcher({
      dev: false,
      resolve: async () => {
        asked += 1
        return ['127.0.0.1']
      },
    })
    await expect(fetch(url)).rejects.toThrow()
    expect([asked, connections]).toEqual([0, 0])
  })

  it.each([
    ['a private address', ['10.0.0.1']],
    ['one public and one private address', ['9.9.9.9', '127.0.0.1']],
    ['a private address behind a public one', ['2620:fe::fe', '::1']],
    ['an IPv4 address in IPv6 clothes', ['::ffff:127.0.0.1']],
    ['an address with a zone', ['fe80::1%lo']],
    ['no address', []],
    ['something that is no address', ['localhost']],
  ])('refuses a name with %s', async (_, addresses) => {
    const fetch = documentFetcher({ dev: false, resolve: async () => addresses })
    await expect(fetch(`https://issuer.example:${trapPort}/jwks`)).rejects.toThrow(/not a public one|no address/)
    expect(connections).toBe(0)
  })

  it('knows public addresses from all others', () => {
    for (const address of [
      '9.9.9.9',
      '140.82.112.3',
      '172.15.0.1',
      '172.32.0.1',
      '100.63.255.255',
      '192.169.0.1',
      '2620:fe::fe',
      '2a00:1450:4001::1',
    ])
      expect([address, isPublicAddress(address)]).toEqual([address, true])
    for (const address of ['', 'x', '1.2.3', '9.9.9.9 ', '09.9.9.9', '::ffff:9.9.9.9', '1fff::1', '4000::1'])
      expect([address, isPublicAddress(address)]).toEqual([address, false])
  })
})

describe('the connection', () => {
  it('goes to the address that was checked: a name that changes its address afterwards changes nothing', async () => {
    let asked = 0
    const fetch = documentFetcher({
      dev: true,
      resolve: async () => {
        asked += 1
        return [asked === 1 ? '127.0.0.1' : '192.0.2.1']
      },
    })
    const { port } = new URL(issuer.url)
    expect(JSON.parse(await fetch(`http://rebinding.example:${port}/jwks`))).toEqual(issuer.jwks())
    expect(asked).toBe(1)
  })

  it('wants a certificate for the name, though it goes to an address', async () => {
    const { key, cert } = certificateFor('issuer.example')
    const server = createTlsServer({ key, cert }, (request, response) => response.end(request.headers.host))
    await new Promise<void>((settle) => {
      server.listen(0, '127.0.0.1', settle)
    })
    const { port } = server.address() as AddressInfo
    const resolve = async () => ['127.0.0.1']
    const trusting = documentFetcher({ dev: true, resolve, ca: cert })
    const answer = await trusting(`https://issuer.example:${port}/`)
    const wrongName = await trusting(`https://other.example:${port}/`).catch(() => 'refused')
    const unknownAuthority = await documentFetcher({ dev: true, resolve })(`https://issuer.example:${port}/`).catch(
      () => 'refused',
    )
    server.closeAllConnections()
    server.close()
    expect([answer, wrongName, unknownAuthority]).toEqual([`issuer.example:${port}`, 'refused', 'refused'])
  })

  it.each([301, 302, 303, 307, 308])('follows no redirect (%i)', async (status) => {
    issuer.answer(status, '', { location: `http://127.0.0.1:${trapPort}/` })
    await expect(documentFetcher({ dev: true })(issuer.jwksUrl)).rejects.toThrow()
    issuer.answer(undefined)
    expect(connections).toBe(0)
  })

  it.each([204, 206, 400, 404, 500])('takes no answer with status %i', async (status) => {
    issuer.answer(status)
    await expect(documentFetcher({ dev: true })(issuer.jwksUrl)).rejects.toThrow()
    issuer.answer(undefined)
  })

  it('reads 64 KB and not one byte more', async () => {
    const fetch = documentFetcher({ dev: true })
    issuer.answer(200, 'x'.repeat(64 * 1024))
    expect(await fetch(issuer.jwksUrl)).toHaveLength(64 * 1024)
    issuer.answer(200, 'x'.repeat(64 * 1024 + 1))
    await expect(fetch(issuer.jwksUrl)).rejects.toThrow()
    issuer.answer(undefined)
  })

  it('gives up after three seconds, whether the name, the answer or its end does not come', async () => {
    const drip = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n')
      const timer = setInterval(() => socket.write('x'), 200)
      socket.on('close', () => clearInterval(timer))
    })
    const silent = createServer((socket) => socket.on('error', () => undefined))
    const listen = (server: Server): Promise<number> =>
      new Promise((settle) => server.listen(0, '127.0.0.1', () => settle((server.address() as AddressInfo).port)))
    const ports = [await listen(drip), await listen(silent)]
    const start = performance.now()
    const outcomes = await Promise.allSettled([
      ...ports.map((port) => documentFetcher({ dev: true })(`http://127.0.0.1:${port}/`)),
      documentFetcher({ dev: true, resolve: () => new Promise(() => undefined) })('http://nowhere.example/'),
    ])
    const took = performance.now() - start
    drip.close()
    silent.close()
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(took).toBeGreaterThan(2_900)
    expect(took).toBeLessThan(6_000)
  }, 20_000)
})
