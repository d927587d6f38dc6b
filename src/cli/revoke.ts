// `writ revoke`: end it now, whoever holds it.
import type { Command } from './command.ts'
import { end, WHERE_OPTIONS } from './ends.ts'
import { usage } from './failure.ts'

export const revoke: Command = {
  name: 'revoke',
  summary: 'end a grant now, or all of a task, a run or a ticket',
  usage: 'ID | --task ID | --session ID | --ticket SYSTEM:ID  --reason TEXT',
  about: `Ends what was handed out, cuts its sessions, and lets nothing new be made under it. Owners and the SOC may do this. The exit code is 0
when the end is confirmed by the backend, 6 while it is not (--wait waits), 1 where one of several was refused, 5 where none was found.`,
  examples: [
    'writ revoke g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "Alarm 4711" --wait',
    'writ revoke --ticket servicenow:CHG0031337 --reason "Alarm 4711" --wait',
  ],
  options: { ...WHERE_OPTIONS, reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' } },
  words: [0, 1],
  run: async (context) => {
    const reason = context.given.text('reason')
    if (reason === undefined) throw usage('Say why: --reason TEXT.')
    return end(context, { verb: 'revoke', all: '/v1/revocations', body: { reason } })
  },
}
