// A resource server that listens to the feed of ended grants over a real socket, as a stranger would write it: no code of the broker in it.
import { clientAssertion, type Json, type ProofKey } from '../../deploy/dev/client.ts'

export interface ServerKey {
  readonly id: string
  readonly privateKey: ProofKey['privateKey']
  readonly kid: string
}
export interface Heard {
  readonly event: string
  readonly id: string
  readonly data: Json
  /** When it came, by this process's own clock. */
  readonly atMs: number
}
export interface Listener {
  readonly heard: readonly Heard[]
  /** The id of the newest message. */
  position(): string | undefined
  /** Resolves when the stream is over, from whichever side. */
  readonly over: Promise<void>
  cut(): void
}

/** One request with a fresh assertion. */
export async function asServer(
  url: string,
  issuer: string,
  server: ServerKey,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<{ readonly status: number; readonly body: Json }> {
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${clientAssertion(server.id, issuer, server)}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
}

/** Throws where the stream is refused. `query` such as `?after=…`. */
export async function listenTo(
  url: string,
  issuer: string,
  server: ServerKey,
  { query = '', lastEventId }: { readonly query?: string; readonly lastEventId?: string } = {},
): Promise<Listener> {
  const gone = new AbortController()
  const response = await fetch(`${url}/v1/revocations${query}`, {
    headers: {
      authorization: `Bearer ${clientAssertion(server.id, issuer, server)}`,
      accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
    signal: gone.signal,
  })
  if (response.status !== 200 || response.body === null) throw new Error(`${response.status} ${await response.text()}`)
  const heard: Heard[] = []
  const { body } = response
  const read = async (): Promise<void> => {
    let rest = ''
    for await (const part of body.pipeThrough(new TextDecoderStream())) {
      rest += part
      const blocks = rest.split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? ''
        if (field('event') !== '')
          heard.push({
            event: field('event'),
            id: field('id'),
            data: JSON.parse(field('data')),
            atMs: performance.now(),
          })
      }
    }
  }
  return {
    heard,
    position: () => heard.findLast(({ id }) => id !== '')?.id,
    over: read().catch(() => undefined),
    cut: () => gone.abort(),
  }
}
