// `writ passkey`: the passkeys with which you sign decisions. Each is registered and removed on a page of the broker.
import { begunAnswer, passkeysAnswer } from '../http/wire.ts'
import { PAGE_OPTIONS, show, until } from './ceremony.ts'
import type { Client } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { Failure, usage } from './failure.ts'
import { padded, shown } from './shown.ts'

export const passkey: Command = {
  name: 'passkey',
  summary: 'the passkeys with which you sign decisions',
  usage: 'list | add NAME | remove ID',
  about: `list         your passkeys, the oldest first
add NAME     registers one, on a page of the broker that is opened in your browser; the address is printed too
remove ID    removes one
The first is registered with your login alone. For each further one, and to remove one, a passkey that you have signs first. What needs
a passkey is said by the entitlement; writ approve, deny and review then open the page on which you sign.`,
  examples: ['writ passkey add laptop', 'writ passkey list', 'writ passkey remove pAsSkEyId --no-browser'],
  options: PAGE_OPTIONS,
  words: [1, 2],
  run: async (context) => {
    const [what, word] = context.given.words
    const client = await context.client()
    if (what === 'list' && word === undefined) return list(context, client)
    if (what === 'add' && word !== undefined) return change(context, client, '/v1/passkeys/ceremonies', { name: word })
    if (what === 'remove' && word !== undefined)
      return change(context, client, `/v1/passkeys/${encodeURIComponent(word)}/remove`, undefined)
    throw usage('writ passkey list, writ passkey add NAME or writ passkey remove ID')
  },
}

async function list({ say, note, sayJson, paint }: Context, client: Client): Promise<ExitCode> {
  const { value, raw } = await client.get('/v1/passkeys', passkeysAnswer)
  sayJson(raw)
  for (const { id, name, registeredAt } of value.passkeys)
    say(shown`${padded(paint.bold(name), 20)} ${registeredAt}  ${id}`)
  if (value.passkeys.length === 0) note(shown`You have none. To register one: writ passkey add NAME.`)
  return EXIT.ok
}

async function change(context: Context, client: Client, path: string, body: object | undefined): Promise<ExitCode> {
  const { say, sayJson, machine } = context
  const idsOf = async () => (await client.get('/v1/passkeys', passkeysAnswer)).value.passkeys
  const before = await idsOf()
  const { value: begun } = await client.post(path, body, begunAnswer, { again: 'race' })
  await show(context, client, begun.url)
  const after = await until(context, begun.expiresAt, async (seconds) => {
    if (seconds > 0) await machine.pause(1_000, machine.interrupted)
    const now = await idsOf()
    return now.length === before.length ? undefined : now
  })
  if (after === undefined)
    throw new Failure(EXIT.notYet, 'Nothing was done on the page within its time.', { next: 'writ passkey list' })
  sayJson({ passkeys: after })
  const [added] = after.filter(({ id }) => before.every((one) => one.id !== id))
  const [removed] = before.filter(({ id }) => after.every((one) => one.id !== id))
  say(added === undefined ? shown`Removed: ${removed?.name ?? ''}.` : shown`Registered: ${added.name}.`)
  return EXIT.ok
}
