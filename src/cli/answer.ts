// `writ answer`: the answer to a question on a grant of yours.
import { say } from './ask.ts'
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'

export const answer: Command = {
  name: 'answer',
  summary: 'answer a question on a grant of yours',
  usage: 'ID N TEXT',
  about:
    'Answers question number N of a pending grant. `writ show ID` lists the questions. An answer cannot be changed.',
  examples: ['writ answer g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 1 "Yes, by the step before."'],
  options: {},
  words: [3, 3],
  run: async (context) => {
    const id = grantIdIn(context)
    const [, n = '', text = ''] = context.given.words
    if (!/^[1-9]\d{0,3}$/.test(n)) throw usage('N is the number of the question, as writ show lists it.')
    await say(context, await context.client(), `/v1/grants/${id}/questions/${n}/answer`, text)
    return EXIT.ok
  },
}
