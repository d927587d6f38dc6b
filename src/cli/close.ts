// `writ close`: a condition of yours is met.
import { closure, EVIDENCE_OPTIONS } from './ballot.ts'
import { PAGE_OPTIONS } from './ceremony.ts'
import type { Command } from './command.ts'
import { speakByWord } from './decide.ts'
import { usage } from './failure.ts'

export const close: Command = {
  name: 'close',
  summary: 'close a condition that you made when you approved',
  usage: 'ID CONDITION --reason TEXT [--evidence "KIND URL FILE"]…',
  about: `Says that what you asked for has been done. Until then, or until the owner takes its risk, the condition blocks exchange. \`writ show ID\` names the
conditions of a grant; whoever made one closes it.`,
  examples: ['writ close g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 k3V9xQ-f2Lr_ --reason "The debug port is closed; I looked"'],
  options: {
    reason: { takes: 'text', value: 'TEXT', help: 'what you saw, for those who read it later' },
    ...EVIDENCE_OPTIONS,
    ...PAGE_OPTIONS,
  },
  words: [2, 2],
  run: (context) => {
    const { given } = context
    const reason = given.text('reason')
    if (reason === undefined) throw usage('Say what you saw: --reason TEXT.')
    return speakByWord(context, 'closures', closure(given.words[1] ?? '', reason, given))
  },
}
