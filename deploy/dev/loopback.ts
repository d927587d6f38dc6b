// Development and tests: HTTP servers that only this machine can reach.
import type { IncomingMessage, Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Binds to loopback and answers the URL. */
export async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((settle, fail) => {
    server.once('error', fail)
    server.listen(port, '127.0.0.1', settle)
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export async function close(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise<void>((settle) => server.close(() => settle()))
}

/** The body as text, at most 10,000 characters. */
export async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const part of request) {
    text += String(part)
    if (text.length > 10_000) throw new Error('too long')
  }
  return text
}
