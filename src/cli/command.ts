// What a command is, and what it is given: arguments, the machine, ways to speak, and a client of the broker that is made when it is
// first needed. Invariant: stdout carries the answer and nothing else; words about the way there go to stderr.
import type { Given, Options } from './arguments.ts'
import type { Client } from './client.ts'
import type { ExitCode } from './exit-codes.ts'
import type { Machine } from './machine.ts'
import type { Profiles } from './profiles.ts'
import type { Paint, Shown } from './shown.ts'

export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** What stands behind the name, such as `ID --reason TEXT`. */
  readonly usage: string
  /** What it does and what a user has to know about it. */
  readonly about: string
  readonly examples: readonly string[]
  readonly options: Options
  /** How many words it takes. */
  readonly words: readonly [least: number, most: number]
  run(context: Context): Promise<ExitCode>
}

export interface Context {
  readonly given: Given
  readonly machine: Machine
  readonly json: boolean
  readonly paint: Paint
  readonly profiles: Profiles
  /** One line of the answer, on stdout. */
  say(line: Shown): void
  /** One line about the way there, on stderr; nothing with --json. */
  note(line: Shown): void
  /** The same, with --json too: what nobody can go on without. */
  tell(line: Shown): void
  /** Progress that is overwritten: only where stderr is a terminal. An empty text takes it away. */
  progress(line: Shown | undefined): void
  /** The answer of the broker as it is, with --json. */
  sayJson(value: unknown): void
  /** The URL of the broker in use. Throws a usage error where none is known. */
  brokerUrl(): string
  /** A client that is logged in. Fails `unauthenticated` where there is no token. */
  client(): Promise<Client>
}
