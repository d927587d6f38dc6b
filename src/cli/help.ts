// The words of `writ --help`: enough to do the whole work with nothing else. Made from the commands themselves, so that they cannot differ.
import { GLOBAL, type Option } from './arguments.ts'
import type { Command } from './command.ts'
import { MEANING } from './exit-codes.ts'
import { type Paint, padded, type Shown, shown, visibleLines } from './shown.ts'

type Say = (line: Shown) => void

const GROUPS: readonly (readonly [title: string, names: readonly string[]])[] = [
  ['Who you are', ['login', 'logout', 'whoami', 'passkey']],
  [
    'Ask, and use what was approved',
    ['entitlements', 'request', 'list', 'show', 'answer', 'withdraw', 'exchange', 'complete'],
  ],
  ['Decide', ['review', 'approve', 'deny', 'ask', 'close', 'accept', 'retract']],
  ['End and watch', ['revoke', 'freeze', 'contain', 'events']],
  ['Look closer', ['doctor', 'policy', 'intent']],
]

export async function overview(commands: readonly Command[], say: Say, paint: Paint): Promise<void> {
  say(shown`${paint.bold('writ')}: a credential only while an approval for exactly that change exists.`)
  say(shown``)
  say(shown`usage: writ COMMAND [options]      writ COMMAND --help shows one, with an example`)
  for (const [title, names] of GROUPS) {
    say(shown``)
    say(paint.bold(title))
    for (const name of names) {
      const command = commands.find((one) => one.name === name)
      if (command !== undefined) say(shown`  ${padded(name, 14)}${command.summary}`)
    }
  }
  say(shown``)
  for (const line of [
    'First steps:',
    '  a vendor or developer   writ login URL; writ entitlements; writ request; writ show ID --wait; writ exchange ID --output psql --file db',
    '  an approver             writ login URL; writ review',
    '  the SOC                 writ contain --where agent=NAME --reason TEXT; writ freeze --where target=NAME --reason TEXT; writ revoke --ticket SYSTEM:ID --reason TEXT --wait',
    '  a pipeline              WRIT_BROKER, WRIT_TOKEN, then writ request --key K --wait --json and the exit codes',
  ])
    say(shown`${line}`)
  say(shown``)
  say(shown`writ help exit-codes    what a script learns from the exit code`)
  say(shown`writ help environment   the variables that are read, and the files that are kept`)
}

export function helpOf(command: Command, say: Say, paint: Paint): void {
  say(shown`${paint.bold(`writ ${command.name}`)} ${command.usage}`)
  say(shown``)
  for (const line of visibleLines(command.about)) say(shown`${line}`)
  const options = Object.entries(command.options)
  if (options.length > 0) {
    say(shown``)
    say(paint.bold('Options'))
    for (const [name, option] of options) say(optionLine(name, option))
  }
  say(shown``)
  say(paint.bold('Options of every command'))
  for (const [name, option] of Object.entries(GLOBAL)) say(optionLine(name, option))
  say(shown``)
  say(paint.bold(command.examples.length === 1 ? 'Example' : 'Examples'))
  for (const example of command.examples) say(shown`  ${example}`)
}

function optionLine(name: string, { takes, value, help }: Option): Shown {
  const behind = {
    flag: '',
    text: ` ${value ?? 'VALUE'}`,
    many: ` ${value ?? 'VALUE'}`,
    maybe: `[=${value ?? 'VALUE'}]`,
  }[takes]
  const head = `--${name}${behind}`
  return shown`  ${padded(head, 26)} ${help}`
}

/** Pages that are no command; false where there is none of that name. */
export function topic(name: string, say: Say, paint: Paint): boolean {
  if (name === 'exit-codes') {
    say(paint.bold('Exit codes'))
    for (const [code, { name: what, says }] of Object.entries(MEANING))
      say(shown`  ${code}  ${padded(what, 18)} ${says}`)
    say(shown`  130  interrupted       Ctrl-C; what was filed stays filed`)
    return true
  }
  if (name !== 'environment') return false
  for (const line of ENVIRONMENT) say(shown`${line}`)
  return true
}

const ENVIRONMENT = [
  'WRIT_BROKER       the broker, where no --broker is given',
  'WRIT_TOKEN        an access token, where no --token-file is given: for pipelines; people log in',
  'NO_COLOR          no colours',
  'XDG_CONFIG_HOME   where the folder `writ` lies with logins and keys (else ~/.config); both are refused if others can read them',
  'NODE_EXTRA_CA_CERTS  a file with the authority of the broker’s certificate, where the system does not know it',
  'WRIT_DEBUG        1 shows where this program failed, if it did',
  '',
  'The login of each broker is a file of its own there; so is the key that your credentials are bound to (…key.json, an EC private key as JWK).',
]
