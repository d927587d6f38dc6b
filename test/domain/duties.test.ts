// Separation of duties: whoever asks, executes, wrote the change, or answers for one of these, never approves; a machine never does.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { conflictOf } from '../../src/domain/duties.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { agent, person, workload } from './sample-rules.ts'

describe('separation of duties', () => {
  const vera = person('vera')
  const none: Principal[] = []
  const cases: [Principal, Principal, Principal, Principal[], string | undefined][] = [
    [vera, vera, vera, none, 'requester'],
    [vera, agent('bot', 'vera'), agent('bot', 'vera'), none, 'requester_sponsor'],
    [person('dana'), person('rob'), workload('ci', 'dana'), none, 'executor_sponsor'],
    [person('dana'), person('rob'), person('dana'), none, 'executor'],
    [person('dana'), person('rob'), workload('ci', 'sam'), [person('ann'), person('dana')], 'author'],
    [person('dana'), person('rob'), workload('ci', 'sam'), [agent('bot', 'sam', 'dana')], 'author_sponsor'],
    [agent('bot', 'vera'), vera, vera, none, 'requester'],
    [agent('bot', 'sam'), vera, vera, [person('sam')], 'author'],
    [agent('bot', 'sam'), vera, vera, none, 'not_a_person'],
    [agent('bot'), vera, vera, none, 'not_a_person'],
    [workload('ci', 'sam'), vera, vera, none, 'not_a_person'],
    [person('olivia'), vera, workload('ci', 'dana'), [person('dana'), agent('bot', 'sam')], undefined],
  ]
  it.each(cases)('%o on what %o asks, %o executes and %o wrote', (approver, requester, executor, authors, conflict) => {
    expect(conflictOf(approver, { requester, executor, authors })?.conflict).toBe(conflict)
  })

  it('an approver without a conflict is always a person with nobody in common with the parties', () => {
    const name = fc.constantFrom('a', 'b', 'c')
    const any: fc.Arbitrary<Principal> = fc.oneof(
      name.map(person),
      fc.tuple(name, name).map(([id, sponsor]) => agent(`agent-${id}`, sponsor)),
      fc.tuple(name, name, name).map(([id, one, two]) => workload(`work-${id}`, one, two)),
    )
    const behind = (who: Principal): readonly string[] => (who.kind === 'person' ? [who.person] : who.sponsors)
    fc.assert(
      fc.property(any, any, any, fc.array(any, { maxLength: 3 }), (approver, requester, executor, authors) => {
        const free = conflictOf(approver, { requester, executor, authors }) === undefined
        const parties = [requester, executor, ...authors].flatMap(behind)
        expect(free).toBe(approver.kind === 'person' && !parties.includes(approver.person))
      }),
      { numRuns: 2_000 },
    )
  })
})
