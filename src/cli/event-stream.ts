// `text/event-stream` as bytes into messages (WHATWG HTML, 9.2.6). Invariant: an event that came only in part is none.

export interface Message {
  readonly id: string
  readonly event: string
  readonly data: string
}

/** A message of a stream is not longer than this; more is not one of ours. */
const LONGEST = 1_048_576

export async function* messagesIn(bytes: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of bytes) {
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

/** Undefined for a comment, such as the sign of life. */
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
