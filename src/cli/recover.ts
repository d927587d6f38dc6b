// `writ recover`: walks an operator through a store that has lost something: what was noticed, what it means, what will be ended, and how far
// that is. Invariant: nothing is sent before a reason and a confirmation were given, and it is not called over before things are issued again.
import { operationAnswer, type RecoveryAnswer, recoveryAnswer } from '../http/wire.ts'
import type { Client } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { counted, facts } from './facts.ts'
import { Failure, usage } from './failure.ts'
import { ask } from './questions.ts'
import { shown } from './shown.ts'

const AT = '/v1/operations/recovery'
const EVERY_MS = 1_000
/** So often in a row may another broker behind the address say that it has noticed more, before it is told as well. */
const NOTICED_MORE = 5

export const recover: Command = {
  name: 'recover',
  summary: 'after a restored or lost store: end what may have come back, and issue again',
  usage: '[--reason TEXT] [--yes] [--now] [--within SECONDS]',
  about: `Says what the broker has noticed of its store, what that means and what will be ended, asks for a reason and a confirmation, and shows how
far it is until things are issued again. Where commits are missing every grant in the store is ended, as it may have ended since: nothing that
was handed out before comes back, and whoever needs something asks anew. Ctrl-C leaves the walk, not the recovery: the brokers go on with it, and
writ recover shows it again. For operators; who did it and why is on record.
Exit code: 0 when things are issued, 6 when that was not within --within.`,
  examples: [
    'writ recover',
    'writ recover --yes --reason "INC0012345: redis was restored" --within 600',
    'writ recover --now',
  ],
  options: {
    reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later; asked for on a terminal' },
    yes: { takes: 'flag', help: 'confirmed: for scripts, and where there is no terminal' },
    now: { takes: 'flag', help: 'issue as soon as everything has begun to end, though a backend has not confirmed it' },
    within: { takes: 'text', value: 'SECONDS', help: 'how long to watch it; else until it is over' },
  },
  words: [0, 0],
  run: async (context) => {
    const seconds = secondsIn(context)
    const client = await context.client()
    const { value: found, raw } = await client.get(AT, recoveryAnswer)
    tellFound(context, found)
    if (found.state === 'well') {
      context.sayJson(raw)
      return EXIT.ok
    }
    const now = context.given.has('now')
    if (found.state === 'clearing' && !now) return follow(context, client, seconds, undefined)
    const reason = await reasonOf(context, found)
    await confirm(context, found, now)
    const body = { reason, resume: now ? 'now' : 'when_clean' }
    await client.post('/v1/operations/recover', body, operationAnswer, { again: 'safe' })
    return follow(context, client, seconds, body)
  },
}

function secondsIn({ given }: Context): number | undefined {
  const text = given.text('within')
  if (text !== undefined && !/^\d{1,6}$/.test(text)) throw usage('--within takes whole seconds: --within 600.')
  return text === undefined ? undefined : Number(text)
}

function tellFound({ note, say, paint }: Context, found: RecoveryAnswer): void {
  const { state, seen, here, live, clearing, last } = found
  if (state === 'well') {
    say(shown`${paint.good('The store is well:')} things are issued.`)
    if (last !== undefined) note(shown`Recovered at ${last.at} by ${last.by}: ${last.reason}`)
    return
  }
  note(shown`${paint.bold('What was noticed')}`)
  if (state === 'behind') {
    note(shown`  This broker knows of commit ${seen}; the store has come to ${here}, or does not hold what was seen.`)
    note(shown`  It was restored, rolled back, emptied or replaced. Nothing is issued; ends go on.`)
  }
  if (state === 'no_record') {
    note(shown`  The store has no control record: what is judged here and now cannot be known.`)
    note(shown`  Nothing is issued; ends go on.`)
  }
  if (state === 'clearing') {
    note(shown`  ${clearing?.by ?? ''} began a recovery at ${clearing?.at ?? ''}: ${clearing?.reason ?? ''}`)
    note(shown`  Nothing is issued until what may have come back has ended.`)
  }
  note(shown`${paint.bold('What it means')}`)
  if (found.endsAll || state === 'clearing') {
    note(shown`  What is missing in the store cannot be read there, so any grant in it may have ended since.`)
    note(shown`  Freezes, removed passkeys and denials of after the copy are lost too: make them again.`)
    note(shown`  If a newer copy exists (append-only file, replica), bring that back first, and start here again.`)
  } else note(shown`  Everything that this broker knows of is there, so no grant can have come back: none is ended.`)
  note(shown`${paint.bold(found.endsAll || state === 'clearing' ? 'What will be ended' : 'What goes on')}`)
  const rows = Object.entries(live).filter(([, count]) => count > 0)
  if (rows.length === 0) note(shown`  Nothing: no grant in the store is alive.`)
  facts(
    { say: note, paint },
    rows.map(([status, count]) => [status, String(count)] as const),
  )
}

async function reasonOf(context: Context, found: RecoveryAnswer): Promise<string> {
  const given = context.given.text('reason')
  if (given !== undefined) return given
  if (!isInteractive(context)) throw usage('Say why: --reason TEXT.')
  return ask(context, {
    question: found.state === 'clearing' ? 'Why is it not waited for?' : 'Why was the store restored or lost?',
    read: (text) => {
      if (text === '') throw new Error('Somebody will read it later: say why.')
      return text
    },
  })
}

const isInteractive = ({ machine, json }: Context): boolean =>
  machine.terminal.input && machine.terminal.errors && !json

async function confirm(context: Context, found: RecoveryAnswer, now: boolean): Promise<void> {
  if (context.given.has('yes')) return
  if (!isInteractive(context))
    throw usage(
      'Confirm it: --yes.',
      'Read first what writ recover says on a terminal, or GET /v1/operations/recovery.',
    )
  const word = found.endsAll || found.state === 'clearing' ? 'end everything' : 'go on'
  if (now)
    context.note(
      shown`${context.paint.warn('With --now')} things are issued although a backend may still let somebody in whose end it has not confirmed.`,
    )
  const answer = await ask(context, { question: `Type "${word}" to go on`, otherwise: '', read: (text) => text })
  if (answer !== word) throw new Failure(EXIT.refused, 'Left; nothing was sent.')
}

/** Until things are issued. `told`: what was sent, for a broker behind the same address that turns out to have seen more. */
async function follow(
  context: Context,
  client: Client,
  seconds: number | undefined,
  told: { readonly reason: string; readonly resume: string } | undefined,
): Promise<ExitCode> {
  const { machine, progress, paint } = context
  const end = seconds === undefined ? undefined : machine.now() + seconds * 1_000
  let behind = 0
  try {
    for (;;) {
      const { value, raw } = await client.get(AT, recoveryAnswer)
      if (value.state === 'well') {
        progress(undefined)
        context.sayJson(raw)
        context.say(shown`${paint.good('Recovered:')} things are issued again. Whoever needs something asks anew.`)
        return EXIT.ok
      }
      if (end !== undefined && machine.now() >= end) {
        context.sayJson(raw)
        context.say(shown`${paint.warn('Not yet:')} ${standing(value)}`)
        return EXIT.notYet
      }
      behind = value.state === 'clearing' ? 0 : behind + 1
      if (behind >= NOTICED_MORE && told !== undefined) {
        await client.post('/v1/operations/recover', told, operationAnswer, { again: 'safe' })
        behind = 0
      }
      progress(shown`${standing(value)} …  (Ctrl-C leaves this walk; the brokers go on)`)
      await machine.pause(EVERY_MS, machine.interrupted)
    }
  } finally {
    progress(undefined)
  }
}

function standing({ state, why, clearing }: RecoveryAnswer): string {
  if (state !== 'clearing' || clearing === undefined) return why ?? 'one of the brokers has not taken it over yet'
  if (clearing.left > 0) return `${counted(clearing.ended, 'grant')} ended, ${clearing.left} not confirmed yet`
  return clearing.waitsFor === undefined ? 'looking through the store' : `waiting for ${clearing.waitsFor}`
}
