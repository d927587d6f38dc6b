// An HTTP proxy between brokers and Vault that remembers what changed something at Vault, and for which mint: by the names and ids in the
// request, and for an accessor by the answer in which Vault first named it. It keeps no token, password or other secret.
import { readFileSync, writeFileSync } from 'node:fs'
import http, { type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Json } from '../../deploy/dev/client.ts'

/** What a broker does for one mint, each of it once. */
export const ACTS = ['open', 'keep', 'role', 'login', 'revoke', 'drop', 'unrole'] as const
export type Act = (typeof ACTS)[number]
export interface Seen {
  readonly act: Act
  readonly mint: string
  /** 0 while it is not answered. */
  status: number
}

export interface VaultTap {
  readonly address: string
  readonly seen: readonly Seen[]
  /** How often each act was tried for each mint that was ever seen. */
  counts(): ReadonlyMap<string, Readonly<Record<Act, number>>>
  close(): Promise<void>
}

export async function vaultTap(upstream: string): Promise<VaultTap> {
  const seen: Seen[] = []
  const mintOf = new Map<string, string>()
  // By which a broker knows this Vault again: they are of no mint.
  const marks = new Set<string>()
  const target = new URL(upstream)
  const agent = new http.Agent({ keepAlive: true })
  const server = http.createServer((request, response) => {
    void relay(request).catch(() => response.destroy())
    async function relay(incoming: IncomingMessage): Promise<void> {
      const sent = await bytesOf(incoming)
      const act = actOf(incoming.method ?? '', incoming.url ?? '', sent, { mintOf, marks })
      if (act !== undefined) seen.push(act)
      const onward = http.request({
        agent,
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      })
      // A caller that hangs up does so at Vault too, as without us.
      response.on('close', () => {
        if (!response.writableFinished) onward.destroy()
      })
      onward.on('error', () => response.destroy())
      onward.on('response', (answer) => {
        void bytesOf(answer).then(
          (got) => {
            if (act !== undefined) act.status = answer.statusCode ?? 0
            if (isMark(incoming.url ?? '', sent)) marks.add(parsed(got)?.auth?.accessor)
            if (act?.act === 'open') {
              const accessor = parsed(got)?.auth?.accessor
              if (typeof accessor === 'string') mintOf.set(accessor, act.mint)
            }
            response.writeHead(answer.statusCode ?? 502, answer.headers)
            response.end(got)
          },
          () => response.destroy(),
        )
      })
      onward.end(sent)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    counts: () => {
      const found = new Map<string, Record<Act, number>>()
      for (const { act, mint } of seen) {
        const row = found.get(mint) ?? { open: 0, keep: 0, role: 0, login: 0, revoke: 0, drop: 0, unrole: 0 }
        row[act] += 1
        found.set(mint, row)
      }
      return found
    },
    close: () =>
      new Promise((closed) => {
        server.close(() => closed())
        server.closeAllConnections()
        agent.destroy()
      }),
  }
}

/** Sends the brokers of a stage, which must not have started yet, through the tap. */
export function tapBackends(dir: string, tap: VaultTap): void {
  const file = join(dir, 'backends.yaml')
  const written = JSON.parse(readFileSync(file, 'utf8'))
  written.backends['vault-main'].address = tap.address
  writeFileSync(file, JSON.stringify(written, undefined, 2))
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of message) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

const parsed = (bytes: Buffer): Json => {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    return undefined
  }
}

const isMark = (path: string, body: Buffer): boolean =>
  path.startsWith('/v1/auth/token/create') && parsed(body)?.display_name === 'g-mark'

const IN_ROLE = /\/writ-payments-migrator-([^/]+)/

/** Undefined for what changes nothing of a mint: logins of the broker itself, look-ups, capabilities, marks. */
function actOf(
  method: string,
  path: string,
  body: Buffer,
  { mintOf, marks }: { readonly mintOf: ReadonlyMap<string, string>; readonly marks: ReadonlySet<string> },
): Seen | undefined {
  if (isMark(path, body) || marks.has(parsed(body)?.accessor)) return undefined
  const by = (act: Act, mint: unknown): Seen => ({ act, mint: typeof mint === 'string' ? mint : '?', status: 0 })
  if (path.startsWith('/v1/auth/token/create')) return by('open', parsed(body)?.meta?.mint)
  if (path === '/v1/auth/token/renew-accessor') return by('keep', mintOf.get(parsed(body)?.accessor))
  if (path === '/v1/auth/token/revoke-accessor') return by('drop', mintOf.get(parsed(body)?.accessor))
  if (path === '/v1/sys/leases/revoke') return by('revoke', IN_ROLE.exec(`/${parsed(body)?.lease_id}`)?.[1])
  if (path.startsWith('/v1/database/creds/')) return by('login', IN_ROLE.exec(path)?.[1])
  if (path.startsWith('/v1/database/roles/'))
    return by(method === 'DELETE' ? 'unrole' : 'role', IN_ROLE.exec(path)?.[1])
  return undefined
}
