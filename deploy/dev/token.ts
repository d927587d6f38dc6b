// `npm run -s dev:token -- vera`: logs somebody of the example directory in at the running quickstart's identity provider and prints the token.
// `ci deploy` and `ci build` print the token of a pipeline's job.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { signIn } from './sign-in.ts'

const [who, job] = process.argv.slice(2)
const state = read()
if (who === undefined || state === undefined) {
  process.stderr.write(
    state === undefined
      ? 'start `npm run quickstart` first and leave it running\n'
      : 'usage: npm run -s dev:token -- <account> | ci deploy | ci build\n',
  )
  process.exit(2)
}
const at = signIn(state)

function read(): Parameters<typeof signIn>[0] | undefined {
  try {
    return JSON.parse(readFileSync(fileURLToPath(new URL('../../.writ/dev.json', import.meta.url)), 'utf8'))
  } catch {
    return undefined
  }
}

const token =
  who === 'ci'
    ? await at.ciToken({ job: job === 'build' ? 'build' : 'deploy', sha: 'a'.repeat(40), runId: '1' })
    : Object.hasOwn(state.clientSecrets, who)
      ? await at.agentToken(who)
      : await at.personToken(who)
process.stdout.write(`${token}\n`)
