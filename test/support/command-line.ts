// People at their terminals: each with a home of their own, running the real `writ` as a process, piped or on a pseudo-terminal. What they
// typed and saw is written down. Nothing here knows the command's code.
import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'

const BIN = fileURLToPath(new URL('../../src/cli/bin.mjs', import.meta.url))

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}
export interface Person {
  readonly name: string
  /** Where they sit, and where their files are. */
  readonly folder: string
  /** Runs a line of words, as a script would: no terminal. `watch` sees all that it says, as it comes. */
  run(
    args: readonly string[],
    more?: { readonly input?: string; readonly watch?: (said: string) => void },
  ): Promise<Ran>
  /** On a pseudo-terminal; each answer is typed when the program asks. */
  type(args: readonly string[], answers: readonly string[]): Promise<{ readonly code: number; readonly screen: string }>
}

/** A folder with a `writ` in it, for scripts that find it by PATH. */
export function writOnPath(folder: string): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  writeFileSync(join(bin, 'writ'), `#!/bin/sh\nexec '${process.execPath}' '${BIN}' "$@"\n`, { mode: 0o755 })
  return bin
}

/** Nothing of this machine's own settings; colours off, so that a page can show what was seen. */
export const plainEnvironment = (folder: string): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  HOME: folder,
  XDG_CONFIG_HOME: join(folder, '.config'),
  LANG: 'C.UTF-8',
  TERM: 'xterm',
  NO_COLOR: '1',
})

export function person(root: string, name: string): Person {
  const folder = join(root, name)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const env = plainEnvironment(folder)
  return {
    name,
    folder,
    run: async (args, { input = '', watch } = {}) => {
      const child = spawn(process.execPath, [BIN, ...args], { cwd: folder, env })
      const said = { out: '', err: '' }
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said.out += text
      })
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said.err += text
        watch?.(said.err)
      })
      child.stdin.end(input)
      return { code: await exitOf(child), ...said }
    },
    type: async (args, answers) => {
      const line = [process.execPath, BIN, ...args].map((word) => `'${word}'`).join(' ')
      // util-linux: a pseudo-terminal around a command, with its exit code.
      const child = spawn('script', ['-qec', line, '/dev/null'], { cwd: folder, env })
      const left = [...answers]
      let screen = ''
      let answered = 0
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        screen += text
        // A prompt ends with this sign; it may be drawn again, so only what came since the last answer counts.
        if (left.length > 0 && screen.slice(answered).includes('› ')) {
          answered = screen.length
          child.stdin.write(`${left.shift()}\r`)
        }
      })
      const code = await exitOf(child)
      return { code, screen: stripVTControlCharacters(screen).replaceAll('\r', '') }
    },
  }
}

const exitOf = (child: ReturnType<typeof spawn>): Promise<number> =>
  new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? -1))
  })
