// `npm run bench`: the scenes one after the other, then what they say. Ends with 0 when all that was asked for was measured, whether or not the
// goals are met: that is in the answer. Whatever it starts it ends, also when it fails.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { setUp } from '../../deploy/dev/services.ts'
import { aboutRun, type Servers } from './about.ts'
import { SCENE_IDS } from './goals.ts'
import { readOptions, USAGE } from './options.ts'
import { failedScene, type Reported, reportOf, resultsPage, tableOf } from './report.ts'
import type { Scene } from './scene.ts'
import { SCENES } from './scenes.ts'
import { openStages } from './stages.ts'

const RESULTS = fileURLToPath(new URL('RESULTS.md', import.meta.url))

const options = readOptions(process.argv.slice(2))
if ('problem' in options) {
  process.stderr.write(`${options.problem}\n${USAGE}\n`)
  process.exit(2)
}
const { json, quick, only } = options
const began = performance.now()
const elapsed = (): number => (performance.now() - began) / 1_000
// oidc-provider and others print to the console; stdout is for the answer.
const say = (line: string): void => void process.stderr.write(`${elapsed().toFixed(1).padStart(7)} s  ${line}\n`)
const rounds = quick ? 1 : 3

await setUp({ vault: true, report: say })
const servers: Servers = { redis: 'not started', vault: 'not started', postgres: 'not started' }
const stages = openStages({ quick, say, servers })
const reports = new Map<string, Reported>()
try {
  const playing = SCENES.filter(({ id }) => only.includes(id))
  for (const [n, scene] of playing.entries()) {
    reports.set(scene.id, await play(scene))
    await stages.keep(playing.slice(n + 1).flatMap(({ uses }) => uses))
  }
} finally {
  await stages.keep([])
}
const inOrder = SCENE_IDS.flatMap((id) => reports.get(id) ?? [])
const about = aboutRun({ seconds: Math.round(elapsed()), quick, rounds }, servers)
const table = tableOf(inOrder)
process[json ? 'stderr' : 'stdout'].write(`\n${table}`)
if (!quick && only.length === SCENE_IDS.length) writeFileSync(RESULTS, resultsPage(about, inOrder))
if (json)
  process.stdout.write(`${JSON.stringify({ ...Object.fromEntries(inOrder.map((one) => [one.id, one])), about })}\n`)
process.exitCode = inOrder.some((one) => 'error' in one) ? 1 : 0

async function play(scene: Scene): Promise<Reported> {
  const started = performance.now()
  try {
    const measurement = await scene.measure({ quick, rounds, stages, say })
    const report = reportOf(scene.id, measurement, (performance.now() - started) / 1_000)
    say(`${scene.id}: ${JSON.stringify(report.measured)} ${report.met ? 'met' : 'MISSED'}`)
    return report
  } catch (thrown) {
    say(`${scene.id} could not be measured: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : thrown}`)
    return failedScene(scene.id, thrown)
  }
}
