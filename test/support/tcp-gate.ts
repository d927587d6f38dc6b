// A TCP gate in front of a service, for outages without touching the service: shut, it refuses connections and has cut those there were;
// silent, it takes them and passes nothing on, which is what a lost network looks like.
import net from 'node:net'

export interface TcpGate {
  readonly port: number
  open(): Promise<void>
  shut(): Promise<void>
  silence(): void
}

export async function tcpGate(host: string, port: number): Promise<TcpGate> {
  const sockets = new Set<net.Socket>()
  let silent = false
  const server = net.createServer((client) => {
    const service = net.connect(port, host)
    for (const socket of [client, service]) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        service.destroy()
      })
    }
    client.on('data', (data) => silent || service.write(data))
    service.on('data', (data) => silent || client.write(data))
  })
  const listen = (at: number) =>
    new Promise<void>((resolve, reject) => server.once('error', reject).listen(at, '127.0.0.1', () => resolve()))
  await listen(0)
  const own = (server.address() as net.AddressInfo).port
  return {
    port: own,
    async open() {
      silent = false
      if (!server.listening) await listen(own)
    },
    async shut() {
      const closed = new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve()))
      for (const socket of sockets) socket.destroy()
      await closed
    },
    silence() {
      silent = true
    },
  }
}
