// A release whose authors are read from a forge: nobody who had a hand in the commit decides on it or brings it out, also not through an
// agent; what the forge does not know is not released. Brokers, tokens and files are real; the forge is the one that reads a file.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { type Answered, client, proofKey, type Who } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { closeStage } from '../support/leak-scan.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const REPOSITORY = 'northwind/webshop'
/** Accounts at the forge, by whose they are. */
const AT_FORGE = { dana: '101', rob: '102', sam: '103', 'triage-agent': '104' } as const
const hands = (author: keyof typeof AT_FORGE, merger: keyof typeof AT_FORGE, more: object = {}) => ({
  author: [AT_FORGE[author]],
  pusher: [AT_FORGE[author]],
  opener: [AT_FORGE[author]],
  merger: [AT_FORGE[merger]],
  ...more,
})
const sha = (digit: string): string => digit.repeat(40)
const CHANGES = {
  [sha('1')]: hands('dana', 'sam'),
  [sha('2')]: hands('rob', 'sam'),
  [sha('3')]: hands('dana', 'rob'),
  [sha('4')]: hands('triage-agent', 'dana'),
  [sha('5')]: { ...hands('dana', 'sam'), author: ['999'] },
  [sha('6')]: hands('triage-agent', 'sam', { launcher: [AT_FORGE.rob] }),
}

/** What the forge knows from now on. */
function tellForge(known: Readonly<Record<string, object>>): void {
  const users = { ...Object.fromEntries(Object.entries(AT_FORGE).map(([login, id]) => [id, login])), 999: 'stranger' }
  const changes = Object.fromEntries(Object.entries(known).map(([at, of]) => [`${REPOSITORY}@${at}`, of]))
  writeFileSync(join(stage.dir, 'config-release/changes.yaml'), stringify({ users, changes }))
}

let stage: DevStage
let broker: BrokerProcess
let rob: Who
let agent: Who

beforeAll(async () => {
  stage = await openStage({ vault: false })
  const config = join(stage.dir, 'config-release')
  cpSync(join(ROOT, 'config'), config, { recursive: true })
  const edit = (name: string, from: string, to: string): void => {
    const text = readFileSync(join(config, name), 'utf8')
    if (text.split(from).length !== 2) throw new Error(`${name} must hold ${from} exactly once`)
    writeFileSync(join(config, name), text.replace(from, to))
  }
  edit(
    'entitlements.yaml',
    '      owner: rob\n',
    `      owner: rob\n    release: { forge: forge, repository: ${REPOSITORY}, scope: commit }\n`,
  )
  for (const [name, id] of Object.entries(AT_FORGE))
    edit(
      'people.yaml',
      `      - { issuer: login, subject: ${name} }\n`,
      `      - { issuer: login, subject: ${name} }\n      - { issuer: forge, subject: "${id}" }\n`,
    )
  // The agent may ask for a release, which another then executes.
  const guards = join(config, 'guards.cedar')
  const more = `
@id("the-agent-asks-for-releases")
permit (principal == Agent::"triage-agent", action in [Action::"Request", Action::"Exchange"], resource == Entitlement::"webshop-deploy");
`
  writeFileSync(guards, `${readFileSync(guards, 'utf8')}${more}`)
  tellForge(CHANGES)
  writeFileSync(join(config, 'forges.yaml'), stringify({ forges: { forge: { kind: 'file', file: 'changes.yaml' } } }))
  broker = await stage.startBroker(0, {
    env: { WRIT_CONFIG_DIR: config, WRIT_FORGES_FILE: join(config, 'forges.yaml') },
  })
  rob = { token: await stage.idp.personToken('rob') }
  agent = { token: await stage.idp.agentToken('triage-agent'), key: proofKey() }
}, 120_000)
afterAll(() => closeStage(stage))

const release = (commit: string, more: object = {}) => ({
  entitlement: 'webshop-deploy',
  actions: ['deploy'],
  scope: [`commit:${commit}`],
  task: { summary: 'Release the shop' },
  plan: { digest: `sha-256:${'A'.repeat(43)}`, mediaType: 'application/json' },
  window: { duration: '30m' },
  ...more,
})
const pipeline = async (commit: string, key = proofKey()): Promise<Who> => ({
  token: await stage.idp.ciToken({ job: 'deploy', sha: commit, runId: `7${commit.slice(0, 3)}` }),
  key,
})
const filed = (who: Who, commit: string, more: object = {}): Promise<Answered> =>
  client(broker.url).post(who, '/v1/grants', release(commit, more))
const approve = (who: Who, id: string) =>
  client(broker.url).post(who, `/v1/grants/${id}/decisions`, { verdict: 'approve', reason: 'release' })

it('is approved by an owner who had no hand in it, and brought out by the release identity', async () => {
  const job = await pipeline(sha('1'))
  const asked = await filed(job, sha('1'))
  expect(asked.said).toBe('ok')
  expect(asked.body.intent.change).toEqual({ forge: 'forge', repository: REPOSITORY, sha: sha('1') })
  expect((await approve(rob, asked.body.id)).body.status).toBe('approved')
  expect((await client(broker.url).post(job, `/v1/grants/${asked.body.id}/exchange`, {})).said).toBe('ok')
})

it.each([
  ['wrote', sha('2')],
  ['merged', sha('3')],
  ['launched the agent that wrote', sha('6')],
])('is not even filed where the only owner %s it, because nobody could decide', async (_, commit) => {
  const { status, said } = await filed(await pipeline(commit), commit)
  expect([status, said]).toEqual([422, 'refused: nobody_can_decide'])
})

it('of which an author is nobody here, or of which the forge knows nothing, is not filed', async () => {
  for (const commit of [sha('5'), sha('7')]) {
    const { status, said } = await filed(await pipeline(commit), commit)
    expect([status, said]).toEqual([422, 'refused: authors_unknown'])
  }
})

it('that an agent wrote is not executed by it: it may ask, a person approves, and the release identity brings it out', async () => {
  const alone = await filed(agent, sha('4'))
  expect([alone.status, alone.said, alone.body.facts]).toEqual([
    403,
    'refused: own_request',
    { conflict: 'author', role: 'executor' },
  ])
  const asked = await filed(agent, sha('4'), { executor: { principal: 'webshop-deploy' } })
  expect(asked.said).toBe('ok')
  expect((await approve(rob, asked.body.id)).body.status).toBe('approved')
  const path = `/v1/grants/${asked.body.id}/exchange`
  const own = await client(broker.url).post(agent, path, {})
  expect([own.status, own.said]).toEqual([403, 'refused: not_executor'])
  expect((await client(broker.url).post(await pipeline(sha('4')), path, {})).said).toBe('ok')
})

it('whose authors the forge names differently by then is judged by what it says at the exchange', async () => {
  const job = await pipeline(sha('1'))
  const asked = await filed(job, sha('1'))
  expect((await approve(rob, asked.body.id)).body.status).toBe('approved')
  tellForge({ ...CHANGES, [sha('1')]: hands('rob', 'sam') })
  const refused = await client(broker.url).post(job, `/v1/grants/${asked.body.id}/exchange`, {})
  expect([refused.said, refused.body.facts.limit]).toEqual(['refused: policy_refused', 'approval'])
  expect(refused.body.detail).toContain('rob (owner) author')
  tellForge(CHANGES)
  expect((await client(broker.url).post(job, `/v1/grants/${asked.body.id}/exchange`, {})).said).toBe('ok')
})
