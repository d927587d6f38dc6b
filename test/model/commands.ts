// The commands of a sequence as fast-check runs and shrinks them. After every one the store must equal the model, and the invariants must
// hold.
import fc from 'fast-check'
import type { GrantId } from '../../src/domain/ids.ts'
import { type Act, type Bound, bound, type HandName, type Nth, pickGrant, type Verb } from './acts.ts'
import { difference, freezesDiffer, invariants, waitingDiffers } from './compare.ts'
import { type Direct, tryDirect } from './direct.ts'
import { anyAct } from './draw.ts'
import type { Seen } from './look.ts'
import { HOUR, isFinal, SECOND } from './rules.ts'
import { type Acting, type Done, FIRST_RULES, type Stage } from './stage.ts'
import { type GrantState, outcomes, type Start, type State, type Told } from './state.ts'
import { type Hand, PLAIN } from './verbs.ts'

const LATE: Hand = { behindMs: 2 * SECOND, old: false }
const OLD: Hand = { behindMs: 0, old: true }
const HANDS = { plain: PLAIN, late: LATE, old: OLD } as const satisfies Record<HandName, Hand>

export interface Holder {
  state: State
}
export const freshState = (now: number): State => ({
  now,
  rules: FIRST_RULES,
  loaded: FIRST_RULES,
  grants: new Map(),
  freezes: [],
  order: 0,
  backendUp: true,
  sealUp: true,
})

/** What is not as it should be. */
export class Difference extends Error {}

/** How often each command was run, each edge was taken, and each answer was given. */
export interface Counts {
  readonly commands: Map<string, number>
  readonly edges: Map<string, number>
  readonly answers: Map<string, number>
}
export const noCounts = (): Counts => ({ commands: new Map(), edges: new Map(), answers: new Map() })
const count = (counts: Map<string, number>, what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1)

/** A sequence under way: the real side, and what was seen of it. */
export interface Scene {
  readonly stage: Stage
  readonly counts: Counts
  names: number[]
  next: number
  readonly check: ReturnType<typeof invariants>
  readonly versions: Map<GrantId, number>
}
export function openScene(stage: Stage, holder: Holder, counts: Counts): Scene {
  const askedOf = (id: GrantId) => [...holder.state.grants.values()].find(({ name }) => stage.idOf(name) === id)
  return { stage, counts, names: [], next: 0, check: invariants(stage, askedOf), versions: new Map() }
}

/** Undefined where it cannot be done now. */
const boundIn = (verb: Verb, state: State, scene: { readonly next: number }): Bound | undefined =>
  bound(verb, state, scene.next)

export const isPossible = (act: Act, state: State): boolean => {
  const scene = { next: 0 }
  switch (act.do) {
    case 'verb':
    case 'crash':
      return boundIn(act.verb, state, scene) !== undefined
    case 'race':
      // Two files of one revision are no race but a mistake, and the second is refused.
      if (act.verbs.every(({ kind }) => kind === 'publish')) return false
      return act.verbs.every((verb) => boundIn(verb, state, scene) !== undefined)
    case 'direct':
      return pickGrant(state, act.of) !== undefined
    case 'jumpTo':
      return nextDeadline(state) !== undefined
    case 'backend':
      return state.backendUp !== act.up
    case 'seal':
      return state.sealUp !== act.up
    case 'ready':
    case 'crowd':
    case 'raised':
    case 'outage':
    case 'reload':
    case 'jump':
      return true
  }
}

const nextDeadline = ({ grants, now }: State): number | undefined => {
  const all = [...grants.values()].flatMap(({ due }) => (due !== undefined && due > now ? [due] : []))
  return all.length === 0 ? undefined : Math.min(...all)
}

export async function runAct(act: Act, holder: Holder, scene: Scene): Promise<void> {
  const label = 'verb' in act ? `${act.do} ${act.verb.kind}` : act.do
  count(scene.counts.commands, label)
  switch (act.do) {
    case 'verb':
      return runVerb(act.verb, HANDS[act.by], holder, scene)
    case 'crash':
      return runCrash(act, holder, scene)
    case 'race':
      return runRace(act.verbs, holder, scene)
    case 'ready':
      return runReady(act, holder, scene)
    case 'crowd':
      for (let n = 0; n < act.many; n += 1) await runVerb(act.verb, PLAIN, holder, scene)
      return
    case 'outage':
      return runOutage(act, holder, scene)
    case 'raised':
      return runRaised(holder, scene)
    case 'reload':
      return scene.stage.reload()
    case 'jump':
      return jump(act.ms, holder, scene)
    case 'jumpTo':
      return jump(Math.max(0, (nextDeadline(holder.state) ?? 0) - holder.state.now + act.ms), holder, scene)
    case 'backend':
      if (act.up) scene.stage.backend.up()
      else scene.stage.backend.down()
      holder.state = { ...holder.state, backendUp: act.up }
      return
    case 'seal':
      scene.stage.setSeal(act.up)
      holder.state = { ...holder.state, sealUp: act.up }
      return
    case 'direct':
      return runDirect(act.kind, act.of, holder, scene)
  }
}

async function jump(ms: number, holder: Holder, { stage }: Scene): Promise<void> {
  await stage.advance(ms)
  holder.state = { ...holder.state, now: holder.state.now + ms }
}
/** The walk behind a containment is leased for a second. */
const aSecondLater = async (verbs: readonly Verb[], holder: Holder, scene: Scene): Promise<void> => {
  if (verbs.some(({ kind }) => kind === 'cleanUp')) await jump(SECOND + 1, holder, scene)
}

function namesNext(scene: Scene): number {
  scene.next += 1
  return scene.next
}
function perform(scene: Scene, what: Bound, acting: Acting): Promise<Done> {
  scene.names.push(acting.name)
  return scene.stage.act(acting, (actor) => what.perform(scene.stage, actor))
}

async function runVerb(verb: Verb, hand: Hand, holder: Holder, scene: Scene): Promise<void> {
  await aSecondLater([verb], holder, scene)
  const name = namesNext(scene)
  const what = bound(verb, holder.state, name)
  if (what === undefined) return
  const by = mayBeBehind(verb) ? hand : PLAIN
  const { result } = await perform(scene, what, { hand: by, name })
  await settle([what.start(by)], [result], holder, scene)
}
/** Ends go on whatever the files say, under the newest that are there; the clock that lags is tried where something is given. */
const mayBeBehind = ({ kind }: Verb): boolean => ['file', 'decide', 'exchange'].includes(kind)

async function runRace(verbs: readonly [Verb, Verb], holder: Holder, scene: Scene): Promise<void> {
  await aSecondLater(verbs, holder, scene)
  const found = verbs.map((verb) => {
    const name = namesNext(scene)
    return { name, what: bound(verb, holder.state, name) }
  })
  const all = found.flatMap(({ name, what }) => (what === undefined ? [] : [{ name, what }]))
  const done = await Promise.all(all.map(({ name, what }) => perform(scene, what, { hand: PLAIN, name })))
  await settle(
    all.map(({ what }) => what.start(PLAIN)),
    done.map(({ result }) => result),
    holder,
    scene,
  )
}

async function runReady(
  { verb, exchanges }: Extract<Act, { do: 'ready' }>,
  holder: Holder,
  scene: Scene,
): Promise<void> {
  await runVerb(verb, PLAIN, holder, scene)
  const of = { nth: 0, any: false }
  for (const who of ['ruth', 'rita', 'olivia'] as const)
    if (holder.state.grants.size > 0)
      await runVerb({ kind: 'decide', who, verdict: 'approve', of }, PLAIN, holder, scene)
  const fetch = { kind: 'exchange', who: 'executor', again: false, keyed: true, of } as const
  for (let n = 0; n < exchanges && holder.state.grants.size > 0; n += 1) await runVerb(fetch, PLAIN, holder, scene)
}

/** The backend is away: the newest grant is revoked, or a lost login asked for again, and the sweep tries again and again. */
async function runOutage(
  { first, looks }: Extract<Act, { do: 'outage' }>,
  holder: Holder,
  scene: Scene,
): Promise<void> {
  if (holder.state.backendUp) await runAct({ do: 'backend', up: false }, holder, scene)
  const of = { nth: 0, any: false }
  if (first === 'revoke') await runVerb({ kind: 'revoke', who: 'sol', of }, PLAIN, holder, scene)
  if (first === 'again')
    await runVerb({ kind: 'exchange', who: 'executor', again: true, keyed: true, of }, PLAIN, holder, scene)
  for (let n = 0; n < looks; n += 1) {
    await jump(31 * SECOND, holder, scene)
    await runVerb({ kind: 'sweep', login: true }, PLAIN, holder, scene)
  }
  await runAct({ do: 'backend', up: true }, holder, scene)
}

/** What is approved needs a reviewer more from now on, and the first gives their yes. */
async function runRaised(holder: Holder, scene: Scene): Promise<void> {
  await runVerb({ kind: 'publish', edition: 'quorum', off: [] }, PLAIN, holder, scene)
  const of = { nth: 0, any: false }
  await runVerb({ kind: 'decide', who: 'ruth', verdict: 'approve', of }, PLAIN, holder, scene)
}

async function runDirect(kind: Direct, of: Nth, holder: Holder, scene: Scene): Promise<void> {
  const grant = pickGrant(holder.state, of)
  if (grant === undefined) return
  const wrong = await tryDirect(scene.stage, kind, grant.name)
  if (wrong.length > 0) throw new Difference(wrong.join('\n'))
  await settle([], [], holder, scene)
}

// ---- Holding what was seen against what the model says

const lookAt = ({ stage, names }: Scene): Promise<Seen> => stage.look(names)

/** One of the outcomes that the model has must be what is there, with these answers. */
async function settle(
  starts: readonly Start[],
  results: readonly string[],
  holder: Holder,
  scene: Scene,
): Promise<void> {
  const seen = await lookAt(scene)
  let first: string | undefined
  let tried = 0
  for (const told of starts.length === 0 ? [unmoved(holder.state)] : outcomes(holder.state, starts)) {
    const wrong = wrongWith(told, results, seen, scene)
    if (wrong === undefined) {
      countTold(holder.state, told, scene.counts)
      holder.state = told.state
      return finish(told.state, seen, scene)
    }
    first ??= wrong
    tried += 1
  }
  throw new Difference(`${first}${tried > 1 ? `\n(and ${tried - 1} other outcomes do not fit either)` : ''}`)
}
function countTold({ grants }: State, { trail, results }: Told, counts: Counts): void {
  for (const result of results) count(counts.answers, result)
  for (const [name, states] of trail) {
    let before = grants.get(name)
    for (const state of states) {
      if (before?.version !== state.version) count(counts.edges, `${before?.status ?? 'none'}>${state.status}`)
      before = state
    }
  }
}
const unmoved = (state: State): Told => ({ state, trail: new Map(), results: [] })

function wrongWith(told: Told, results: readonly string[], seen: Seen, scene: Scene): string | undefined {
  if (told.results.join() !== results.join()) return `answers: model ${told.results.join()}, broker ${results.join()}`
  for (const name of scene.names) {
    const grant = told.state.grants.get(name)
    const differs = difference(grant, seen.rows.get(scene.stage.idOf(name)), grant?.login ?? false)
    if (differs !== undefined) return `grant ${name}:\n${differs}`
  }
  return freezesDiffer(told.state, seen, scene.stage) ?? eventsDiffer(told.trail, seen, scene)
}

/** Each new event is told as the model's step to that version. */
function eventsDiffer(trail: Told['trail'], seen: Seen, { stage, names }: Scene): string | undefined {
  const model = new Map(
    names.map((name) => [
      String(stage.idOf(name)),
      new Map((trail.get(name) ?? []).map(({ version, event }) => [version, event])),
    ]),
  )
  for (const { grant, version, type } of seen.events) {
    if (grant.startsWith('f-')) continue
    const expected = model.get(grant)?.get(version)
    if (expected !== type) return `event ${version} of ${grant}: model ${expected}, store ${type}`
  }
  return undefined
}

function finish(state: State, seen: Seen, scene: Scene): void {
  const wrong = [waitingDiffers(state, seen), ...scene.check(seen)].filter((one) => one !== undefined)
  if (wrong.length > 0) throw new Difference(wrong.join('\n'))
  // What was never filed is looked for no more.
  scene.names = scene.names.filter((name) => state.grants.has(name))
}

/** A broker dies in a verb: of each grant any state that it goes through may be what is left, and what is there counts. */
async function runCrash(
  { verb, at, when }: Extract<Act, { do: 'crash' }>,
  holder: Holder,
  scene: Scene,
): Promise<void> {
  await aSecondLater([verb], holder, scene)
  const name = namesNext(scene)
  const what = bound(verb, holder.state, name)
  if (what === undefined) return
  const { result, died } = await perform(scene, what, { hand: PLAIN, name, dies: { n: at, when } })
  if (died) scene.stage.reload()
  if (!died) return settle([what.start(PLAIN)], [result], holder, scene)
  const seen = await lookAt(scene)
  const told = outcomes(holder.state, [what.start(PLAIN)]).next().value
  if (told === undefined) throw new Error('a program without an outcome')
  const grants = new Map(
    scene.names.flatMap((one) => {
      const left = leftOf(one, holder.state.grants.get(one), told, seen, scene)
      return left === undefined ? [] : [[one, left] as const]
    }),
  )
  const states = [holder.state, told.state].map((state): State => ({ ...state, grants, order: told.state.order }))
  const state = states.find((one) => freezesDiffer(one, seen, scene.stage) === undefined)
  if (state === undefined) throw new Difference(freezesDiffer(told.state, seen, scene.stage) ?? '')
  const wrong = eventsDiffer(told.trail, seen, scene)
  if (wrong !== undefined) throw new Difference(wrong)
  holder.state = { ...state, rules: holder.state.rules, loaded: holder.state.loaded }
  finish(holder.state, seen, scene)
}
function leftOf(
  name: number,
  before: GrantState | undefined,
  told: Told,
  seen: Seen,
  { stage }: Scene,
): GrantState | undefined {
  const possible = [before, ...(told.trail.get(name) ?? [])]
  const row = seen.rows.get(stage.idOf(name))
  const wrong = possible.map((one) => difference(one, row, one?.login ?? false))
  const right = wrong.indexOf(undefined)
  if (right < 0)
    throw new Difference(`after a crash, grant ${name} is none of ${possible.length}:\n${wrong.join('\n')}`)
  return possible[right]
}

/** Everything is back, and time goes on beyond every window: all must come to its end, and nothing may be left anywhere. */
export async function comeToRest(holder: Holder, scene: Scene): Promise<void> {
  const { stage } = scene
  for (const what of ['backend', 'seal'] as const)
    if (isPossible({ do: what, up: true }, holder.state)) await runAct({ do: what, up: true }, holder, scene)
  await jump(50 * HOUR, holder, scene)
  const isOver = (): boolean => [...holder.state.grants.values()].every(({ status }) => isFinal(status))
  for (let tries = 0; tries < 4 && !(isOver() && tries > 0); tries += 1) {
    await runVerb({ kind: 'cleanUp' }, PLAIN, holder, scene)
    for (const login of [false, true]) await runVerb({ kind: 'sweep', login }, PLAIN, holder, scene)
    await jump(31 * SECOND, holder, scene)
  }
  if (!isOver()) throw new Difference('not everything has ended, long after every window')
  const left = [...stage.backend.leases(), ...stage.backend.holds(), ...stage.backend.liveSecrets()]
  if (left.length > 0) throw new Difference(`left at the backend: ${JSON.stringify(left)}`)
  const read = await stage.store.loadManyToEnd(scene.names.map(stage.idOf))
  if (read.unreadable.length > 0 || read.grants.length !== holder.state.grants.size)
    throw new Difference(`the store reads ${read.grants.length} of ${holder.state.grants.size} grants`)
}

export const command = (act: Act): fc.AsyncCommand<Holder, Scene> => ({
  check: (holder) => isPossible(act, holder.state),
  run: (holder, scene) => runAct(act, holder, scene),
  toString: () => JSON.stringify(act),
})
export const anySequence = (replayPath?: string): fc.Arbitrary<Iterable<fc.AsyncCommand<Holder, Scene>>> =>
  fc.commands([anyAct.map(command)], {
    maxCommands: 26,
    size: 'max',
    ...(replayPath === undefined ? {} : { replayPath }),
  })
