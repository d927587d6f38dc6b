// `writ accept`: a risk is taken by name, by the owner.
import { acceptance } from './ballot.ts'
import { PAGE_OPTIONS } from './ceremony.ts'
import type { Command } from './command.ts'
import { speakByWord } from './decide.ts'
import { usage } from './failure.ts'

export const accept: Command = {
  name: 'accept',
  summary: 'take a risk by name, as the owner, until a time',
  usage: 'ID RISK=TIME… --reason TEXT',
  about: `RISK is condition:ID of a condition that is open, or review:ROLE of a review that is missing, negative or does not count any more. The risk is
yours until TIME; from then on it blocks exchange again. It is no approval: \`writ approve\` is. Over a veto nothing can be taken.`,
  examples: [
    'writ accept g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 condition:k3V9xQ-f2Lr_=2026-03-02T00:00:00Z --reason "Not reachable from outside"',
  ],
  options: { reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' }, ...PAGE_OPTIONS },
  words: [2, 51],
  run: (context) => {
    const { given } = context
    const reason = given.text('reason')
    if (reason === undefined) throw usage('Say why: --reason TEXT.')
    return speakByWord(context, 'acceptances', acceptance(given.words.slice(1), reason))
  },
}
