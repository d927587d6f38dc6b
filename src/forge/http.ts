// One question to a forge, made of several calls to its API. Invariant: the token goes to the configured address and nowhere else, never
// into an error; no redirects, 2 MiB an answer, and all calls together have one deadline.
import { readFile } from 'node:fs/promises'
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import { rootCertificates } from 'node:tls'
import type { z } from 'zod'
import { authorsUnknown } from '../domain/authorship.ts'
import { BrokerError } from '../domain/errors.ts'
import { reveal, type Secret, secret } from '../domain/secret.ts'

export interface ForgeAddress {
  /** The short name. */
  readonly name: string
  /** Base of every call, without a trailing slash. */
  readonly api: string
  readonly tokenFile: string
  /** PEM of an authority trusted besides the public ones. */
  readonly ca: string | undefined
}

type Query = Readonly<Record<string, string>>
export interface Page<T> {
  readonly value: T
  /** The query of the next page; undefined where this is the last. */
  readonly next: URLSearchParams | undefined
}
/** Rejects `authors_unknown` where the forge says that there is no such thing, `forge_unavailable` for every other answer but 200. */
export type Ask = <S extends z.ZodType>(path: string, query: Query, answer: S) => Promise<Page<z.output<S>>>

const MAX_BYTES = 2 * 1024 * 1024
/** A thing that has moved is not where it was said to be, and nobody is followed anywhere with the token. */
const NOT_THERE = new Set([301, 302, 303, 307, 308, 404, 409, 410, 422])

export const unavailable = (forge: string, why: string): BrokerError =>
  new BrokerError('forge_unavailable', `The forge ${forge} does not answer.`, {
    nextAction: 'Try again; if it stays so, tell the operator of the broker.',
    cause: new Error(why),
  })

/** Lets `work` ask as often as it needs. When the deadline is over, or one call fails, nothing more is asked. */
export async function inquire<T>(
  at: ForgeAddress,
  { headers, deadlineMs }: { readonly headers: Readonly<Record<string, string>>; readonly deadlineMs: number },
  work: (ask: Ask) => Promise<T>,
): Promise<T> {
  const token = await tokenOf(at)
  const isTls = at.api.startsWith('https:')
  // Kept open between the calls of this one question only.
  const agent = new (isTls ? TlsAgent : PlainAgent)({ keepAlive: true, maxSockets: 6 })
  const over = new AbortController()
  const signal = AbortSignal.any([AbortSignal.timeout(deadlineMs), over.signal])
  const options = {
    headers: { accept: 'application/json', 'user-agent': 'writ', ...headers, authorization: `Bearer ${reveal(token)}` },
    agent,
    signal,
  }
  const ask: Ask = async (path, query, answer) => {
    const url = new URL(`${at.api}${path}`)
    url.search = new URLSearchParams(query).toString()
    const { text, link } = await read((answered) =>
      isTls
        ? tlsRequest(
            url,
            {
              ...options,
              rejectUnauthorized: true,
              ...(at.ca === undefined ? {} : { ca: [...rootCertificates, at.ca] }),
            },
            answered,
          )
        : plainRequest(url, options, answered),
    ).catch((thrown: unknown) => {
      if (thrown instanceof NoAnswer)
        throw thrown.status !== undefined && NOT_THERE.has(thrown.status)
          ? authorsUnknown('the forge does not know the commit, or does not show it')
          : unavailable(at.name, `${signal.aborted ? 'it took too long' : thrown.message} (${path})`)
      throw thrown
    })
    const parsed = answer.safeParse(jsonOf(text))
    if (!parsed.success) throw unavailable(at.name, `an answer of another shape (${path})`)
    return { value: parsed.data, next: nextOf(link) }
  }
  try {
    return await work(ask)
  } finally {
    over.abort()
    agent.destroy()
  }
}

async function tokenOf({ name, tokenFile }: ForgeAddress): Promise<Secret<string>> {
  const text = await readFile(tokenFile, 'utf8').catch(() => '')
  // Anything else would be an error of Node that quotes it.
  if (!/^[\x21-\x7e]{1,4096}\s*$/.test(text)) throw unavailable(name, `no token in ${tokenFile}`)
  return secret(text.trimEnd())
}

/** No usable answer. The message holds nothing that was sent or read. */
class NoAnswer extends Error {
  readonly status: number | undefined
  constructor(message: string, status?: number) {
    super(message)
    this.status = status
  }
}

interface Answered {
  readonly text: string
  readonly link: string
}

function read(
  open: (answered: (response: IncomingMessage) => void) => ReturnType<typeof plainRequest>,
): Promise<Answered> {
  return new Promise((settle, fail) => {
    const failed = (): void => fail(new NoAnswer('the connection failed'))
    const request = open((response) => {
      const { statusCode: status, headers } = response
      if (status !== 200) {
        fail(new NoAnswer(`status ${status}`, status))
        response.destroy()
        return
      }
      const parts: Buffer[] = []
      let size = 0
      response.on('data', (part: Buffer) => {
        size += part.length
        parts.push(part)
        if (size > MAX_BYTES) {
          fail(new NoAnswer('an answer larger than 2 MiB'))
          response.destroy()
        }
      })
      response.on('end', () => {
        try {
          const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
          settle({ text, link: [headers.link ?? []].flat().join(',') })
        } catch {
          fail(new NoAnswer('an answer that is not UTF-8'))
        }
      })
      response.on('error', failed)
    })
    request.on('error', failed)
    request.end()
  })
}

/** Undefined fits no shape. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Of the address of the next page only the query is taken: where to ask is configured, not answered. */
function nextOf(link: string): URLSearchParams | undefined {
  const [, url = ''] = /<([^<>]*)>\s*;[^,]*\brel="?next"?/.exec(link) ?? []
  return URL.canParse(url) ? new URL(url).searchParams : undefined
}
