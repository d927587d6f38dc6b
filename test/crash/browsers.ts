// The browsers of persons: pages that were begun with somebody's own login are looked at and signed with passkeys in software. Every passkey that
// was ever made can still sign, whatever became of the answer that told of it.
import type { Answered, Json } from '../../deploy/dev/client.ts'
import { type SoftPasskey, softPasskey } from '../support/authenticator.ts'
import { asAnswered, type Desk, type Outcome, type Prefer, refusedAs } from './desk.ts'
import type { Report } from './violation.ts'

export interface Person {
  readonly login: string
  /** By their ids. */
  readonly passkeys: Map<string, SoftPasskey>
  /** Something was asked in their name whose answer was lost: until then it may still be done. */
  doubtUntil: number
}
export const personOf = (login: string): Person => ({ login, passkeys: new Map(), doubtUntil: 0 })
export const isInDoubt = ({ doubtUntil }: Person): boolean => Date.now() < doubtUntil
/** Longer than any request goes on of which nobody hears any more. */
const DOUBT_MS = 20_000

interface About {
  readonly verb: string
  readonly mayRefuse?: readonly string[]
  readonly grant?: string
}
export interface Browsers {
  /**
   * Does what the page of this address asks for, and what the next one asks for, until something is done; undefined where it was refused, or where
   * nobody knows.
   */
  follow(person: Person, address: string, about: About, prefer: Prefer): Promise<Outcome | undefined>
}

export function browsers(p: { readonly publicUrl: string; readonly desk: Desk; readonly report: Report }): Browsers {
  const { publicUrl, desk, report } = p

  /** What the authenticator answers; undefined where the page asks for none of the person's passkeys. */
  function answerTo({ passkeys }: Person, { get, create }: Json): unknown {
    // Of passkeys that are on several devices no counter says anything: it stays 0, and two pages can be signed at once.
    const asked = { clientData: { challenge: String((get ?? create).challenge) }, counter: 0 }
    if (get === undefined) {
      const made = softPasskey(publicUrl)
      passkeys.set(made.credentialId, made)
      return made.registration('', asked)
    }
    const [own] = get.allowCredentials.flatMap(({ id }: { readonly id: string }) => passkeys.get(id) ?? [])
    return own?.response('', asked)
  }

  const signed = (path: string, response: unknown) =>
    asAnswered(async (url) => {
      const headers = { 'content-type': 'application/json', origin: publicUrl, 'sec-fetch-site': 'same-origin' }
      const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(response) })
      return { status: answer.status, body: await answer.json() }
    })

  return {
    follow: async (person, address, { verb, mayRefuse = [], grant }, prefer) => {
      const about = grant === undefined ? {} : { grant }
      const said = (invariant: string, expected: string, seen: string): void =>
        report({ invariant, expected, seen: `${verb} of ${person.login}: ${seen}`, ...about })
      let path = new URL(address).pathname
      for (;;) {
        const page = await desk.ask({ verb: 'page', send: pageAt(path), ...about }, prefer)
        const response = page?.ok === true ? answerTo(person, page.body) : undefined
        if (response === undefined) return undefined
        const may = ['ceremony_over', ...mayRefuse, ...(isInDoubt(person) ? ['not_permitted'] : [])]
        const outcome = await desk.ask({ verb, send: signed(path, response), mayRefuse: may, ...about }, prefer)
        if (outcome === undefined || outcome.doubt) person.doubtUntil = Date.now() + DOUBT_MS
        if (outcome === undefined) return undefined
        if (!outcome.ok) {
          if (outcome.code === 'ceremony_over' && !isInDoubt(person))
            said('whatIsBegunCanBeFinished', 'done: nobody had used the page', 'it is over')
          return undefined
        }
        const refusals = [...may, 'not_permitted', 'policy_refused', 'already_decided']
        const again = await desk.ask({ verb, send: signed(path, response), mayRefuse: refusals, ...about }, prefer)
        if (again !== undefined && again.code !== 'ceremony_over')
          said('aPageIsUsedOnce', 'ceremony_over: it was used', again.code)
        if (outcome.body.next === undefined) return outcome
        path = outcome.body.next
      }
    },
  }
}

const pageAt =
  (path: string) =>
  async (url: string): Promise<Answered> => {
    const answer = await fetch(url + path)
    const { status, headers } = answer
    const text = await answer.text()
    // A page tells a person what is wrong; of the two that are told here one is over, and one is to be tried again.
    const code = status === 404 ? 'ceremony_over' : status === 503 ? 'temporarily_unavailable' : 'page_refused'
    if (!answer.ok) return refusedAs(status, { type: code }, headers)
    const [, options = ''] = /data-options="([^"]*)"/.exec(text) ?? []
    return { status, headers, body: JSON.parse(unescaped(options)), said: 'ok' }
  }

const SIGNS: Readonly<Record<string, string>> = { quot: '"', amp: '&', lt: '<', gt: '>', '#39': "'", '#96': '`' }
const unescaped = (text: string): string => text.replace(/&([a-z]+|#\w+);/g, (whole, name) => SIGNS[name] ?? whole)
