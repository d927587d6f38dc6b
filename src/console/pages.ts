// The pages on which a person uses their passkey, and what their script sends back. Nobody is logged in here: the address, which only whoever
// began it was given, says what is meant, and the passkey says who. Invariant: looking changes nothing, and nothing is taken from another site.
import { readFileSync } from 'node:fs'
import type { Broker } from '../broker/broker.ts'
import type { Begun } from '../broker/ceremony.ts'
import type { PasskeyPage, PasskeyStep } from '../broker/passkeys.ts'
import { PASSKEY_ALGORITHMS } from '../domain/assertion.ts'
import { BrokerError, isBrokerError } from '../domain/errors.ts'
import type { Sha256 } from '../domain/intent.ts'
import type { CountedPasskey } from '../domain/passkey.ts'
import { decisionPage } from './decision-page.ts'
import { json, NO_BODY, type PageAnswer, type PageEndpoint, type PageRequest, page, RESPONSE } from './endpoint.ts'
import { notice, type Options } from './layout.ts'
import { passkeyPage } from './passkey-page.ts'

export interface PagePorts {
  readonly broker: Pick<Broker, 'showStepUp' | 'finishStepUp' | 'showPasskeyCeremony' | 'finishPasskeyCeremony'>
  /** The broker's public URL: the one origin whose pages may send anything here. */
  readonly issuer: string
  readonly relyingPartyId: string
  readonly sha256: Sha256
  /** Strict JSON. Throws `invalid_request`. */
  parseJson(text: string): unknown
  /** Any refusal as the http door tells it. */
  problem(thrown: unknown, requestId: string): PageAnswer
  /** A passkey was registered or removed. */
  told(step: Exclude<PasskeyStep, { readonly done: 'proved' }>): void
}

export const pageEndpoints = (p: PagePorts): readonly PageEndpoint[] => [
  ...ceremony(p, {
    path: '/step-up/:ceremony',
    name: 'step_up',
    show: async (id) => {
      const { text, ask, passkeys } = await p.broker.showStepUp(id)
      const content = decisionPage({ text, ask, options: askFor(p, text, passkeys) }, p)
      if (content !== undefined) return page(200, content)
      throw new BrokerError('revision_mismatch', 'What is stored of this grant is not what would be signed.', {
        nextAction: 'Sign nothing, and tell the operators: the record was altered.',
      })
    },
    finish: async (id, response) => {
      const { id: grant, head } = await p.broker.finishStepUp(id, response)
      return json(200, { done: 'decided', message: `Signed. The grant ${grant} is ${head.status}.` })
    },
  }),
  ...ceremony(p, {
    path: '/passkeys/:ceremony',
    name: 'passkey',
    show: async (id) => {
      const shown = await p.broker.showPasskeyCeremony(id)
      return page(200, passkeyPage(shown, optionsOf(p, shown)))
    },
    finish: async (id, response) => stepAnswer(p, await p.broker.finishPasskeyCeremony(id, response)),
  }),
  file(p, '/step-up.js', 'text/javascript; charset=utf-8'),
  file(p, '/step-up.css', 'text/css; charset=utf-8'),
]

interface Ceremony {
  readonly path: string
  readonly name: string
  show(id: string): Promise<PageAnswer>
  finish(id: string, response: unknown): Promise<PageAnswer>
}

const ceremony = (p: PagePorts, { path, name, show, finish }: Ceremony): readonly PageEndpoint[] => [
  {
    method: 'GET',
    path,
    name: `${name}_page`,
    takes: NO_BODY,
    answer: (request) => show(idOf(request)),
    refuse: (thrown, requestId) => refusedPage(p, thrown, requestId),
  },
  {
    method: 'POST',
    path,
    name: `${name}_signed`,
    takes: RESPONSE,
    answer: async (request) => {
      fromOurPage(p, request)
      return finish(idOf(request), p.parseJson(await request.text()))
    },
    refuse: p.problem,
  },
]

/** One that cannot be an id looks like one that is over. */
function idOf({ params }: PageRequest): string {
  const { ceremony = '' } = params
  if (/^[A-Za-z0-9_-]{43}$/.test(ceremony)) return ceremony
  throw new BrokerError('ceremony_over', 'There is no such page.')
}

/** Both are written by the browser, and no page can change either: a form, a frame or a script of another site has others or none. */
function fromOurPage({ issuer }: PagePorts, request: PageRequest): void {
  const is = (name: string, value: string): boolean => {
    const sent = request.header(name)
    return sent.length === 1 && sent[0] === value
  }
  if (is('origin', issuer) && is('sec-fetch-site', 'same-origin')) return
  throw new BrokerError('not_permitted', 'This is taken only from the page of this broker itself.', {
    nextAction: 'Open the page in a browser that sends Origin and Sec-Fetch-Site.',
  })
}

function refusedPage(p: PagePorts, thrown: unknown, requestId: string): PageAnswer {
  const { status, code } = p.problem(thrown, requestId)
  const known = isBrokerError(thrown) ? thrown : undefined
  const message =
    known?.message ?? (status < 500 ? 'There is nothing at this address.' : `The broker failed: ${requestId}.`)
  return page(status, notice('Writ: not possible', message, known?.nextAction), code)
}

const allowed = (passkeys: readonly CountedPasskey[]) =>
  passkeys.map(({ credentialId: id, transports }) => ({ id, transports }))

const askFor = (p: PagePorts, text: string, passkeys: readonly CountedPasskey[]): Options => ({
  get: { challenge: p.sha256(text), rpId: p.relyingPartyId, allowCredentials: allowed(passkeys) },
})

function optionsOf(p: PagePorts, { ceremony, text, passkeys }: PasskeyPage): Options {
  if (ceremony.kind !== 'add') return askFor(p, text, passkeys)
  return {
    create: {
      challenge: p.sha256(text),
      rpId: p.relyingPartyId,
      user: { id: ceremony.handle, name: ceremony.person },
      algorithms: PASSKEY_ALGORITHMS,
      excludeCredentials: allowed(passkeys),
    },
  }
}

function stepAnswer(p: PagePorts, step: PasskeyStep): PageAnswer {
  if (step.done === 'proved')
    return json(200, { done: step.done, message: 'Signed. Now the new one.', next: pathOf(step.next) })
  p.told(step)
  return json(200, {
    done: step.done,
    message: `The passkey ${step.name} is ${step.done === 'added' ? 'registered' : 'removed'}.`,
  })
}

const pathOf = ({ url }: Begun): string => new URL(url).pathname

function file(p: PagePorts, path: string, media: string): PageEndpoint {
  const text = readFileSync(new URL(`.${path}`, import.meta.url), 'utf8')
  return {
    method: 'GET',
    path,
    name: path.slice(1).replace(/\W/g, '_'),
    takes: NO_BODY,
    answer: async () => ({ status: 200, media, text, headers: { 'Cache-Control': 'no-cache' } }),
    refuse: p.problem,
  }
}
