import { describe, expect, it } from 'vitest'
import type { Decision } from '../../src/domain/decision.ts'
import { named } from '../../src/domain/ids.ts'
import { after, hours, milliseconds } from '../../src/domain/instant.ts'
import { decisionSigner } from '../../src/tokens/decisions.ts'
import { rotate } from '../../src/tokens/key-ring.ts'
import { freshRing, NOON } from '../support/keys.ts'
import { approvalByRob, digestOf, GRANT, OTHER_GRANT } from '../support/token-grants.ts'

async function signed() {
  const { ring, folder } = await freshRing()
  const signer = decisionSigner({ ring, now: () => NOON })
  const decision: Decision = { ...approvalByRob, signature: signer.sign(GRANT, approvalByRob) }
  return { ring, folder, signer, decision }
}

describe("the broker's signature under a decision", () => {
  it('holds for exactly this decision on exactly this grant, also when it was stored and read again', async () => {
    const { signer, decision } = await signed()
    expect(decision.signature).toMatch(/^[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{86}$/)
    expect(signer.verify(GRANT, decision)).toBe(true)
    expect(signer.verify(GRANT, JSON.parse(JSON.stringify(decision)))).toBe(true)
    expect(signer.verify(OTHER_GRANT, decision)).toBe(false)
  })

  it('covers every member: none can be changed, taken away or added', async () => {
    const { signer, decision } = await signed()
    const changes: Record<keyof typeof approvalByRob, unknown> = {
      v: 1,
      act: 'accept',
      seat: 'security',
      deputyFor: named.person('olivia'),
      checklist: ['modelled'],
      evidence: [{ kind: 'note', text: 'a note' }],
      conditions: [{ id: 'abcdefghijkl', text: 'a', owner: named.person('rob'), due: NOON }],
      accepts: [{ risk: 'review:security', until: NOON }],
      assertion: {},
      by: named.person('olivia'),
      verdict: 'deny',
      reason: 'reviewed "the plan"',
      at: after(NOON, milliseconds(1)),
      digest: digestOf('j'),
      textsDigest: digestOf('u'),
      policyDigest: digestOf('z'),
      peopleDigest: digestOf('f'),
    }
    expect(Object.keys(changes).sort()).toEqual(Object.keys(approvalByRob).sort())
    // Verified once before, so that nothing remembered may answer for a changed one.
    expect(signer.verify(GRANT, decision)).toBe(true)
    for (const [member, other] of Object.entries(changes)) {
      expect([member, signer.verify(GRANT, { ...decision, [member]: other } as Decision)]).toEqual([member, false])
      // One that says nothing is the same when it is left out.
      const without = { ...decision, [member]: undefined } as unknown as Decision
      const said = Reflect.get(decision, member) !== undefined
      expect([member, signer.verify(GRANT, without)]).toEqual([member, !said])
    }
    expect(signer.verify(GRANT, { ...decision, extra: 1 } as Decision)).toBe(false)
    expect(signer.verify(GRANT, { ...decision, reason: '\ud800' })).toBe(false)
    expect(signer.verify(GRANT, { ...decision, at: 1.5 as Decision['at'] })).toBe(false)
  })

  it('has one spelling, and no other text in its place is accepted', async () => {
    const { signer, decision } = await signed()
    const { signature } = decision
    const [kid = '', bytes = ''] = signature.split('.')
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const twins = [...alphabet]
      .filter((each) => each !== bytes.at(-1))
      .map((each) => `${kid}.${bytes.slice(0, -1)}${each}`)
    for (const other of [
      ...twins,
      '',
      '.',
      kid,
      `${kid}.`,
      `.${bytes}`,
      `${signature}=`,
      `${signature}.x`,
      `${'x'.repeat(43)}.${bytes}`,
    ])
      expect([other, signer.verify(GRANT, { ...decision, signature: other })]).toEqual([other, false])
  })

  it('is none when another broker group, or an access key, made it', async () => {
    const { decision } = await signed()
    const stranger = await signed()
    expect(stranger.signer.verify(GRANT, decision)).toBe(false)
    const accessKid = stranger.ring.keys().signing('access', NOON).kid
    const borrowed = `${accessKid}.${stranger.decision.signature.split('.')[1]}`
    expect(stranger.signer.verify(GRANT, { ...stranger.decision, signature: borrowed })).toBe(false)
  })

  it('still holds after every rotation', async () => {
    const { signer, decision, folder, ring } = await signed()
    await rotate(folder, { now: NOON, purpose: 'decision' })
    await rotate(folder, { now: after(NOON, hours(24 * 400)), purpose: 'decision' })
    await ring.reload()
    expect(signer.verify(GRANT, decision)).toBe(true)
    const later = decisionSigner({ ring, now: () => after(NOON, hours(24 * 500)) })
    const newer = later.sign(GRANT, approvalByRob)
    expect(newer.split('.')[0]).not.toBe(decision.signature.split('.')[0])
    expect(signer.verify(GRANT, { ...decision, signature: newer })).toBe(true)
  })
})
