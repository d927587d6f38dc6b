// The control for ends: one delayed BullMQ job per grant, as its documentation has it, added in bulk; at its end each writes one field, which is less
// than any end is. Run as a program: POST /add?many=&from=&spreadMs= and GET /state on its port.
import { createServer } from 'node:http'
import { type Job, Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

const { BENCH_REDIS_URL = '', BENCH_PORT = '' } = process.env
const connect = (): Redis => new Redis(BENCH_REDIS_URL, { maxRetriesPerRequest: null, replyMapping: 'legacy' })
const redis = connect()
const queue = new Queue('ends', {
  connection: connect(),
  defaultJobOptions: { removeOnComplete: true, removeOnFail: true },
  streams: { events: { maxLen: 100 } },
})
await queue.waitUntilReady()

const BULK = 500
let late: number[] = []
let lastAt = 0
const end = async (job: Job<{ readonly grant: string; readonly due: number }>): Promise<void> => {
  await redis.hset(`grant:${job.data.grant}`, 'status', 'ended')
  lastAt = Date.now()
  late.push(lastAt - job.data.due)
}
const worker = new Worker('ends', end, { connection: connect(), concurrency: 64 })
await worker.waitUntilReady()

async function add(many: number, from: number, spreadMs: number): Promise<void> {
  for (let n = 0; n < many; n += BULK) {
    const jobs = Array.from({ length: Math.min(BULK, many - n) }, (_, k) => {
      const due = from + Math.floor(((n + k) * spreadMs) / many)
      const grant = `g0-${from.toString(36)}${String(n + k).padStart(18, '0')}`
      return { name: 'end', data: { grant, due }, opts: { delay: Math.max(0, due - Date.now()) } }
    })
    await queue.addBulk(jobs)
  }
}

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://127.0.0.1')
  const given = (name: string): number => Number(searchParams.get(name))
  const answer = (body: object): void => {
    const text = JSON.stringify(body)
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text)
  }
  if (pathname === '/add') {
    late = []
    add(given('many'), given('from'), given('spreadMs')).then(
      () => answer({ added: true }),
      (thrown) => response.writeHead(500).end(String(thrown)),
    )
    return
  }
  const sorted = late.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  answer({ fired: sorted.length, p50: at(0.5), p99: at(0.99), lastAt })
})
server.listen(Number(BENCH_PORT), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
