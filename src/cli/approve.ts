// `writ approve`: agree to a grant that waits for you.
import { YES_OPTIONS } from './ballot.ts'
import type { Command } from './command.ts'
import { DECISION_OPTIONS, decideByWord } from './decide.ts'

export const approve: Command = {
  name: 'approve',
  summary: 'agree to a grant that waits for you',
  usage:
    'ID --reason TEXT [--found C]… [--evidence "KIND URL FILE"]… [--if "TEXT; PERSON; TIME"]… [--accept RISK=TIME]…',
  about: `Approves exactly the digest that the grant has now, reckoned here from what the broker shows. \`writ review\` shows it field by field first; so does
\`writ show ID\`. You cannot approve what you asked for, execute or answer for.
A reviewer finds every criterion of the seat true (--found) and cites evidence of each kind that the rule names (--evidence), or denies. A yes
with conditions (--if) blocks exchange until you close each of them. The owner decides last; where a review is missing or negative, only by
taking that risk by name (--accept), and never over a veto.
Where it needs your passkey, the page on which you sign is opened, and this waits for it.`,
  examples: [
    'writ approve g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "In the maintenance window, rollback is tested"',
    'writ approve g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "Sound" --found modelled --evidence "threat-model https://docs.example/m model.pdf" --if "Close the debug port; rob; 2026-03-01T20:00:00Z"',
    'writ approve g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "Synthetic data only" --accept review:legal=2026-03-02T00:00:00Z',
  ],
  options: { ...DECISION_OPTIONS, ...YES_OPTIONS },
  words: [1, 1],
  run: (context) => decideByWord(context, 'approve'),
}
