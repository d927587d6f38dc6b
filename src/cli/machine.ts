// What the command touches on the machine it runs on: its terminal, environment, clock, randomness, browser. The command line's own
// composition root, so that everything else here is told and not asking. Invariant: colour and questions only on a terminal.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { setTimeout as pause } from 'node:timers/promises'

export interface Machine {
  readonly env: Readonly<Record<string, string | undefined>>
  /** The folder of the profiles. */
  readonly home: string
  readonly terminal: { readonly input: boolean; readonly output: boolean; readonly errors: boolean }
  write(text: string): void
  writeError(text: string): void
  /** Asks on stderr, so that stdout stays clean; undefined when the input ends. Only on a terminal. */
  ask(question: string): Promise<string | undefined>
  /** All of stdin. */
  input(): Promise<string>
  /** Milliseconds since the epoch, by this machine's own clock. */
  now(): number
  pause(ms: number, signal?: AbortSignal): Promise<void>
  newId(): string
  /** Tries to show an address to the user; false where there is nothing to show it with. */
  browse(url: string): Promise<boolean>
  /** Aborted by Ctrl-C. */
  readonly interrupted: AbortSignal
}

export function thisMachine(): Machine {
  const { stdin, stdout, stderr, env } = process
  const interrupted = new AbortController()
  process.once('SIGINT', () => interrupted.abort())
  // Who reads us has read enough: end as other tools do.
  stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1))
  return {
    env,
    home: join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'writ'),
    terminal: { input: stdin.isTTY === true, output: stdout.isTTY === true, errors: stderr.isTTY === true },
    write: (text) => void stdout.write(text),
    writeError: (text) => void stderr.write(text),
    ask: askOn(stdin, stderr),
    input: async () => {
      stdin.setEncoding('utf8')
      let text = ''
      for await (const part of stdin) text += String(part)
      return text
    },
    now: () => Date.now(),
    pause: (ms, signal) => pause(ms, undefined, signal === undefined ? {} : { signal }),
    newId: () => randomUUID(),
    browse: (url) => browse(url, env),
    interrupted: interrupted.signal,
  }
}

const askOn =
  (input: NodeJS.ReadStream, output: NodeJS.WriteStream): Machine['ask'] =>
  async (question) => {
    const lines = createInterface({ input, output, terminal: true })
    const ended = new AbortController()
    lines.once('close', () => ended.abort())
    lines.once('SIGINT', () => lines.close())
    try {
      return await lines.question(question, { signal: ended.signal })
    } catch {
      return undefined
    } finally {
      lines.close()
    }
  }

/** The address is one argument of a program that is named here; no shell reads it. */
async function browse(url: string, env: Machine['env']): Promise<boolean> {
  const isMac = process.platform === 'darwin'
  if (!isMac && env.DISPLAY === undefined && env.WAYLAND_DISPLAY === undefined) return false
  const opener = spawn(isMac ? 'open' : 'xdg-open', [url], { stdio: 'ignore', detached: true })
  opener.unref()
  return started(opener)
}

const started = (child: ChildProcess): Promise<boolean> =>
  new Promise((resolve) => {
    child.once('spawn', () => resolve(true))
    child.once('error', () => resolve(false))
  })
