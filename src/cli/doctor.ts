// `writ doctor`: what is wrong, and the line that mends it. Invariant: it needs no login to say why there is none, changes nothing, and shows
// no token.
import { z } from 'zod'
import { canariesAnswer, whoamiAnswer } from '../http/wire.ts'
import { type Client, reach, whyOf } from './client.ts'
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { Failure, Refusal } from './failure.ts'
import { padded, shown } from './shown.ts'

export interface Finding {
  readonly name: string
  readonly ok: boolean
  readonly what: string
  /** For what is wrong, and for what is well and could be better. */
  readonly mend?: string | undefined
}

const Told = z.array(z.object({ name: z.string(), why: z.string(), mend: z.string() }))
const Ready = z.object({ ready: z.boolean(), failing: Told, warnings: Told.optional() })
const Metadata = z.object({
  issuer: z.string(),
  jwks_uri: z.string(),
  writ_login: z.object({ issuer: z.url() }).optional(),
})
const Keys = z.object({ keys: z.array(z.object({ kid: z.string() })) })

/** What the broker's own checks are about, for people; one that is not here is told under its own name. */
const ABOUT: Readonly<Record<string, string>> = {
  redis: 'Redis, as it is set up',
  control: 'Redis and the rules in force',
  policy: 'the configuration files of the broker',
  clock: 'the clock of Redis',
  keys: 'the signing keys',
  witness: 'the data folder of the broker',
  sweep: 'ending what is due',
  queue: 'the timetable',
  vault: 'Vault and what is behind it',
  inventory: 'what lies at Vault in our name',
}
/** The name of a finding that is told beside what is well. */
const WARNING = 'warning'
/** How far two clocks may be apart: what a token or a proof still forgives. */
const SKEW_MS = 5_000

export const doctor: Command = {
  name: 'doctor',
  summary: 'what is wrong, and the line that mends it',
  usage: '',
  about: `Looks at everything between you and a credential: the address and certificate of the broker, Redis, Vault, policy and keys as the
broker sees them, the clocks, the identity provider, your own login, and, for operators, whether ending works where it was last tried. Exit code: 0 when
all is well, 3 when only your login is missing, 8 when the broker or what is behind it cannot be used.`,
  examples: ['writ doctor', 'writ doctor --broker https://writ.example'],
  options: {},
  words: [0, 0],
  run: async (context) => {
    const broker = context.brokerUrl()
    const findings = [...(await ofBroker(context, broker))]
    const isThere = findings.every(({ name, ok }) => ok || name !== 'broker')
    if (isThere) findings.push(...(await ofLogin(context)))
    show(context, broker, findings)
    return exitOf(findings)
  },
}

function exitOf(findings: readonly Finding[]): ExitCode {
  const wrong = findings.filter(({ ok }) => !ok)
  if (wrong.length === 0) return EXIT.ok
  return wrong.every(({ name }) => name === 'login') ? EXIT.unauthenticated : EXIT.unavailable
}

function show({ say, paint, sayJson }: Context, broker: string, findings: readonly Finding[]): void {
  sayJson({ broker, checks: findings })
  for (const { name, ok, what, mend } of findings) {
    say(shown`${ok ? paint.good('✓') : paint.bad('✗')} ${padded(name, 18)} ${what}`)
    if (mend !== undefined && (!ok || name === WARNING)) say(shown`    → ${mend}`)
  }
}

async function ofBroker({ machine }: Context, broker: string): Promise<readonly Finding[]> {
  const look = (path: string) =>
    reach(broker, path, { signal: AbortSignal.any([machine.interrupted, AbortSignal.timeout(10_000)]) })
  const started = machine.now()
  let alive: Response
  try {
    alive = await look('/healthz')
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown
    return [{ name: 'broker', ok: false, what: thrown.message, mend: thrown.next }]
  }
  const ms = machine.now() - started
  if (!alive.ok) {
    return [
      {
        name: 'broker',
        ok: false,
        what: `${broker} answers ${alive.status} at /healthz`,
        mend: 'Check the address: this is not a broker.',
      },
    ]
  }
  const isTls = broker.startsWith('https:')
  const found: Finding[] = [
    {
      name: 'broker',
      ok: true,
      what: `${broker} answers in ${ms} ms${isTls ? ', its certificate is good' : ' (plain http, this machine only)'}`,
    },
  ]
  found.push(clockFinding(alive.headers.get('date'), machine.now(), ms))
  found.push(...(await readiness(look)))
  found.push(...(await documents(look, broker)))
  return found
}

/** The Date header counts whole seconds, and the answer took its time. */
function clockFinding(date: string | null, now: number, tookMs: number): Finding {
  const theirs = date === null ? Number.NaN : Date.parse(date)
  if (!Number.isFinite(theirs))
    return {
      name: 'local clock',
      ok: false,
      what: 'the broker names no time',
      mend: 'Something in between takes the Date header away; set it right there.',
    }
  const off = Math.abs(now - theirs) - tookMs - 1_000
  const seconds = Math.round((now - theirs) / 1_000)
  if (off <= SKEW_MS) return { name: 'local clock', ok: true, what: 'this machine and the broker agree' }
  return {
    name: 'local clock',
    ok: false,
    what: `this machine is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} the broker`,
    mend: 'Set the clock: timedatectl set-ntp true',
  }
}

type Look = (path: string) => Promise<Response>

async function readiness(look: Look): Promise<readonly Finding[]> {
  const read = await jsonAt(look, '/readyz', Ready)
  if (read === undefined)
    return [{ name: 'ready', ok: false, what: '/readyz does not answer', mend: 'See the log of the broker.' }]
  const about = (name: string, why: string): string => `${ABOUT[name] ?? name}: ${why}`
  // What only warns makes no broker unusable, and so no exit code.
  const warnings = (read.warnings ?? []).map(
    ({ name, why, mend }): Finding => ({ name: WARNING, ok: true, what: about(name, why), mend }),
  )
  if (read.failing.length === 0)
    return [
      { name: 'ready', ok: true, what: 'Redis, policy, witness, queue and backends are as they should be' },
      ...warnings,
    ]
  const failing = read.failing.map(({ name, why, mend }) => ({ name, ok: false, what: about(name, why), mend }))
  return [...failing, ...warnings]
}

async function documents(look: Look, broker: string): Promise<readonly Finding[]> {
  const metadata = await jsonAt(look, '/.well-known/oauth-authorization-server', Metadata)
  if (metadata === undefined)
    return [
      {
        name: 'metadata',
        ok: false,
        what: 'there is no metadata document',
        mend: 'Check the address: this is not a broker.',
      },
    ]
  const isSame = metadata.issuer === broker
  const keys = await jsonAt(look, '/oauth2/jwks', Keys)
  const login = metadata.writ_login
  return [
    {
      name: 'address',
      ok: isSame,
      what: isSame ? 'the one by which the broker calls itself' : `the broker calls itself ${metadata.issuer}`,
      mend: `Use that address: --broker ${metadata.issuer}, or set WRIT_PUBLIC_URL there.`,
    },
    {
      name: 'jwks',
      ok: keys !== undefined && keys.keys.length > 0,
      what: keys === undefined ? 'the public keys cannot be read' : `${keys.keys.length} published`,
      mend: 'On the broker: npm run keys:rotate -- <WRIT_KEYS_DIR> --create',
    },
    login === undefined
      ? { name: 'identity', ok: true, what: 'persons do not log in by this command here; tokens are given' }
      : await identity(login.issuer),
  ]
}

async function identity(issuer: string): Promise<Finding> {
  const name = 'identity'
  try {
    const response = await fetch(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
      redirect: 'error',
      signal: AbortSignal.timeout(10_000),
    })
    if (response.ok) return { name, ok: true, what: `persons log in at ${issuer}` }
    return {
      name,
      ok: false,
      what: `${issuer} answers ${response.status}`,
      mend: 'Ask whoever runs the identity provider; or correct issuers.yaml.',
    }
  } catch (thrown) {
    const { what, next } = whyOf(thrown)
    return { name, ok: false, what: `${issuer} does not answer (${what})`, mend: next }
  }
}

async function jsonAt<T>(look: Look, path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  try {
    const read = schema.safeParse(await (await look(path)).json())
    return read.success ? read.data : undefined
  } catch {
    return undefined
  }
}

async function ofLogin(context: Context): Promise<readonly Finding[]> {
  try {
    const client = await context.client()
    const { value } = await client.get('/v1/whoami', whoamiAnswer)
    return [{ name: 'login', ok: true, what: `${value.principal} of ${value.tenant}` }, ...(await ofCanaries(client))]
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown
    return [{ name: 'login', ok: false, what: thrown.message, mend: thrown.next }]
  }
}

/** Whether ending works, as it was last tried: for operators alone, and no word of it to others. */
async function ofCanaries(client: Client): Promise<readonly Finding[]> {
  try {
    const { value } = await client.get('/v1/operations/canaries', canariesAnswer)
    return value.canaries.map(canaryFinding)
  } catch (thrown) {
    if (!(thrown instanceof Failure)) throw thrown
    // Nobody else's business; or a broker that makes none.
    if (thrown instanceof Refusal && (thrown.status === 403 || thrown.status === 404)) return []
    return [{ name: 'canary', ok: false, what: thrown.message, mend: thrown.next }]
  }
}

type Tried = z.infer<typeof canariesAnswer>['canaries'][number]

function canaryFinding({ entitlement, result, revocability, step, reason, at, took, next }: Tried): Finding {
  const name = 'canary'
  const tried = `${entitlement} (at ${at ?? ''}, in ${took ?? ''})`
  const again = next === undefined ? '' : ` It is tried again from ${next} on.`
  switch (result) {
    case 'ok':
      return {
        name,
        ok: true,
        what:
          revocability === 'at_once'
            ? `${tried}: made, ended, and confirmed gone`
            : `${tried}: made as declared; it cannot be revoked`,
      }
    case 'none':
      return { name, ok: true, what: `${entitlement}: not tried yet, or WRIT_CANARY_EVERY is 0s` }
    case 'unknown':
      return {
        name,
        ok: false,
        what: `${tried}: it could not be tried (${reason ?? ''})`,
        mend: `See that Vault and what is behind it answer.${again}`,
      }
    case 'failed':
      return {
        name,
        ok: false,
        what: `${tried}: ${FAILED[step ?? 'make']} (${reason ?? ''})`,
        mend: `${MEND[step ?? 'make']}${again}`,
      }
  }
}
const FAILED: Readonly<Record<NonNullable<Tried['step']>, string>> = {
  make: 'it cannot be made',
  end: 'it cannot be ended, so none is handed out',
  confirm: 'its end cannot be confirmed, so none is handed out',
}
const MEND: Readonly<Record<NonNullable<Tried['step']>, string>> = {
  make: 'Compare the entitlement with what Vault gives, and apply npm run vault:setup again.',
  end: 'See in the log of Vault and of the database why revoking fails; the owner role, Vault’s login and its rights must be there.',
  confirm: 'See that the login of the probe in backends.yaml works, and what it still finds.',
}
