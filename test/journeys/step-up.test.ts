// Decisions on their page, in a real Chromium with a virtual authenticator: what is shown is what is signed; what others wrote stays text;
// what was signed for something else, by somebody else or before is refused. The broker behind it is whole, on memory ports.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ChromiumService, startChromium } from '../../deploy/dev/chromium.ts'
import type { Ballot } from '../../src/broker/broker.ts'
import { type Canonical, canonical } from '../../src/domain/canonical.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { named } from '../../src/domain/ids.ts'
import { minutes } from '../../src/domain/instant.ts'
import { intentDigest, textsDigest } from '../../src/domain/intent.ts'
import { type Browser, connectBrowser, type Page } from '../support/browser.ts'
import { type ConsoleDoor, consoleDoor } from '../support/console-door.ts'
import { askForPasskeys } from '../support/passkeys.ts'
import { attempt, login } from '../support/world.ts'
import { XSS } from '../support/xss-vectors.ts'

let chromium: ChromiumService
let browser: Browser
let door: ConsoleDoor
const PERSONS = ['paula', 'rob', 'olivia'] as const
type PersonName = (typeof PERSONS)[number]
const of = {} as Record<PersonName, Page>

/** Presses the one button, and resolves to what the page then says. */
async function press(page: Page): Promise<{ readonly kind: string; readonly says: string }> {
  await page.evaluate(`document.querySelector('#sign').click()`)
  return outcome(page)
}
async function outcome(page: Page) {
  await page.until(`/^(done|refused)$/.test(document.querySelector('#outcome').className)`)
  return page.evaluate<{ kind: string; says: string }>(
    `(({ className, textContent }) => ({ kind: className, says: textContent }))(document.querySelector('#outcome'))`,
  )
}

beforeAll(async () => {
  chromium = await startChromium()
  browser = await connectBrowser(chromium.url)
  door = await consoleDoor()
  const { on } = door
  await askForPasskeys(on, 'security', 'operations')
  for (const name of PERSONS) {
    of[name] = await browser.person()
    await of[name].open((await on.broker.addPasskey(on.as(name), 'laptop')).url)
    expect(await press(of[name])).toEqual({ kind: 'done', says: 'The passkey laptop is registered.' })
  }
})
afterAll(async () => {
  browser.close()
  await chromium.stop()
  await door.stop()
})
/** What pages did that they must not do is looked for after each test, in all of them. */
beforeEach(() => {
  for (const { seen } of Object.values(of)) Object.assign(seen, { dialogs: [], errors: [], requests: [] })
})

const YES: Ballot = { verdict: 'approve', reason: 'I have read the plan', digest: undefined }
const file = (texts: Partial<Grant['ask']['texts']> = {}): Promise<Grant> => {
  const { on } = door
  const asked = login(on.now())
  return on.file(on.as('vera'), { ...asked, texts: { ...asked.texts, ...texts } })
}
const begin = (who: PersonName, grant: Grant, ballot: Ballot = YES) =>
  door.on.broker.beginStepUp(door.on.as(who), grant.id, { act: 'vote', ballot })
const statusOf = async ({ id }: Grant) => (await door.on.store.load(id))?.grant.head.status
const votesOn = async ({ id }: Grant) => (await door.on.store.load(id))?.grant.decisions.map(({ by }) => by)
/** The texts of every field of the page, by its path. */
const fieldsOf = (page: Page) =>
  page.evaluate<
    Record<string, readonly string[]>
  >(`Object.fromEntries([...document.querySelectorAll('[data-path]')].map((field) =>
    [field.dataset.path, [...field.querySelectorAll('code, pre')].filter((one) => one.closest('legend') === null).map((one) => one.textContent)]))`)

describe('the page on which a decision is signed', () => {
  it('shows the very members of what is signed, and of the intent and the texts whose digests are in it', async () => {
    const grant = await file({ summary: 'Add an index', rollback: 'Drop the index.\nTell olivia.' })
    const { url, statement } = await begin('paula', grant)
    await of.paula.open(url)
    const shown = await fieldsOf(of.paula)
    const { decision, ...around } = JSON.parse(statement)
    for (const [name, value] of Object.entries({ ...around, ...decision }))
      if (typeof value === 'string') expect([name, shown[name]]).toEqual([name, [value]])
    const { intent } = grant.ask
    expect(shown).toMatchObject({
      entitlement: [intent.entitlement],
      target: [intent.target],
      environment: [intent.environment],
      actions: intent.actions,
      'executor.principal': [intent.executor.principal],
      'window.closesAt': [`${new Date(intent.window.closesAt).toISOString()} (UTC)`],
      summary: ['Add an index'],
      rollback: ['Drop the index.\nTell olivia.'],
    })
    expect(await of.paula.evaluate(`document.querySelector('#signed').textContent`)).toBe(statement)
    expect(await press(of.paula)).toEqual({ kind: 'done', says: `Signed. The grant ${grant.id} is pending.` })
    expect(await votesOn(grant)).toEqual(['paula'])
    expect(of.paula.seen.errors).toEqual([])
  })

  it.each([
    ['a desk', 1_280, 800],
    ['a phone', 412, 860],
  ])('has what decides, and the button, above the fold on %s', async (_, width, height) => {
    await of.rob.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false })
    await of.rob.open((await begin('rob', await file({ summary: 'x\n'.repeat(500) }))).url)
    const bottoms = await of.rob.evaluate<readonly number[]>(
      `['#critical', '#sign'].map((id) => document.querySelector(id).getBoundingClientRect().bottom)`,
    )
    expect(Math.max(...bottoms)).toBeLessThanOrEqual(height)
    expect(await of.rob.evaluate(`document.documentElement.scrollWidth <= innerWidth`)).toBe(true)
    await of.rob.send('Emulation.clearDeviceMetricsOverride')
  })

  it('says all of it as plain text where no style is, and names each hidden sign and each mixed word', async () => {
    const ask = await file()
    const summary = 'after the p\u0430yroll run\u202e\u200b fdp.exe'
    const planted = plant(ask, { texts: { ...ask.ask.texts, summary } })
    await of.rob.open(`${door.url}/step-up/${planted}`)
    await of.rob.evaluate(`[...document.styleSheets].forEach((sheet) => { sheet.disabled = true })`)
    const text = await of.rob.evaluate<string>('document.body.innerText')
    expect(text).toContain('after the p\u0430yroll⟦mixed scripts: Latin, Cyrillic⟧ run⟦U+202E⟧⟦U+200B⟧ fdp.exe')
    expect(text).not.toMatch(/[\u202e\u200b]/)
    for (const words of [
      'Summary, as written by the requester, vera',
      'Reason, as written by you, olivia',
      'Target',
      'payments-db',
    ])
      expect(text).toContain(words)
    const widths = await of.rob.evaluate(`getComputedStyle(document.querySelector('fieldset')).borderTopStyle`)
    expect(widths).not.toBe('none')
  })

  it('shows nothing of a grant whose record is not what would be signed', async () => {
    const grant = await file()
    const id = plant(grant)
    const page = door.planted.get(id)
    if (page === undefined) throw new Error('nothing is planted')
    const target = 'another-db'
    door.planted.set(id, { ...page, ask: { ...page.ask, intent: { ...page.ask.intent, target } } })
    await of.rob.open(`${door.url}/step-up/${id}`)
    expect(await of.rob.evaluate('document.body.innerText')).not.toContain(target)
    expect(await of.rob.evaluate(`document.querySelector('#sign')`)).toBeNull()
  })
})

/** A page whose every part is as given, its digests right: what the page would show of whatever got into the store. */
function plant(grant: Grant, more: { intent?: object; texts?: object; decision?: object } = {}): string {
  const { issuer, sha256 } = door.on.ports
  const intent: Grant['ask']['intent'] = { ...grant.ask.intent, ...more.intent }
  const texts: Grant['ask']['texts'] = { ...grant.ask.texts, ...more.texts }
  const decision: Canonical = {
    ...{ v: 2, act: 'vote', verdict: 'approve', seat: 'owner', by: 'olivia', at: door.on.now(), reason: 'fine' },
    ...{ checklist: [], conditions: [], accepts: [], evidence: [] },
    ...more.decision,
    digest: intentDigest(intent, issuer, sha256),
    textsDigest: textsDigest(texts, issuer, sha256),
  }
  const id = sha256(`planted ${door.planted.size}`)
  const text = canonical({ typ: 'writ/decision/v1', iss: issuer, grant: grant.id, decision })
  door.planted.set(id, { text, ask: { ...grant.ask, intent, texts }, passkeys: [] })
  return id
}

describe('what others wrote', () => {
  const full = (text: string) => ({
    texts: { summary: text, objective: text, expectedOutcome: text, rollback: text, ticketUrl: text, planUri: text },
    intent: {
      ...{ task: text, session: text, destination: text, dataTypes: [text], scope: [text], actions: [text] },
      ...{ target: text, environment: text, entitlement: text, requester: text },
      ticket: { system: text, id: text },
      exposure: { segment: text, from: 0, to: 1, rollbackCriteria: text },
      plan: { digest: text, mediaType: text },
    },
    decision: {
      reason: text,
      by: text,
      checklist: [text],
      conditions: [{ id: text, owner: text, text, due: 1 }],
      evidence: [
        { kind: 'note', text },
        { kind: text, url: text, digest: text },
      ],
      accepts: [{ risk: text, until: 1 }],
    },
  })
  const nodes = (page: Page) => page.evaluate<number>(`document.querySelectorAll('*').length`)

  it(`stays text, in every place, of ${XSS.length} vectors: no dialog, no node, no request, no error, letter for letter`, async () => {
    expect(new Set(XSS).size).toBeGreaterThanOrEqual(100)
    const grant = await file()
    const page = of.rob
    await page.open(`${door.url}/step-up/${plant(grant, full('benign'))}`)
    const benign = await nodes(page)
    for (const vector of XSS) {
      const id = plant(grant, full(vector))
      page.seen.requests.length = 0
      await page.open(`${door.url}/step-up/${id}`)
      // Whatever can be hovered, focused, toggled or clicked is.
      await page.evaluate(`for (const one of document.querySelectorAll('body *')) if (one.id !== 'sign')
        for (const kind of ['focus', 'mouseover', 'pointerenter', 'click', 'toggle', 'load', 'error']) one.dispatchEvent(new Event(kind))`)
      const marked = (text: string) => text.replaceAll('\t', '⟦U+0009⟧')
      const texts = await page.evaluate<readonly string[]>(
        `[...document.querySelectorAll('fieldset.free pre, [data-path="target"] code')].map((one) => one.textContent)`,
      )
      expect(texts.length).toBeGreaterThan(18)
      expect([vector, new Set(texts)]).toEqual([
        vector,
        new Set([marked(vector), ...texts.filter((text) => text === 'note')]),
      ])
      const extra = vector.includes('\t') ? 0 : (await nodes(page)) - benign
      expect([vector, extra]).toEqual([vector, 0])
      expect([vector, await page.evaluate('typeof window.__hit')]).toEqual([vector, 'undefined'])
      expect([vector, page.seen]).toEqual([
        vector,
        {
          dialogs: [],
          errors: [],
          requests: [`GET ${door.url}/step-up/${id}`, `GET ${door.url}/step-up.css`, `GET ${door.url}/step-up.js`],
        },
      ])
    }
  })

  it('would not act even if it became markup: the browser enforces the policy that it was sent', async () => {
    const page = of.rob
    await page.open(`${door.url}/step-up/${plant(await file())}`)
    const tried = await page.evaluate<Record<string, string>>(`(async () => {
      const tried = {}
      const attempt = async (name, work) => { try { await work(); tried[name] = 'done' } catch (thrown) { tried[name] = thrown.name } }
      await attempt('innerHTML', () => { document.body.innerHTML = '<img src=x>' })
      await attempt('eval', () => eval('window.__hit = 1'))
      await attempt('elsewhere', () => fetch('https://evil.example/x'))
      const script = document.createElement('script')
      await attempt('text', () => { script.text = 'window.__hit = 1' })
      return tried
    })()`)
    expect(tried).toMatchObject({ innerHTML: 'TypeError', elsewhere: 'TypeError', text: 'TypeError' })
    expect(tried.eval).not.toBe('done')
    expect(await page.evaluate('typeof window.__hit')).toBe('undefined')
  })
})

describe('what is signed', () => {
  it('by two approvers side by side counts for both; then the owner signs, and the credential comes', async () => {
    const grant = await file()
    const [paulas, robs] = [await begin('paula', grant), await begin('rob', grant)]
    await Promise.all([of.paula.open(paulas.url), of.rob.open(robs.url)])
    const said = [await press(of.paula), await press(of.rob)]
    expect(said.map(({ kind }) => kind)).toEqual(['done', 'done'])
    await of.olivia.open((await begin('olivia', grant)).url)
    expect(await press(of.olivia)).toEqual({ kind: 'done', says: `Signed. The grant ${grant.id} is approved.` })
    expect(await votesOn(grant)).toEqual(['paula', 'rob', 'olivia'])
    const { on } = door
    const exchanged = await on.broker.exchange(on.as('vera'), grant.id, attempt('attempt-one'))
    expect(exchanged.grant.head.status).toBe('active')
  })

  it('is refused over another digest, whatever its page was made to ask for', async () => {
    const [grant, other] = [await file(), await file({ summary: 'something else' })]
    const [mine, theirs] = [await begin('paula', grant), await begin('paula', other)]
    await of.paula.open(mine.url)
    await of.paula.evaluate(`(() => {
      const form = document.querySelector('#signing')
      const options = JSON.parse(form.dataset.options)
      options.get.challenge = ${JSON.stringify(door.on.ports.sha256(theirs.statement))}
      form.dataset.options = JSON.stringify(options)
    })()`)
    expect((await press(of.paula)).kind).toBe('refused')
    expect([await votesOn(grant), await votesOn(other)]).toEqual([[], []])
  })

  it('is refused by another person’s passkey: the browser is not asked for it, and the broker does not take it', async () => {
    const grant = await file()
    const begun = await begin('paula', grant)
    await of.rob.open(begun.url)
    expect(await press(of.rob)).toMatchObject({ kind: 'refused', says: expect.stringContaining('NotAllowedError') })
    const [robs] = await door.on.ports.passkeys.of(named.person('rob'))
    await of.rob.evaluate(`(() => {
      const form = document.querySelector('#signing')
      const options = JSON.parse(form.dataset.options)
      options.get.allowCredentials = [{ id: ${JSON.stringify(robs?.credentialId)}, transports: ['internal'] }]
      form.dataset.options = JSON.stringify(options)
    })()`)
    expect(await press(of.rob)).toMatchObject({ kind: 'refused', says: expect.stringContaining('not one of yours') })
    expect(await votesOn(grant)).toEqual([])
  })

  it('is refused when it is sent again, to its own page and to another one', async () => {
    const grant = await file()
    const [one, two] = [await begin('paula', grant), await begin('paula', grant, { ...YES, verdict: 'deny' })]
    await of.paula.open(one.url)
    await of.paula.evaluate(`(() => {
      const send = window.fetch
      window.fetch = (at, how) => { window.sent = how; return send(at, how) }
    })()`)
    expect((await press(of.paula)).kind).toBe('done')
    const again = (at: string) =>
      of.paula.evaluate<number>(
        `fetch(${JSON.stringify(new URL(at).pathname)}, window.sent).then(({ status }) => status)`,
      )
    expect([await again(one.url), await again(two.url)]).toEqual([404, 403])
    expect([await votesOn(grant), await statusOf(grant)]).toEqual([['paula'], 'pending'])
  })

  it('is refused where the authenticator did not verify its user, also when the page did not ask for that', async () => {
    const grant = await file()
    const page = of.paula
    await page.setUserVerified(false)
    await page.open((await begin('paula', grant)).url)
    expect(await press(page)).toMatchObject({ kind: 'refused', says: expect.stringContaining('NotAllowedError') })
    await page.evaluate(`(() => {
      const get = navigator.credentials.get.bind(navigator.credentials)
      navigator.credentials.get = ({ publicKey }) => get({ publicKey: { ...publicKey, userVerification: 'discouraged' } })
    })()`)
    expect(await press(page)).toMatchObject({ kind: 'refused', says: expect.stringContaining('user verified') })
    await page.setUserVerified(true)
    expect(await votesOn(grant)).toEqual([])
  })

  it('is not signed on a page whose time is over', async () => {
    const grant = await file()
    await of.paula.open((await begin('paula', grant)).url)
    door.on.advance(minutes(5))
    expect(await press(of.paula)).toMatchObject({ kind: 'refused', says: expect.stringContaining('time is over') })
    expect(await votesOn(grant)).toEqual([])
  })
})

describe('passkeys', () => {
  it('of one person are added and removed on their pages, each time with one that they have', async () => {
    const { on } = door
    const phone = await browser.person()
    await of.rob.open((await on.broker.addPasskey(on.as('rob'), 'phone')).url)
    expect(await of.rob.evaluate('document.title')).toBe('Writ: allow another passkey')
    await of.rob.evaluate(`document.querySelector('#sign').click()`)
    await of.rob.until(`document.title === 'Writ: register a passkey'`)
    // The new one is another authenticator: rob opens the page on his phone.
    await phone.open(await of.rob.evaluate<string>('location.href'))
    expect(await press(phone)).toEqual({ kind: 'done', says: 'The passkey phone is registered.' })
    const [first, second] = await on.broker.passkeys(on.as('rob'))
    await phone.open((await on.broker.removePasskey(on.as('rob'), first?.credentialId ?? '')).url)
    expect(await press(phone)).toEqual({ kind: 'done', says: 'The passkey laptop is removed.' })
    expect(await on.broker.passkeys(on.as('rob'))).toMatchObject([
      { credentialId: second?.credentialId, name: 'phone' },
    ])
    expect(door.told.slice(-2)).toMatchObject([
      { done: 'added', person: 'rob', name: 'phone' },
      { done: 'removed', person: 'rob', name: 'laptop' },
    ])
  })
})
