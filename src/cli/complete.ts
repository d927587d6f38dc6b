// `writ complete`: the task is done, and what came of it.
import { completeBody } from '../http/wire.ts'
import type { Command } from './command.ts'
import { end, WHERE_OPTIONS } from './ends.ts'
import { usage } from './failure.ts'

export const complete: Command = {
  name: 'complete',
  summary: 'the task is done: end the credential, and say what came of it',
  usage: 'ID | --task ID | --session ID | --ticket SYSTEM:ID  [--result NAME=TEXT …]',
  about: `Ends what was handed out, at once. The exit code is 0 when the end is confirmed, 6 while it is not: --wait waits for it.`,
  examples: ['writ complete g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --result rows=3 --wait', 'writ complete --session "$RUN_ID"'],
  options: {
    ...WHERE_OPTIONS,
    result: { takes: 'many', value: 'NAME=TEXT', help: 'what came of it; may be repeated' },
  },
  words: [0, 1],
  run: async (context) => {
    const result = Object.fromEntries(
      context.given.many('result').map((pair) => {
        const at = pair.indexOf('=')
        if (at < 1) throw usage('--result takes NAME=TEXT, such as rows=3.')
        return [pair.slice(0, at), pair.slice(at + 1)]
      }),
    )
    const body = completeBody.safeParse({ result })
    if (!body.success) throw usage(`--result: ${body.error.issues[0]?.message ?? 'cannot be used'}.`)
    return end(context, { verb: 'complete', all: '/v1/completions', body: body.data })
  },
}
