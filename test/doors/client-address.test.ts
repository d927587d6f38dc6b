// Whose request it is: a forwarded address counts only as far as trusted proxies wrote it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BrokerError } from '../../src/domain/errors.ts'
import { clientAddress, parseSubnet, type Subnet } from '../../src/http/client-address.ts'
import { type Stage, stage } from './door.ts'

const subnets = (...texts: readonly string[]): readonly Subnet[] =>
  texts.map(parseSubnet).filter((one) => one !== undefined)
const PROXIES = subnets('10.0.0.0/8', '2001:db8:1::/48', '127.0.0.1')

type Headers = Readonly<Record<string, string | readonly string[]>>
const from = (peer: string | undefined, headers: Headers, trusted = PROXIES): string =>
  clientAddress(trusted)(peer, (name) => [headers[name] ?? []].flat())
const xff = (...values: readonly string[]): Headers => ({ 'x-forwarded-for': values })
const forwarded = (...values: readonly string[]): Headers => ({ forwarded: values })

describe('a subnet', () => {
  it('is an address with or without a length', () => {
    expect(parseSubnet('10.0.0.0/8')).toEqual({ address: '10.0.0.0', bits: 8 })
    expect(parseSubnet('192.0.2.7')).toEqual({ address: '192.0.2.7', bits: 32 })
    expect(parseSubnet('2001:db8::/32')).toEqual({ address: '2001:db8::', bits: 32 })
    expect(parseSubnet('::1')).toEqual({ address: '::1', bits: 128 })
  })

  it('is nothing else, and never everybody', () => {
    const texts = [
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/33',
      '::1/129',
      '10.0.0/8',
      '10.0.0.0/08',
      '10.0.0.0/',
      'proxy',
      '',
      '*',
    ]
    expect([...texts, '10.0.0.1 ', 'fe80::1%eth0', '10.0.0.0/8/8'].filter((text) => parseSubnet(text))).toEqual([])
  })
})

describe('the address of a client', () => {
  it.each<readonly [string, string | undefined, Headers, string]>([
    ['nobody between', '198.51.100.9', {}, '198.51.100.9'],
    ['a header from a stranger', '198.51.100.9', xff('203.0.113.5'), '198.51.100.9'],
    ['a Forwarded from a stranger', '198.51.100.9', forwarded('for=203.0.113.5'), '198.51.100.9'],
    ['a proxy', '10.0.0.1', xff('203.0.113.5'), '203.0.113.5'],
    ['a proxy at a mapped address', '::ffff:10.0.0.1', xff('203.0.113.5'), '203.0.113.5'],
    ['a proxy that says nothing', '10.0.0.1', {}, '10.0.0.1'],
    ['what the client wrote before', '10.0.0.1', xff('10.9.9.9, 203.0.113.66, 203.0.113.5'), '203.0.113.5'],
    ['two proxies', '10.0.0.1', xff('192.0.2.1, 203.0.113.5, 10.0.0.2'), '203.0.113.5'],
    ['two proxies in two lines', '10.0.0.1', xff('192.0.2.1, 203.0.113.5', '10.0.0.2'), '203.0.113.5'],
    ['only proxies', '10.0.0.1', xff('10.0.0.3, 10.0.0.2'), '10.0.0.3'],
    ['a hop with a port', '10.0.0.1', xff('203.0.113.5:4711'), '203.0.113.5'],
    ['an IPv6 hop', '10.0.0.1', xff('2001:db8:2::7, 2001:db8:1::1'), '2001:db8:2::7'],
    ['an IPv6 hop with a port', '10.0.0.1', xff('[2001:db8:2::7]:443'), '2001:db8:2::7'],
    ['a hop that is no address', '10.0.0.1', xff('203.0.113.5, unknown'), '10.0.0.1'],
    ['no address behind a second proxy', '10.0.0.1', xff('evil\u0007, 10.0.0.2'), '10.0.0.2'],
    ['an empty hop', '10.0.0.1', xff('203.0.113.5,'), '10.0.0.1'],
    ['an address with a zone', '10.0.0.1', xff('fe80::1%eth0'), '10.0.0.1'],
    ['RFC 7239', '10.0.0.1', forwarded('for=192.0.2.1;proto=http, for="203.0.113.5:47";by=10.0.0.1'), '203.0.113.5'],
    ['RFC 7239, IPv6', '10.0.0.1', forwarded('For="[2001:db8:2::7]:4711"'), '2001:db8:2::7'],
    ['a comma in quotes', '10.0.0.1', forwarded('for="203.0.113.66,for=203.0.113.5"'), '10.0.0.1'],
    ['an open quote', '10.0.0.1', forwarded('for=203.0.113.5;x="'), '10.0.0.1'],
    ['a hidden name', '10.0.0.1', forwarded('for=_hidden'), '10.0.0.1'],
    ['two names in one hop', '10.0.0.1', forwarded('for=203.0.113.66;for=203.0.113.5'), '10.0.0.1'],
    ['no name in a hop', '10.0.0.1', forwarded('for=203.0.113.5, proto=https'), '10.0.0.1'],
    ['both headers, agreed', '10.0.0.1', { ...xff('203.0.113.5'), ...forwarded('for=203.0.113.5') }, '203.0.113.5'],
    ['both headers, in dispute', '10.0.0.1', { ...xff('203.0.113.5'), ...forwarded('for=10.0.0.9') }, '10.0.0.1'],
    ['a socket that is gone', undefined, xff('203.0.113.5'), ''],
  ])('%s', (_, peer, headers, expected) => {
    expect(from(peer, headers)).toBe(expected)
  })

  it('is the peer, whatever is sent, where no proxy is trusted', () => {
    expect(from('127.0.0.1', xff('203.0.113.5'), [])).toBe('127.0.0.1')
  })

  it('is found in a long header at once', () => {
    const started = performance.now()
    expect(from('10.0.0.1', xff('10.0.0.1,'.repeat(3_500)))).toBe('10.0.0.1')
    expect(from('10.0.0.1', forwarded(`for=${'a;'.repeat(16_000)}`))).toBe('10.0.0.1')
    expect(from('10.0.0.1', forwarded(`for=10.0.0.1${' ;a=b'.repeat(6_000)}"`))).toBe('10.0.0.1')
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('the log of a failure', () => {
  let open: Stage
  let behind: Stage
  beforeAll(async () => {
    open = await stage()
    behind = await stage(undefined, { trustedProxies: PROXIES })
  })
  afterAll(() => Promise.all([open.stop(), behind.stop()]))

  const addressesIn = async (at: Stage, headers: readonly (readonly [string, string])[]): Promise<unknown> => {
    at.answer({
      view: () => {
        throw new BrokerError('store_unavailable', 'The store does not answer.')
      },
      list: () => {
        throw new BrokerError('store_unavailable', 'The store does not answer.')
      },
    })
    const before = at.lines.length
    await at.send('GET', '/v1/grants', { headers })
    return at.lines.slice(before).map((line) => JSON.parse(line).address)
  }

  it('names the client behind a trusted proxy, and the peer elsewhere', async () => {
    const headers = [['X-Forwarded-For', '192.0.2.1, 203.0.113.5']] as const
    expect(await addressesIn(behind, headers)).toEqual(['203.0.113.5'])
    expect(await addressesIn(open, headers)).toEqual(['127.0.0.1'])
  })

  it('believes nothing else that is forwarded', async () => {
    const { headers } = await behind.send('GET', '/healthz', {
      headers: [
        ['X-Forwarded-For', '203.0.113.5'],
        ['X-Forwarded-Proto', 'http'],
        ['X-Forwarded-Host', 'evil.example'],
      ],
    })
    expect(headers['strict-transport-security']).toBeDefined()
    const { body } = await behind.send('GET', '/.well-known/oauth-authorization-server', {
      headers: [['X-Forwarded-Host', 'evil.example']],
    })
    expect(JSON.stringify(body)).not.toContain('evil.example')
  })
})
