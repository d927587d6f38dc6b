// `writ clock accept`: an operator takes the clock of the store as it is after a jump, when somebody has looked at it.
import { operationAnswer } from '../http/wire.ts'
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { usage } from './failure.ts'
import { shown } from './shown.ts'

export const clock: Command = {
  name: 'clock',
  summary: 'take the clock of the store as it is after a jump',
  usage: 'accept --reason TEXT',
  about: `Nothing is issued after the clock of Redis has jumped by more than five seconds, as windows would open or close at the wrong time. Set the
clock of its host right first; then each broker that says so is told to go on. For operators; who did it and why is on record.`,
  examples: ['writ clock accept --reason "INC0012345: ntp was off"'],
  options: { reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' } },
  words: [1, 1],
  run: async (context) => {
    const { given, say, sayJson } = context
    if (given.words[0] !== 'accept') throw usage('writ clock accept --reason TEXT', 'See writ clock --help.')
    const reason = given.text('reason')
    if (reason === undefined) throw usage('Say why: --reason TEXT.')
    const client = await context.client()
    const { value, raw } = await client.post('/v1/operations/accept-clock', { reason }, operationAnswer, {
      again: 'safe',
    })
    sayJson(raw)
    say(shown`The clock is taken as it is: ${String(value.now)}.`)
    return EXIT.ok
  },
}
