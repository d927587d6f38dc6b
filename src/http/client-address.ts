// Whose request it is, where proxies stand between: `X-Forwarded-For` or `Forwarded` is believed from the right, one hop at a time, and
// only as far as the hop that wrote it is a trusted proxy. Invariant: what a client sends about itself never becomes its address.
import { BlockList, isIP, isIPv6 } from 'node:net'

export interface Subnet {
  readonly address: string
  readonly bits: number
}

/** `10.0.0.0/8`, `fd00::/8`, or one address; undefined for anything else, also for `/0`, which is no proxy but everybody. */
export function parseSubnet(text: string): Subnet | undefined {
  const [, address = '', given] = /^([0-9a-f.:]+)(?:\/([1-9]\d{0,2}))?$/i.exec(text) ?? []
  const family = isIP(address)
  const most = family === 6 ? 128 : 32
  const bits = given === undefined ? most : Number(given)
  return family === 0 || bits > most ? undefined : { address, bits }
}

type Header = (name: string) => readonly string[]

/** The client's address from the peer's and the headers. Without trusted proxies it is the peer's, whatever the headers say. */
export function clientAddress(trusted: readonly Subnet[]): (peer: string | undefined, header: Header) => string {
  const proxies = new BlockList()
  for (const { address, bits } of trusted) proxies.addSubnet(address, bits, familyOf(address))
  const isProxy = (address: string): boolean => proxies.check(address, familyOf(address))
  return (peer, header) => {
    const from = plain(peer ?? '')
    if (isIP(from) === 0 || !isProxy(from)) return from
    const hops = [xForwardedFor(header('x-forwarded-for')), forwarded(header('forwarded'))]
    const [first, ...others] = hops.filter((list) => list.length > 0).map((list) => walk(from, list, isProxy))
    // A proxy writes one of the two and may hand on the other as the client sent it: where they disagree, neither is believed.
    return first !== undefined && others.every((other) => other === first) ? first : from
  }
}

/** From the right: past every trusted hop, to the first that is not. What is no address ends the walk at the last hop that is known. */
function walk(from: string, hops: readonly (string | undefined)[], isProxy: (address: string) => boolean): string {
  let known = from
  for (const hop of hops.toReversed()) {
    if (hop === undefined || !isProxy(known)) return known
    known = hop
  }
  return known
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4')

/** Without what names an interface of this machine, and IPv4 as IPv4. */
const plain = (address: string): string => address.replace(/%.*$/, '').replace(/^::ffff:(?=[\d.]+$)/i, '')

/** `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`. */
function hopOf(text: string): string | undefined {
  const [, bracketed, bare] = /^(?:\[([0-9a-f:.]+)\]|(\d[\d.]*))(?::\d{1,5})?$/i.exec(text) ?? []
  const address = bracketed ?? bare ?? text
  return isIP(address) === 0 || address.includes('%') ? undefined : plain(address)
}

const xForwardedFor = (values: readonly string[]): readonly (string | undefined)[] =>
  values.flatMap((value) => value.split(',')).map((hop) => hopOf(hop.trim()))

const TOKEN = "[\\w!#$%&'*+.^`|~-]+"
const PAIR = `(${TOKEN})=(${TOKEN}|"[^"\\\\]*")`
const ELEMENT = new RegExp(`^\\s*${PAIR}(?:\\s*;\\s*${PAIR})*\\s*$`)

/** RFC 7239: of each element its one `for`; undefined where there is none, or where it is no address. */
const forwarded = (values: readonly string[]): readonly (string | undefined)[] =>
  values
    .flatMap((value) => value.match(/(?:[^,"]|"[^"]*"?)+/g) ?? [])
    .map((element) => {
      const fors = [...element.matchAll(new RegExp(PAIR, 'g'))].filter(([, name]) => name?.toLowerCase() === 'for')
      const [, , value = ''] = fors[0] ?? []
      return ELEMENT.test(element) && fors.length === 1 ? hopOf(value.replace(/^"|"$/g, '')) : undefined
    })
