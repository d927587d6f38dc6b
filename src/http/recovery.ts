// How the store stands after a loss, as operators read it. A mapping and nothing else; the verb judges who may ask.
import type { z } from 'zod'
import type { Recovery, RecoveryView } from '../broker/recover.ts'
import type { recoveryAnswer } from './wire.ts'

export function showRecovery(view: RecoveryView): z.infer<typeof recoveryAnswer> {
  const { state, why, seen, here, endsAll, live, clearing, last } = view
  return {
    state,
    ...(why === undefined ? {} : { why }),
    seen,
    here,
    endsAll,
    live: { ...live },
    ...(clearing === undefined
      ? {}
      : {
          clearing: {
            ...byWhom(clearing),
            ended: clearing.ended,
            left: clearing.left,
            unreadable: clearing.unreadable,
            ...(clearing.waitsFor === undefined ? {} : { waitsFor: clearing.waitsFor }),
          },
        }),
    ...(last === undefined ? {} : { last: byWhom(last) }),
  }
}

const byWhom = ({ by, at, reason }: Recovery) => ({ by, at, reason })
