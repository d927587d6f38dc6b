// Who comes by a passkey, and who takes one away: their person, and from the second one on only with one that they have.
import { beforeEach, describe, expect, it } from 'vitest'
import { minutes, seconds } from '../../src/domain/instant.ts'
import { softPasskey } from '../support/authenticator.ts'
import { codeOf } from '../support/code-of.ts'
import { memoryRecordSigner } from '../support/memory-ports.ts'
import { ceremonyOf, register } from '../support/passkeys.ts'
import { type World, world } from '../support/world.ts'

let on: World
beforeEach(async () => {
  on = await world()
})
const idsOf = async (person: string) => (await on.broker.passkeys(on.as(person))).map((one) => one.credentialId)

describe('a passkey', () => {
  it('is registered by its person’s login alone where it is the first, and is that of the authenticator', async () => {
    const soft = await register(on, 'olivia')
    const [kept] = await on.broker.passkeys(on.as('olivia'))
    expect(kept).toMatchObject({
      person: 'olivia',
      credentialId: soft.credentialId,
      publicKey: soft.publicKey,
      algorithm: -7,
      name: 'laptop',
      registeredAt: on.now(),
    })
    expect(kept?.handle).not.toContain('olivia')
    expect(await idsOf('lena')).toEqual([])
  })

  it('is no passkey of an agent or a workload, whatever its sponsor may do', async () => {
    for (const id of ['vera-agent', 'triage-agent', 'webshop-deploy']) {
      expect(await codeOf(on.broker.addPasskey(on.as(id), 'laptop'))).toBe('not_permitted')
      expect(await codeOf(on.broker.passkeys(on.as(id)))).toBe('not_permitted')
      expect(await codeOf(on.broker.removePasskey(on.as(id), 'any'))).toBe('not_permitted')
    }
  })

  it('that is a further one is registered only after one that the person has signed for exactly that', async () => {
    const first = await register(on, 'olivia')
    const ceremony = ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'phone'))
    const shown = await on.broker.showPasskeyCeremony(ceremony)
    expect(shown.ceremony.kind).toBe('prove_add')
    // Neither a new key nor somebody else's signs for it.
    const thief = softPasskey(on.ports.issuer)
    expect(await codeOf(on.broker.finishPasskeyCeremony(ceremony, thief.registration(shown.text)))).toBe(
      'invalid_request',
    )
    const again = ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'phone'))
    const { text } = await on.broker.showPasskeyCeremony(again)
    expect(await codeOf(on.broker.finishPasskeyCeremony(again, thief.response(text)))).toBe('not_permitted')
    expect(await idsOf('olivia')).toEqual([first.credentialId])
    const second = await register(on, 'olivia', first)
    expect(await idsOf('olivia')).toEqual([first.credentialId, second.credentialId])
    const handles = (await on.broker.passkeys(on.as('olivia'))).map(({ handle }) => handle)
    expect(new Set(handles).size).toBe(1)
  })

  it('is not registered as the first by a page that was begun when there was none', async () => {
    const early = ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'thief'))
    await register(on, 'olivia')
    const { text } = await on.broker.showPasskeyCeremony(early)
    const answer = softPasskey(on.ports.issuer).registration(text)
    expect(await codeOf(on.broker.finishPasskeyCeremony(early, answer))).toBe('ceremony_over')
    expect(await idsOf('olivia')).toHaveLength(1)
  })

  it('is not registered as the first beside another one that is registered at the same moment', async () => {
    const begin = async () => ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'laptop'))
    const pages = [await begin(), await begin()]
    const answers = await Promise.all(
      pages.map(async (page) => {
        const { text } = await on.broker.showPasskeyCeremony(page)
        return { page, answer: softPasskey(on.ports.issuer).registration(text) }
      }),
    )
    const codes = await Promise.all(
      answers.map(({ page, answer }) => codeOf(on.broker.finishPasskeyCeremony(page, answer))),
    )
    expect(codes).toContain('ceremony_over')
    expect((await idsOf('olivia')).length).toBeLessThanOrEqual(1)
  })

  it('is removed only with a passkey that the person has, and another person’s is nowhere', async () => {
    const [mine, lenas] = [await register(on, 'olivia'), await register(on, 'lena')]
    expect(await codeOf(on.broker.removePasskey(on.as('olivia'), lenas.credentialId))).toBe('not_permitted')
    const begun = ceremonyOf(await on.broker.removePasskey(on.as('olivia'), mine.credentialId))
    const { text } = await on.broker.showPasskeyCeremony(begun)
    expect(await codeOf(on.broker.finishPasskeyCeremony(begun, lenas.response(text)))).toBe('not_permitted')
    const next = ceremonyOf(await on.broker.removePasskey(on.as('olivia'), mine.credentialId))
    const shown = await on.broker.showPasskeyCeremony(next)
    const step = await on.broker.finishPasskeyCeremony(next, mine.response(shown.text))
    expect(step).toMatchObject({ done: 'removed', person: 'olivia', credentialId: mine.credentialId })
    expect([await idsOf('olivia'), await idsOf('lena')]).toEqual([[], [lenas.credentialId]])
  })

  it('has a name that a person reads, and there are at most twenty', async () => {
    for (const name of ['', ' ', 'a\nb', 'x\u202ey', '<b>', 'x'.repeat(41)])
      expect(await codeOf(on.broker.addPasskey(on.as('olivia'), name))).toBe('invalid_request')
    const first = await register(on, 'olivia')
    for (let n = 2; n < 20; n++) await register(on, 'olivia', first)
    // What was begun before there were twenty makes no more of them.
    const begun = ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'late'))
    const step = await on.broker.finishPasskeyCeremony(
      begun,
      first.response((await on.broker.showPasskeyCeremony(begun)).text),
    )
    if (step.done !== 'proved') throw new Error(`proving was ${step.done}`)
    await register(on, 'olivia', first)
    const late = ceremonyOf(step.next)
    const answer = softPasskey(on.ports.issuer).registration((await on.broker.showPasskeyCeremony(late)).text)
    expect(await codeOf(on.broker.finishPasskeyCeremony(late, answer))).toBe('policy_refused')
    expect(await idsOf('olivia')).toHaveLength(20)
    expect(await codeOf(on.broker.addPasskey(on.as('olivia'), 'more'))).toBe('policy_refused')
  })

  it('signs for nothing else: neither the text of another act, nor of the same act another time', async () => {
    const first = await register(on, 'olivia')
    const begin = async () => ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'phone'))
    const [one, two] = [await begin(), await begin()]
    const removal = ceremonyOf(await on.broker.removePasskey(on.as('olivia'), first.credentialId))
    const { text } = await on.broker.showPasskeyCeremony(one)
    expect(await codeOf(on.broker.finishPasskeyCeremony(two, first.response(text)))).toBe('not_permitted')
    expect(await codeOf(on.broker.finishPasskeyCeremony(removal, first.response(text)))).toBe('not_permitted')
    expect(await codeOf(on.broker.finishPasskeyCeremony(one, first.response(text)))).toBe('accepted')
  })
})

describe('a ceremony', () => {
  it('is used by one try, good or bad, and is over after five minutes', async () => {
    const begin = async () => ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'laptop'))
    const used = await begin()
    expect(await codeOf(on.broker.finishPasskeyCeremony(used, {}))).toBe('invalid_request')
    expect(await codeOf(on.broker.showPasskeyCeremony(used))).toBe('ceremony_over')
    const late = await begin()
    on.advance(minutes(5))
    expect(await codeOf(on.broker.showPasskeyCeremony(late))).toBe('ceremony_over')
    const { text } = await on.broker.showPasskeyCeremony(await begin())
    expect(text).toContain('writ/passkey-act/v1')
    expect(await codeOf(on.broker.finishPasskeyCeremony(late, {}))).toBe('ceremony_over')
    expect(await codeOf(on.broker.showPasskeyCeremony('never'))).toBe('ceremony_over')
    expect(await codeOf(on.broker.showStepUp(await begin()))).toBe('ceremony_over')
  })

  it('is kept by the hash of its id alone, and is nothing once it was altered, moved, planted or kept alive', async () => {
    const id = ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'laptop'))
    const { kept } = on.ceremonies
    const [hash = ''] = kept.keys()
    const stored = kept.get(hash)
    if (stored === undefined) throw new Error('nothing is kept')
    expect([hash, JSON.stringify([...kept.values()]).includes(id)]).toEqual([on.ports.sha256(id), false])
    const sealed = JSON.parse(stored.value)
    const put = (value: unknown, at = hash) => kept.set(at, { ...stored, value: JSON.stringify(value) })
    const other = memoryRecordSigner('another group')
    const wrongs = [
      { ...sealed, text: sealed.text.replace('olivia', 'lena') },
      { ...sealed, expiresAt: sealed.expiresAt + 1 },
      { ...sealed, signature: other.sign('writ/ceremony/v1', { hash, ...sealed }) },
      { text: sealed.text, expiresAt: sealed.expiresAt },
      'x',
      null,
    ]
    for (const wrong of wrongs) {
      put(wrong)
      expect([wrong, await codeOf(on.broker.showPasskeyCeremony(id))]).toEqual([wrong, 'ceremony_over'])
    }
    const moved = 'moved-to-another-id'
    put(sealed, on.ports.sha256(moved))
    expect(await codeOf(on.broker.showPasskeyCeremony(moved))).toBe('ceremony_over')
    put(sealed)
    expect(await codeOf(on.broker.showPasskeyCeremony(id))).toBe('accepted')
    on.advance(minutes(5))
    kept.set(hash, { value: stored.value, until: on.now() + seconds(60) } as typeof stored)
    expect(await codeOf(on.broker.showPasskeyCeremony(id))).toBe('ceremony_over')
  })

  it('of a person who has left registers nothing', async () => {
    const id = ceremonyOf(await on.broker.addPasskey(on.as('olivia'), 'laptop'))
    const { text } = await on.broker.showPasskeyCeremony(id)
    const { directory } = on.book.current()
    const principal: typeof directory.principal = (of) => (of === 'olivia' ? undefined : directory.principal(of))
    await on.publish({ directory: { ...directory, principal, revision: directory.revision + 1 } })
    const answer = softPasskey(on.ports.issuer).registration(text)
    expect(await codeOf(on.broker.finishPasskeyCeremony(id, answer))).toBe('not_permitted')
    expect(await on.ports.passkeys.of('olivia' as never)).toEqual([])
  })
})
