// The stored form of a grant: what is written comes back as it was, and what this broker does not know is refused.
import { describe, expect, it } from 'vitest'
import type { Grant } from '../../src/domain/grant.ts'
import { shard } from '../../src/domain/ids.ts'
import { instant } from '../../src/domain/instant.ts'
import { STATUSES } from '../../src/domain/lifecycle.ts'
import {
  printAsk,
  printDecision,
  printEvent,
  printHead,
  readEvent,
  readGrant,
  type StoredTexts,
} from '../../src/redis/grant-record.ts'
import { nextGrantId, sampleBirth, sampleDecision, sampleHead, sampleMints, VAULT } from '../support/sample-grants.ts'

const at = instant(Date.parse('2026-11-21T12:00:00.000Z'))
const born = sampleBirth(nextGrantId(shard(0)), at, VAULT)
const whole = (head: Grant['head'] = sampleHead('active', at)): Grant =>
  ({ ...born.grant, decisions: [sampleDecision('olivia', at), sampleDecision('paula', at)], head, version: 4 }) as Grant
const printed = ({ ask, decisions, head, version }: Grant): StoredTexts => ({
  version,
  ask: printAsk(ask),
  decisions: decisions.map(printDecision),
  head: printHead(head),
})
/** The text with one member of its JSON changed; an undefined value takes it away. */
const edited = (text: string, member: string, value: unknown): string =>
  JSON.stringify({ ...(JSON.parse(text) as object), [member]: value })

describe('a stored grant', () => {
  it('comes back as it was in every status and with every mint, members that are undefined included', () => {
    for (const status of STATUSES) {
      for (const result of [undefined, { rows: '3' }]) {
        const grant = whole({ ...sampleHead(status, at), mints: sampleMints(at), result } as Grant['head'])
        expect(readGrant(grant.id, printed(grant))).toStrictEqual(grant)
      }
    }
  })

  it('comes back with an event as it was', () => {
    expect(readEvent(printEvent(born.event))).toStrictEqual(born.event)
  })

  it('is refused in a version that this broker does not know, part by part', () => {
    const texts = printed(whole())
    const read = (changed: Partial<StoredTexts>) => () => readGrant(born.grant.id, { ...texts, ...changed })
    expect(read({})).not.toThrow()
    for (const version of [0, 4, '1', undefined]) {
      expect(read({ ask: edited(texts.ask, 'v', version) })).toThrow(/version/)
      expect(read({ head: edited(texts.head, 'v', version) })).toThrow(/version/)
      expect(read({ decisions: texts.decisions.map((text) => edited(text, 'v', version)) })).toThrow(/version/)
      expect(() => readEvent(edited(printEvent(born.event), 'v', version))).toThrow(/version/)
    }
  })

  it('is read in the first version of its ask, which knew nothing of repeated, replaced and linked askings', () => {
    const grant = whole()
    const { askers: ____, ...second } = grant.ask
    const { asked: _, replaces: __, linked: ___, ...first } = second
    const read = readGrant(grant.id, { ...printed(grant), ask: JSON.stringify({ ...first, v: 1 }) })
    expect(read.ask).toStrictEqual({ ...first, v: 3, asked: '', replaces: undefined, linked: [], askers: [] })
  })

  it('is read in the second version, which did not say who is behind the requester', () => {
    const grant = whole()
    const { askers: _, ...second } = grant.ask
    const read = readGrant(grant.id, { ...printed(grant), ask: JSON.stringify({ ...second, v: 2 }) })
    expect(read.ask).toStrictEqual({ ...second, v: 3, askers: [] })
  })

  it('is refused with a member that this broker does not know, or without one that it needs', () => {
    const texts = printed(whole())
    const read = (changed: Partial<StoredTexts>) => () => readGrant(born.grant.id, { ...texts, ...changed })
    expect(read({ ask: edited(texts.ask, 'more', 1) })).toThrow()
    expect(read({ head: edited(texts.head, 'more', 1) })).toThrow()
    expect(read({ decisions: [edited(texts.decisions[0] ?? '', 'more', 1)] })).toThrow()
    expect(() => readEvent(edited(printEvent(born.event), 'more', 1))).toThrow()
    for (const member of Object.keys(JSON.parse(texts.ask) as object)) {
      expect(read({ ask: edited(texts.ask, member, undefined) }), member).toThrow()
      expect(read({ ask: edited(texts.ask, member, null) }), member).toThrow()
    }
  })

  it('is refused with facts of another status', () => {
    const texts = printed(whole())
    const head = edited(texts.head, 'status', 'ended')
    expect(() => readGrant(born.grant.id, { ...texts, head })).toThrow()
  })

  it("is refused under another grant's id", () => {
    expect(() => readGrant(nextGrantId(shard(0)), printed(whole()))).toThrow(/another grant/)
  })
})
