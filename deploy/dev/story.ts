// The story: what Writ is for, played over HTTP against a running broker. Every step says what was tried, what was seen, and why.
// A step that does not see what it should is a failure of the whole; nothing here reaches into the broker.
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import {
  type Answered,
  type Client,
  client,
  introspect,
  type Json,
  type ProofKey,
  proofKey,
  tokenExchange,
  type Who,
} from './client.ts'

export interface ResourceServerKey {
  readonly id: string
  readonly privateKey: ProofKey['privateKey']
  readonly kid?: string
}
export interface Stage {
  readonly brokerUrl: string
  personToken(login: string): Promise<string>
  agentToken(id: string): Promise<string>
  ciToken(claims: { readonly job: 'deploy' | 'build'; readonly sha: string; readonly runId: string }): Promise<string>
  resourceServer(id: string): ResourceServerKey
  /** Where the story's database login goes; absent without Vault. */
  readonly database?: {
    readonly host: string
    readonly port: number
    readonly database: string
    readonly adminUrl: string
  }
  readonly say: (line: string) => void
}

export interface Told {
  readonly seen: Record<string, unknown>
  readonly failures: string[]
}

const WINDOW_SECONDS = 24

/** The part that needs Redis and the identity provider only. */
export async function playTokens(stage: Stage, told: Told): Promise<void> {
  const book = storybook(stage, told)
  await vendorAsksAndIsRefused(book)
  await pipelineDeploys(book)
  await agentWorks(book)
  await reportRuns(book)
}

/** The part that needs Vault and PostgreSQL: a login inside its window, and what is left of it afterwards. */
export async function playDatabase(stage: Stage, told: Told): Promise<void> {
  await maintenanceWindow(storybook(stage, told))
}

/** Lists every grant with its events, as the auditor sees them. */
export async function playTheEnd(stage: Stage, told: Told): Promise<void> {
  const book = storybook(stage, told)
  const audra = await book.as('audra')
  book.title('Everything that happened, as the auditor sees it')
  const { body } = await book.to.get(audra, '/v1/grants?limit=50')
  let events = 0
  for (const grant of body.grants) {
    const told = await book.to.get(audra, `/v1/grants/${grant.id}/events`)
    events += told.body.events.length
    stage.say(
      `   ${grant.id}  ${grant.status.padEnd(9)} ${grant.intent.entitlement}: ${told.body.events.map((event: Json) => event.type).join(' → ')}`,
    )
  }
  book.saw('listed', body.grants.length, (n) => n >= 4, `grants, with ${events} events`)
}

interface Book {
  readonly stage: Stage
  readonly to: Client
  as(login: string): Promise<Who>
  title(text: string): void
  /** Records what was seen under its name, shows it, and notes a failure where `good` says no. */
  saw<T>(name: string, value: T, good: (value: T) => boolean, why: string): T
}

function storybook(stage: Stage, told: Told): Book {
  return {
    stage,
    to: client(stage.brokerUrl),
    as: async (login) => ({ token: await stage.personToken(login) }),
    title: (text) => stage.say(`\n── ${text}`),
    saw: (name, value, good, why) => {
      told.seen[name] = value
      const fine = good(value)
      if (!fine) told.failures.push(name)
      stage.say(` ${fine ? '✓' : '✗'} ${name}: ${String(value)} (${why})`)
      return value
    },
  }
}

const refused = (code: string) => (said: string) => said === `refused: ${code}`
const isOk = (said: string) => said === 'ok'
const why = (answer: Answered): string => answer.body?.detail ?? answer.body?.error_description ?? 'as it should be'

const maintenance = (window: Json): Json => ({
  entitlement: 'payments-migrator',
  actions: ['db.migrate'],
  task: {
    id: 'CHG0031337',
    summary: 'Add the settlement table',
    expectedOutcome: 'Table settlement exists',
    rollback: 'Drop table settlement',
  },
  ticket: { system: 'servicenow', id: 'CHG0031337' },
  window,
})

async function vendorAsksAndIsRefused(book: Book): Promise<void> {
  const { to, stage } = book
  book.title('A vendor engineer asks for a database login, and tries every short cut')
  const vera = await book.as('vera')
  const asked = await to.post(vera, '/v1/grants', maintenance({ duration: '30m' }))
  book.saw('asked', asked.said, isOk, `vera (acme) filed ${asked.body?.id}, ${asked.body?.status}`)
  const path = `/v1/grants/${asked.body?.id}`
  const early = await to.post(vera, `${path}/exchange`)
  book.saw('beforeApproval', early.said, refused('wrong_status'), why(early))
  const own = await to.post(vera, `${path}/decisions`, { verdict: 'approve', reason: 'looks good to me' })
  book.saw('selfApproval', own.said, refused('own_request'), why(own))
  const alias = await to.post(await book.as('vera-admin'), `${path}/decisions`, {
    verdict: 'approve',
    reason: 'second account',
  })
  book.saw('aliasApproval', alias.said, refused('own_request'), why(alias))
  const agent = { token: await stage.agentToken('vera-agent'), key: proofKey() }
  const viaAgent = await to.post(agent, `${path}/decisions`, { verdict: 'approve', reason: 'my agent says yes' })
  book.saw('ownAgentApproval', viaAgent.said, refused('own_request'), why(viaAgent))
  const gone = await to.post(vera, `${path}/withdraw`, { reason: 'asked again for the window' })
  book.saw('withdrawn', gone.body?.status ?? gone.said, (status) => status === 'withdrawn', 'nothing had been given')
}

async function pipelineDeploys(book: Book): Promise<void> {
  const { to, stage } = book
  book.title('A release pipeline deploys one commit, and the build job cannot')
  const sha = 'a'.repeat(40)
  const runId = String(Math.floor(Math.random() * 1e9))
  const key = proofKey()
  const deploy = { token: await stage.ciToken({ job: 'deploy', sha, runId }), key }
  const asked = await to.post(deploy, '/v1/grants', {
    entitlement: 'webshop-deploy',
    actions: ['deploy'],
    scope: [`commit:${sha}`],
    task: {
      id: `run-${runId}`,
      summary: `Deploy ${sha.slice(0, 8)} to production`,
      rollback: 'Deploy the former commit',
    },
    plan: { digest: `sha-256:${'A'.repeat(43)}`, mediaType: 'application/vnd.oci.image.manifest.v1+json' },
    window: { duration: '30m' },
  })
  book.saw('deployAsked', asked.said, isOk, `the deploy job filed ${asked.body?.id}`)
  const rob = await book.as('rob')
  const yes = await to.post(rob, `/v1/grants/${asked.body?.id}/decisions`, {
    verdict: 'approve',
    reason: 'release 42',
    digest: asked.body?.digest,
  })
  book.saw(
    'deployApproved',
    yes.body?.status ?? yes.said,
    (status) => status === 'approved',
    'rob owns the release and neither asked nor wrote it',
  )
  const build = await tokenExchange(to, await stage.ciToken({ job: 'build', sha, runId }), asked.body?.id, proofKey())
  book.saw('buildTokenExchange', build.said, (said) => said.startsWith('refused: '), why(build))
  const got = await tokenExchange(to, await stage.ciToken({ job: 'deploy', sha, runId }), asked.body?.id, key)
  book.saw('deployToken', got.said, isOk, `${got.body?.token_type} token for ${got.body?.expires_in} s`)
  const webshop = stage.resourceServer('webshop-api')
  const active = await introspect(to, stage.brokerUrl, webshop, got.body?.access_token)
  book.saw(
    'deployActive',
    active.body?.active === true ? 'active' : 'inactive',
    (said) => said === 'active',
    'the webshop asked the broker',
  )
  const done = await to.post(deploy, `/v1/grants/${asked.body?.id}/complete`, { result: { deployed: sha } })
  book.saw('completed', done.body?.status ?? done.said, (status) => status === 'ended', 'done means gone')
  const after = await introspect(to, stage.brokerUrl, webshop, got.body?.access_token)
  book.saw(
    'afterComplete',
    after.body?.active === false ? 'inactive' : 'active',
    (said) => said === 'inactive',
    'the task is done, so is the token',
  )
}

async function agentWorks(book: Book): Promise<void> {
  const { to, stage } = book
  book.title('An AI agent asks, a person approves, the SOC cuts it off')
  const agent = { token: await stage.agentToken('triage-agent'), key: proofKey() }
  const asked = await to.post(agent, '/v1/grants', {
    entitlement: 'ticket-triage',
    actions: ['tickets.update'],
    task: { id: 'triage-7', summary: 'Label and route the open tickets of today' },
    window: { duration: '15m' },
  })
  book.saw('agentAsked', asked.said, isOk, `the agent filed ${asked.body?.id}`)
  const path = `/v1/grants/${asked.body?.id}`
  const sam = await to.post(await book.as('sam'), `${path}/decisions`, { verdict: 'approve', reason: 'my agent' })
  book.saw('sponsorApproval', sam.said, refused('own_request'), why(sam))
  const lena = await to.post(await book.as('lena'), `${path}/decisions`, {
    verdict: 'approve',
    reason: 'fine for today',
  })
  book.saw(
    'agentApproved',
    lena.body?.status ?? lena.said,
    (status) => status === 'approved',
    'lena owns it and does not answer for the agent',
  )
  const got = await to.post(agent, `${path}/exchange`)
  book.saw('agentToken', got.said, isOk, `${got.body?.credential?.tokenType} token, bound to the agent's key`)
  const again = await to.post(agent, `${path}/exchange`)
  book.saw('agentSecondExchange', again.said, refused('uses_exhausted'), why(again))
  const desk = stage.resourceServer('desk-api')
  const token = got.body?.credential?.token
  const before = await introspect(to, stage.brokerUrl, desk, token)
  book.saw(
    'beforeRevoke',
    before.body?.active === true ? 'active' : 'inactive',
    (said) => said === 'active',
    'the desk asked the broker',
  )
  const cut = await to.post(await book.as('sol'), `${path}/revoke`, { reason: 'alarm 4711' })
  book.saw('revoked', cut.body?.status ?? cut.said, (status) => status === 'ended', 'sol is on the SOC')
  const after = await introspect(to, stage.brokerUrl, desk, token)
  book.saw(
    'afterRevoke',
    after.body?.active === false ? 'inactive' : 'active',
    (said) => said === 'inactive',
    'from the revoking commit on',
  )
}

async function reportRuns(book: Book): Promise<void> {
  const { to } = book
  book.title('A read-only report needs nobody')
  const dana = { ...(await book.as('dana')), key: proofKey() }
  const asked = await to.post(dana, '/v1/grants', {
    entitlement: 'sales-report',
    actions: ['report.read'],
    task: { id: 'report-11', summary: 'The sales of last week' },
    window: { duration: '10m' },
  })
  book.saw(
    'autoApproved',
    asked.body?.status === 'approved' ? 'ok' : asked.said,
    isOk,
    (asked.body?.reasons ?? []).join(', '),
  )
  const got = await to.post(dana, `/v1/grants/${asked.body?.id}/exchange`)
  book.saw('reportToken', got.said, isOk, 'still one credential, still ended with its window')
}

async function maintenanceWindow(book: Book): Promise<void> {
  const { to, stage } = book
  const { database } = stage
  if (database === undefined) throw new Error('the database part needs a database')
  book.title(`The maintenance window: ${WINDOW_SECONDS} seconds of a real PostgreSQL login through a real Vault`)
  const vera = await book.as('vera')
  const opensAt = Date.now()
  const closesAt = opensAt + WINDOW_SECONDS * 1000
  const asked = await to.post(
    vera,
    '/v1/grants',
    maintenance({ opensAt: new Date(opensAt).toISOString(), closesAt: new Date(closesAt).toISOString() }),
  )
  book.saw('maintenanceAsked', asked.said, isOk, `vera filed ${asked.body?.id}`)
  const path = `/v1/grants/${asked.body?.id}`
  const yes = await to.post(await book.as('olivia'), `${path}/decisions`, {
    verdict: 'approve',
    reason: 'tonight is fine',
    digest: asked.body?.digest,
  })
  book.saw(
    'ownerApproval',
    yes.body?.status ?? yes.said,
    (status) => status === 'approved',
    'olivia owns the database; vera is the vendor',
  )
  const got = await to.post(vera, `${path}/exchange`)
  book.saw(
    'dbExchange',
    got.said,
    isOk,
    got.said === 'ok' ? `a login of its own, lease ${got.body.credential.leaseId.slice(0, 40)}…` : why(got),
  )
  if (got.said !== 'ok') return
  const { username: user, password } = got.body.credential.secret
  const login = { host: database.host, port: database.port, database: database.database, user, password }
  const { session, table } = await work(book, login)
  const second = await to.post(vera, `${path}/exchange`)
  book.saw('secondExchange', second.said, refused('uses_exhausted'), why(second))
  stage.say(
    `   the window closes in ${Math.max(0, Math.round((closesAt - Date.now()) / 1000))} s, with a session still open…`,
  )
  await sleep(Math.max(0, closesAt - Date.now()) + 250)
  const ended = await waitForEnd(to, vera, path)
  book.saw(
    'dbGrantEnded',
    `${ended.body?.status}`,
    (status) => status === 'ended',
    `${ended.body?.facts?.outcome}: ${ended.body?.facts?.confirmation?.answer}`,
  )
  await afterwards(book, login, session, table)
}

type Login = {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: string
}

async function work(book: Book, login: Login): Promise<{ readonly session: pg.Client; readonly table: string }> {
  const session = new pg.Client({ ...login, connectionTimeoutMillis: 5_000 })
  session.on('error', () => undefined)
  const table = `settlement_${Date.now().toString(36)}`
  try {
    await session.connect()
    await session.query(`create table ${table} (id int primary key, note text)`)
    await session.query(`insert into ${table} values (1, 'one'), (2, 'two'), (3, 'three')`)
    book.saw('dbLoginInside', 'ok', isOk, `${login.user} made a table and wrote three rows`)
  } catch (thrown) {
    book.saw('dbLoginInside', `refused: ${(thrown as Error).message}`, isOk, 'the login should work inside its window')
  }
  return { session, table }
}

async function waitForEnd(to: Client, who: Who, path: string): Promise<Answered> {
  for (let tries = 0; ; tries += 1) {
    const answer = await to.get(who, path)
    if (answer.body?.status === 'ended' || tries > 60) return answer
    await sleep(250)
  }
}

async function afterwards(book: Book, login: Login, session: pg.Client, table: string): Promise<void> {
  const { adminUrl } = book.stage.database ?? { adminUrl: '' }
  const late = new pg.Client({ ...login, connectionTimeoutMillis: 5_000 })
  late.on('error', () => undefined)
  const said = await late.connect().then(
    () => 'ok',
    (thrown: { readonly code?: string }) => `refused: ${thrown.code ?? 'no answer'}`,
  )
  book.saw('dbLoginAfter', said, (text) => text === 'refused: 28P01', 'the user does not exist any more')
  await late.end().catch(() => undefined)
  const admin = new pg.Client({ connectionString: adminUrl })
  await admin.connect()
  try {
    // By role id as well as by name: the session of a dropped role has no name any more.
    const open = await admin.query(
      `select count(*)::int as n from pg_stat_activity a where a.usename = $1 or (a.usesysid is not null and not exists (select 1 from pg_roles r where r.oid = a.usesysid))`,
      [login.user],
    )
    book.saw('dbSessionsAfter', open.rows[0].n, (n) => n === 0, 'the session that was open is gone too')
    const rows = await admin.query(
      `select count(*)::int as n, (select tableowner from pg_tables where tablename = $1) as owner from ${table}`,
      [table],
    )
    book.saw(
      'dbTableKept',
      rows.rows[0].n === 3 ? 'ok' : `rows: ${rows.rows[0].n}`,
      isOk,
      `three rows, now owned by ${rows.rows[0].owner}`,
    )
    await admin.query(`drop table ${table}`)
  } finally {
    await admin.end()
    await session.end().catch(() => undefined)
  }
}
