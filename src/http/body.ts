// Reads a request body as text. Invariant: never more than the limit is kept, never more than a mebibyte is drained, and the text is
// the exact UTF-8 that was sent: no charset guessing, no byte order mark taken away, no decompression.
import type { IncomingMessage } from 'node:http'
import { DoorRefusal, type Takes } from './endpoint.ts'

/** How much of a refused body is read and thrown away, so that the client gets to read the refusal. */
const DRAIN_BYTES = 1_048_576
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Whether the client announced a body. */
export const hasBody = (req: IncomingMessage): boolean =>
  req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0

/** Whether what is still unread is small enough to be drained on a connection that stays open. */
export const isDrainable = (req: IncomingMessage): boolean =>
  req.headers['transfer-encoding'] === undefined && Number(req.headers['content-length'] ?? 0) <= DRAIN_BYTES

/** The body as text. Rejects with a DoorRefusal: unsupported_media_type, body_too_large, malformed, body_aborted. */
export async function readText(req: IncomingMessage, takes: Takes): Promise<string> {
  if (takes.media === 'none') {
    if (hasBody(req)) throw new DoorRefusal('malformed', 'This route takes no body.')
    return ''
  }
  // Clients that send nothing may still announce a chunked body; then only its length tells.
  const mayBeEmpty = takes.maybe === true && req.headers['content-type'] === undefined
  if (!mayBeEmpty) checkMedia(req, takes.media)
  const bytes = await readBytes(req, takes.limitBytes)
  if (mayBeEmpty && bytes.length > 0) throw unsupported(takes.media)
  try {
    return utf8.decode(bytes)
  } catch {
    throw new DoorRefusal('malformed', 'The body is not UTF-8.')
  }
}

function checkMedia(req: IncomingMessage, media: string): void {
  const types = req.headersDistinct['content-type'] ?? []
  const [type, parameter, ...more] = (types[0] ?? '')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim())
  const charset = parameter === undefined || /^charset="?utf-8"?$/.test(parameter)
  const plain = req.headersDistinct['content-encoding'] === undefined
  if (types.length === 1 && type === media && charset && more.length === 0 && plain) return
  throw unsupported(media)
}

const unsupported = (media: string) =>
  new DoorRefusal('unsupported_media_type', `The body must be ${media}, in UTF-8 and not compressed.`, {
    Accept: media,
  })
const tooLarge = (limitBytes: number) => new DoorRefusal('body_too_large', `The body may have ${limitBytes} bytes.`)

function readBytes(req: IncomingMessage, limitBytes: number): Promise<Buffer> {
  if (!isDrainable(req) && req.headers['transfer-encoding'] === undefined) return Promise.reject(tooLarge(limitBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= limitBytes) chunks.push(chunk)
      else if (size > DRAIN_BYTES) reject(tooLarge(limitBytes))
    })
    req.on('end', () => (size > limitBytes ? reject(tooLarge(limitBytes)) : resolve(joined(chunks, size))))
    req.on('error', () => reject(new DoorRefusal('body_aborted', 'The body ended early.')))
    // Every request is closed at last; an error is dear, and only one of an early end is told.
    req.on('close', () => {
      if (!req.readableEnded) reject(new DoorRefusal('body_aborted', 'The body ended early.'))
    })
  })
}

/** Most bodies come in one piece. */
const joined = ([first, ...more]: readonly Buffer[], size: number): Buffer =>
  first !== undefined && more.length === 0 ? first : Buffer.concat(first === undefined ? [] : [first, ...more], size)
