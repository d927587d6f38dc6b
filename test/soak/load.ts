// What people, machines and resource servers do all day, as short stories, chosen by weight from a seed and begun at a steady rate at one broker or
// the other. Each story ends what it began, or leaves it to end with its window.
import { setTimeout as pause } from 'node:timers/promises'
import { clientAssertion, proofKey } from '../../deploy/dev/client.ts'
import type { DevStage } from '../../deploy/dev/stage.ts'
import { randomFrom } from '../hostile/plan.ts'
import type { Answer, Http, Who } from './http.ts'

export interface Scene {
  readonly stage: DevStage
  /** One of the brokers. */
  to(): Http
  who(login: string): Who
  agent(): Who
  /** A word that nobody used before. */
  word(): string
  random(): number
}
type Story = (scene: Scene) => Promise<void>

const CHANGE = 'https://writ.dev/schemas/change/v1'
/** What is said to be so for now only. */
class Unavailable extends Error {}
const ok = (what: string, answer: Answer): Answer => {
  if (answer.status < 300) return answer
  if (answer.status === 503) throw new Unavailable(what)
  const said = answer.body?.type ?? answer.body?.error
  throw new Error(`${what}: ${answer.status} ${said} ${answer.body?.detail ?? answer.body?.error_description ?? ''}`)
}
const server = (scene: Scene, id: string): Who => ({
  token: clientAssertion(id, scene.stage.url, scene.stage.resourceServer(id)),
})
const introspected = async (scene: Scene, id: string, token: string): Promise<boolean> => {
  const answer = await scene.to().form('/oauth2/introspect', {
    token,
    client_id: id,
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: server(scene, id).token,
  })
  return ok('introspect', answer).body.active
}
const expected = (what: string, found: unknown, wanted: unknown): void => {
  if (found === 503) throw new Unavailable(what)
  if (found !== wanted) throw new Error(`${what}: ${String(found)} instead of ${String(wanted)}`)
}

async function report(scene: Scene, seconds = 60) {
  const who = { ...scene.who('dana'), key: proofKey() }
  const to = scene.to()
  const asked = ok(
    'report asked for',
    await to.post(who, '/v1/grants', {
      entitlement: 'sales-report',
      actions: ['report.read'],
      task: { id: scene.word(), summary: 'The sales of last week' },
      window: { duration: `${seconds}s` },
    }),
  )
  const path = `/v1/grants/${asked.body.id}`
  const given = ok('report exchanged', await to.post(who, `${path}/exchange`))
  const { token } = given.body.credential
  return { who, path, token, id: asked.body.id, jti: given.body.mint.jti }
}

/** Asked for, used, done. */
const reportDone: Story = async (scene) => {
  const { who, path, token, id, jti } = await report(scene)
  expected('a live token', await introspected(scene, 'reports-api', token), true)
  ok(
    'uses',
    await scene.to().post(server(scene, 'reports-api'), `/v1/grants/${id}/uses`, {
      uses: [
        {
          ...{ id: scene.word(), at: new Date().toISOString(), credential: jti, outcome: 'used' },
          ...{ action: 'report.read', target: '/reports' },
        },
      ],
    }),
  )
  ok('completed', await scene.to().post(who, `${path}/complete`, { result: { rows: '3' } }))
  expected('a token that is over', await introspected(scene, 'reports-api', token), false)
}
const reportRevoked: Story = async (scene) => {
  const { path, token } = await report(scene)
  ok('revoked', await scene.to().post(scene.who('sol'), `${path}/revoke`, { reason: 'a soak' }))
  expected('a revoked token', await introspected(scene, 'reports-api', token), false)
}
/** Nobody ends it: its window does. */
const reportLeft: Story = async (scene) => {
  await report(scene, 15)
}
/** Somebody waits for its end meanwhile. */
const reportWatched: Story = async (scene) => {
  const { who, path } = await report(scene)
  const waiting = scene.to().get(who, `${path}?wait=5&for=status`)
  const listening = scene.to().stream(who, `${path}/events`, 3_000)
  const ending = pause(1_500).then(() => scene.to().post(who, `${path}/complete`))
  const [waited, heard, ended] = await Promise.all([waiting, listening, ending])
  ok('completed', ended)
  expected('a stream', heard.status, 200)
  expected('what was waited for', ok('waited', waited).body.status, 'ended')
  if (heard.messages < 2) throw new Error('the stream told of too little')
}

async function triage(scene: Scene, seconds = 60) {
  const who = { ...scene.agent(), key: proofKey() }
  const asked = ok(
    'triage asked for',
    await scene.to().post(who, '/v1/grants', {
      entitlement: 'ticket-triage',
      actions: ['tickets.update'],
      task: { id: scene.word(), summary: 'Label the open tickets' },
      window: { duration: `${seconds}s` },
    }),
  )
  return { who, path: `/v1/grants/${asked.body.id}`, id: asked.body.id, digest: asked.body.digest }
}
const triageDone: Story = async (scene) => {
  const { who, path, id, digest } = await triage(scene)
  const lena = scene.who('lena')
  ok('asked back', await scene.to().post(lena, `${path}/questions`, { text: 'Why today?' }))
  ok('approved', await scene.to().post(lena, `${path}/decisions`, { verdict: 'approve', reason: 'fine', digest }))
  const given = ok(
    'token exchanged',
    await scene.to().form(
      '/oauth2/token',
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: who.token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        authorization_details: JSON.stringify([{ type: CHANGE, identifier: id }]),
      },
      who.key,
    ),
  )
  expected('a live token', await introspected(scene, 'desk-api', given.body.access_token), true)
  ok('status lists', await scene.to().get(undefined, '/status'))
  ok('completed', await scene.to().post(who, `${path}/complete`))
}
const triageDenied: Story = async (scene) => {
  const { path, digest } = await triage(scene)
  const no = { verdict: 'deny', reason: 'not today', digest }
  ok('denied', await scene.to().post(scene.who('lena'), `${path}/decisions`, no))
}
const triageWithdrawn: Story = async (scene) => {
  const { who, path } = await triage(scene)
  ok('withdrawn', await scene.to().post(who, `${path}/withdraw`, { reason: 'not needed' }))
}
/** Nobody decides. */
const triageLapsed: Story = async (scene) => {
  await triage(scene, 10)
}

async function login(scene: Scene, seconds: number) {
  const vera = scene.who('vera')
  const asked = ok(
    'login asked for',
    await scene.to().post(vera, '/v1/grants', {
      entitlement: 'payments-migrator',
      actions: ['db.migrate'],
      task: { id: scene.word(), summary: 'A migration' },
      ticket: { system: 'servicenow', id: scene.word() },
      window: { duration: `${seconds}s` },
    }),
  )
  const path = `/v1/grants/${asked.body.id}`
  const yes = { verdict: 'approve', reason: 'tonight', digest: asked.body.digest }
  ok('login approved', await scene.to().post(scene.who('olivia'), `${path}/decisions`, yes))
  ok('login made', await scene.to().post(vera, `${path}/exchange`))
  return path
}
const loginDone: Story = async (scene) => {
  const path = await login(scene, 60)
  ok('login completed', await scene.to().post(scene.who('vera'), `${path}/complete`))
}
const loginLeft: Story = async (scene) => {
  await login(scene, 20)
}

const looked: Story = async (scene) => {
  for (const path of ['/v1/grants?limit=5', '/v1/events?limit=20', '/v1/freezes', '/v1/whoami', '/v1/entitlements'])
    ok(path, await scene.to().get(scene.who('audra'), path))
  for (const path of ['/oauth2/jwks', '/.well-known/oauth-authorization-server', '/healthz', '/openapi.json'])
    ok(path, await scene.to().get(undefined, path))
  const lists = ok('status lists', await scene.to().get(undefined, '/status')).body.status_lists
  for (const list of lists) ok('status list', await scene.to().get(undefined, new URL(list).pathname))
}
/** A resource server hears of ends, and says so. */
const heard: Story = async (scene) => {
  const told = ok('revocations', await scene.to().get(server(scene, 'reports-api'), '/v1/revocations?wait=2'))
  const ack = { position: told.body.position, consumer: scene.random() < 0.5 ? 'eu-1' : 'eu-2' }
  ok('acknowledged', await scene.to().post(server(scene, 'reports-api'), '/v1/revocations/acks', ack))
  await scene.to().stream(server(scene, 'desk-api'), '/v1/revocations', 2_500)
  await scene.to().stream(scene.who('sol'), '/v1/events', 2_000)
}
/** One task is contained, and its freeze lifted. */
const contained: Story = async (scene) => {
  const task = scene.word()
  const who = { ...scene.who('dana'), key: proofKey() }
  const asked = { entitlement: 'sales-report', actions: ['report.read'], window: { duration: '60s' } }
  const filed = { ...asked, task: { id: task, summary: 'To be contained' } }
  ok('asked', await scene.to().post(who, '/v1/grants', filed))
  const sol = scene.who('sol')
  ok('counted', await scene.to().post(sol, '/v1/containments?dryRun=true', { where: { task }, reason: 'a soak' }))
  const made = ok('contained', await scene.to().post(sol, '/v1/containments', { where: { task }, reason: 'a soak' }))
  const frozen = await scene.to().post(who, '/v1/grants', { ...filed, task: { id: task, summary: 'Again' } })
  expected('asked under a freeze', frozen.status, 423)
  ok('shown', await scene.to().get(sol, `/v1/containments/${made.body.id}`))
  ok('lifted', await scene.to().post(sol, `/v1/freezes/${made.body.id}/lift`, { reason: 'over' }))
}
/** What is refused is refused without a trace. */
const refused: Story = async (scene) => {
  const nobody = await scene.to().post(scene.who('sam'), '/v1/grants', { entitlement: 'nothing', admin: true })
  expected('nonsense', nobody.status, 400)
  expected('a token of nobody', (await scene.to().get({ token: 'a.b.c' }, '/v1/grants')).status, 401)
  expected('a grant of nobody', (await scene.to().get(scene.who('sam'), `/v1/grants/g0-${'a'.repeat(26)}`)).status, 404)
}

/** How often each, beside the others. */
const STORIES: readonly (readonly [name: string, weight: number, story: Story, wantsVault?: boolean])[] = [
  ['reportDone', 24, reportDone],
  ['reportRevoked', 10, reportRevoked],
  ['reportLeft', 10, reportLeft],
  ['reportWatched', 6, reportWatched],
  ['triageDone', 12, triageDone],
  ['triageDenied', 5, triageDenied],
  ['triageWithdrawn', 5, triageWithdrawn],
  ['triageLapsed', 4, triageLapsed],
  ['loginDone', 5, loginDone, true],
  ['loginLeft', 3, loginLeft, true],
  ['looked', 8, looked],
  ['heard', 4, heard],
  ['contained', 1, contained],
  ['refused', 3, refused],
]

/** Each once: whatever opens connections at its first use has done so. */
export async function eachOnce(scene: Scene, vault: boolean): Promise<void> {
  const open = STORIES.filter(([, , , wantsVault]) => vault || wantsVault !== true)
  const told = open.map(([, , story]) =>
    story(scene).catch((thrown: unknown) => (thrown instanceof Unavailable ? story(scene) : Promise.reject(thrown))),
  )
  await Promise.all(told)
}

export interface Load {
  readonly begun: Readonly<Record<string, number>>
  readonly errors: readonly string[]
  /** How many stories failed, and how many were left because something was unavailable. */
  failed(): number
  unavailable(): number
  running(): number
  /** No story begins from now on; resolves when those that run are over. */
  stop(): Promise<void>
}

/** Begins so many stories a second; where forty are under way, waits until one is over. */
export function startLoad(
  scene: Scene,
  options: { readonly rate: number; readonly seed: number; readonly vault: boolean },
): Load {
  const random = randomFrom(options.seed)
  const open = STORIES.filter(([, , , wantsVault]) => options.vault || wantsVault !== true)
  const all = open.reduce((sum, [, weight]) => sum + weight, 0)
  const begun: Record<string, number> = {}
  const errors: string[] = []
  let [failed, unavailable] = [0, 0]
  let isOver = false
  const running = new Set<Promise<void>>()
  const chosen = (): (typeof STORIES)[number] | undefined => {
    let at = random() * all
    for (const one of open) {
      at -= one[1]
      if (at < 0) return one
    }
    return open[0]
  }
  const begin = (): void => {
    const [name = '', , story] = chosen() ?? []
    if (story === undefined) return
    begun[name] = (begun[name] ?? 0) + 1
    const told = story(scene)
      .catch((thrown: unknown) => {
        if (thrown instanceof Unavailable) unavailable += 1
        else failed += 1
        if (errors.length < 20) errors.push(`${name}: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
      })
      .finally(() => running.delete(told))
    running.add(told)
  }
  const going = (async () => {
    let next = performance.now()
    while (!isOver) {
      if (running.size < 40) begin()
      next = Math.max(next + 1_000 / options.rate, performance.now() - 1_000)
      await pause(Math.max(0, next - performance.now()))
    }
  })()
  return {
    begun,
    errors,
    failed: () => failed,
    unavailable: () => unavailable,
    running: () => running.size,
    stop: async () => {
      isOver = true
      await going
      await Promise.all(running)
    },
  }
}
