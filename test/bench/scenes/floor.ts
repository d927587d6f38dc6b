// S4: an exchange by the floor under it.
import { startFloor } from '../floor-side.ts'
import { alternate } from '../rounds.ts'
import { type Scene, sideOf } from '../scene.ts'
import { effectiveOf } from '../switched.ts'
import { extentOf, oursSide } from './exchange.ts'

export const S4: Scene = {
  id: 'S4',
  uses: ['exchange'],
  measure: async (scope) => {
    const ours = await scope.stages.ours('exchange')
    scope.say('S4: exchanges, ours and the floor in turn')
    const floor = await startFloor(ours)
    try {
      const [our, bare] = await alternate([oursSide(ours, 'bearer', false), floor.side], extentOf(scope))
      if (our === undefined || bare === undefined) throw new Error('a side is missing')
      return {
        numbers: { 'requests per second': our.median.perSecond / bare.median.perSecond },
        sides: [sideOf(our), sideOf(bare)],
        notes: ['the floor verifies the caller and signs the token; it loads and commits records copied from ours'],
        effective: await effectiveOf(ours),
      }
    } finally {
      await floor.stop()
    }
  },
}
