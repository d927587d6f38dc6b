// The shipped broker with one change: it can be told at which effect to die. It connects to the socket that WRIT_TEST_AIM names and says
// which points there are. Aimed at one, it kills itself there (SIGKILL), or says that it is there and waits, while somebody else is killed.
// WRIT_TEST_PLANT composes it with a bug. Only the crash run starts this program; src knows nothing of it.
import { writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { canaryRound } from '../../src/broker/canary.ts'
import { retire } from '../../src/broker/retire.ts'
import { openAdapters, startBroker } from '../../src/compose.ts'
import { after, duration, hours, minutes } from '../../src/domain/instant.ts'
import { readSettings } from '../../src/settings.ts'
import type { AimedSays, AimedTold } from './aimed.ts'
import { canaryTurns } from './canary-turns.ts'
import { type Point, pointed, pointedPorts } from './effect-points.ts'
import { isBug, planted } from './planted-bugs.ts'

const { WRIT_TEST_AIM = '', WRIT_TEST_SLOT = '', WRIT_TEST_DIED = '', WRIT_TEST_PLANT = '' } = process.env

let aim: { readonly point: Point; readonly who: 'self' | 'other' } | undefined
let goOn: (() => void) | undefined

const atPoint = (point: Point): Promise<void> | void => {
  if (aim?.point !== point) return
  const { who } = aim
  aim = undefined
  if (who === 'self') return die(point)
  const waiting = new Promise<void>((resolve) => {
    goOn = resolve
  })
  say({ is: 'there', point })
  return waiting
}

function die(point: Point): never {
  // Told first, so that nobody takes a broker that ended by itself for one that was killed.
  writeFileSync(WRIT_TEST_DIED, point)
  process.kill(process.pid, 'SIGKILL')
  // The signal is on its way; nothing more may happen.
  for (;;);
}

const socket = connect(WRIT_TEST_AIM)
socket.unref()
socket.on('error', () => undefined)
const say = (said: AimedSays): void => void socket.write(`${JSON.stringify(said)}\n`)

const opened = planted(
  isBug(WRIT_TEST_PLANT) ? WRIT_TEST_PLANT : undefined,
  await openAdapters(readSettings(process.env)),
)
const points: Point[] = []
const canaries = canaryTurns(opened.ports.canaries, `${WRIT_TEST_DIED}-turns`)
const ports = pointedPorts({ ...opened.ports, canaries }, atPoint, points)
const archive = pointed('archive', { keep: opened.archive.keep }, ['keep'], atPoint, points)
const gates = opened.gates && {
  ...opened.gates,
  ...pointed('gates', { pass: opened.gates.pass, keep: opened.gates.keep }, ['pass', 'keep'], atPoint, points),
}
const adapters = { ...opened, ports, archive, gates }

createInterface({ input: socket }).on('line', (line) => {
  const told = JSON.parse(line) as AimedTold
  switch (told.do) {
    case 'aim':
      aim = { point: told.point, who: told.who }
      return
    case 'rest':
      aim = undefined
      return
    case 'go':
      goOn?.()
      return
    // Its clock is a minute, the inventory's half of one: whoever lives a few seconds never gets there by itself.
    case 'retire':
      void retire({ ...ports, archive, retention: duration(0) })().catch(() => undefined)
      return
    case 'canary':
      // As if the next ones were due.
      void canaryRound({ ...ports, now: () => after(ports.now(), hours(1)), every: minutes(1), pause })().catch(
        () => undefined,
      )
      return
    case 'look-through':
      for (const backend of gates?.backends ?? []) void gates?.pass(backend).catch(() => undefined)
  }
})
const running = await startBroker(adapters, ports)
// Whoever is killed leaves nothing behind for the next start, unless it is written now.
flushCompileCache()
say({ is: 'up', slot: Number(WRIT_TEST_SLOT), points })
process.on('SIGTERM', () => void running.stop().then(() => process.exit(0)))
