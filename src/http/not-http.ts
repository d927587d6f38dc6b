// What is not HTTP, or does not arrive in time, has no request and no route: its answer is written onto the socket by hand. Invariant: it is a
// problem document like every other refusal, it holds nothing of what was sent, and the connection ends with it.
import { type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type AppPorts, SECURITY } from './app.ts'
import { DoorRefusal } from './endpoint.ts'
import { problem } from './problem.ts'

/** By node's own names for what went wrong; everything else is malformed. */
const REFUSALS: Readonly<Record<string, () => DoorRefusal>> = {
  HPE_HEADER_OVERFLOW: () => new DoorRefusal('headers_too_large', 'The headers are too large.'),
  ERR_HTTP_REQUEST_TIMEOUT: () => new DoorRefusal('too_slow', 'The request did not arrive in time.'),
}

export function answerNotHttp(server: Server, p: Pick<AppPorts, 'newRequestId' | 'watch'>): void {
  const answering = new WeakMap<object, ServerResponse>()
  server.on('request', (req, res) => answering.set(req.socket, res))
  // An expectation that nobody knows is not kept (RFC 9110 §10.1.1): node would refuse it in words of its own.
  server.on('checkExpectation', (req, res) => server.emit('request', req, res))
  server.on('clientError', (thrown: NodeJS.ErrnoException, socket: Duplex) => {
    const res = answering.get(socket)
    const begun = res?.headersSent === true && !res.writableFinished
    if (thrown.code === 'ECONNRESET' || !socket.writable || begun) {
      socket.destroy()
      return
    }
    const refusal =
      REFUSALS[thrown.code ?? '']?.() ?? new DoorRefusal('malformed', 'This is not a request of HTTP/1.1.')
    const requestId = p.newRequestId()
    const { status, media, text } = problem(refusal, requestId)
    p.watch.refused('none', refusal.code)
    p.watch.answered('none', 'other', status, 0)
    const headers = {
      ...SECURITY,
      Connection: 'close',
      'Content-Type': media,
      'Content-Length': Buffer.byteLength(text),
      'Cache-Control': 'no-store',
      'X-Request-Id': requestId,
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
    // `destroy` after the answer: whoever broke the protocol is not waited for.
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('\r\n')}\r\n\r\n${text}`, () =>
      socket.destroy(),
    )
  })
}
