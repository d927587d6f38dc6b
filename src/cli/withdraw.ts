// `writ withdraw`: takes an asking of yours back before it was used.
import { grantAnswer } from '../http/wire.ts'
import type { Command } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { grantIdIn } from './grant-id.ts'
import { headline } from './show-grant.ts'

export const withdraw: Command = {
  name: 'withdraw',
  summary: 'take back a grant of yours that nobody has exchanged yet',
  usage: 'ID [--reason TEXT]',
  about:
    'Takes back what you asked for, pending or approved. One that has been exchanged is completed or revoked instead.',
  examples: ['writ withdraw g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "The change was called off"'],
  options: { reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' } },
  words: [1, 1],
  run: async (context) => {
    const id = grantIdIn(context)
    const body = { reason: context.given.text('reason') ?? '' }
    const { value, raw } = await (await context.client()).post(`/v1/grants/${id}/withdraw`, body, grantAnswer, {
      again: 'race',
    })
    context.sayJson(raw)
    context.say(headline(value, context.paint))
    return EXIT.ok
  },
}
