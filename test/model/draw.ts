// What is drawn, and how often: enough of what is allowed that a sequence comes far, and of everything that is not.
import fc from 'fast-check'
import type { Act, Nth, Role, Verb } from './acts.ts'
import { DIRECT } from './direct.ts'
import { EDITIONS, ENTITLEMENTS, HOUR, MINUTE, PEOPLE, SECOND, type Who } from './rules.ts'

const weighted = <T>(...pairs: readonly (readonly [number, T])[]): fc.Arbitrary<T> =>
  fc.oneof(...pairs.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
const anyPick: fc.Arbitrary<Nth> = fc.record({ nth: fc.nat({ max: 3 }), any: weighted([9, false], [1, true]) })

const filing = fc.record({
  kind: fc.constant('file' as const),
  who: weighted<Who>([10, 'ann'], [3, 'bot'], [2, 'bob'], [1, 'olivia'], [1, 'ruth'], [1, 'zoe']),
  byBot: weighted([5, false], [1, true]),
  asked: fc.record({
    entitlement: fc.constantFrom(...ENTITLEMENTS),
    opensIn: weighted([8, 0], [1, 10 * MINUTE], [1, -5 * MINUTE], [1, 30 * HOUR]),
    lasts: weighted(
      [6, HOUR],
      [4, 20 * MINUTE],
      [1, 4 * SECOND],
      [1, 40 * SECOND],
      [1, 3 * HOUR],
      [1, 5 * HOUR],
      [1, 0],
    ),
    uses: weighted([4, 1], [3, 2], [1, 3], [1, 4]),
    foreign: weighted([19, false], [1, true]),
  }),
})
/** Such as is approved by whoever it needs. */
const goodFiling = fc.record({
  kind: fc.constant('file' as const),
  who: weighted<Who>([3, 'ann'], [1, 'bot']),
  byBot: weighted([5, false], [1, true]),
  asked: fc.record({
    entitlement: weighted([2, 'fix' as const], [2, 'base' as const], [1, 'ship' as const], [1, 'look' as const]),
    opensIn: fc.constant(0),
    lasts: weighted([3, HOUR], [2, 20 * MINUTE], [1, 70 * SECOND]),
    uses: weighted([1, 1], [2, 2]),
    foreign: fc.constant(false),
  }),
})
const deciding = fc.record({
  kind: fc.constant('decide' as const),
  who: weighted<Role>(
    ...([
      [8, 'olivia'],
      [3, 'ruth'],
      [3, 'rita'],
      [2, 'bob'],
      [1, 'requester'],
      [1, 'bot'],
      [1, 'sol'],
      [1, 'zoe'],
    ] as const),
  ),
  verdict: weighted([5, 'approve' as const], [1, 'deny' as const]),
  of: anyPick,
})
const exchanging = fc.record({
  kind: fc.constant('exchange' as const),
  who: weighted<Role>([8, 'executor'], [1, 'requester'], [1, 'olivia'], [1, 'bot'], [1, 'zoe']),
  again: weighted([2, false], [1, true]),
  keyed: weighted([9, true], [1, false]),
  of: anyPick,
})
const ending = fc.record({
  kind: fc.constantFrom(...(['withdraw', 'retract', 'complete', 'revoke'] as const)),
  who: weighted<Role>(
    ...([
      [5, 'requester'],
      [5, 'olivia'],
      [2, 'executor'],
      [2, 'sol'],
      [1, 'ruth'],
      [1, 'bob'],
      [1, 'bot'],
      [1, 'zoe'],
    ] as const),
  ),
  of: anyPick,
})
const sweeping = fc.record({ kind: fc.constant('sweep' as const), login: fc.boolean() })
const freezing = fc.record({
  kind: fc.constantFrom('freeze' as const, 'contain' as const),
  who: weighted<Who>([4, 'sol'], [2, 'sid'], [1, 'olivia']),
  selector: fc.oneof(
    fc.constantFrom('ann' as const, 'bob' as const, 'ruth' as const).map((person) => ({ person })),
    fc.constant({ agent: 'bot' as const }),
    fc.constantFrom(...ENTITLEMENTS).map((entitlement) => ({ entitlement })),
    fc.constantFrom(...ENTITLEMENTS).map((entitlement) => ({ entitlement, person: 'ann' as const })),
  ),
  freezes: weighted([2, true], [1, false]),
})
const lifting = fc.record({
  kind: fc.constant('lift' as const),
  who: weighted<Who>([1, 'sol'], [1, 'sid']),
  nth: fc.nat(3),
})
const publishing = fc.oneof(
  fc.constantFrom(...EDITIONS).map((edition) => ({ kind: 'publish' as const, edition, off: undefined })),
  fc
    .subarray(
      PEOPLE.filter((who) => who !== 'zoe'),
      { maxLength: 2 },
    )
    .map((off) => ({ kind: 'publish' as const, edition: undefined, off })),
)
const wide = (kind: 'offboard' | 'cleanUp') => fc.constant({ kind })

const weightedOf = (...pairs: readonly (readonly [number, fc.Arbitrary<Verb>])[]): fc.Arbitrary<Verb> =>
  fc.oneof(...pairs.map(([weight, arbitrary]) => ({ weight, arbitrary })))
const anyVerb = weightedOf(
  [4, filing],
  [6, deciding],
  [7, exchanging],
  [5, ending],
  [4, sweeping],
  [2, freezing],
  [1, lifting],
  [1, publishing],
  [1, wide('offboard')],
  [2, wide('cleanUp')],
)
/** All but the loading of files, which is no verb of a broker that could die in it. */
const mortal = weightedOf(
  [3, filing],
  [2, deciding],
  [5, exchanging],
  [4, ending],
  [3, sweeping],
  [2, freezing],
  [1, wide('offboard')],
  [2, wide('cleanUp')],
)

const acts: readonly (readonly [number, fc.Arbitrary<Act>])[] = [
  [
    16,
    fc.record({
      do: fc.constant('verb' as const),
      verb: anyVerb,
      by: weighted([8, 'plain' as const], [1, 'late' as const], [1, 'old' as const]),
    }),
  ],
  [
    5,
    fc.record({
      do: fc.constant('crash' as const),
      verb: mortal,
      at: fc.integer({ min: 1, max: 18 }),
      when: fc.constantFrom('before' as const, 'after' as const),
    }),
  ],
  [4, fc.record({ do: fc.constant('race' as const), verbs: fc.tuple(anyVerb, anyVerb) })],
  [1, anyVerb.map((verb) => ({ do: 'race' as const, verbs: [verb, verb] as const }))],
  [7, fc.record({ do: fc.constant('ready' as const), verb: goodFiling, exchanges: fc.nat(2) })],
  [1, fc.record({ do: fc.constant('crowd' as const), verb: goodFiling, many: fc.integer({ min: 3, max: 5 }) })],
  [
    1,
    fc.record({
      do: fc.constant('outage' as const),
      first: fc.constantFrom(...(['revoke', 'again', 'nothing'] as const)),
      looks: fc.constantFrom(1, 3, 9),
    }),
  ],
  [
    4,
    fc.record({
      do: fc.constant('jump' as const),
      ms: fc.constantFrom(1, SECOND, 29 * SECOND, 31 * SECOND, 61 * SECOND, 11 * MINUTE, 61 * MINUTE, 3 * HOUR),
    }),
  ],
  [3, fc.record({ do: fc.constant('jumpTo' as const), ms: fc.constantFrom(-1, 0, 0, 1, 1500) })],
  [1, fc.constant({ do: 'reload' as const })],
  [1, fc.constant({ do: 'raised' as const })],
  [1, fc.record({ do: fc.constant('backend' as const), up: fc.boolean() })],
  [1, fc.record({ do: fc.constant('seal' as const), up: fc.boolean() })],
  [3, fc.record({ do: fc.constant('direct' as const), kind: fc.constantFrom(...DIRECT), of: anyPick })],
]

export const anyAct: fc.Arbitrary<Act> = fc.oneof(...acts.map(([weight, arbitrary]) => ({ weight, arbitrary })))
