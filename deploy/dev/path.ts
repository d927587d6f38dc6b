// Finding servers on this machine. Invariant: a file with the right name counts only if it answers as the real server does.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Every file of that name in the folders of PATH and the further ones, in order. */
export const candidates = (name: string, further: readonly string[] = []): readonly string[] =>
  [...(process.env.PATH ?? '').split(delimiter).filter(Boolean), ...further]
    .map((folder) => join(folder, name))
    .filter((file) => existsSync(file))

/** What a binary says of its version: the first group of the pattern, or undefined if it answers otherwise. */
export const versionOf = async (
  binary: string,
  pattern: RegExp,
  env: Readonly<Record<string, string>> = {},
): Promise<string | undefined> => {
  const answer = await run(binary, ['--version'], { timeout: 5_000, env: { ...process.env, ...env } }).catch(
    () => undefined,
  )
  return answer && pattern.exec(answer.stdout)?.[1]
}
