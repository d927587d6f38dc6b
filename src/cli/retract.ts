// `writ retract`: a decision is taken back, and with it what was derived from it. Invariant: "ended" is said of what the broker has
// confirmed, and of nothing else.
import { type GrantAnswer, grantAnswer } from '../http/wire.ts'
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { headline } from './show-grant.ts'
import { shown } from './shown.ts'
import { waitFor, waitSeconds } from './wait.ts'

export const retract: Command = {
  name: 'retract',
  summary: 'take your decision back; what was derived from it ends',
  usage: 'ID --reason TEXT',
  about: `At any time. A pending grant goes on without your decision; an approval that nobody has used is withdrawn; a credential is ended. The exit code
is 0 when nothing of it is left, 6 while the end is not confirmed (--wait waits): until then the credential may still work.`,
  examples: ['writ retract g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "I had not seen the second plan" --wait'],
  options: {
    reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' },
    wait: { takes: 'maybe', value: 'SECONDS', help: 'wait until the end is confirmed' },
  },
  words: [1, 1],
  run: async (context) => {
    const id = grantIdIn(context)
    const reason = context.given.text('reason')
    if (reason === undefined) throw usage(`Say why: writ retract ${id} --reason TEXT.`)
    const seconds = waitSeconds(context)
    const client = await context.client()
    const asked = await client.post(`/v1/grants/${id}/retractions`, { reason }, grantAnswer, { again: 'safe' })
    const { grant, raw } =
      seconds === undefined || isThrough(asked.value)
        ? { grant: asked.value, raw: asked.raw }
        : await waitFor(context, client, id, { seconds, until: isThrough })
    context.sayJson(raw)
    context.say(headline(grant, context.paint))
    if (isThrough(grant)) return EXIT.ok
    context.note(shown`${grant.next_action} writ show ${id} --wait`)
    return EXIT.notYet
  },
}

const isThrough = ({ status }: GrantAnswer): boolean => !['issuing', 'active', 'ending', 'stuck'].includes(status)
