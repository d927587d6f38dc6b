// `writ events`: what happens to the grants that you may see, from then on or from now on. Invariant: a connection that breaks is taken up
// after the last event that was shown, so that none is shown twice and none is left out.
import type { z } from 'zod'
import { type eventsAnswer, feedAnswer } from '../http/wire.ts'
import { type Client, Interrupted } from './client.ts'
import type { Command, Context } from './command.ts'
import { messagesIn } from './event-stream.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { Failure, usage } from './failure.ts'
import { type Paint, padded, type Shown, safeJson, shown } from './shown.ts'
import { readAnswer } from './wire-reader.ts'

type Event = z.infer<typeof eventsAnswer>['events'][number]
const feedEvent = feedAnswer.shape.events.element
type FeedEvent = z.infer<typeof feedEvent>

export const events: Command = {
  name: 'events',
  summary: 'what happens to the grants that you may see',
  usage: '[--follow] [--after ID]',
  about: `Lists events of all grants that you may see, in order; with --follow it goes on as they happen, and takes up where it was when the
connection breaks. With --json each event is one line of JSON. \`writ show ID --events\` is the history of one grant.`,
  examples: ['writ events --follow', 'writ events --follow --json | jq -c "select(.type == \\"stuck\\")"'],
  options: {
    follow: { takes: 'flag', help: 'go on until Ctrl-C' },
    after: { takes: 'text', value: 'ID', help: 'only what came after this event' },
    limit: { takes: 'text', value: 'N', help: 'how many without --follow, at most 100 (default 50)' },
  },
  words: [0, 0],
  run: async (context) => {
    const { given } = context
    if (given.has('follow')) return follow(context, given.text('after'))
    const limit = given.text('limit') ?? '50'
    if (!/^\d{1,3}$/.test(limit)) throw usage('--limit takes a number from 1 to 100.')
    const after = given.text('after')
    const query = new URLSearchParams({ limit, ...(after === undefined ? {} : { after }) })
    const { value, raw } = await (await context.client()).get(`/v1/events?${query}`, feedAnswer)
    context.sayJson(raw)
    for (const event of value.events) context.say(feedLine(event, context.paint))
    if (!context.json) context.note(shown`Go on with --after ${value.next}`)
    return EXIT.ok
  },
}

export const eventLine = ({ version, at, type, by, details }: Event, paint: Paint): Shown =>
  shown`${paint.dim(at)}  ${padded(version, 3)} ${padded(paint.bold(type), 17)} ${padded(by, 8)}  ${paint.dim(detailsOf(details))}`
const feedLine = ({ at, grant, type, by, details }: FeedEvent, paint: Paint): Shown =>
  shown`${paint.dim(at)}  ${grant}  ${padded(paint.bold(type), 17)} ${padded(by, 8)}  ${paint.dim(detailsOf(details))}`
const detailsOf = (details: Event['details']): string =>
  Object.entries(details)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join(',') : value}`)
    .join(' ')

const QUIET_MS = 45_000
const LONGEST_PAUSE_MS = 15_000
const QUIETLY_MS = 500

async function follow(context: Context, from: string | undefined): Promise<ExitCode> {
  const { machine, note } = context
  const client = await context.client()
  const place = { after: from }
  for (let failed = 0; ; ) {
    try {
      await followOnce(context, client, place, () => {
        failed = 0
      })
      // The broker ends a stream after a while, so that the token is shown again.
      await machine.pause(QUIETLY_MS, machine.interrupted)
      continue
    } catch (thrown) {
      if (machine.interrupted.aborted) throw new Interrupted('interrupted')
      // What the broker refuses it refuses again; only what broke is taken up.
      if (thrown instanceof Failure && thrown.exit !== EXIT.unavailable) throw thrown
    }
    failed += 1
    const ms = Math.min(LONGEST_PAUSE_MS, 250 * 2 ** failed)
    note(shown`The stream broke; going on in ${Math.ceil(ms / 1_000)} s.`)
    await machine.pause(ms, machine.interrupted)
  }
}

/** One connection, to its end. `place` says where the next one goes on. */
async function followOnce(
  context: Context,
  client: Client,
  place: { after: string | undefined },
  got: () => void,
): Promise<void> {
  const { machine, paint, json, say } = context
  // A sign of life comes every 15 s: silence for longer is a connection that is gone and does not know it.
  const quiet = new AbortController()
  const watch = { timer: setTimeout(() => quiet.abort(), QUIET_MS) }
  try {
    const bytes = await client.stream('/v1/events', place.after, quiet.signal)
    for await (const { id, event: type, data } of messagesIn(bytes.pipeThrough(alive(watch)))) {
      if (type === 'problem') throw new Failure(EXIT.unavailable, 'The broker cannot go on with the stream.')
      const event = readAnswer(feedEvent, parsedOrUndefined(data))
      if (event === undefined)
        throw new Failure(EXIT.refused, 'The stream holds an event that this version of writ does not know.')
      got()
      place.after = id
      if (json) machine.write(`${safeJson(event)}\n`)
      else say(feedLine(event, paint))
    }
  } finally {
    clearTimeout(watch.timer)
  }
}

/** Passes everything on, and notes that something came. */
const alive = (watch: { readonly timer: NodeJS.Timeout }) =>
  new TransformStream<Uint8Array, Uint8Array>({
    transform: (part, to) => {
      watch.timer.refresh()
      to.enqueue(part)
    },
  })

function parsedOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
