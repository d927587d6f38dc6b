// What must not compile: an edge that the lifecycle has not got, for every pair of statuses, and a next state without the facts that it must
// have. `tsc` reads this; each `@ts-expect-error` fails where the line below it compiles. That no pair is missing is told from this very text.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import type { GrantEvent } from '../../src/domain/events.ts'
import { advance, type GrantOf } from '../../src/domain/grant.ts'
import { mayGo, STATUSES } from '../model/rules.ts'

/** Each edge by its types alone: nothing is called. */
void [
  advance<'pending', 'pending'>,
  advance<'pending', 'approved'>,
  // @ts-expect-error pending never becomes issuing
  advance<'pending', 'issuing'>,
  // @ts-expect-error pending never becomes active
  advance<'pending', 'active'>,
  // @ts-expect-error pending never becomes ending
  advance<'pending', 'ending'>,
  // @ts-expect-error pending never becomes stuck
  advance<'pending', 'stuck'>,
  advance<'pending', 'denied'>,
  advance<'pending', 'withdrawn'>,
  advance<'pending', 'lapsed'>,
  // @ts-expect-error pending never becomes ended
  advance<'pending', 'ended'>,
  // @ts-expect-error approved never becomes pending
  advance<'approved', 'pending'>,
  advance<'approved', 'approved'>,
  advance<'approved', 'issuing'>,
  advance<'approved', 'active'>,
  advance<'approved', 'ending'>,
  // @ts-expect-error approved never becomes stuck
  advance<'approved', 'stuck'>,
  // @ts-expect-error approved never becomes denied
  advance<'approved', 'denied'>,
  advance<'approved', 'withdrawn'>,
  advance<'approved', 'lapsed'>,
  // @ts-expect-error approved never becomes ended
  advance<'approved', 'ended'>,
  // @ts-expect-error issuing never becomes pending
  advance<'issuing', 'pending'>,
  advance<'issuing', 'approved'>,
  advance<'issuing', 'issuing'>,
  advance<'issuing', 'active'>,
  advance<'issuing', 'ending'>,
  // @ts-expect-error issuing never becomes stuck
  advance<'issuing', 'stuck'>,
  // @ts-expect-error issuing never becomes denied
  advance<'issuing', 'denied'>,
  // @ts-expect-error issuing never becomes withdrawn
  advance<'issuing', 'withdrawn'>,
  // @ts-expect-error issuing never becomes lapsed
  advance<'issuing', 'lapsed'>,
  // @ts-expect-error issuing never becomes ended
  advance<'issuing', 'ended'>,
  // @ts-expect-error active never becomes pending
  advance<'active', 'pending'>,
  // @ts-expect-error active never becomes approved
  advance<'active', 'approved'>,
  // @ts-expect-error active never becomes issuing
  advance<'active', 'issuing'>,
  advance<'active', 'active'>,
  advance<'active', 'ending'>,
  // @ts-expect-error active never becomes stuck
  advance<'active', 'stuck'>,
  // @ts-expect-error active never becomes denied
  advance<'active', 'denied'>,
  // @ts-expect-error active never becomes withdrawn
  advance<'active', 'withdrawn'>,
  // @ts-expect-error active never becomes lapsed
  advance<'active', 'lapsed'>,
  advance<'active', 'ended'>,
  // @ts-expect-error ending never becomes pending
  advance<'ending', 'pending'>,
  // @ts-expect-error ending never becomes approved
  advance<'ending', 'approved'>,
  // @ts-expect-error ending never becomes issuing
  advance<'ending', 'issuing'>,
  // @ts-expect-error ending never becomes active
  advance<'ending', 'active'>,
  advance<'ending', 'ending'>,
  advance<'ending', 'stuck'>,
  // @ts-expect-error ending never becomes denied
  advance<'ending', 'denied'>,
  // @ts-expect-error ending never becomes withdrawn
  advance<'ending', 'withdrawn'>,
  // @ts-expect-error ending never becomes lapsed
  advance<'ending', 'lapsed'>,
  advance<'ending', 'ended'>,
  // @ts-expect-error stuck never becomes pending
  advance<'stuck', 'pending'>,
  // @ts-expect-error stuck never becomes approved
  advance<'stuck', 'approved'>,
  // @ts-expect-error stuck never becomes issuing
  advance<'stuck', 'issuing'>,
  // @ts-expect-error stuck never becomes active
  advance<'stuck', 'active'>,
  // @ts-expect-error stuck never becomes ending
  advance<'stuck', 'ending'>,
  advance<'stuck', 'stuck'>,
  // @ts-expect-error stuck never becomes denied
  advance<'stuck', 'denied'>,
  // @ts-expect-error stuck never becomes withdrawn
  advance<'stuck', 'withdrawn'>,
  // @ts-expect-error stuck never becomes lapsed
  advance<'stuck', 'lapsed'>,
  advance<'stuck', 'ended'>,
  // @ts-expect-error denied never becomes pending
  advance<'denied', 'pending'>,
  // @ts-expect-error denied never becomes approved
  advance<'denied', 'approved'>,
  // @ts-expect-error denied never becomes issuing
  advance<'denied', 'issuing'>,
  // @ts-expect-error denied never becomes active
  advance<'denied', 'active'>,
  // @ts-expect-error denied never becomes ending
  advance<'denied', 'ending'>,
  // @ts-expect-error denied never becomes stuck
  advance<'denied', 'stuck'>,
  // @ts-expect-error denied never becomes denied
  advance<'denied', 'denied'>,
  // @ts-expect-error denied never becomes withdrawn
  advance<'denied', 'withdrawn'>,
  // @ts-expect-error denied never becomes lapsed
  advance<'denied', 'lapsed'>,
  // @ts-expect-error denied never becomes ended
  advance<'denied', 'ended'>,
  // @ts-expect-error withdrawn never becomes pending
  advance<'withdrawn', 'pending'>,
  // @ts-expect-error withdrawn never becomes approved
  advance<'withdrawn', 'approved'>,
  // @ts-expect-error withdrawn never becomes issuing
  advance<'withdrawn', 'issuing'>,
  // @ts-expect-error withdrawn never becomes active
  advance<'withdrawn', 'active'>,
  // @ts-expect-error withdrawn never becomes ending
  advance<'withdrawn', 'ending'>,
  // @ts-expect-error withdrawn never becomes stuck
  advance<'withdrawn', 'stuck'>,
  // @ts-expect-error withdrawn never becomes denied
  advance<'withdrawn', 'denied'>,
  // @ts-expect-error withdrawn never becomes withdrawn
  advance<'withdrawn', 'withdrawn'>,
  // @ts-expect-error withdrawn never becomes lapsed
  advance<'withdrawn', 'lapsed'>,
  // @ts-expect-error withdrawn never becomes ended
  advance<'withdrawn', 'ended'>,
  // @ts-expect-error lapsed never becomes pending
  advance<'lapsed', 'pending'>,
  // @ts-expect-error lapsed never becomes approved
  advance<'lapsed', 'approved'>,
  // @ts-expect-error lapsed never becomes issuing
  advance<'lapsed', 'issuing'>,
  // @ts-expect-error lapsed never becomes active
  advance<'lapsed', 'active'>,
  // @ts-expect-error lapsed never becomes ending
  advance<'lapsed', 'ending'>,
  // @ts-expect-error lapsed never becomes stuck
  advance<'lapsed', 'stuck'>,
  // @ts-expect-error lapsed never becomes denied
  advance<'lapsed', 'denied'>,
  // @ts-expect-error lapsed never becomes withdrawn
  advance<'lapsed', 'withdrawn'>,
  // @ts-expect-error lapsed never becomes lapsed
  advance<'lapsed', 'lapsed'>,
  // @ts-expect-error lapsed never becomes ended
  advance<'lapsed', 'ended'>,
  // @ts-expect-error ended never becomes pending
  advance<'ended', 'pending'>,
  // @ts-expect-error ended never becomes approved
  advance<'ended', 'approved'>,
  // @ts-expect-error ended never becomes issuing
  advance<'ended', 'issuing'>,
  // @ts-expect-error ended never becomes active
  advance<'ended', 'active'>,
  // @ts-expect-error ended never becomes ending
  advance<'ended', 'ending'>,
  // @ts-expect-error ended never becomes stuck
  advance<'ended', 'stuck'>,
  // @ts-expect-error ended never becomes denied
  advance<'ended', 'denied'>,
  // @ts-expect-error ended never becomes withdrawn
  advance<'ended', 'withdrawn'>,
  // @ts-expect-error ended never becomes lapsed
  advance<'ended', 'lapsed'>,
  // @ts-expect-error ended never becomes ended
  advance<'ended', 'ended'>,
]

void ((active: GrantOf<'active'>, ending: GrantOf<'ending'>, event: GrantEvent) => [
  // @ts-expect-error what has ended names its confirmation
  advance(active, { to: 'ended', facts: { outcome: 'completed' }, event }),
  // @ts-expect-error what is ending is tried again at some time
  advance(active, { to: 'ending', facts: { attempts: 0 }, event }),
  // @ts-expect-error facts of another status
  advance(ending, { to: 'ended', facts: ending.head.facts, event }),
  // @ts-expect-error nothing happens without an event
  advance(active, { to: 'active', facts: active.head.facts }),
])

it('every pair of statuses is told to the compiler, as legal or as what must not compile', () => {
  const text = readFileSync(new URL(import.meta.url), 'utf8')
  const told = [...text.matchAll(/^( *\/\/ @ts-expect-error .*\n)? *advance<'(\w+)', '(\w+)'>,$/gm)].map(
    ([, refused, from, to]) => `${from}>${to} ${refused === undefined ? 'legal' : 'refused'}`,
  )
  const all = STATUSES.flatMap((from) => STATUSES.map((to) => `${from}>${to} ${mayGo(from, to) ? 'legal' : 'refused'}`))
  expect(told.toSorted()).toEqual(all.toSorted())
})
