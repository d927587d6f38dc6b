// An asking by questions on a terminal, one at a time. Invariant: each answer is checked by the schema of the wire before the next question,
// and nothing is filed before the whole has been explained and confirmed.
import type { z } from 'zod'
import { parseDuration, parseInstant } from '../domain/instant.ts'
import { askBody, entitlementsAnswer } from '../http/wire.ts'
import { type Asking, checked, planOf, ticketOf, windowOf } from './asking.ts'
import type { Client } from './client.ts'
import type { Context } from './command.ts'
import { explain } from './dry-run.ts'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import { shown, textOf } from './shown.ts'

type Offer = z.infer<typeof entitlementsAnswer>['entitlements'][number]

/** The asking, or undefined where the user decided against it. */
export async function askByQuestions(context: Context, client: Client): Promise<Asking | undefined> {
  const { value } = await client.get('/v1/entitlements', entitlementsAnswer)
  if (value.entitlements.length === 0)
    throw new Failure(EXIT.forbidden, 'There is nothing that you may ask for here.', {
      next: 'Ask the owner of the target, or log in as somebody else.',
    })
  const { note, paint } = context
  note(shown`Ctrl-C leaves without filing anything. An empty answer takes what is in [brackets].`)
  const offer = await oneOf(context, 'What do you need?', value.entitlements)
  const actions = await ask(context, {
    question: `Actions, parted by spaces (${Object.entries(offer.actions)
      .map(([name, kind]) => `${name}: ${kind}`)
      .join(', ')})`,
    otherwise: Object.keys(offer.actions).length === 1 ? Object.keys(offer.actions)[0] : undefined,
    read: (text) => among(words(text), Object.keys(offer.actions)),
  })
  const scope =
    offer.scopes.length === 0
      ? []
      : await ask(context, {
          question: `Scope, parted by spaces (${offer.scopes.join(', ')})`,
          otherwise: '',
          read: (text) => valid(askBody.shape.scope, words(text)),
        })
  const summary = await ask(context, {
    question: 'What will you do, in one line?',
    read: (text) => valid(askBody.shape.task.shape.summary, text),
  })
  const expectedOutcome = await ask(context, {
    question: 'What is true afterwards?',
    otherwise: '',
    read: (text) => valid(askBody.shape.task.shape.expectedOutcome, text),
  })
  const rollback = await ask(context, {
    question: 'How is it undone?',
    otherwise: '',
    read: (text) => valid(askBody.shape.task.shape.rollback, text),
  })
  const ticket = await ask(context, {
    question: 'Change ticket, such as servicenow:CHG0031337',
    otherwise: offer.ticketRequired ? undefined : '',
    read: (text) => (text === '' ? undefined : valid(askBody.shape.ticket, ticketOf(text))),
  })
  const plan = await ask(context, {
    question: 'File of the plan that will be executed',
    otherwise: offer.planRequired ? undefined : '',
    read: (text) => (text === '' ? undefined : valid(askBody.shape.plan, planOf(text, undefined))),
  })
  const opensAt = await ask(context, {
    question: `From when? now, or a time with its zone such as 2026-03-01T22:00:00+01:00 (within ${offer.limits.horizon})`,
    otherwise: 'now',
    read: (text) => {
      if (text === 'now' || parseInstant(text) !== undefined) return text
      throw new Error('Answer now, or a time such as 2026-03-01T22:00:00+01:00.')
    },
  })
  const long = await ask(context, {
    question: `For how long? (at most ${offer.limits.maxDuration})`,
    otherwise: '30m',
    read: (text) => {
      if ((parseDuration(text) ?? 0) > 0) return text
      throw new Error('Answer with a duration such as 30m or 1h30m.')
    },
  })
  const { window } = windowOf(long, opensAt === 'now' ? undefined : opensAt, undefined)
  const asking = checked({
    entitlement: offer.id,
    actions,
    scope,
    task: { id: ticket?.id ?? '', summary, expectedOutcome, rollback },
    window,
    ...(ticket === undefined ? {} : { ticket }),
    ...(plan === undefined ? {} : { plan }),
  })
  await explain({ ...context, json: false, sayJson: () => undefined, say: note }, client, asking)
  const go = await ask(context, {
    question: 'File it? y or n',
    read: (text) => among([text.toLowerCase()], ['y', 'n'])[0],
  })
  if (go === 'y') return asking
  note(shown`${paint.warn('Nothing was filed.')}`)
  return undefined
}

interface Asked<T> {
  readonly question: string
  /** Taken for an empty answer; undefined where there must be one. */
  readonly otherwise?: string | undefined
  /** Throws with what is wrong. */
  read(text: string): T
}

/** Asks until the answer can be used. */
export async function ask<T>(
  { machine, note, paint }: Pick<Context, 'machine' | 'note' | 'paint'>,
  asked: Asked<T>,
): Promise<T> {
  const hint = asked.otherwise === undefined || asked.otherwise === '' ? '' : ` [${asked.otherwise}]`
  const optional = asked.otherwise === '' ? ' (may be empty)' : ''
  for (;;) {
    const answer = await machine.ask(textOf(shown`${paint.bold(`${asked.question}${optional}${hint}`)} › `))
    if (answer === undefined) throw new Failure(EXIT.refused, 'Left; nothing was sent.')
    const text = answer.trim() === '' && asked.otherwise !== undefined ? asked.otherwise : answer.trim()
    try {
      return asked.read(text)
    } catch (thrown) {
      note(shown`  ${paint.bad(thrown instanceof Error ? thrown.message : 'That cannot be used.')}`)
    }
  }
}

async function oneOf(context: Context, question: string, offers: readonly Offer[]): Promise<Offer> {
  const { note, paint } = context
  note(shown`${paint.bold(question)}`)
  for (const [at, offer] of offers.entries())
    note(
      shown`  ${at + 1}  ${offer.id}  ${paint.dim(`${offer.title}, ${offer.target.id} in ${offer.target.environment}, tier ${offer.tier}`)}`,
    )
  return ask(context, {
    question: 'Number or name',
    otherwise: offers.length === 1 ? '1' : undefined,
    read: (text) => {
      const offer = offers.find(({ id }, at) => id === text || String(at + 1) === text)
      if (offer === undefined)
        throw new Error(`Answer with a number from 1 to ${offers.length}, or a name of the list.`)
      return offer
    },
  })
}

const words = (text: string): string[] => text.split(/[\s,]+/).filter((word) => word !== '')

function among(given: readonly string[], known: readonly string[]): string[] {
  const strange = given.find((one) => !known.includes(one))
  if (given.length === 0 || strange !== undefined) throw new Error(`Answer with one of: ${known.join(', ')}.`)
  return [...given]
}

/** The text itself, if the wire takes it. */
function valid<Schema extends z.ZodType>(schema: Schema, value: unknown): z.input<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return value as z.input<Schema>
  throw new Error(`This ${result.error.issues[0]?.message ?? 'cannot be used'}.`)
}
