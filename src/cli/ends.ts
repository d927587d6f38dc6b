// Ending grants, one by its id or all that a task, a session or a ticket names. Invariant: "ended" is said of what the broker has
// confirmed, and of nothing else; what is still ending is exit code 6.
import type { z } from 'zod'
import { type completionsBody, endsAnswer, grantAnswer } from '../http/wire.ts'
import type { Options } from './arguments.ts'
import { ticketOf } from './asking.ts'
import type { Client } from './client.ts'
import type { Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { headline } from './show-grant.ts'
import { shown } from './shown.ts'
import { isOver, waitFor, waitSeconds } from './wait.ts'

export const WHERE_OPTIONS: Options = {
  task: { takes: 'text', value: 'ID', help: 'every one of this task' },
  session: { takes: 'text', value: 'ID', help: 'every one of this run or session' },
  ticket: { takes: 'text', value: 'SYSTEM:ID', help: 'every one of this change ticket' },
  wait: { takes: 'maybe', value: 'SECONDS', help: 'wait until the end is confirmed' },
}

export interface End {
  /** `complete` or `revoke`: the last word of the route. */
  readonly verb: 'complete' | 'revoke'
  readonly all: '/v1/completions' | '/v1/revocations'
  readonly body: object
}

export async function end(context: Context, { verb, all, body }: End): Promise<ExitCode> {
  const where = whereOf(context)
  if ((where === undefined) === (context.given.words.length === 0))
    throw usage(
      `Name one grant, or which: writ ${verb} ID, or --task, --session, --ticket.`,
      `See writ ${verb} --help.`,
    )
  const client = await context.client()
  return where === undefined ? endOne(context, client, verb, body) : endAll(context, client, all, { where, ...body })
}

async function endOne(context: Context, client: Client, verb: string, body: object): Promise<ExitCode> {
  const id = grantIdIn(context)
  const seconds = waitSeconds(context)
  const asked = await client.post(`/v1/grants/${id}/${verb}`, body, grantAnswer, { again: 'safe' })
  const { grant, raw } =
    seconds === undefined || isOver(asked.value)
      ? { grant: asked.value, raw: asked.raw }
      : await waitFor(context, client, id, { seconds, until: isOver })
  context.sayJson(raw)
  context.say(headline(grant, context.paint))
  const { residueUntil } = grant.facts
  if (residueUntil !== undefined && Date.parse(residueUntil) > Date.parse(grant.facts.endedAt ?? residueUntil))
    context.note(shown`It may still be taken for good until ${residueUntil}, by whoever does not ask the broker.`)
  if (!isOver(grant)) context.note(shown`${grant.next_action} writ show ${id} --wait`)
  return isOver(grant) ? EXIT.ok : EXIT.notYet
}

async function endAll(context: Context, client: Client, path: End['all'], body: object): Promise<ExitCode> {
  const { say, note, paint } = context
  const asked = await client.post(path, body, endsAnswer, { again: 'safe' })
  const found = asked.value.grants
  context.sayJson(asked.raw)
  if (found.length === 0) {
    note(shown`No grant fits, or none that you may end.`)
    return EXIT.missing
  }
  const seconds = waitSeconds(context)
  const open: string[] = []
  for (const { id, status, refused } of found) {
    const ending = refused === undefined && !ENDED.has(status)
    const now =
      ending && seconds !== undefined
        ? (await waitFor(context, client, id, { seconds, until: isOver })).grant.status
        : status
    if (refused === undefined && !ENDED.has(now)) open.push(id)
    say(
      shown`${id}  ${ENDED.has(now) ? paint.good(now) : paint.warn(now)}${refused === undefined ? '' : shown`  ${paint.bad(`left as it is: ${refused}`)}`}`,
    )
  }
  if (open.length > 0) note(shown`${open.length} not confirmed yet: the credential may still work. writ show ID --wait`)
  if (open.length > 0) return EXIT.notYet
  return found.some(({ refused }) => refused !== undefined) ? EXIT.refused : EXIT.ok
}

const ENDED = new Set(['denied', 'withdrawn', 'lapsed', 'ended'])

function whereOf({ given }: Context): z.input<typeof completionsBody>['where'] | undefined {
  const [task, session, ticket] = [given.text('task'), given.text('session'), ticketOf(given.text('ticket'))]
  if (task === undefined && session === undefined && ticket === undefined) return undefined
  return {
    ...(task === undefined ? {} : { task }),
    ...(session === undefined ? {} : { session }),
    ...(ticket === undefined ? {} : { ticket: { ...ticket } }),
  }
}
