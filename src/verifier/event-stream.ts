// `text/event-stream` as bytes into messages (WHATWG HTML §9.2.6). Invariant: an event that came only in part is none.

export interface Message {
  readonly id: string
  readonly event: string
  readonly data: string
}

/** A message is not longer than this; more is not one of the broker's. */
const LONGEST = 65_536

/** `heard` is called with every part that arrives, comments included. */
export async function* messagesIn(bytes: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<Message> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest = ''
  for await (const part of bytes) {
    heard()
    rest += decoder.decode(part, { stream: true })
    const blocks = rest.split(/\r\n\r\n|\n\n|\r\r/)
    rest = blocks.pop() ?? ''
    if (rest.length > LONGEST) throw new Error('the event stream has a message without end')
    for (const block of blocks) {
      const message = messageOf(block)
      if (message !== undefined) yield message
    }
  }
}

/** Undefined for a comment. */
function messageOf(block: string): Message | undefined {
  const fields = { id: '', event: 'message' }
  const data: string[] = []
  for (const line of block.split(/\r\n|\n|\r/)) {
    const [, name, value = ''] = /^([^:]+)(?:: ?(.*))?$/s.exec(line) ?? []
    if (name === 'data') data.push(value)
    else if (name === 'id' || name === 'event') fields[name] = value
  }
  return data.length === 0 ? undefined : { ...fields, data: data.join('\n') }
}
