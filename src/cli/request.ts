// `writ request`: an asking from flags, from a file, or from questions on a terminal. Invariant: it is checked here by the schema of the
// wire before anything is sent, and sent with an idempotency key, so that a lost answer is never a second grant.
import { createHash } from 'node:crypto'
import { type GrantAnswer, grantAnswer } from '../http/wire.ts'
import { type Asking, askingFrom, checked, MEMBERS } from './asking.ts'
import { type Client, Interrupted } from './client.ts'
import type { Command, Context } from './command.ts'
import { explain, wantsKey } from './dry-run.ts'
import { EXIT, type ExitCode, exitOfStatus } from './exit-codes.ts'
import { facts } from './facts.ts'
import { Failure, usage } from './failure.ts'
import { headline, ruleInWords } from './show-grant.ts'
import { shown } from './shown.ts'
import { isDecided, waitFor, waitSeconds } from './wait.ts'

export const request: Command = {
  name: 'request',
  summary: 'ask for an entitlement: by flags, from a file, or by questions',
  usage: '[ENTITLEMENT --action A --for 30m --summary TEXT … | --file ask.yaml]',
  about: `Files an asking, which people then decide on, and prints the grant. \`writ entitlements\` lists what you may ask for. With nothing
given on a terminal it asks one question after the other, explains what would become of it, and files only what you confirm. A file holds
the body of POST /v1/grants as YAML or JSON; flags beside it stand in place of its members. Several entitlements for one task are named in
the file under \`more\`: each becomes a linked grant. With --dry-run nothing is filed.
The exit code is 0 when it is filed; with --wait, 0 when it is approved, 7 when it is denied or lapses, 6 when the wait is over before.`,
  examples: [
    'writ request payments-migrator --action db.migrate --for 30m --summary "Add the settlement table" --ticket servicenow:CHG0031337',
    'writ request --file ask.yaml --scope commit:$SHA --plan plan.json --key deploy-$RUN_ID --wait',
    'writ request',
  ],
  options: {
    ...MEMBERS,
    file: { takes: 'text', value: 'FILE', help: 'the asking as YAML or JSON; - is stdin' },
    'dry-run': { takes: 'flag', help: 'say what would become of it, and file nothing' },
    wait: { takes: 'maybe', value: 'SECONDS', help: 'wait until it is decided' },
    key: {
      takes: 'text',
      value: 'KEY',
      help: 'the same key and asking never make a second grant: name one to repeat safely',
    },
  },
  words: [0, 1],
  run: async (context) => {
    const { given, machine } = context
    const nothing =
      given.words.length === 0 && !given.has('file') && Object.keys(MEMBERS).every((name) => !given.has(name))
    if (nothing && !machine.terminal.input)
      throw usage('Nothing is asked for.', 'Name an entitlement, or --file ask.yaml; see writ request --help.')
    if (!nothing) {
      const asking = checked(await askingFrom(context))
      return fileOrExplain(context, await context.client(), asking)
    }
    const { askByQuestions } = await import('./questions.ts')
    const client = await context.client()
    const asking = await askByQuestions(context, client)
    return asking === undefined ? EXIT.ok : file(context, client, asking)
  },
}

async function fileOrExplain(context: Context, client: Client, asking: Asking): Promise<ExitCode> {
  if (!context.given.has('dry-run')) return file(context, client, asking)
  await explain(context, client, asking)
  return EXIT.ok
}

async function file(context: Context, client: Client, asking: Asking): Promise<ExitCode> {
  const { given, machine, note, paint } = context
  const key = given.text('key') ?? machine.newId()
  const headers = { 'idempotency-key': `"${keyOf(key)}"` }
  const withKey = await wantsKey(client, asking)
  let filed: { readonly value: GrantAnswer; readonly raw: unknown }
  try {
    filed = await client.post('/v1/grants', asking, grantAnswer, { again: 'safe', headers, withKey })
  } catch (thrown) {
    if (thrown instanceof Interrupted)
      context.tell(shown`It may have been filed: the very same again with --key ${key}.`)
    if (!(thrown instanceof Failure) || thrown.exit !== EXIT.unavailable || given.has('key')) throw thrown
    throw new Failure(thrown.exit, thrown.message, {
      next: `It may have been filed: ask the very same again with --key ${key}.`,
      document: thrown.document,
    })
  }
  const seconds = waitSeconds(context)
  const waits = seconds !== undefined && !isDecided(filed.value)
  if (waits) note(shown`Filed ${paint.bold(filed.value.id)}. ${filed.value.next_action}`)
  const { grant, raw } = waits
    ? await waitFor(context, client, filed.value.id, { seconds, until: isDecided })
    : { grant: filed.value, raw: filed.raw }
  context.sayJson(raw)
  if (!context.json) {
    showFiled(context, grant)
    tellLinked(context, grant)
  }
  return seconds === undefined ? EXIT.ok : exitOfStatus(grant.status)
}

/** What the requester needs now; the whole of it is `writ show`. */
function showFiled(context: Context, grant: GrantAnswer): void {
  const { opensAt, closesAt } = grant.intent.window
  context.say(headline(grant, context.paint))
  facts(context, [
    ['approval', ruleInWords(grant.rule)],
    ['window', `${opensAt} until ${closesAt}`],
    ['digest', grant.digest],
    ['next', grant.next_action],
  ])
}

function tellLinked({ note }: Context, { linked }: GrantAnswer): void {
  if (linked.length > 0) note(shown`Filed with it, each to be approved and exchanged by itself: ${linked.join(', ')}`)
}

/** Any text as a key of the form that the wire takes. */
const keyOf = (key: string): string => `writ-${createHash('sha256').update(key).digest('base64url')}`
