// `writ approve`: agree to a grant that waits for you.
import type { Command } from './command.ts'
import { DECISION_OPTIONS, decideByWord } from './decide.ts'

export const approve: Command = {
  name: 'approve',
  summary: 'agree to a grant that waits for you',
  usage: 'ID --reason TEXT',
  about: `Approves exactly the digest that the grant has now, reckoned here from what the broker shows. \`writ review\` shows it field by field first; so does
\`writ show ID\`. You cannot approve what you asked for, execute or answer for.
Where it needs your passkey, the page on which you sign is opened, and this waits for it.`,
  examples: ['writ approve g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "In the maintenance window, rollback is tested"'],
  options: DECISION_OPTIONS,
  words: [1, 1],
  run: (context) => decideByWord(context, 'approve'),
}
