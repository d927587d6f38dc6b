// `writ deny`: refuse a grant that waits for you.
import type { Command } from './command.ts'
import { DECISION_OPTIONS, decideByWord } from './decide.ts'

export const deny: Command = {
  name: 'deny',
  summary: 'refuse a grant that waits for you',
  usage: 'ID --reason TEXT',
  about: `As its owner you refuse the grant for good, and so do you with a veto; another reviewer’s no stands until the owner takes its risk by name. Who asked sees your
reason.`,
  examples: ['writ deny g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "Not before the quarter is closed"'],
  options: DECISION_OPTIONS,
  words: [1, 1],
  run: (context) => decideByWord(context, 'deny'),
}
