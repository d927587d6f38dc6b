// What is finished with a passkey: the broker's page is opened in a browser, and this waits until it shows. Invariant: the page is one of the
// broker's own, and what will be signed on it is of exactly the digest that was reckoned here.
import { z } from 'zod'
import { type begunAnswer, type GrantAnswer, stepUpAnswer, waitAnswer } from '../http/wire.ts'
import type { Options } from './arguments.ts'
import { type Client, mustBeSafe } from './client.ts'
import type { Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import { shown } from './shown.ts'

export const PAGE_OPTIONS: Options = {
  'no-browser': { takes: 'flag', help: 'where a passkey is needed, print the address of the page and open nothing' },
}

const Statement = z.object({
  grant: z.string(),
  decision: z.object({ by: z.string(), at: z.int(), digest: z.string() }),
})

/** A decision that the broker wants signed: the grant as it is once it was. */
export async function signDecision(context: Context, client: Client, seen: GrantAnswer, body: object) {
  const headers = { 'if-match': `"${seen.digest}"` }
  const { value: begun } = await client.post(`/v1/grants/${seen.id}/ceremonies`, body, stepUpAnswer, {
    again: 'race',
    headers,
  })
  const read = Statement.safeParse(parsed(begun.statement))
  if (!read.success || read.data.grant !== seen.id || read.data.decision.digest !== seen.digest)
    throw new Failure(EXIT.refused, 'What the broker wants signed is not what it has shown.', {
      next: 'Sign nothing; tell the operator of the broker.',
    })
  const { by, at } = read.data.decision
  const isIt = (one: GrantAnswer['decisions'][number]): boolean => one.by === by && Date.parse(one.at) === at
  await show(context, client, begun.url)
  const answer = await until(context, begun.expiresAt, async (seconds) => {
    const path = `/v1/grants/${seen.id}${seconds === 0 ? '' : `?wait=${seconds}`}`
    const got = await client.get(path, waitAnswer, { waitMs: seconds * 1_000 })
    return got.value.decisions.some(isIt) ? got : undefined
  })
  if (answer !== undefined) return answer
  throw new Failure(EXIT.notYet, 'Nothing was signed on the page within its time.', { next: `writ show ${seen.id}` })
}

/** Shows where to go, and goes there where somebody sits here. */
export async function show(context: Context, client: Client, url: string): Promise<void> {
  const { tell, machine, given } = context
  // Whatever a broker says: nothing but a page of its own is opened.
  if (!URL.canParse(url) || new URL(url).origin !== new URL(client.broker).origin)
    throw new Failure(EXIT.refused, 'The broker names a page that is not its own.', {
      next: 'Open nothing; tell the operator of the broker.',
    })
  mustBeSafe(url)
  tell(shown`Sign it here, with your passkey: ${url}`)
  if (!given.has('no-browser') && machine.terminal.errors) await machine.browse(url)
}

/** Asks until there is an answer or the time is over; with how many seconds the broker may wait with its own. */
export async function until<T>(
  { machine, progress }: Pick<Context, 'machine' | 'progress'>,
  expiresAt: z.infer<typeof begunAnswer>['expiresAt'],
  look: (seconds: number) => Promise<T | undefined>,
): Promise<T | undefined> {
  const end = Date.parse(expiresAt)
  try {
    for (let seconds = 0; ; seconds = Math.min(10, Math.ceil((end - machine.now()) / 1_000))) {
      // The very first look is one without waiting; the last one comes when the page is over.
      const found = await look(Math.max(0, seconds))
      if (found !== undefined || seconds < 0 || machine.now() >= end) return found
      progress(shown`waiting for your passkey …  (Ctrl-C stops the wait, not the page)`)
    }
  } finally {
    progress(undefined)
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
