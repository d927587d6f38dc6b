// The rules as files: a broker with older ones issues nothing, a file that cannot be used stops the start, and a change is taken over while the
// broker runs when it is good and raises its revision, and refused with its reasons otherwise.
import { spawn } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, introspect, proofKey, type Who } from '../../deploy/dev/client.ts'
import { freePort } from '../../deploy/dev/running.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Actors, actors, eventually, type Reports, reports } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

let stage: DevStage
let broker: BrokerProcess
let play: Actors
let report: Reports
/** The files of the first broker. */
let files: string

beforeAll(async () => {
  stage = await openStage({ vault: false })
  files = configCopy('first')
  edit(files, 'entitlements.yaml', 'revision: 1', 'revision: 2')
  broker = await stage.startBroker(0, { env: { WRIT_CONFIG_DIR: files } })
  play = actors(stage)
  report = reports(stage, play)
}, 120_000)
afterAll(() => closeStage(stage))

function configCopy(name: string): string {
  const folder = join(stage.dir, `config-${name}`)
  cpSync(join(ROOT, 'config'), folder, { recursive: true })
  return folder
}
function edit(folder: string, name: string, from: string, to: string): void {
  const file = join(folder, name)
  const text = readFileSync(file, 'utf8')
  if (text.split(from).length !== 2) throw new Error(`${name} must hold ${from} exactly once`)
  writeFileSync(
    file,
    text.replace(from, () => to),
  )
}

type LogLine = Readonly<Record<string, unknown>>
const logged = (message: string): readonly LogLine[] =>
  broker
    .output()
    .split('\n')
    .flatMap((text) => (text.startsWith('{') ? [JSON.parse(text) as LogLine] : []))
    .filter((line) => line.message === message)
const TAKEN = 'new rules'
const REFUSED = 'the changed rules are refused, the former ones stay'
const another = (message: string, before: number) =>
  eventually(
    message,
    () => logged(message),
    (lines) => lines.length > before,
    10_000,
  )

const offeredActions = async (): Promise<string> => {
  const { body } = await client(broker.url).get(await play.who('dana'), '/v1/entitlements')
  const found = body.entitlements.find((entitlement: { readonly id: string }) => entitlement.id === 'sales-report')
  return Object.keys(found?.actions ?? {}).join()
}
const issues = async (): Promise<string> => {
  const { report: asked, said } = await report.filed(broker.url, 600)
  return said === 'ok' ? (await report.exchange(broker.url, asked)).said : said
}

it('a broker with an older policy file issues nothing and says so while the first works, and its ends work', async () => {
  const { report: live } = await report.filed(broker.url, 600)
  const token = (await report.exchange(broker.url, live)).body.credential.token
  const { report: waiting } = await report.filed(broker.url, 600)
  const older = await stage.startBroker(1, { env: { WRIT_CONFIG_DIR: configCopy('older') } })
  const refusals = [await report.exchange(older.url, waiting), await report.filed(older.url, 600)]
  for (const { status, said, body } of refusals) {
    expect([status, said]).toEqual([503, 'refused: policy_outdated'])
    expect(body.facts).toEqual({ inForce: 2, here: 1 })
  }
  expect(older.output()).toContain('nothing is issued')
  const { body } = await client(older.url).get({ token: '' }, '/readyz')
  expect(body.failing.map(({ name }: { readonly name: string }) => name)).toEqual(['policy'])
  expect((await report.exchange(broker.url, waiting)).said).toBe('ok')
  expect((await report.complete(older.url, live)).body.status).toBe('ended')
  expect((await report.introspect(broker.url, token)).body).toEqual({ active: false })
  await older.stop()
})

it('files that cannot be used stop the start, with every problem of every file and its line', async () => {
  const folder = configCopy('bad')
  edit(folder, 'entitlements.yaml', '    tier: low\n', '    tier: low\n    colour: blue\n')
  edit(folder, 'entitlements.yaml', '    ticketRequired: true\n\n', '    ticketRequired: perhaps\n\n')
  edit(folder, 'guards.cedar', 'when { context has ask && context.ask.classes == ["read"] };', 'when { context has };')
  edit(folder, 'people.yaml', '    groups: [dba]', '    groups: dba')
  const env = { ...stage.settings(2, await freePort()), WRIT_CONFIG_DIR: folder }
  const { code, text } = await ended(env)
  expect(code).toBe(1)
  const lineOf = (name: string, part: string): number =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .findIndex((line) => line.includes(part)) + 1
  for (const [name, part] of [
    ['entitlements.yaml', 'colour: blue'],
    ['entitlements.yaml', 'ticketRequired: perhaps'],
    ['guards.cedar', 'when { context has };'],
    ['people.yaml', 'groups: dba'],
  ] as const) {
    expect(text).toContain(`${join(folder, name)}:${lineOf(name, part)}: `)
  }
})

it('a changed file that narrows an entitlement and raises its revision holds from the next exchange on, without a restart', async () => {
  const { report: approved } = await report.filed(broker.url, 600)
  const before = logged(TAKEN).length
  const narrow = readFileSync(join(files, 'entitlements.yaml'), 'utf8')
    .replace('revision: 2', 'revision: 3')
    .replace('actions: { report.read: read }', 'actions: { report.list: read }')
  writeFileSync(join(files, 'entitlements.yaml'), narrow)
  await another(TAKEN, before)
  expect(await eventually('offered', offeredActions, (actions) => actions === 'report.list', 5_000)).toBe('report.list')
  const late = await report.exchange(broker.url, approved)
  expect([late.status, late.said]).toEqual([422, 'refused: policy_refused'])
  // And back again, as a change of its own.
  writeFileSync(
    join(files, 'entitlements.yaml'),
    narrow.replace('revision: 3', 'revision: 4').replace('report.list: read', 'report.read: read'),
  )
  await eventually('offered', offeredActions, (actions) => actions === 'report.read', 10_000)
  expect((await report.exchange(broker.url, approved)).said).toBe('ok')
})

it('a changed file that is bad is refused with its reasons in the log, and the former rules stay in force', async () => {
  const before = logged(REFUSED).length
  const good = readFileSync(join(files, 'entitlements.yaml'), 'utf8')
  writeFileSync(join(files, 'entitlements.yaml'), good.replace('revision: 4', 'revision: 5\ncolour: blue'))
  const lines = await another(REFUSED, before)
  expect(lines.at(-1)?.file).toBe(`${join(files, 'entitlements.yaml')}:5`)
  expect(lines.at(-1)?.reason).toMatch(/colour/)
  expect(await issues()).toBe('ok')
  writeFileSync(join(files, 'entitlements.yaml'), good)
  expect(await issues()).toBe('ok')
})

it('a changed meaning under the same revision, or a lower one, is refused, and the former rules stay in force', async () => {
  const good = readFileSync(join(files, 'entitlements.yaml'), 'utf8')
  const wider = good.replace('limits: { maxDuration: 1h, maxUses: 20 }', 'limits: { maxDuration: 2h, maxUses: 20 }')
  expect(wider).not.toBe(good)
  for (const [text, reason] of [
    [wider, /raise revision above 4/],
    [wider.replace('revision: 4', 'revision: 3'), /revision 3 is lower than 4/],
  ] as const) {
    const before = logged(REFUSED).length
    writeFileSync(join(files, 'entitlements.yaml'), text)
    expect((await another(REFUSED, before)).at(-1)?.reason).toMatch(reason)
    const tooLong = await report.filed(broker.url, 5_400)
    expect(tooLong.said).toBe('refused: policy_refused')
    expect(await issues()).toBe('ok')
  }
  writeFileSync(join(files, 'entitlements.yaml'), good)
  await eventually('good again', issues, (said) => said === 'ok', 5_000)
})

it('a comment changes nothing: the same digest, nothing refused, and what was approved is still exchanged', async () => {
  const { report: approved, body } = await report.filed(broker.url, 600)
  const [taken, refused] = [logged(TAKEN).length, logged(REFUSED).length]
  const file = join(files, 'entitlements.yaml')
  writeFileSync(
    file,
    `# A remark.\n${readFileSync(file, 'utf8').replaceAll('\n  sales-report:', '\n\n  # Another.\n  sales-report:')}`,
  )
  await another(TAKEN, taken)
  expect(logged(REFUSED)).toHaveLength(refused)
  expect((await report.exchange(broker.url, approved)).said).toBe('ok')
  expect((await report.filed(broker.url, 600)).body.policy).toEqual(body.policy)
})

it('an agent whose only sponsor is switched off gets nothing more, and what it holds ends within seconds, without a restart', async () => {
  const to = client(broker.url)
  const key = proofKey()
  const agent: Who = {
    token: await stage.idp.agentToken('triage-agent'),
    key: { ...key, proof: (method, at, ...rest) => key.proof(method, at.replace(broker.url, stage.url), ...rest) },
  }
  const approved = async (): Promise<string> => {
    const { body } = await to.post(agent, '/v1/grants', {
      entitlement: 'ticket-triage',
      actions: ['tickets.update'],
      task: { id: 'triage-7', summary: 'Label the open tickets' },
      window: { duration: '15m' },
    })
    const vote = { verdict: 'approve', reason: 'a journey', digest: body.digest }
    await to.post(await play.who('lena'), `/v1/grants/${body.id}/decisions`, vote)
    return `/v1/grants/${body.id}`
  }
  const [held, unused] = [await approved(), await approved()]
  const token = (await to.post(agent, `${held}/exchange`)).body.credential.token
  const isActive = async (): Promise<unknown> =>
    (await introspect(to, stage.url, stage.resourceServer('desk-api'), token)).body.active
  expect(await isActive()).toBe(true)
  const file = join(files, 'people.yaml')
  const left = readFileSync(file, 'utf8')
    .replace('revision: 1', 'revision: 2')
    .replace('\n  sam:\n', '\n  sam:\n    active: false\n')
  writeFileSync(file, left)
  await eventually('the token is over', isActive, (active) => active === false, 10_000)
  const seenBySoc = async (path: string) => (await to.get(await play.who('sol'), path)).body
  await eventually(
    'all of it is over',
    async () => (await seenBySoc(unused)).status,
    (status) => status === 'lapsed',
    5_000,
  )
  expect(await seenBySoc(held)).toMatchObject({
    status: 'ended',
    facts: { outcome: 'revoked', cause: { by: 'broker' } },
  })
  for (const path of [held, unused]) {
    const { said, body } = await to.post(agent, `${path}/exchange`)
    expect([said, body.facts.absence]).toEqual(['refused: not_permitted', 'no_active_sponsor'])
  }
})

/** Runs the broker until it ends by itself. */
const ended = (
  env: Readonly<Record<string, string>>,
): Promise<{ readonly code: number | null; readonly text: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(ROOT, 'src/main.ts')], {
      env: { PATH: process.env.PATH, ...env },
      cwd: ROOT,
    })
    const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        text += bytes.toString('utf8')
      })
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(late)
      resolve({ code, text })
    })
  })
