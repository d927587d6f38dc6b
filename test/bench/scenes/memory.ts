// S8: what a live grant takes of Redis beyond its own ask and decisions, and what a delayed BullMQ job for it would take.

import { grownTo } from '../growth.ts'
import { startJobs } from '../jobs-side.ts'
import type { Ours } from '../ours.ts'
import { DUE, EVENTS } from '../planting.ts'
import { round } from '../rounds.ts'
import type { Scene } from '../scene.ts'
import { effectiveOf } from '../switched.ts'

const LIVE = 500_000
const QUICK_LIVE = 400
/** Of the control: what a job takes does not depend on how many there are. */
const JOBS_PART = 10

export const S8: Scene = {
  id: 'S8',
  uses: ['large'],
  measure: async (scope) => {
    const ours = await scope.stages.ours('large')
    const { live, bytes, some } = await grownTo(ours, scope.quick ? QUICK_LIVE : LIVE, scope.say)
    const own = await ownBytes(ours, some)
    const beyond = bytes / live - own.ask - own.decisions
    scope.say('S8: as many delayed jobs, or a tenth of them')
    const jobs = await startJobs()
    const many = Math.max(100, live / JOBS_PART)
    const added = await jobs.add(many, Date.now() + 3_600_000, 1_000).finally(() => jobs.stop())
    const ours8 = {
      bytesEach: round(bytes / live, 0),
      askBytes: round(own.ask, 0),
      decisionsBytes: round(own.decisions, 0),
      beyond: round(beyond, 0),
      headBytes: round(own.head, 0),
      eventsBytes: round(own.events, 0),
      deadlineBytes: round(own.deadline, 0),
    }
    const theirs = { bytesEach: round(added.bytesEach, 0) }
    return {
      numbers: { 'bytes per grant': beyond },
      sides: [
        { name: 'writ, a live grant', rounds: [ours8], median: ours8 },
        { name: 'BullMQ, a delayed job', rounds: [theirs], median: theirs },
      ],
      notes: [
        `${live} live grants; the control has ${many} jobs; memory does not vary between rounds, so there is one`,
        'planted copies are of one task and share its index, which otherwise is a small key of its own for each task',
        'headBytes, eventsBytes and deadlineBytes are parts of what is beyond; the rest are indexes and the keys themselves',
      ],
      effective: await effectiveOf(ours),
    }
  },
}

/** Means over some: the texts as they are stored, and what else Redis says of a grant's keys. */
async function ownBytes({ redis }: Ours, ids: readonly string[]) {
  const mean = async (of: (id: string) => Promise<number>): Promise<number> => {
    const values = await Promise.all(ids.map(of))
    return values.reduce((sum, one) => sum + one, 0) / values.length
  }
  const usage = async (key: string): Promise<number> => Number(await redis.memory('USAGE', key))
  return {
    ask: await mean((id) => redis.strlen(`{writ:0}:ask:${id}`)),
    decisions: await mean(async (id) =>
      (await redis.lrange(`{writ:0}:decisions:${id}`, 0, -1)).reduce((sum, text) => sum + Buffer.byteLength(text), 0),
    ),
    head: await mean((id) => usage(`{writ:0}:head:${id}`)),
    events: (3 * (await usage(EVENTS))) / (await redis.xlen(EVENTS)),
    deadline: (await usage(DUE)) / (await redis.zcard(DUE)),
  }
}
