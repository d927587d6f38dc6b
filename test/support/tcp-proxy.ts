// A proxy between a client and a server that can lose things: answers, requests, the connection, and time.
import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** The next request reaches the server; its answer does not come back, and the connection is cut. */
  cutAfterRequest(): void
  /** Holds every answer back while it is on; afterwards they come late, in order, as TCP delivers them. */
  hold(on: boolean): void
  /** Cuts every open connection. */
  cut(): void
  /** Bytes that went to the server. */
  sent(): number
  close(): Promise<void>
}

export function tcpProxy(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  let cutNext = false
  let holding = false
  const late: (() => void)[] = []
  let sent = 0
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.destroy()
  }

  const server = createServer((client) => {
    const upstream = connect(target)
    const pair = [client, upstream] as const
    let losing = false
    pairs.add(pair)
    client.on('data', (bytes) => {
      sent += bytes.length
      if (cutNext) {
        cutNext = false
        losing = true
      }
      upstream.write(bytes)
    })
    upstream.on('data', (bytes) => {
      if (losing) client.destroy()
      else if (holding) late.push(() => client.write(bytes))
      else client.write(bytes)
    })
    for (const [one, other] of [pair, [upstream, client] as const]) {
      one.on('error', () => other.destroy())
      one.on('close', () => {
        other.destroy()
        pairs.delete(pair)
      })
    }
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve({
        port: address !== null && typeof address === 'object' ? address.port : 0,
        cutAfterRequest: () => {
          cutNext = true
        },
        hold: (on) => {
          holding = on
          if (!on) for (const deliver of late.splice(0)) deliver()
        },
        cut,
        sent: () => sent,
        close: () => {
          cut()
          return new Promise((closed) => server.close(() => closed()))
        },
      })
    })
  })
}
