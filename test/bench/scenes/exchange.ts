// S1 to S3: an exchange by oidc-provider's nearest grant, side by side.
import type { SceneId } from '../goals.ts'
import type { OidcSide } from '../oidc-side.ts'
import type { Ours, Sender } from '../ours.ts'
import { alternate, cpuOf, type Side } from '../rounds.ts'
import { type Measurement, type Scene, type Scope, sideOf } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

/** Enough for a second or two of work on each side; filing and approving them takes three times as long. */
export const COUNT = 4_000
export const QUICK_COUNT = 100

/** So many times as much goes before as is measured: after twice as much, introspection was still a fifth slower than it became. */
const WARM_UP = 4

export const oursSide = (ours: Ours, sender: Sender, known: boolean): Side => ({
  name: `writ, ${sender} token, ${known ? 'known caller' : 'caller verified every time'}`,
  port: ours.port,
  pid: ours.pid,
  redisPid: ours.redisPid,
  prepare: async (count) => ours.exchanges(await ours.approved(count, sender), sender, known),
})

export const extentOf = ({ quick, rounds }: Scope, count = COUNT, quickCount = QUICK_COUNT) => ({
  rounds,
  count: quick ? quickCount : count,
  // The engine compiles what has run often enough; a server that has run for a minute is not the one of its first second.
  warmUp: quick ? Math.ceil(quickCount / 2) : WARM_UP * count,
})

const against =
  (id: SceneId, sender: Sender, known: boolean, theirs: (oidc: OidcSide) => Side): Scene['measure'] =>
  async (scope): Promise<Measurement> => {
    const [ours, oidc] = [await scope.stages.ours('exchange'), await scope.stages.oidc()]
    scope.say(`${id}: exchanges, ours and oidc-provider in turn`)
    const [our, their] = await alternate([oursSide(ours, sender, known), theirs(oidc)], extentOf(scope))
    if (our === undefined || their === undefined) throw new Error('a side is missing')
    return {
      numbers: {
        'requests per second': our.median.perSecond / their.median.perSecond,
        'CPU per request': cpuOf(their.median) / cpuOf(our.median),
      },
      sides: [sideOf(our), sideOf(their)],
      notes: [],
      effective: await effectiveOf(ours),
    }
  }

const USES = ['exchange', 'oidc'] as const
export const S1: Scene = {
  id: 'S1',
  uses: USES,
  measure: against('S1', 'bearer', false, (oidc) => oidc.byKey(false)),
}
export const S2: Scene = { id: 'S2', uses: USES, measure: against('S2', 'bearer', true, (oidc) => oidc.bySecret()) }
export const S3: Scene = { id: 'S3', uses: USES, measure: against('S3', 'dpop', false, (oidc) => oidc.byKey(true)) }
