// Where the load's requests go out: to any broker that is up, again to another one where none answered, as a client of several brokers does.
// Invariant: what a request says is the same at each try, and whoever asked learns whether an earlier try may have been carried out.
import { setTimeout as pause } from 'node:timers/promises'
import { type Answered, client, type Json, type Who } from '../../deploy/dev/client.ts'
import type { Random } from './random.ts'
import type { Report } from './violation.ts'

export interface Request {
  /** What it is counted as. */
  readonly verb: string
  readonly send: (url: string) => Promise<Answered>
  /** Codes of refusal that can be right here. */
  readonly mayRefuse?: readonly string[]
  readonly grant?: string
}
export interface Outcome {
  readonly ok: boolean
  readonly status: number
  /** Of a refusal. */
  readonly code: string
  readonly body: Json
  /** An earlier try was not answered, or not with certainty: it may have been carried out. */
  readonly doubt: boolean
  readonly sentAt: number
  readonly answeredAt: number
}
/** Where one story's requests go first, as long as somebody is there. */
export type Prefer = () => string | undefined

export interface Desk {
  /** Undefined where nobody answered for so long that the story gives up. */
  ask(request: Request, prefer?: Prefer): Promise<Outcome | undefined>
  readonly counts: ReadonlyMap<string, number>
  /** All of them. */
  verbs(): number
  /** Nobody is asked any more. */
  close(): void
}

const GIVE_UP_MS = 20_000
const HANGS_MS = 15_000
/** Not now, and nothing was decided: whoever asks again may get it. */
const LATER = [
  'store_unavailable',
  'log_unavailable',
  'vault_unavailable',
  'recovering',
  'clock_untrusted',
  'policy_outdated',
  'store_conflict',
  'stale',
  'not_confirmed',
  'temporarily_unavailable',
]

export function desk(urls: () => readonly string[], random: Random, report: Report): Desk {
  const counts = new Map<string, number>()
  let closed = false
  const once = async (request: Request, url: string): Promise<Answered | undefined> => {
    try {
      return await Promise.race([request.send(url), pause(HANGS_MS, undefined, { ref: false })])
    } catch (thrown) {
      // What `fetch` throws where the other side is gone; anything else is what a listener said of the answer.
      if (thrown instanceof TypeError || thrown instanceof SyntaxError) return undefined
      if (thrown instanceof Error && 'code' in thrown) return undefined
      const seen = thrown instanceof Error ? thrown.message : String(thrown)
      report({ invariant: 'everyAnswerIsDocumented', expected: request.verb, seen, ...about(request) })
      return undefined
    }
  }
  return {
    counts,
    verbs: () => [...counts.values()].reduce((sum, one) => sum + one, 0),
    close: () => {
      closed = true
    },
    async ask(request, prefer = () => undefined) {
      const sentAt = Date.now()
      let doubt = false
      while (!closed && Date.now() - sentAt < GIVE_UP_MS) {
        const up = urls()
        const url = prefer() ?? (up.length === 0 ? undefined : random.pick(up))
        const answered = url === undefined ? undefined : await once(request, url)
        if (answered === undefined) {
          doubt ||= url !== undefined
          await pause(60)
          continue
        }
        const code = answered.said.replace(/^refused: /, '')
        if (answered.status < 500 && !LATER.includes(code)) {
          counts.set(request.verb, (counts.get(request.verb) ?? 0) + 1)
          const { status, body } = answered
          const ok = answered.said === 'ok'
          const may = request.mayRefuse ?? []
          if (!ok && !may.includes(code))
            report({
              invariant: 'answersAreThoseOfTheModel',
              expected: ['ok', ...may].join(', '),
              seen: `${request.verb}: ${status} ${code} ${body?.detail ?? ''}${doubt ? ' (after a lost answer)' : ''}`,
              ...about(request),
            })
          return { ok, status, code, body, doubt, sentAt, answeredAt: Date.now() }
        }
        if (!LATER.includes(code))
          report({
            invariant: 'answersAreThoseOfTheModel',
            expected: `one of ${LATER.join(', ')}`,
            seen: `${request.verb}: ${answered.status} ${code} ${answered.body?.detail ?? ''}`,
            ...about(request),
          })
        doubt ||= code !== 'recovering' && code !== 'clock_untrusted'
        await pause(120)
      }
      return undefined
    },
  }
}

const about = ({ grant }: Request): { readonly grant?: string } => (grant === undefined ? {} : { grant })

export const postAs =
  (publicUrl: string, who: () => Promise<Who>, path: string, body: Json, headers?: Readonly<Record<string, string>>) =>
  async (url: string): Promise<Answered> =>
    client(url, publicUrl).post(await who(), path, body, headers)
export const getAs =
  (publicUrl: string, who: () => Promise<Who>, path: string) =>
  async (url: string): Promise<Answered> =>
    client(url, publicUrl).get(await who(), path)

/** What was asked by hand, as a client would tell of it. */
export const asAnswered =
  (ask: (url: string) => Promise<{ readonly status: number; readonly body: Json }>) =>
  async (url: string): Promise<Answered> => {
    const { status, body } = await ask(url)
    if (status >= 400) return refusedAs(status, body, new Headers())
    return { status, body, headers: new Headers(), said: 'ok' }
  }
export const refusedAs = (status: number, body: Json, headers: Headers): Answered => {
  const code = typeof body?.type === 'string' ? body.type.replace(/^urn:writ:error:/, '') : status
  return { status, body, headers, said: `refused: ${code}` }
}
