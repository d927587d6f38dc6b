// `writ exchange`: the credential of an approved grant. Invariant: the one place where a secret passes. It goes to a pipe or into a file that
// only you can read; to a terminal only by --show; and everything that could fail here is tried before the broker makes it.
import type { z } from 'zod'
import { exchangeAnswer, type GrantAnswer, waitAnswer } from '../http/wire.ts'
import { type Client, Interrupted } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT, exitOfStatus } from './exit-codes.ts'
import { Failure, usage } from './failure.ts'
import { grantIdIn } from './grant-id.ts'
import { openWhole, type Whole } from './profiles.ts'
import { thumbprintOf } from './proof.ts'
import { safeJson, shown } from './shown.ts'
import { isUsable, waitFor, waitSeconds } from './wait.ts'

type Credential = z.infer<typeof exchangeAnswer>['credential']
const FORMATS = ['env', 'json', 'psql', 'file'] as const
type Format = (typeof FORMATS)[number]

export const exchange: Command = {
  name: 'exchange',
  summary: 'get the credential of an approved grant',
  usage: 'ID [--output env|json|psql|file] [--file FILE]',
  about: `Makes the credential and hands it to a pipe, or into a FILE that only you can read. It is not printed to a terminal, where the
scrollback would keep it, unless you say --show.
  env    lines for a shell: eval "$(writ exchange ID)" sets WRIT_CREDENTIAL, or WRIT_USERNAME and WRIT_PASSWORD  (the default)
  json   the credential as the broker hands it out
  psql   lines for a shell that set PGUSER and PGPASSWORD; with --file F a service file F and a password file F.pgpass, and the line that
         starts psql with them. Host, port and database come from --host, --port, --dbname, or from PGHOST, PGPORT, PGDATABASE
  file   into --file FILE: the token alone; of a login, one JSON object
A token that is bound to your key needs a DPoP proof of it (RFC 9449) at every use; the file of the key is named with it.
A lost answer: the same again with the same --attempt within a minute never gives a second use.`,
  examples: [
    'writ exchange g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --output psql --file payments --host db.example --dbname payments',
    'eval "$(writ exchange g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --wait)"',
    'writ exchange "$ID" --output file --file token --attempt "deploy-$RUN_ID"',
  ],
  options: {
    output: { takes: 'text', value: 'FORMAT', help: 'env, json, psql or file' },
    file: { takes: 'text', value: 'FILE', help: 'write it there, mode 0600, in place of stdout' },
    show: { takes: 'flag', help: 'print it to the terminal all the same' },
    attempt: {
      takes: 'text',
      value: 'NAME',
      help: '8 to 64 letters, digits, . - _: the same attempt is never two credentials',
    },
    wait: { takes: 'maybe', value: 'SECONDS', help: 'wait until it is approved and its window is open' },
    host: { takes: 'text', value: 'HOST', help: 'for psql' },
    port: { takes: 'text', value: 'PORT', help: 'for psql' },
    dbname: { takes: 'text', value: 'NAME', help: 'for psql' },
  },
  words: [1, 1],
  run: async (context) => {
    const id = grantIdIn(context)
    const format = formatOf(context)
    mayPrint(context, format)
    const client = await context.client()
    const grant = await ready(context, client, id)
    if (format === 'psql' && grant.intent.credential.kind !== 'vault')
      throw usage('This grant gives a token, and psql needs a login.', 'Use --output env, json or file.')
    const withKey = bindsKey(context, client, grant)
    const place = openPlace(context, format)
    try {
      const { value, raw } = await make(context, client, id, withKey)
      handOver(context, { credential: value.credential, raw, format, place, boundTo: client.broker })
      return EXIT.ok
    } finally {
      place?.drop()
    }
  },
}

function formatOf({ given }: Context): Format {
  const text = given.text('output') ?? 'env'
  const format = FORMATS.find((one) => one === text)
  if (format === undefined) throw usage('--output takes env, json, psql or file.')
  if (format === 'file' && !given.has('file')) throw usage('--output file needs --file FILE.')
  return format
}

function mayPrint({ given, machine }: Context, format: Format): void {
  const toTerminal = machine.terminal.output && !given.has('file') && !given.has('show')
  if (toTerminal)
    throw usage(
      'The credential would stay in the scrollback of this terminal. Nothing was made.',
      format === 'psql'
        ? 'Give --file FILE, or eval "$(writ exchange … --output psql)"; or --show.'
        : 'Pipe it, give --file FILE, or eval "$(writ exchange …)"; or --show.',
    )
}

async function ready(context: Context, client: Client, id: string): Promise<GrantAnswer> {
  const seconds = waitSeconds(context)
  if (seconds === undefined) return (await client.get(`/v1/grants/${id}`, waitAnswer)).value
  const { grant, timedOut } = await waitFor(context, client, id, { seconds, until: isUsable })
  const exit = exitOfStatus(grant.status)
  if (timedOut || exit !== EXIT.ok)
    throw new Failure(
      timedOut ? EXIT.notYet : exit,
      `The grant is ${grant.status}${timedOut ? ', and the wait is over' : ''}.`,
      { next: grant.next_action },
    )
  return grant
}

/** Whether a proof of our key goes with it. A grant that is bound to another key is not even tried. */
function bindsKey({ profiles }: Context, { broker }: Client, { intent }: GrantAnswer): boolean {
  const { key } = intent.executor
  if (key !== undefined && key !== thumbprintOf(profiles.key(broker)))
    throw new Failure(
      EXIT.forbidden,
      `This grant can be exchanged only with the key ${key}, which is not the one of this machine.`,
      {
        next: 'Exchange it where it was asked for, or ask for a new one here.',
      },
    )
  return key !== undefined || intent.credential.kind === 'jwt'
}

interface Place {
  readonly main: Whole
  readonly passwords: Whole | undefined
  drop(): void
}

/** Opened before the broker makes anything: a full disk must not cost a credential. */
function openPlace({ given, machine }: Context, format: Format): Place | undefined {
  const file = given.text('file')
  if (file === undefined) return undefined
  try {
    const main = openWhole(file, machine.newId())
    const passwords = format === 'psql' ? openWhole(`${file}.pgpass`, machine.newId()) : undefined
    return {
      main,
      passwords,
      drop: () => {
        main.drop()
        passwords?.drop()
      },
    }
  } catch {
    throw usage(`${file} cannot be written. Nothing was made.`)
  }
}

async function make(context: Context, client: Client, id: string, withKey: boolean) {
  const { given, machine } = context
  const attempt = given.text('attempt') ?? `cli-${machine.newId()}`
  try {
    return await client.post(`/v1/grants/${id}/exchange`, { attempt }, exchangeAnswer, { again: 'race', withKey })
  } catch (thrown) {
    if (thrown instanceof Interrupted)
      context.tell(shown`It may have been made: the same again with --attempt ${attempt}.`)
    if (!(thrown instanceof Failure) || thrown.exit !== EXIT.unavailable) throw thrown
    throw new Failure(thrown.exit, thrown.message, {
      next: `It may have been made: the very same again within a minute, with --attempt ${attempt}.`,
      document: thrown.document,
    })
  }
}

interface Handed {
  readonly credential: Credential
  readonly raw: unknown
  readonly format: Format
  readonly place: Place | undefined
  readonly boundTo: string
}

function handOver(context: Context, handed: Handed): void {
  const { machine, json, note, say, given } = context
  const { credential, raw, place, format } = handed
  const text = json && place === undefined ? undefined : textFor(context, handed)
  if (json) machine.write(`${safeJson(place === undefined ? raw : withoutSecret(raw))}\n`)
  if (place !== undefined && text !== undefined) {
    place.passwords?.put(text.passwords ?? '')
    place.main.put(text.main)
    note(shown`Written to ${given.text('file') ?? ''}, for you alone; good until ${credential.expiresAt}.`)
    if (format === 'psql') say(shown`${psqlLine(given.text('file') ?? '')}`)
  } else if (text !== undefined) {
    // A terminal is shown what it can show; a pipe gets what it is.
    if (machine.terminal.output) for (const line of text.main.trimEnd().split('\n')) say(shown`${line}`)
    else machine.write(text.main)
    note(shown`Good until ${credential.expiresAt}.`)
  }
}

/** With --json and --file the answer is still told, but the secret is in the file alone. */
function withoutSecret(raw: unknown): unknown {
  if (typeof raw !== 'object' || raw === null || !('credential' in raw)) return {}
  const { credential, ...rest } = raw
  const { token: _, secret: __, ...open } = credential as Record<string, unknown>
  return { ...rest, credential: open }
}

function textFor(
  context: Context,
  { credential, format, place, boundTo }: Handed,
): { readonly main: string; readonly passwords?: string } {
  switch (format) {
    case 'env':
      return {
        main: envLines(
          credential,
          credential.kind === 'jwt' && credential.tokenType === 'DPoP' ? context.profiles.keyFile(boundTo) : undefined,
        ),
      }
    case 'json':
      return { main: `${safeJson(credential, 2)}\n` }
    case 'file':
      return { main: credential.kind === 'jwt' ? `${credential.token}\n` : `${safeJson(credential.secret)}\n` }
    case 'psql':
      return place === undefined
        ? { main: psqlLines(context, loginOf(credential)) }
        : psqlFiles(context, loginOf(credential))
  }
}

/** For a shell: single quotes, in which nothing has a meaning. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

function envLines(credential: Credential, keyFile: string | undefined): string {
  const own =
    credential.kind === 'jwt'
      ? {
          WRIT_CREDENTIAL: credential.token,
          WRIT_CREDENTIAL_TYPE: credential.tokenType,
          WRIT_CREDENTIAL_AUDIENCE: credential.audience,
        }
      : Object.fromEntries(
          Object.entries(credential.secret).map(([name, value]) => [
            `WRIT_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`,
            value,
          ]),
        )
  const all = {
    ...own,
    WRIT_CREDENTIAL_EXPIRES_AT: credential.expiresAt,
    ...(keyFile === undefined ? {} : { WRIT_CREDENTIAL_KEY_FILE: keyFile }),
  }
  return exports(all)
}

/** What is empty is left as the shell has it. */
const exports = (all: Readonly<Record<string, string>>): string =>
  Object.entries(all)
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
    .join('')

interface Login {
  readonly user: string
  readonly password: string
}
function loginOf(credential: Credential): Login {
  const { username, password } = credential.kind === 'vault' ? credential.secret : {}
  if (username === undefined || password === undefined)
    throw new Failure(EXIT.refused, 'The credential has no user name and password.', {
      next: 'Complete the grant; psql cannot use it.',
    })
  return { user: username, password }
}

const target = ({ given, machine }: Pick<Context, 'given' | 'machine'>) => ({
  host: given.text('host') ?? machine.env.PGHOST ?? '',
  port: given.text('port') ?? machine.env.PGPORT ?? '',
  dbname: given.text('dbname') ?? machine.env.PGDATABASE ?? '',
})

function psqlLines(context: Context, { user, password }: Login): string {
  const { host, port, dbname } = target(context)
  return exports({ PGUSER: user, PGPASSWORD: password, PGHOST: host, PGPORT: port, PGDATABASE: dbname })
}

/** A service file without the password, and the password beside it: neither is an argument of psql. */
function psqlFiles(context: Context, { user, password }: Login): { readonly main: string; readonly passwords: string } {
  const members = Object.entries({ ...target(context), user }).filter(([, value]) => value !== '')
  const escaped = (text: string): string => text.replace(/[\\:]/g, (sign) => `\\${sign}`)
  return {
    main: `[writ]\n${members.map(([name, value]) => `${name}=${value}\n`).join('')}`,
    passwords: `*:*:*:${escaped(user)}:${escaped(password)}\n`,
  }
}
const psqlLine = (file: string): string =>
  `PGSERVICEFILE=${quoted(file)} PGPASSFILE=${quoted(`${file}.pgpass`)} psql service=writ`
