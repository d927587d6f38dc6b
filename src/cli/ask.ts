// `writ ask`: a question to whoever asked, on a pending grant; it and its answer are part of what is decided on.
import type { z } from 'zod'
import { questionBody, questionsAnswer } from '../http/wire.ts'
import type { Client } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { quoted } from './facts.ts'
import { Refusal, usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { shown } from './shown.ts'

export const ask: Command = {
  name: 'ask',
  summary: 'ask the requester something before you decide',
  usage: 'ID TEXT',
  about:
    'Puts a question on a pending grant. Who asked for it sees it in `writ show ID` and answers with `writ answer`.',
  examples: ['writ ask g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 "Is the replica drained first?"'],
  options: {},
  words: [2, 2],
  run: async (context) => {
    const id = grantIdIn(context)
    await say(context, await context.client(), `/v1/grants/${id}/questions`, context.given.words[1] ?? '')
    return EXIT.ok
  },
}

/** Files a question or an answer, and shows what has been said so far. */
export async function say(context: Context, client: Client, path: string, text: string): Promise<void> {
  const body = questionBody.safeParse({ text })
  if (!body.success) throw usage(`The text ${body.error.issues[0]?.message ?? 'cannot be used'}.`)
  const { value, raw } = await client.post(path, body.data, questionsAnswer, { again: 'race' })
  context.sayJson(raw)
  showAll(context, value)
}

function showAll(context: Context, { questions }: z.infer<typeof questionsAnswer>): void {
  const { say, paint } = context
  for (const { n, by, at, text, answer } of questions) {
    say(shown`  ${paint.bold(`question ${n}`)} ${paint.dim(`${by}, ${at}`)}`)
    quoted(context, '', text)
    if (answer === undefined) say(shown`  ${paint.warn('not answered')}`)
    else quoted(context, `answered by ${answer.by}, ${answer.at}`, answer.text)
  }
}

/** What was asked and answered so far. */
export async function showQuestions(context: Context, client: Client, id: string): Promise<void> {
  try {
    showAll(context, (await client.get(`/v1/grants/${id}/questions`, questionsAnswer)).value)
  } catch (thrown) {
    // A broker without questions has none.
    if (!(thrown instanceof Refusal) || thrown.code !== 'no_such_route') throw thrown
  }
}
