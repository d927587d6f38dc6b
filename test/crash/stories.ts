// The load: short stories of all verbs, each about one change, drawn from a seed. A story knows what may be answered at each step; what is
// answered otherwise is a violation. It goes on through whatever dies meanwhile.
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { type Answered, client, introspect, type Json, proofKey, type Who } from '../../deploy/dev/client.ts'
import type { DevStage } from '../../deploy/dev/stage.ts'
import { COMMITS } from '../support/crash-config.ts'
import { asServer } from '../support/feed-client.ts'
import { browsers, personOf } from './browsers.ts'
import type { Cast } from './cast.ts'
import { asAnswered, type Desk, getAs, type Outcome, type Prefer, postAs, refusedAs } from './desk.ts'
import { claimsOf, type Handed, type Kind, type Known, type Model } from './model.ts'
import { passkeyStories } from './passkey-stories.ts'
import type { Random } from './random.ts'
import type { Report } from './violation.ts'

export interface StoryPorts {
  readonly stage: Pick<DevStage, 'url' | 'resourceServer'>
  readonly desk: Desk
  readonly cast: Cast
  readonly model: Model
  readonly report: Report
  /** Where logins go. */
  readonly database: { readonly host: string; readonly port: number }
  /** Whether logins are asked for now, and grants are left to the ends of their windows: there are quiet times between. */
  busy(): boolean
}
export type StoryName = Kind | 'contain' | 'freeze' | 'looks' | 'verifier' | 'asked' | 'passkeys'

/** What may be said of a grant that is not where a step would have it. */
const ELSEWHERE = [
  'wrong_status',
  'window_closed',
  'window_closing',
  'uses_exhausted',
  'already_decided',
  'frozen',
  'grant_not_found',
]

interface Session {
  isOpen(): boolean
  close(): Promise<void>
}
interface Asking {
  readonly who: () => Promise<Who>
  readonly approver: string | undefined
  readonly audience: Known['audience']
  readonly body: Json
}

export function stories(p: StoryPorts) {
  const { stage, desk, cast, model, report } = p
  const post = (who: () => Promise<Who>, path: string, body: Json, headers?: Readonly<Record<string, string>>) =>
    postAs(stage.url, who, path, body, headers)
  const get = (who: () => Promise<Who>, path: string) => getAs(stage.url, who, path)
  const pathOf = ({ id }: Known): string => `/v1/grants/${id}`
  const pages = browsers({ publicUrl: stage.url, desk, report })
  const passkeys = passkeyStories({ publicUrl: stage.url, desk, cast, browsers: pages, report })
  /** Decides with a passkey, which she has from the beginning. */
  const lena = personOf('lena')

  function askingOf(kind: Kind, random: Random, task: string): Asking {
    const about = { id: task, summary: `A ${kind} of the crash run` }
    const short = kind !== 'login' && p.busy() && random.chance(0.4)
    const seconds = kind === 'login' ? 22 + random.below(12) : short ? 4 + random.below(8) : 60
    const body = { task: about, window: { duration: `${seconds}s` } }
    const key = proofKey()
    const withKey = (who: () => Promise<Who>) => async (): Promise<Who> => ({ ...(await who()), key })
    switch (kind) {
      case 'report':
        return {
          who: withKey(cast.person('dana')),
          approver: undefined,
          audience: 'reports-api',
          body: { ...body, entitlement: 'sales-report', actions: ['report.read'], scope: ['report:sales'] },
        }
      case 'triage':
        return {
          who: withKey(cast.agent('triage-agent')),
          approver: 'lena',
          audience: 'desk-api',
          body: { ...body, entitlement: 'ticket-triage', actions: ['tickets.update'] },
        }
      case 'deploy': {
        const sha = random.pick(COMMITS)
        return {
          who: withKey(cast.deployJob(sha, String(random.below(2 ** 31)))),
          approver: 'rob',
          audience: 'webshop-api',
          body: {
            ...body,
            entitlement: 'webshop-deploy',
            actions: ['deploy'],
            scope: [`commit:${sha}`],
            plan: { digest: `sha-256:${'A'.repeat(43)}`, mediaType: 'application/json' },
          },
        }
      }
      case 'login':
        return {
          who: cast.person('vera'),
          approver: 'olivia',
          audience: undefined,
          body: {
            ...body,
            entitlement: 'payments-migrator',
            actions: ['db.migrate'],
            ticket: { system: 'desk', id: 'CHG-1' },
          },
        }
    }
  }

  async function file(
    kind: Kind,
    { who, audience, body }: Asking,
    prefer: Prefer,
    mayRefuse: readonly string[] = [],
  ): Promise<Known | undefined> {
    const headers = { 'idempotency-key': `"${randomUUID()}"` }
    // A short window may be over before a slow machine with a dead Redis has written the birth.
    const refusals = ['window_closed', ...mayRefuse]
    const filed = await desk.ask(
      { verb: 'request', send: post(who, '/v1/grants', body, headers), mayRefuse: refusals },
      prefer,
    )
    if (filed?.ok !== true) return undefined
    const { id, status, intent } = filed.body
    const window = { opensAt: Date.parse(intent.window.opensAt), closesAt: Date.parse(intent.window.closesAt) }
    return model.born({ id, kind, audience, ...window }, status)
  }

  /** Every step that names a grant: its status is noted. */
  async function step(
    known: Known,
    verb: string,
    send: (url: string) => Promise<Answered>,
    mayRefuse: readonly string[],
    prefer: Prefer,
  ): Promise<Outcome | undefined> {
    const outcome = await desk.ask({ verb, send, mayRefuse, grant: known.id }, prefer)
    if (outcome?.ok === true) model.shown(known, outcome.body?.status ?? outcome.body?.grant?.status)
    return outcome
  }

  /** True where it is approved. Some are denied, some taken back. */
  async function decide(known: Known, { who, approver }: Asking, random: Random, prefer: Prefer): Promise<boolean> {
    if (approver === undefined) return known.status === 'approved'
    const path = pathOf(known)
    const fate = random.next()
    if (fate < 0.08) {
      known.mayEnd = true
      await step(known, 'withdraw', post(who, `${path}/withdraw`, { reason: 'not needed' }), ELSEWHERE, prefer)
      return false
    }
    const verdict = fate < 0.16 ? 'deny' : 'approve'
    if (verdict === 'deny') known.mayEnd = true
    if (fate > 0.95)
      await step(
        known,
        'decide',
        post(who, `${path}/decisions`, { verdict: 'approve' }),
        ['own_request', 'not_permitted', 'wrong_status', 'window_closed'],
        prefer,
      )
    if (known.kind === 'triage') return decideByPasskey(known, who, verdict, prefer)
    await step(
      known,
      verdict === 'deny' ? 'deny' : 'approve',
      post(cast.person(approver), `${path}/decisions`, { verdict, reason: 'as planned' }),
      ['already_decided', 'wrong_status', 'window_closed'],
      prefer,
    )
    return verdict === 'approve'
  }

  /** A login alone decides nothing here. True where it is seen approved; begun anew where nobody knows what became of the page. */
  async function decideByPasskey(
    known: Known,
    who: () => Promise<Who>,
    verdict: 'approve' | 'deny',
    prefer: Prefer,
  ): Promise<boolean> {
    const [path, over] = [pathOf(known), ['already_decided', 'wrong_status', 'window_closed']]
    const ballot = { verdict, reason: 'as planned' }
    for (let tries = 0; tries < 3 && known.status === 'pending'; tries += 1) {
      const without = post(cast.person(lena.login), `${path}/decisions`, ballot)
      const said = await step(known, 'decide', without, ['step_up_required', ...over], prefer)
      if (said?.ok === true)
        report({ invariant: 'aPasskeyIsAsked', grant: known.id, expected: 'step_up_required', seen: 'decided' })
      const begin = post(cast.person(lena.login), `${path}/ceremonies`, ballot)
      const begun = await step(known, 'beginStepUp', begin, over, prefer)
      if (begun?.ok === true)
        await pages.follow(lena, begun.body.url, { verb: verdict, mayRefuse: over, grant: known.id }, prefer)
      await step(known, 'show', get(who, path), ['grant_not_found'], prefer)
    }
    return known.status === 'approved'
  }

  async function exchange(
    known: Known,
    who: () => Promise<Who>,
    attempt: string,
    prefer: Prefer,
  ): Promise<Outcome | undefined> {
    // While a gate is shut the desk asks for the same attempt again and again: a login's has its bound.
    const mayRefuse = known.kind === 'login' ? [...ELSEWHERE, 'too_many_requests'] : ELSEWHERE
    const send = post(who, `${pathOf(known)}/exchange`, { attempt })
    const outcome = await step(known, 'exchange', send, mayRefuse, prefer)
    if (outcome?.ok === true) given(known, attempt, outcome)
    return outcome
  }

  function given(known: Known, attempt: string, { body, sentAt, answeredAt }: Outcome): void {
    const { credential, mint } = body
    const handed = { grant: known.id, attempt, mint: mint.n, sentAt, receivedAt: answeredAt }
    if (credential.kind === 'jwt') {
      const { jti, iat, exp, nbf } = claimsOf(credential.token)
      const what = { kind: 'jwt', token: credential.token, jti, issuedAt: iat * 1_000 } as const
      model.given(known, { ...handed, what, notBefore: nbf * 1_000, expiresAt: exp * 1_000 })
      return
    }
    const { secret, leaseId, expiresAt } = credential
    const what = { kind: 'vault', user: secret.username, password: secret.password, leaseId } as const
    model.given(known, {
      ...handed,
      what,
      notBefore: Date.parse(mint.issuedAt ?? '') || answeredAt,
      expiresAt: Date.parse(expiresAt),
    })
  }

  /** I7: what is over is inactive, for ever; what lives is active while it may be. */
  async function check(known: Known, handed: Handed, prefer: Prefer): Promise<void> {
    if (handed.what.kind !== 'jwt' || known.audience === undefined) return
    const { token } = handed.what
    const server = stage.resourceServer(known.audience)
    const over = known.overAt !== undefined
    const mayEnd = known.mayEnd
    const outcome = await desk.ask(
      { verb: 'introspect', send: (url) => introspect(client(url), stage.url, server, token), grant: known.id },
      prefer,
    )
    if (outcome?.ok !== true) return
    const { active } = outcome.body
    if (active === true && (over || outcome.sentAt >= handed.expiresAt + 1_000))
      report({ invariant: 'I7 endedIsInactive', grant: known.id, expected: 'inactive: it is over', seen: 'active' })
    const lives = !over && !mayEnd && !known.mayEnd && outcome.answeredAt < handed.expiresAt - 1_500
    if (active !== true && lives)
      report({ invariant: 'whatLivesIsActive', grant: known.id, expected: 'active until its end', seen: 'inactive' })
  }

  /** `ok`, or why PostgreSQL let nobody in. */
  async function logIn({ what }: Handed): Promise<string> {
    if (what.kind !== 'vault') return 'no login'
    const { user, password } = what
    const session = new pg.Client({
      ...p.database,
      database: 'payments',
      user,
      password,
      connectionTimeoutMillis: 5_000,
    })
    session.on('error', () => undefined)
    return session.connect().then(
      () => session.end().then(() => 'ok'),
      (thrown: { readonly code?: string }) => thrown.code ?? 'no answer',
    )
  }
  /** Undefined where PostgreSQL lets nobody in: it may be over already. */
  async function openSession({ what }: Handed): Promise<Session | undefined> {
    if (what.kind !== 'vault') return undefined
    const { user, password } = what
    const login = { ...p.database, database: 'payments', user, password, connectionTimeoutMillis: 5_000 }
    const session = new pg.Client(login)
    session.on('error', () => undefined)
    let open = true
    session.once('end', () => {
      open = false
    })
    return session.connect().then(
      () => ({ isOpen: () => open, close: () => session.end() }),
      () => undefined,
    )
  }
  /** I10: when it is said to be over its sessions have been ended from the other side. */
  async function sessionIsCut(known: Known, session: Session): Promise<void> {
    const over = known.overAt !== undefined
    // The word of it may still be on its way to us.
    for (let looked = 0; over && session.isOpen() && looked < 40; looked += 1) await pause(50)
    if (over && session.isOpen())
      report({ invariant: 'I10 sessionsAreCut', grant: known.id, expected: 'closed: it is over', seen: 'open' })
    await session.close().catch(() => undefined)
  }
  async function checkLogin(known: Known, handed: Handed): Promise<void> {
    const over = known.overAt !== undefined
    const said = await logIn(handed)
    if (said === 'ok' && over)
      report({ invariant: 'I7 endedIsInactive', grant: known.id, expected: 'no login: it is over', seen: 'logged in' })
  }

  async function finish(known: Known, who: () => Promise<Who>, random: Random, prefer: Prefer): Promise<void> {
    const path = pathOf(known)
    const isLeft = p.busy() && known.closesAt - known.opensAt < 40_000 && random.chance(0.5)
    if (isLeft) {
      known.mayEnd = true
      return
    }
    known.mayEnd = true
    const [verb, send] = random.chance(0.6)
      ? ['complete', post(who, `${path}/complete`, { result: { done: 'yes' } })]
      : ['revoke', post(cast.person(known.kind === 'login' ? 'olivia' : 'sol'), `${path}/revoke`, { reason: 'alarm' })]
    await step(
      known,
      verb as string,
      send as (url: string) => Promise<Answered>,
      ['wrong_status', 'window_closed'],
      prefer,
    )
  }

  async function life(kind: Kind, random: Random, prefer: Prefer): Promise<void> {
    const task = `crash-${randomUUID()}`
    const asking = askingOf(kind, random, task)
    const known = await file(kind, asking, prefer)
    if (known === undefined) return
    if (!(await decide(known, asking, random, prefer))) return
    const attempt = randomUUID()
    const first = await exchange(known, asking.who, attempt, prefer)
    mustBeGiven(known, first)
    const [handed] = known.handed
    if (random.chance(0.25)) await exchange(known, asking.who, attempt, prefer)
    if (random.chance(0.2)) await another(known, asking.who, prefer)
    if (handed !== undefined) await check(known, handed, prefer)
    const last = known.handed.at(-1)
    if (kind === 'login' && last !== undefined && random.chance(0.5)) await checkLogin(known, last)
    const session = kind === 'login' && last !== undefined && random.chance(0.4) ? await openSession(last) : undefined
    if (random.chance(0.5)) await look(known, asking.who, random, prefer)
    if (kind === 'login') await pause(random.below(1_500))
    await finish(known, asking.who, random, prefer)
    if (last !== undefined && kind === 'login' && known.overAt !== undefined) await checkLogin(known, last)
    if (session !== undefined) await sessionIsCut(known, session)
    if (handed !== undefined) await check(known, handed, prefer)
    await elders(random, prefer)
  }

  /** Another try of what has one use. */
  async function another(known: Known, who: () => Promise<Who>, prefer: Prefer): Promise<void> {
    const had = known.handed.length > 0
    const outcome = await exchange(known, who, randomUUID(), prefer)
    if (outcome?.ok === true && had)
      report({
        invariant: 'I2 usesAreBounded',
        grant: known.id,
        expected: 'refused: its one use is taken',
        seen: 'a second credential',
      })
  }

  /** Approved, asked for in time by the right one, and no answer lost: a token is given. */
  function mustBeGiven(known: Known, outcome: Outcome | undefined): void {
    if (outcome === undefined || outcome.ok || outcome.doubt || known.kind === 'login') return
    if (outcome.answeredAt > known.closesAt - 2_000) return
    report({ invariant: 'whatIsApprovedIsGiven', grant: known.id, expected: 'a token', seen: outcome.code })
  }

  async function look(known: Known, who: () => Promise<Who>, random: Random, prefer: Prefer): Promise<void> {
    const path = pathOf(known)
    switch (random.below(5)) {
      case 0:
        await step(known, 'show', get(who, path), ['grant_not_found'], prefer)
        return
      case 1:
        await desk.ask({ verb: 'list', send: get(who, '/v1/grants?mine=true&limit=5'), grant: known.id }, prefer)
        return
      case 2:
        await desk.ask(
          { verb: 'events', send: get(who, `${path}/events`), grant: known.id, mayRefuse: ['grant_not_found'] },
          prefer,
        )
        return
      case 3:
        await foreign(known, prefer)
        return
      default:
        await uses(known, prefer)
    }
  }

  /** I12: who is of another tenant and no party learns nothing. */
  async function foreign(known: Known, prefer: Prefer): Promise<void> {
    if (known.kind === 'login') return
    const outcome = await desk.ask(
      { verb: 'show', send: get(cast.person('vera'), pathOf(known)), mayRefuse: ['grant_not_found'], grant: known.id },
      prefer,
    )
    if (outcome?.ok === true)
      report({
        invariant: 'I12 foreignIsMissing',
        grant: known.id,
        expected: 'no such grant',
        seen: 'shown to another tenant',
      })
  }

  async function uses(known: Known, prefer: Prefer): Promise<void> {
    const [handed] = known.handed
    if (handed?.what.kind !== 'jwt' || known.audience === undefined) return
    const server = stage.resourceServer(known.audience)
    const use = {
      id: randomUUID(),
      at: new Date().toISOString(),
      credential: handed.what.jti,
      action: 'read',
      target: 'crash',
      outcome: 'used',
    }
    await desk.ask(
      {
        verb: 'reportUses',
        send: asAnswered((url) => asServer(url, stage.url, server, 'POST', `${pathOf(known)}/uses`, { uses: [use] })),
        mayRefuse: ['grant_not_found'],
        grant: known.id,
      },
      prefer,
    )
    await desk.ask(
      {
        verb: 'uses',
        send: get(cast.person('audra'), `${pathOf(known)}/uses`),
        mayRefuse: ['grant_not_found'],
        grant: known.id,
      },
      prefer,
    )
  }

  /** All that can be asked about one grant, and its end. */
  async function asked(random: Random, prefer: Prefer): Promise<void> {
    const asking = askingOf('report', random, `crash-${randomUUID()}`)
    const known = await file('report', asking, prefer)
    if (known === undefined) return
    await exchange(known, asking.who, randomUUID(), prefer)
    await uses(known, prefer)
    await desk.ask({ verb: 'events', send: get(asking.who, `${pathOf(known)}/events`), grant: known.id }, prefer)
    await finish(known, asking.who, random, prefer)
    await step(known, 'show', get(asking.who, pathOf(known)), ['grant_not_found'], prefer)
  }

  /** Whatever was ever handed out may be asked about again. */
  async function elders(random: Random, prefer: Prefer): Promise<void> {
    const elder = model.handed.length === 0 ? undefined : random.pick(model.handed)
    const known = elder && model.grants.get(elder.grant)
    if (elder !== undefined && known !== undefined) await check(known, elder, prefer)
  }

  /** A resource server that listens: what ended, and that it knows. */
  async function verifier(random: Random, prefer: Prefer): Promise<void> {
    const server = stage.resourceServer('reports-api')
    const since = new Date(Date.now() - 5_000).toISOString()
    const read = await desk.ask(
      {
        verb: 'revocations',
        send: asAnswered((url) => asServer(url, stage.url, server, 'GET', `/v1/revocations?since=${since}`)),
      },
      prefer,
    )
    const position: unknown = read?.body?.position ?? read?.body?.next
    if (read?.ok !== true || typeof position !== 'string') return
    const body = { position, consumer: `crash-${random.below(3)}` }
    await desk.ask(
      {
        verb: 'acknowledge',
        send: asAnswered((url) => asServer(url, stage.url, server, 'POST', '/v1/revocations/acks', body)),
        mayRefuse: ['invalid_request'],
      },
      prefer,
    )
  }

  async function looks(random: Random, prefer: Prefer): Promise<void> {
    const audra = cast.person('audra')
    await desk.ask({ verb: 'list', send: get(audra, '/v1/grants?status=active&limit=20') }, prefer)
    await desk.ask({ verb: 'feed', send: readFeed(audra) }, prefer)
    await desk.ask({ verb: 'freezes', send: get(cast.person('sol'), '/v1/freezes') }, prefer)
    await elders(random, prefer)
  }

  const sol = cast.person('sol')
  /** Two grants of one task, one of them exchanged: contained, both are dead at the first answer, and stay so when the freeze is lifted. */
  async function contain(random: Random, prefer: Prefer): Promise<void> {
    const task = `crash-${randomUUID()}`
    const asking = askingOf('report', random, task)
    const [held, waiting] = [await file('report', asking, prefer), await file('report', asking, prefer)]
    if (held === undefined || waiting === undefined) return
    await exchange(held, asking.who, randomUUID(), prefer)
    const where = { task }
    await desk.ask(
      { verb: 'contain (dry run)', send: post(sol, '/v1/containments?dryRun=true', { where, reason: 'INC-1' }) },
      prefer,
    )
    held.mayEnd = true
    waiting.mayEnd = true
    const made = await desk.ask(
      { verb: 'contain', send: post(sol, '/v1/containments', { where, reason: 'INC-1' }) },
      prefer,
    )
    if (made?.ok !== true) return
    await deadNow(held, prefer)
    await exchange(waiting, asking.who, randomUUID(), prefer).then((got) => refusedAfterContain(waiting, got))
    const done = await watch(made.body.id, prefer)
    await desk.ask({ verb: 'contained', send: get(sol, `/v1/containments/${made.body.id}/grants`) }, prefer)
    await desk.ask({ verb: 'lift', send: post(sol, `/v1/freezes/${made.body.id}/lift`, { reason: 'over' }) }, prefer)
    await deadNow(held, prefer)
    for (const one of done ? [held, waiting] : [])
      await step(one, 'show', get(asking.who, pathOf(one)), ['grant_not_found'], prefer)
  }

  async function deadNow(known: Known, prefer: Prefer): Promise<void> {
    known.overAt ??= Date.now()
    for (const handed of known.handed) await check(known, handed, prefer)
  }
  function refusedAfterContain(known: Known, got: Outcome | undefined): void {
    if (got?.ok === true)
      report({
        invariant: 'I7 endedIsInactive',
        grant: known.id,
        expected: 'refused: it is contained',
        seen: 'a credential',
      })
  }
  async function watch(id: string, prefer: Prefer): Promise<boolean> {
    for (let looked = 0; looked < 20; looked += 1) {
      const seen = await desk.ask({ verb: 'containment', send: get(sol, `/v1/containments/${id}`) }, prefer)
      if (seen?.body?.done === true) return true
      await pause(250)
    }
    return false
  }

  /** Nothing new under a freeze; again when it is lifted. */
  async function freeze(random: Random, prefer: Prefer): Promise<void> {
    const task = `crash-${randomUUID()}`
    const asking = askingOf('report', random, task)
    const frozen = await desk.ask(
      { verb: 'freeze', send: post(sol, '/v1/freezes', { where: { task }, reason: 'INC-2' }) },
      prefer,
    )
    if (frozen?.ok !== true) return
    const filed = await file('report', asking, prefer, ['frozen'])
    if (filed !== undefined)
      report({ invariant: 'nothingUnderAFreeze', grant: filed.id, expected: 'refused: frozen', seen: 'filed' })
    const lifted = await desk.ask(
      { verb: 'lift', send: post(sol, `/v1/freezes/${frozen.body.id}/lift`, { reason: 'over' }) },
      prefer,
    )
    if (lifted?.ok !== true) return
    // Asked for again because its answer was lost, it may be there twice, and only one of the two was lifted.
    const known = await file('report', asking, prefer, frozen.doubt ? ['frozen'] : [])
    if (known === undefined) return
    mustBeGiven(known, await exchange(known, asking.who, randomUUID(), prefer))
    await finish(known, asking.who, random, prefer)
  }

  /** Grants with a long window that nobody ends: what must still be there, alive, when all is quiet. */
  async function keeper(kind: 'report' | 'login', seconds: number, random: Random): Promise<Known | undefined> {
    const nowhere: Prefer = () => undefined
    const asking = askingOf(kind, random, `keeper-${randomUUID()}`)
    const long = { ...asking, body: { ...asking.body, window: { duration: `${seconds}s` } } }
    const known = await file(kind, long, nowhere)
    if (known === undefined) return undefined
    if (asking.approver !== undefined)
      await step(
        known,
        'approve',
        post(cast.person(asking.approver), `${pathOf(known)}/decisions`, { verdict: 'approve' }),
        [],
        nowhere,
      )
    await exchange(known, asking.who, randomUUID(), nowhere)
    return known
  }

  const tell = async (name: StoryName, random: Random, prefer: Prefer = () => undefined): Promise<void> => {
    switch (name) {
      case 'contain':
        return contain(random, prefer)
      case 'freeze':
        return freeze(random, prefer)
      case 'looks':
        return looks(random, prefer)
      case 'verifier':
        return verifier(random, prefer)
      case 'asked':
        return asked(random, prefer)
      case 'passkeys':
        return passkeys.tell(prefer)
      default:
        return life(name, random, prefer)
    }
  }
  /** What the stories take for granted. Rejects where it cannot be done. */
  const prepare = async (): Promise<void> => {
    const added = await passkeys.add(lena, () => undefined)
    if (added?.body?.done !== 'added') throw new Error(`lena has no passkey: ${JSON.stringify(added?.body)}`)
  }
  return { prepare, tell, keeper, check, checkLogin, logIn }
}
export type Stories = ReturnType<typeof stories>

/** The beginning of the stream of events, which is cut then. */
const readFeed =
  (who: () => Promise<Who>) =>
  async (url: string): Promise<Answered> => {
    const cut = new AbortController()
    const { token } = await who()
    const response = await fetch(`${url}/v1/events`, {
      headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream' },
      signal: cut.signal,
    })
    if (!response.ok) return refusedAs(response.status, await response.json(), response.headers)
    await pause(600)
    cut.abort()
    return { status: response.status, body: undefined, headers: response.headers, said: 'ok' }
  }
