// What a run was asked for. Invariant: whatever is not understood is told with what would be, and nothing is started.
import { SCENE_IDS, type SceneId } from './goals.ts'

export interface BenchOptions {
  /** One JSON object as the last line on stdout; everything for people goes to stderr. */
  readonly json: boolean
  /** Counts that only prove that it works. */
  readonly quick: boolean
  readonly only: readonly SceneId[]
}
export interface OptionsProblem {
  readonly problem: string
}

export const USAGE = `usage: npm run bench -- [--json] [--quick] [--only ${SCENE_IDS[0]},${SCENE_IDS[3]}]
  --json   ends with one JSON object on stdout; table and progress go to stderr
  --quick  tiny counts, under a minute: proves that the bench works and measures nothing
  --only   these scenes alone, of ${SCENE_IDS.join(', ')}
A run of all scenes writes test/bench/RESULTS.md.`

export function readOptions(args: readonly string[]): BenchOptions | OptionsProblem {
  let [json, quick] = [false, false]
  let only: readonly SceneId[] = SCENE_IDS
  const problems: string[] = []
  for (let n = 0; n < args.length; n += 1) {
    const arg = args[n] ?? ''
    const [name, inline] = arg.startsWith('--only=') ? ['--only', arg.slice('--only='.length)] : [arg, undefined]
    if (name === '--json') json = true
    else if (name === '--quick') quick = true
    else if (name === '--only') {
      const picked = scenesOf(inline ?? args[++n])
      if ('problem' in picked) problems.push(picked.problem)
      else only = picked.scenes
    } else problems.push(`there is no option ${arg}`)
  }
  return problems.length === 0 ? { json, quick, only } : { problem: problems.join('; ') }
}

function scenesOf(list: string | undefined): { readonly scenes: readonly SceneId[] } | OptionsProblem {
  const names = (list ?? '').split(',').map((name) => name.trim().toUpperCase())
  if (list === undefined || list.startsWith('--') || names.every((name) => name === ''))
    return { problem: '--only needs scenes, like --only S1,S4' }
  const scenes = SCENE_IDS.filter((id) => names.includes(id))
  const unknown = names.filter((name) => !SCENE_IDS.some((id) => id === name))
  return unknown.length === 0
    ? { scenes }
    : { problem: `there is no scene ${unknown.map((name) => name || '""').join(', ')}` }
}
