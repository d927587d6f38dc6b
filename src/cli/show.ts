// `writ show`: one grant, whole; or what happened to it; or what becomes of it.
import { eventsAnswer, waitAnswer } from '../http/wire.ts'
import { showQuestions } from './ask.ts'
import type { Command } from './command.ts'
import { eventLine } from './events.ts'
import { EXIT, exitOfStatus } from './exit-codes.ts'
import { Failure } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { isTrueTo, showGrant } from './show-grant.ts'
import { shown } from './shown.ts'
import { settledFrom, waitFor, waitSeconds } from './wait.ts'

export const show: Command = {
  name: 'show',
  summary: 'one grant, what happened to it, or wait for what becomes of it',
  usage: 'ID [--wait[=SECONDS]] [--events]',
  about: `Shows a grant: what was asked, under which digest, who decided, which credentials were made, and how it ended. With --events, what
happened, in order. With --wait it waits for the decision on a pending one, for the window of a scheduled one, for the confirmed end of
one that is ending; what has come already is not waited for. Exit code: 0; with --wait, 6 when the wait is over before, 7 when it was denied, withdrawn or lapsed.`,
  examples: ['writ show g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --wait=600', 'writ show g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --events'],
  options: {
    wait: {
      takes: 'maybe',
      value: 'SECONDS',
      help: 'wait for what is still to come, at most an hour if nothing is said',
    },
    events: { takes: 'flag', help: 'what happened to it, in order' },
  },
  words: [1, 1],
  run: async (context) => {
    const { given, say, note, paint } = context
    const id = grantIdIn(context)
    const seconds = waitSeconds(context)
    const client = await context.client()
    if (given.has('events')) {
      const { value, raw } = await client.get(`/v1/grants/${id}/events`, eventsAnswer)
      context.sayJson(raw)
      for (const event of value.events) say(eventLine(event, paint))
      return EXIT.ok
    }
    const first = await client.get(`/v1/grants/${id}`, waitAnswer)
    const waited =
      seconds === undefined
        ? { grant: first.value, raw: first.raw, timedOut: false }
        : await waitFor(context, client, id, { seconds, until: settledFrom(first.value) })
    context.sayJson(waited.raw)
    if (!context.json) {
      showGrant(context, waited.grant, client.broker)
      await showQuestions(context, client, id)
      if (!isTrueTo(waited.grant, client.broker))
        throw new Failure(EXIT.refused, 'What is shown here is not what its digest stands for.', {
          next: 'Do not decide on it; tell the operator of the broker.',
        })
    }
    if (waited.timedOut) note(shown`The wait is over; it is still ${waited.grant.status}.`)
    if (seconds === undefined) return EXIT.ok
    // An end that was waited for is what was wanted.
    return waited.timedOut ? EXIT.notYet : waited.grant.status === 'ended' ? EXIT.ok : exitOfStatus(waited.grant.status)
  },
}
