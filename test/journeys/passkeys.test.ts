// Passkeys from the terminal to the credential: a real broker with real Redis and real keys, `writ` as a process, and the pages in a real
// Chromium. What lies in Redis of it gives nobody a passkey and nobody a vote.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ChromiumService, startChromium } from '../../deploy/dev/chromium.ts'
import { client, proofKey } from '../../deploy/dev/client.ts'
import { temporaryFolder } from '../../deploy/dev/running.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Browser, connectBrowser, type Page } from '../support/browser.ts'
import { type Person, person, type Ran } from '../support/command-line.ts'
import { redisDo } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const CONFIG = fileURLToPath(new URL('../../config', import.meta.url))
let stage: DevStage
let broker: BrokerProcess
let folder: { readonly path: string; remove(): void }
let chromium: ChromiumService
let browser: Browser
let page: Page
let lena: Person

/** The shipped configuration, in which the sales report is now decided on by lena, with a passkey. */
function configIn(dir: string): string {
  const config = join(dir, 'config')
  cpSync(CONFIG, config, { recursive: true })
  const file = join(config, 'entitlements.yaml')
  const text = readFileSync(file, 'utf8')
  const changed = text.replace('    approval: auto\n', '    approval:\n      owner: lena\n      stepUp: true\n')
  expect(changed).not.toBe(text)
  writeFileSync(file, changed)
  return config
}

beforeAll(async () => {
  stage = await openStage({ vault: false, host: 'localhost' })
  folder = await temporaryFolder('passkeys')
  broker = await stage.startBroker(0, { env: { WRIT_CONFIG_DIR: configIn(folder.path) } })
  chromium = await startChromium()
  browser = await connectBrowser(chromium.url)
  page = await browser.person()
  lena = person(folder.path, 'lena')
  writeFileSync(join(lena.folder, 'token'), await stage.idp.personToken('lena'), { mode: 0o600 })
}, 180_000)
afterAll(async () => {
  browser?.close()
  await chromium?.stop()
  folder?.remove()
  await closeStage(stage)
})

/** Runs `writ` as lena; where it prints the address of a page, she opens it and presses the button. */
async function writ(...args: readonly string[]): Promise<Ran> {
  let acted: Promise<unknown> | undefined
  const watch = (said: string): void => {
    const [, address] = /passkey: (\S+)\n/.exec(said) ?? []
    if (address !== undefined)
      acted ??= page.open(address).then(() => page.evaluate(`document.querySelector('#sign').click()`))
  }
  const ran = await lena.run([...args, '--broker', stage.url, '--token-file', join(lena.folder, 'token')], { watch })
  await acted
  return ran
}
const to = () => client(stage.url)
const asked = async (key = proofKey()) => {
  const sam = { token: await stage.idp.personToken('sam'), key }
  const filed = await to().post(sam, '/v1/grants', {
    entitlement: 'sales-report',
    actions: ['report.read'],
    task: { id: 'report-12', summary: 'The sales of last week' },
    window: { duration: '10m' },
  })
  expect(filed.said).toBe('ok')
  return { sam, id: String(filed.body.id) }
}

describe('a passkey and a decision', () => {
  it('are made at the terminal and in the browser, and the exchange believes them', { timeout: 120_000 }, async () => {
    const { sam, id } = await asked()
    const without = await writ('approve', id, '--reason', 'Weekly report')
    expect([without.code, without.err.includes('writ passkey add')]).toEqual([4, true])
    const added = await writ('passkey', 'add', 'laptop')
    expect([added.code, added.out], added.err).toEqual([0, 'Registered: laptop.\n'])
    const approved = await writ('approve', id, '--reason', 'Weekly report')
    expect([approved.code, approved.out.includes('approved')], approved.err).toEqual([0, true])
    expect((await to().post(sam, `/v1/grants/${id}/exchange`)).said).toBe('ok')
    const told = broker
      .output()
      .split('\n')
      .filter((line) => line.includes('a passkey was registered'))
    expect(told.map((line) => JSON.parse(line))).toMatchObject([{ level: 'info', principal: 'lena' }])
  })

  it('are nothing once somebody has altered them in Redis', { timeout: 120_000 }, async () => {
    const { sam, id } = await asked()
    expect((await writ('approve', id, '--reason', 'Weekly report')).code).toBe(0)
    const decisions = `{writ:0}:decisions:${id}`
    await redisDo(stage.redis.url, async (redis) => {
      const stored = JSON.parse((await redis.lindex(decisions, 0)) ?? '')
      const [clientData, signature] = [stored.assertion.clientDataJSON, stored.assertion.signature]
      expect([typeof clientData, typeof signature]).toEqual(['string', 'string'])
      // An assertion of another statement, and none at all.
      const assertion = { ...stored.assertion, clientDataJSON: `${clientData.slice(0, -4)}AAAA` }
      await redis.lset(decisions, 0, JSON.stringify({ ...stored, assertion }))
    })
    expect((await to().post(sam, `/v1/grants/${id}/exchange`)).said).not.toBe('ok')
    await redisDo(stage.redis.url, async (redis) => {
      const [field = ''] = await redis.hkeys('{writ:0}:passkeys:lena')
      const stored = JSON.parse((await redis.hget('{writ:0}:passkeys:lena', field)) ?? '')
      const planted = { ...stored, record: { ...stored.record, person: 'olivia' } }
      await redis.hset('{writ:0}:passkeys:olivia', field, JSON.stringify(planted))
      await redis.zadd('{writ:0}:passkey-counters:olivia', 0, field)
    })
    const olivia = { token: await stage.idp.personToken('olivia') }
    expect((await to().get(olivia, '/v1/passkeys')).body).toEqual({ passkeys: [] })
  })

  it('leave nothing in Redis by which a page could be found or finished', { timeout: 120_000 }, async () => {
    const { id } = await asked()
    const lenas = { token: await stage.idp.personToken('lena') }
    const begun = await to().post(lenas, `/v1/grants/${id}/ceremonies`, { verdict: 'approve', reason: 'ok' })
    expect(begun.status).toBe(201)
    const ceremony = new URL(begun.body.url).pathname.split('/')[2] ?? ''
    await redisDo(stage.redis.url, async (redis) => {
      const keys = await redis.keys('*ceremony*')
      expect(keys).toHaveLength(1)
      expect(`${keys} ${await redis.get(keys[0] ?? '')}`).not.toContain(ceremony)
    })
    // An agent with lena's own login gets as far as the page, and no further.
    expect((await to().post(lenas, `/v1/grants/${id}/decisions`, { verdict: 'approve', reason: 'ok' })).said).toBe(
      'refused: step_up_required',
    )
    expect((await to().get(lenas, `/v1/grants/${id}`)).body.status).toBe('pending')
  })
})
