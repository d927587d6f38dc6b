// Runs sequences: several side by side, each on a shard of its own; counts what was done, and tells a difference so that it can be replayed.
import fc from 'fast-check'
import type { Act } from './acts.ts'
import {
  anySequence,
  type Counts,
  comeToRest,
  command,
  freshState,
  type Holder,
  noCounts,
  openScene,
  type Scene,
} from './commands.ts'
import { type Bench, type Lane, openBench, openStage, type Plant } from './stage.ts'

export interface Running {
  readonly sequences: number
  readonly seed: number
  readonly plant?: Plant
  /** Of one sequence, as a difference was told. */
  readonly path?: string
  readonly replayPath?: string
  /** Told now and then how many were run. */
  readonly onProgress?: (sequences: number) => void
  /** False: the first sequence that differs is told as it was drawn. */
  readonly shrinks?: boolean
  readonly bench?: Bench
  /** Stops early, and reports what was run until then. */
  readonly signal?: AbortSignal
}
export interface Found {
  readonly seed: number
  readonly path: string
  readonly replayPath: string
  readonly sequence: string
  readonly what: string
  /** After how many sequences of its lane it was found. */
  readonly after: number
}
export interface Report {
  readonly sequences: number
  readonly commands: number
  readonly byCommand: Readonly<Record<string, number>>
  readonly byEdge: Readonly<Record<string, number>>
  readonly byAnswer: Readonly<Record<string, number>>
  readonly differences: readonly Found[]
  readonly seed: number
  readonly seconds: number
}

const LANES = 4

/** Each lane draws from a seed of its own, and stops at its first difference; the others stop with it. */
export async function runSequences({
  sequences,
  seed,
  plant,
  path,
  replayPath,
  onProgress,
  shrinks = true,
  bench,
  signal,
}: Running): Promise<Report> {
  const started = performance.now()
  const opened = bench ?? (await openBench(LANES))
  const counts = noCounts()
  const tally = { sequences: 0, stopped: false }
  signal?.addEventListener('abort', () => {
    tally.stopped = true
  })
  const lanes =
    path === undefined
      ? opened.lanes.slice(0, Math.max(1, Math.min(sequences, opened.lanes.length)))
      : opened.lanes.slice(0, 1)
  const step = lanes.length
  try {
    const found = await Promise.all(
      lanes.map((lane, n) =>
        runLane(lane, plant, counts, tally, onProgress, {
          seed: seed + n,
          numRuns: Math.ceil((sequences - n) / step),
          ...(path === undefined ? {} : { path }),
          replayPath,
          endOnFailure: !shrinks,
        }),
      ),
    )
    const commands = [...counts.commands.values()].reduce((sum, one) => sum + one, 0)
    return {
      sequences: tally.sequences,
      commands,
      byCommand: inOrder(counts.commands),
      byEdge: inOrder(counts.edges),
      byAnswer: inOrder(counts.answers),
      differences: found.flatMap((one) => one ?? []),
      seed,
      seconds: Math.round((performance.now() - started) / 100) / 10,
    }
  } finally {
    if (bench === undefined) await opened.stop()
  }
}

const inOrder = (counts: Map<string, number>): Readonly<Record<string, number>> =>
  Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)))

interface Tally {
  sequences: number
  stopped: boolean
}
async function runLane(
  lane: Lane,
  plant: Plant | undefined,
  counts: Counts,
  tally: Tally,
  onProgress: Running['onProgress'],
  {
    replayPath,
    ...options
  }: {
    readonly seed: number
    readonly numRuns: number
    readonly path?: string
    readonly replayPath: string | undefined
    readonly endOnFailure: boolean
  },
): Promise<Found | undefined> {
  let failed = false
  const property = fc.asyncProperty(anySequence(replayPath), async (commands) => {
    // Another lane has found something: what is left is not run any more.
    if (tally.stopped && !failed) return
    if (!failed) {
      tally.sequences += 1
      if (tally.sequences % 100 === 0) onProgress?.(tally.sequences)
    }
    try {
      // While it shrinks, nothing is counted.
      await runOne(lane, plant, failed ? noCounts() : counts, commands)
    } catch (thrown) {
      failed = true
      tally.stopped = true
      throw thrown
    }
  })
  const result = await fc.check(property, options)
  if (!result.failed) return undefined
  const sequence = String(result.counterexample?.[0] ?? '')
  const thrown = result.errorInstance
  return {
    seed: result.seed,
    path: result.counterexamplePath ?? '',
    replayPath: /replayPath="([^"]*)"/.exec(sequence)?.[1] ?? '',
    sequence,
    what: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
    after: result.numRuns,
  }
}

async function runOne(
  lane: Lane,
  plant: Plant | undefined,
  counts: Counts,
  commands: Iterable<fc.AsyncCommand<Holder, Scene>>,
): Promise<void> {
  const stage = await openStage(lane, plant)
  const holder: Holder = { state: freshState(stage.now()) }
  const scene = openScene(stage, holder, counts)
  await fc.asyncModelRun(() => ({ model: holder, real: scene }), commands)
  await comeToRest(holder, scene)
}

/** These acts, as they were kept; what is wrong with them, or undefined. */
export async function replay(acts: readonly Act[], bench: Bench, plant?: Plant): Promise<string | undefined> {
  const [lane] = bench.lanes
  if (lane === undefined) throw new Error('a bench without a lane')
  try {
    await runOne(lane, plant, noCounts(), acts.map(command))
    return undefined
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown)
  }
}
