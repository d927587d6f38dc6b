// A verifier: options in, checks out. One order for every request: token, times, proof, plan, and last whether the grant still lives.
// Invariant: only what passed every one of them is `ok`; whatever fails in an unforeseen way is `stale`, never `ok`, and nothing is thrown.
import { hash } from 'node:crypto'
import { byFeed } from './feed.ts'
import { byIntrospection } from './introspection.ts'
import { proofChecks } from './key-proof.ts'
import { type JwkSet, KEY_LIMITS, pinnedKeys, publishedKeys } from './keys.ts'
import { hostName, type Machine, pause, thisMachine } from './machine.ts'
import { type About, isReported, type Refused, refused } from './refusal.ts'
import { replayMemory, type UseOnce } from './replays.ts'
import { type ReportFigures, reporter } from './reports.ts'
import type { Knowledge, Problem } from './standing.ts'
import { byStatusList } from './status-list.ts'
import { type Credential, readToken, timely } from './verify.ts'
import { type ClientKey, type Wire, wireTo } from './wire.ts'

/** How it is known whether a grant was revoked. `maxStaleness`: milliseconds; older knowledge refuses. */
export type Revocation =
  | {
      /** The broker's revocation feed: a revoke is known here within moments. Needs `client`. */
      readonly by: 'feed'
      /** 5 s where absent; at least 1 s. */
      readonly maxStaleness?: number
      /**
       * The name of this instance, under which it acknowledges: [A-Za-z0-9._-]{1,64}, unique among the instances of this resource server and
       * the same after a restart. The host's name where absent.
       */
      readonly instance?: string
    }
  | {
      /** The signed status list that the token names: needs no `client`, and is as late as the list's `ttl`. */
      readonly by: 'status'
      /** 60 s where absent. */
      readonly maxStaleness?: number
    }
  | {
      /** Asks the broker about each token. Needs `client`. */
      readonly by: 'introspection'
      /** For how long a yes is kept: 0 where absent, so that each request asks. */
      readonly maxStaleness?: number
    }

export interface VerifierOptions {
  /** The broker's public URL: the `iss` of its tokens. */
  readonly issuer: string
  /** The audience, or audiences, of this resource server. */
  readonly audience: string | readonly string[]
  /** The URL under which clients reach this server, with the path that a proxy takes away, if any: proofs are made for it. */
  readonly publicUrl: string
  readonly revocation: Revocation
  /** Who this server is at the broker. Without it nothing is reported, and neither feed nor introspection can be used. */
  readonly client?: ClientKey
  /** The broker's keys: its published ones where absent, another URL, or a set that never changes. */
  readonly keys?: { readonly url: string } | { readonly set: JwkSet }
  /** Accepts tokens that are bound to no key. False where absent. */
  readonly acceptBearer?: boolean
  /** How far the clocks may differ, in milliseconds: 2 s where absent, 5 s at most. */
  readonly tolerance?: number
  /** The longest life of a token that is accepted, in milliseconds: 24 h where absent, as long as the broker signs any. */
  readonly maxTokenLife?: number
  /** Where used proofs are remembered. In this process where absent: several instances should share one. */
  readonly useOnce?: UseOnce
  /** How many used proofs are remembered in this process: 100,000 where absent, a quarter of them of one key. */
  readonly maxProofs?: number
  /** How many revoked grants are remembered: 1,000,000 where absent. When there is no room, everything is refused. */
  readonly maxRevoked?: number
  /** How many reports wait at most: 10,000 where absent. False: nothing is reported. */
  readonly reports?: false | { readonly maxBuffered?: number; readonly everyMs?: number }
  /** Milliseconds for a question to the broker: 3 s where absent. */
  readonly timeout?: number
  /** Also hosts other than this one are asked over plain http. For a network that is protected otherwise. */
  readonly allowPlainHttp?: boolean
  /** Hears of everything that goes wrong without failing a request. No part of a token is in it. */
  readonly onProblem?: Problem
  /** The wall clock, in milliseconds since 1970. */
  readonly now?: () => number
  /** The clock that staleness is measured with. */
  readonly monotonic?: () => number
  /** How the broker is asked: for a proxy, or a certificate authority of one's own. */
  readonly fetch?: typeof fetch
}

/** A request, as far as it matters. */
export interface Presented {
  readonly method: string
  /** The request target as it was sent, beginning with `/`. */
  readonly target: string
  /** Every `Authorization` field of the request, and every `DPoP` field, each apart. */
  readonly authorization: readonly string[]
  readonly dpop: readonly string[]
}
export interface Demands {
  /**
   * The digest of what is about to be executed (`planDigest`), or a function that reckons it; asked for only when token and proof are good.
   * It must be the digest that was approved; a token without one is refused, and so is everything when the function fails.
   */
  readonly plan?: string | (() => string | Promise<string>)
  /** An action that must be one of those that were granted. */
  readonly needs?: string
}
export type Verdict = { readonly ok: true; readonly credential: Credential } | Refused

export interface Told {
  readonly action: string
  readonly target: string
  readonly argumentDigest?: string
}
export interface Figures {
  /** Milliseconds since the last sign of life of the broker; infinite before the first. */
  readonly staleness: number
  readonly reports: ReportFigures
}
export interface Verifier {
  /** Never rejects. */
  verify(presented: Presented, demands?: Demands): Promise<Verdict>
  /** Tells the broker of a use, or of a refusal that is about a credential of its own. Takes no time; the middleware does it by itself. */
  report(verdict: Verdict, told: Told): void
  /** True once it is known what was revoked; false when that is not so within this time. Until then everything is refused. */
  ready(withinMs?: number): Promise<boolean>
  figures(): Figures
  readonly acceptsBearer: boolean
  /** Sends the reports that wait, for so long at most, and ends everything. */
  close(withinMs?: number): Promise<void>
}

/** The digest of a plan, as `writ request --plan` reckons it: of the file's bytes. */
export const planDigest = (bytes: Uint8Array | string): string => `sha-256:${hash('sha256', bytes, 'base64url')}`

const SCHEME = /^(DPoP|Bearer) +([A-Za-z0-9._~+/-]+=*) *$/i
const NOTHING: ReportFigures = { waiting: 0, sent: 0, dropped: 0, unwanted: 0 }

/** Throws a TypeError or RangeError on options that cannot be meant. */
export function verifier(options: VerifierOptions): Verifier {
  const { issuer, client, acceptBearer = false, onProblem = () => undefined } = options
  const machine = thisMachine(given(options, ['now', 'monotonic', 'fetch']))
  const problem: Problem = (what, thrown) => {
    try {
      onProblem(what, thrown)
    } catch {
      // Whoever listens cannot hurt.
    }
  }
  const audiences = typeof options.audience === 'string' ? [options.audience] : options.audience
  if (audiences.length === 0 || audiences.includes('')) throw new TypeError('an audience is needed')
  if (issuer.endsWith('/')) throw new TypeError('the issuer is the URL of the broker without a slash at its end')
  const publicUrl = options.publicUrl.replace(/\/$/, '')
  if (!/^https?:$/.test(new URL(publicUrl).protocol) || /[?#]/.test(publicUrl))
    throw new TypeError('the public URL is http or https, without query and fragment')
  const toleranceMs = ranged('tolerance', options.tolerance ?? 2_000, 0, 5_000)
  const longestLifeMs = ranged('maxTokenLife', options.maxTokenLife ?? 24 * 3_600_000, 1_000, 31 * 24 * 3_600_000)
  const timeoutMs = ranged('timeout', options.timeout ?? 3_000, 100, 30_000)
  const mostProofs = ranged('maxProofs', options.maxProofs ?? 100_000, 4, 10_000_000)
  const wire = wireTo({ issuer, client, machine, allowPlainHttp: options.allowPlainHttp ?? false })
  const keys =
    options.keys !== undefined && 'set' in options.keys
      ? pinnedKeys(options.keys.set)
      : publishedKeys(
          wire,
          options.keys?.url ?? `${issuer}/oauth2/jwks`,
          machine,
          { ...KEY_LIMITS, timeoutMs },
          problem,
        )
  const proofs = proofChecks({
    machine,
    toleranceMs,
    useOnce:
      options.useOnce ?? replayMemory({ now: machine.now, most: mostProofs, mostOfOne: Math.ceil(mostProofs / 4) }),
  })
  const reports =
    client === undefined || options.reports === false
      ? undefined
      : reporter(
          wire,
          machine,
          {
            most: ranged('reports.maxBuffered', options.reports?.maxBuffered ?? 10_000, 1, 1_000_000),
            everyMs: ranged('reports.everyMs', options.reports?.everyMs ?? 500, 0, 60_000),
            timeoutMs,
          },
          problem,
        )
  const mostRevoked = ranged('maxRevoked', options.maxRevoked ?? 1_000_000, 1, 16_000_000)
  const knowledge = knowledgeOf(options.revocation, {
    wire,
    machine,
    keys,
    problem,
    timeoutMs,
    toleranceMs,
    longestLifeMs,
    mostRevoked,
    hasClient: client !== undefined,
  })

  const judgeTime = (credential: Credential): Refused | undefined =>
    timely(credential, { now: machine.now(), atLeast: knowledge.brokerTime(), toleranceMs })

  const judge = async (presented: Presented, demands: Demands): Promise<Verdict> => {
    const { authorization, dpop, method, target } = presented
    const [field] = authorization
    if (field === undefined) return refused('no_token', 'A credential is needed.')
    if (authorization.length !== 1) return refused('bad_token', 'There is more than one credential.')
    const [, scheme, token] = SCHEME.exec(field) ?? []
    if (scheme === undefined || token === undefined)
      return refused('bad_token', 'The credential is neither a DPoP nor a Bearer token.')
    const credential = await readToken(token, { issuer, audiences, keys, toleranceMs, longestLifeMs })
    if ('ok' in credential) return credential
    const about: About = { grant: credential.grant, jti: credential.jti }
    const early = judgeTime(credential)
    if (early !== undefined) return early
    if (credential.jkt === undefined) {
      if (scheme.toLowerCase() !== 'bearer' || dpop.length > 0)
        return refused('bad_token', 'The credential is bound to no key, but was sent with a proof.', about)
      if (!acceptBearer)
        return refused('no_proof', 'Only credentials that are bound to a key are accepted here.', about)
    } else {
      // RFC 9449 §7.1: a bound token that is sent as Bearer is one that somebody found.
      if (scheme.toLowerCase() !== 'dpop')
        return refused('no_proof', 'The credential is bound to a key, and was sent without the proof of it.', about)
      if (!target.startsWith('/')) return refused('no_proof', 'The request target is not a path.', about)
      const url = `${publicUrl}${target}`
      const unproven = await proofs.check({ proofs: dpop, method, url, token, jkt: credential.jkt, about })
      if (unproven !== undefined) return unproven
    }
    if (demands.needs !== undefined && !credential.actions.includes(demands.needs))
      return refused('not_granted', 'This action was not granted.', about)
    const offPlan = await judgePlan(credential, demands, about, problem)
    if (offPlan !== undefined) return offPlan
    // Last, and again by the clock: what was asked for meanwhile may have taken long.
    const standing = await knowledge.of(credential, token)
    const late = judgeTime(credential)
    if (late !== undefined) return late
    if (standing.is === 'ended') return refused('ended', 'The grant has ended.', about)
    if (standing.is === 'unknown') return refused('stale', standing.why, about)
    return { ok: true, credential }
  }

  return {
    verify: async (presented, demands = {}) => {
      try {
        return await judge(presented, demands)
      } catch (thrown) {
        problem('verify', thrown)
        return refused('stale', 'The credential could not be judged.')
      }
    },
    report: (verdict, told) => {
      if (reports === undefined) return
      if (verdict.ok) {
        const { grant, jti } = verdict.credential
        reports.add({ about: { grant, jti }, ...told })
      } else if (verdict.about !== undefined && isReported(verdict.code))
        reports.add({ about: verdict.about, refusedAs: verdict.code, ...told })
    },
    ready: async (withinMs = 10_000) => {
      const over = new AbortController()
      const isReady = knowledge.ready().then(() => true)
      const isLate = pause(withinMs, over.signal).then(() => false)
      return await Promise.race([isReady, isLate]).finally(() => over.abort())
    },
    figures: () => ({ staleness: knowledge.staleness(), reports: reports?.figures() ?? NOTHING }),
    acceptsBearer: acceptBearer,
    close: async (withinMs = 5_000) => {
      await Promise.all([knowledge.close(), reports?.close(withinMs)])
    },
  }
}

async function judgePlan(
  { planDigest: approved }: Credential,
  { plan }: Demands,
  about: About,
  problem: Problem,
): Promise<Refused | undefined> {
  if (plan === undefined) return undefined
  if (approved === undefined) return refused('wrong_plan', 'The credential names no approved plan.', about)
  try {
    const asked = typeof plan === 'string' ? plan : await plan()
    if (asked === approved) return undefined
  } catch (thrown) {
    problem('plan', thrown)
    return refused('wrong_plan', 'What is asked for cannot be read as a plan.', about)
  }
  return refused('wrong_plan', 'What is asked for is not the plan that was approved.', about)
}

function knowledgeOf(
  how: Revocation,
  known: {
    readonly wire: Wire
    readonly machine: Machine
    readonly keys: ReturnType<typeof pinnedKeys>
    readonly problem: Problem
    readonly timeoutMs: number
    readonly toleranceMs: number
    readonly longestLifeMs: number
    readonly mostRevoked: number
    readonly hasClient: boolean
  },
): Knowledge {
  const { wire, machine, keys, problem, timeoutMs, toleranceMs, longestLifeMs, mostRevoked } = known
  const day = 24 * 3_600_000
  if (how.by !== 'status' && !known.hasClient) throw new TypeError(`revocation by ${how.by} needs a client key`)
  switch (how.by) {
    case 'feed': {
      const { maxStaleness = 5_000, instance = hostName() } = how
      if (!/^[A-Za-z0-9._-]{1,64}$/.test(instance))
        throw new TypeError('the name of an instance is [A-Za-z0-9._-]{1,64}')
      const maxStalenessMs = ranged('maxStaleness', maxStaleness, 1_000, day)
      return byFeed(wire, machine, { maxStalenessMs, consumer: instance, longestLifeMs, mostRevoked }, problem)
    }
    case 'status': {
      const maxStalenessMs = ranged('maxStaleness', how.maxStaleness ?? 60_000, 1_000, day)
      return byStatusList(wire, machine, keys, { maxStalenessMs, toleranceMs, timeoutMs }, problem)
    }
    case 'introspection': {
      const maxStalenessMs = ranged('maxStaleness', how.maxStaleness ?? 0, 0, day)
      return byIntrospection(wire, machine, { maxStalenessMs, timeoutMs }, problem)
    }
    default:
      throw new TypeError('revocation is known by feed, status or introspection')
  }
}

function ranged(name: string, value: number, least: number, most: number): number {
  if (!(Number.isFinite(value) && value >= least && value <= most))
    throw new RangeError(`${name} is a number from ${least} to ${most}`)
  return value
}

/** The members that are there. */
const given = (options: VerifierOptions, names: readonly ('now' | 'monotonic' | 'fetch')[]): Partial<Machine> =>
  Object.fromEntries(names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])))
