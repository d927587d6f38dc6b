// The `writ` command: the table of what it can do, and how each ends. Invariant: stdout is the answer alone, a failure says what to do
// next and has an exit code of the table, and nothing that was not made visible reaches a terminal.
import { readFileSync } from 'node:fs'
import { closest, type Given, GLOBAL, readArguments } from './arguments.ts'
import { brokerAt, brokerClient, type Client, Interrupted } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { Failure, usage } from './failure.ts'
import { helpOf, overview, topic } from './help.ts'
import { type Machine, thisMachine } from './machine.ts'
import { profilesIn } from './profiles.ts'
import { accessToken } from './session.ts'
import { paints, type Shown, safeJson, shown, textOf } from './shown.ts'

/** Loaded when they are wanted, in the order of the help. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  login: async () => (await import('./login.ts')).login,
  logout: async () => (await import('./logout.ts')).logout,
  whoami: async () => (await import('./whoami.ts')).whoami,
  entitlements: async () => (await import('./entitlements.ts')).entitlements,
  request: async () => (await import('./request.ts')).request,
  list: async () => (await import('./list.ts')).list,
  show: async () => (await import('./show.ts')).show,
  review: async () => (await import('./review.ts')).review,
  approve: async () => (await import('./approve.ts')).approve,
  deny: async () => (await import('./deny.ts')).deny,
  close: async () => (await import('./close.ts')).close,
  accept: async () => (await import('./accept.ts')).accept,
  retract: async () => (await import('./retract.ts')).retract,
  ask: async () => (await import('./ask.ts')).ask,
  answer: async () => (await import('./answer.ts')).answer,
  withdraw: async () => (await import('./withdraw.ts')).withdraw,
  exchange: async () => (await import('./exchange.ts')).exchange,
  complete: async () => (await import('./complete.ts')).complete,
  revoke: async () => (await import('./revoke.ts')).revoke,
  freeze: async () => (await import('./freeze.ts')).freeze,
  contain: async () => (await import('./contain.ts')).contain,
  events: async () => (await import('./events.ts')).events,
  intent: async () => (await import('./intent.ts')).intent,
  policy: async () => (await import('./policy.ts')).policy,
  passkey: async () => (await import('./passkey.ts')).passkey,
  doctor: async () => (await import('./doctor.ts')).doctor,
}

const INTERRUPTED = 130

/** Runs one command line to its exit code; never throws. */
export async function main(args: readonly string[], machine: Machine): Promise<number> {
  const colour = (onTerminal: boolean): boolean => onTerminal && !machine.env.NO_COLOR && machine.env.TERM !== 'dumb'
  const paint = paints(colour(machine.terminal.output))
  const say = (line: Shown): void => machine.write(`${textOf(line)}\n`)
  const json = args.includes('--json')
  try {
    const [name, ...rest] = args
    if (name === undefined || name === '--help' || name === '-h') {
      await overview(await allCommands(), say, paint)
      return name === undefined ? EXIT.usage : EXIT.ok
    }
    if (name === '--version') {
      say(shown`writ ${versionHere()}`)
      return EXIT.ok
    }
    if (name === 'help') return await help(rest, say, machine)
    const command = await commandNamed(name)
    return await run(command, rest, machine)
  } catch (thrown) {
    return tellFailure(thrown, machine, json, paints(colour(machine.terminal.errors)))
  }
}

async function run(command: Command, args: readonly string[], machine: Machine): Promise<ExitCode> {
  const given = readArguments(args, { ...GLOBAL, ...command.options })
  const context = contextOf(given, machine)
  if (given.has('help')) {
    helpOf(command, context.say, context.paint)
    return EXIT.ok
  }
  const [least, most] = command.words
  if (given.words.length < least || given.words.length > most)
    throw usage(`writ ${command.name} ${command.usage}`, `See writ ${command.name} --help.`)
  return command.run(context)
}

export function contextOf(given: Given, machine: Machine): Context {
  const { terminal, env } = machine
  const json = given.has('json')
  const isPlain = Boolean(env.NO_COLOR) || env.TERM === 'dumb'
  const profiles = profilesIn(machine.home, machine)
  const paint = paints(terminal.output && !isPlain)
  const tell = (line: Shown): void => machine.writeError(`${textOf(line)}\n`)
  const brokerUrl = (): string => {
    const url = given.text('broker') ?? (env.WRIT_BROKER || profiles.latest())
    if (url === undefined)
      throw usage('Which broker?', 'Log in: writ login https://writ.example; or give --broker URL, or WRIT_BROKER.')
    return brokerAt(url)
  }
  let client: Client | undefined
  return {
    given,
    machine,
    json,
    paint,
    profiles,
    say: (line) => {
      if (!json) machine.write(`${textOf(line)}\n`)
    },
    note: (line) => {
      if (!json) tell(line)
    },
    tell,
    progress: (line) => {
      if (json || !terminal.errors) return
      machine.writeError(line === undefined ? '\r\u001b[2K' : `\r\u001b[2K${textOf(line)}`)
    },
    sayJson: (value) => {
      if (json) machine.write(`${safeJson(value)}\n`)
    },
    brokerUrl,
    client: async () => {
      const broker = brokerUrl()
      const tokenFile = given.text('token-file')
      client ??= brokerClient({
        broker,
        machine,
        token: () => accessToken({ machine, profiles, broker, tokenFile }),
        key: () => profiles.key(broker),
        waiting: (why, ms) => {
          if (!json) tell(shown`${why} Again in ${Math.ceil(ms / 1_000)} s.`)
        },
      })
      // Without a token there is nothing to do, and that is said before anything else is asked.
      await accessToken({ machine, profiles, broker, tokenFile })
      return client
    },
  }
}

function tellFailure(thrown: unknown, machine: Machine, json: boolean, paint: ReturnType<typeof paints>): number {
  const line = (text: Shown): void => machine.writeError(`${textOf(text)}\n`)
  if (thrown instanceof Interrupted || machine.interrupted.aborted) {
    if (!json) line(shown`Interrupted.`)
    return INTERRUPTED
  }
  // What nobody expected is a bug of this program; its message may hold what was being worked on, so its kind alone is told.
  const failure =
    thrown instanceof Failure
      ? thrown
      : new Failure(
          EXIT.refused,
          `writ failed (${thrown instanceof Error ? `${thrown.name}${codeOf(thrown)}` : 'unknown'}).`,
          {
            next: 'Report it; WRIT_DEBUG=1 shows where.',
          },
        )
  if (json) machine.writeError(`${safeJson(failure.document ?? problemOf(failure))}\n`)
  else {
    for (const [at, part] of failure.message.split('\n').entries())
      line(at === 0 ? shown`${paint.bad('writ:')} ${part}` : shown`${part}`)
    if (failure.next !== undefined) line(shown`  → ${failure.next}`)
  }
  if (!(thrown instanceof Failure) && machine.env.WRIT_DEBUG === '1' && thrown instanceof Error)
    for (const part of (thrown.stack ?? '').split('\n')) line(shown`${part}`)
  return failure.exit
}

const codeOf = (thrown: Error): string => ('code' in thrown ? `, ${String(thrown.code)}` : '')

/** A failure of this program in the form of the broker's own. */
const problemOf = ({ exit, message, next }: Failure) => ({
  type: 'urn:writ:cli',
  title: 'writ cannot do this',
  detail: message,
  exit,
  ...(next === undefined ? {} : { next_action: next }),
})

async function help(args: readonly string[], say: (line: Shown) => void, machine: Machine): Promise<ExitCode> {
  const [about] = args
  const paint = contextOf(readArguments([], GLOBAL), machine).paint
  if (about === undefined) await overview(await allCommands(), say, paint)
  else if (!topic(about, say, paint)) helpOf(await commandNamed(about), say, paint)
  return EXIT.ok
}

async function commandNamed(name: string): Promise<Command> {
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (load !== undefined) return load()
  const close = closest(name, ['help', ...Object.keys(COMMANDS)])
  throw usage(`There is no command ${name}.`, close === undefined ? 'See writ --help.' : `Did you mean writ ${close}?`)
}

const allCommands = (): Promise<readonly Command[]> => Promise.all(Object.values(COMMANDS).map((load) => load()))

const versionHere = (): string =>
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version

/** Called by the launcher; a test calls `main` with a machine of its own. */
export async function start(): Promise<void> {
  const code = await main(process.argv.slice(2), thisMachine())
  // Set, not exited: what was written must reach a pipe first.
  process.exitCode = code
}
