// Which network addresses on the public internet are. Errs to the safe side: what is not plainly a public unicast address is refused,
// so that nothing in a configuration or a discovery document can make the broker talk to its own network.
import { BlockList, isIP, isIPv4 } from 'node:net'

const RESERVED_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]
// Inside 2000::/3. Everything outside of it is refused altogether, and with it loopback, link-local, unique local, multicast,
// IPv4-mapped (::ffff:0:0/96) and NAT64 (64:ff9b::/96) addresses. 2002::/16 (6to4) and 2001::/23 (Teredo among them) carry IPv4.
const RESERVED_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20']

const listOf = (nets: readonly string[], family: 'ipv4' | 'ipv6'): BlockList => {
  const list = new BlockList()
  for (const net of nets) {
    const [address = '', bits = ''] = net.split('/')
    list.addSubnet(address, Number(bits), family)
  }
  return list
}
const reservedIpv4 = listOf(RESERVED_IPV4, 'ipv4')
const reservedIpv6 = listOf(RESERVED_IPV6, 'ipv6')
const unicastIpv6 = listOf(['2000::/3'], 'ipv6')

/** Whether this is a public unicast address; false for anything that is no address. */
export function isPublicAddress(address: string): boolean {
  // A zone id names an interface of this machine.
  if (isIP(address) === 0 || address.includes('%')) return false
  if (isIPv4(address)) return !reservedIpv4.check(address, 'ipv4')
  return unicastIpv6.check(address, 'ipv6') && !reservedIpv6.check(address, 'ipv6')
}
