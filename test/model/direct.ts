// Steps that no verb takes, straight to the store: over edges that the lifecycle has not got, over a version that is gone, too late, under
// rules that are not in force any more, without the guard that giving needs. Each must be refused with its own word, and leave nothing.
import type { Control, Guard } from '../../src/broker/ports.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import type { Grant, Step } from '../../src/domain/grant.ts'
import { sampleBirth, sampleStep } from '../support/sample-grants.ts'
import { GIVING, mayGo, STATUSES, type Status } from './rules.ts'
import type { Stage } from './stage.ts'

export const DIRECT = ['illegal', 'unguarded', 'conflict', 'late', 'stale', 'birth'] as const
export type Direct = (typeof DIRECT)[number]

/** What was not refused as it must be. */
export async function tryDirect(stage: Stage, kind: Direct, name: number): Promise<readonly string[]> {
  const grant = await stage.store.loadToEnd(stage.idOf(name))
  if (grant === undefined) return []
  const control = await controlOf(stage, grant)
  const guard: Guard = { judgedUnder: control }
  const wrong: string[] = []
  const expect = async (what: string, step: Step, code: string, under?: Guard): Promise<void> => {
    const got = await commit(stage, step, under)
    if (got !== code) wrong.push(`${what}: expected ${code}, got ${got}`)
    // Where many are ended at once each is judged alone, and by the same rules.
    if (under !== undefined || kind === 'stale') return
    const [each] = await stage.store.commitEach([step])
    if (each?.receipt !== undefined) wrong.push(`${what}: refused alone, and not among others`)
  }
  const at = stage.now()
  const from = grant.head.status
  const legal = STATUSES.filter((to) => mayGo(from, to))
  const giving = legal.filter((to) => GIVING.includes(`${from}>${to}`))
  switch (kind) {
    case 'illegal':
      for (const to of STATUSES.filter((one) => !legal.includes(one))) {
        await expect(`${from}>${to}`, sampleStep(grant, to, at), 'wrong_status')
        await expect(`${from}>${to} with a guard`, sampleStep(grant, to, at), 'wrong_status', guard)
      }
      break
    case 'unguarded':
      for (const to of giving) await expect(`${from}>${to} unguarded`, sampleStep(grant, to, at), 'wrong_status')
      break
    case 'conflict':
      for (const to of legal) {
        for (const by of [-1, 1]) await expectConflict(expect, { grant, to, by }, at, guard)
      }
      break
    case 'late':
      for (const to of legal) {
        const late = { ...guard, notAfter: at }
        await expect(`${from}>${to} too late`, sampleStep(grant, to, at), 'window_closed', late)
      }
      break
    case 'stale':
      for (const to of legal) {
        const before = { ...control, freezeEpoch: control.freezeEpoch - 1 }
        const older = { ...control, policyRevision: control.policyRevision - 1 }
        const other = { ...control, peopleRevision: control.peopleRevision + 1 }
        for (const judgedUnder of [before, older, other])
          await expect(`${from}>${to} under other rules`, sampleStep(grant, to, at), 'stale', { judgedUnder })
      }
      break
    case 'birth': {
      const again = {
        grant: { ...grant, version: 1 },
        event: sampleStep(grant, 'ended', at).event,
        from: 'none' as const,
      }
      await expect('a second birth', { ...again, grant: pendingAgain(again.grant, at) }, 'store_conflict', guard)
      const fresh = sampleBirth(stage.idOf(999_999_999), at)
      for (const to of STATUSES.filter((one) => one !== 'pending'))
        await expect(
          `none>${to}`,
          { ...sampleStep({ ...fresh.grant, version: 0 }, to, at), from: 'none' },
          'wrong_status',
          guard,
        )
    }
  }
  return wrong
}

const pendingAgain = (grant: Grant, at: ReturnType<Stage['now']>): Grant => ({
  ...sampleStep({ ...grant, version: 0 }, 'pending', at).grant,
  version: 1,
})

async function expectConflict(
  expect: (what: string, step: Step, code: string, under?: Guard) => Promise<void>,
  { grant, to, by }: { readonly grant: Grant; readonly to: Status; readonly by: number },
  at: ReturnType<Stage['now']>,
  guard: Guard,
): Promise<void> {
  const step = sampleStep(grant, to, at)
  const moved: Step = { ...step, grant: { ...step.grant, version: step.grant.version + by } }
  // A first version is a birth: another edge, tried by itself.
  if (moved.grant.version < 2) return
  await expect(`${grant.head.status}>${to} at another version`, moved, 'store_conflict', guard)
}

async function controlOf(stage: Stage, { id }: Grant): Promise<Control> {
  const loaded = await stage.store.load(id)
  if (loaded === undefined) throw new Error('gone')
  return loaded.control
}

async function commit(stage: Stage, step: Step, guard?: Guard): Promise<string> {
  try {
    await stage.store.commit(step, guard)
    return 'ok'
  } catch (thrown) {
    if (thrown instanceof BrokerError) return thrown.code
    throw thrown
  }
}
