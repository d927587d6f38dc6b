// The peer for introspection: express as bare as it goes, a form read by hand, one GET, the stored answer sent as it lies. It checks no signature,
// authenticates nobody and counts nothing. Run as a program.
import { createHash } from 'node:crypto'
import express from 'express'
import { Redis } from 'ioredis'

const { BENCH_REDIS_URL = '', BENCH_PORT = '' } = process.env
const redis = new Redis(BENCH_REDIS_URL, { enableAutoPipelining: true })

const app = express()
app.disable('x-powered-by')
app.disable('etag')
app.set('query parser', false)
app.post('/introspect', (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const token = new URLSearchParams(Buffer.concat(chunks).toString()).get('token') ?? ''
    redis.get(`token:${createHash('sha256').update(token).digest('base64url')}`).then(
      (found) => {
        const text = found ?? '{"active":false}'
        response
          .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
          .end(text)
      },
      () => response.writeHead(503).end(),
    )
  })
})
app.listen(Number(BENCH_PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
