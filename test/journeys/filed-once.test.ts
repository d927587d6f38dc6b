// One asking, sent again and again under one Idempotency-Key while the broker that gets it is killed with SIGKILL at a random moment, two
// hundred times: it is filed once. Askings for several entitlements too, each of which is several commits.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { client, type Json, type Who } from '../../deploy/dev/client.ts'
import { type BrokerProcess, type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { closeStage } from '../support/leak-scan.ts'

const KILLS = 200
/** So many kills for each asking before the next one begins. */
const KILLS_EACH = 10
/** The longest wait before the first kill. It follows the machine from there: longer after a broker that had not answered, shorter after one
 * that had, so that kills fall on both sides of the commit on any machine. */
const WITHIN_MS = 30

let stage: DevStage
let dana: Who

beforeAll(async () => {
  stage = await openStage({ vault: false })
  await stage.startBroker()
  dana = { token: await stage.idp.personToken('dana') }
}, 120_000)
afterAll(() => closeStage(stage))

const report = (task: string, parts: number): Json => ({
  entitlement: 'sales-report',
  actions: ['report.read'],
  scope: ['report:sales'],
  task: { id: task, summary: 'Read the sales report' },
  window: { duration: '30m' },
  more: Array.from({ length: parts - 1 }, () => ({ entitlement: 'sales-report', actions: ['report.read'] })),
})

describe('an asking repeated under one key', () => {
  it(`is one grant while the broker is killed ${KILLS} times`, { timeout: 900_000 }, async () => {
    const living = client(stage.url)
    let starting: Promise<BrokerProcess> = stage.startBroker(1)
    let answered = 0
    let withinMs = WITHIN_MS
    for (let kill = 0; kill < KILLS; kill += 1) {
      const n = Math.floor(kill / KILLS_EACH)
      const [task, parts] = [`task-${n}`, 1 + (n % 3)]
      const dying = await starting
      // The next one starts while this one works and dies.
      starting = stage.startBroker(1 + ((kill + 1) % 3))
      const to = client(dying.url, stage.url)
      // Whom it is asked by is known by then, so that what is killed is the filing.
      expect((await to.get(dana, '/v1/whoami')).status).toBe(200)
      const sent = to
        .post(dana, '/v1/grants', report(task, parts), { 'idempotency-key': `"the-key-of-${task}"` })
        .then(({ status }) => status)
        .catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, Math.random() * withinMs))
      await dying.kill()
      const status = await sent
      if (status !== undefined) {
        expect(status).toBe(201)
        answered += 1
      }
      withinMs = Math.min(1000, Math.max(5, withinMs * (status === undefined ? 1.05 : 0.9)))
      if (kill % KILLS_EACH < KILLS_EACH - 1) continue
      const again = await living.post(dana, '/v1/grants', report(task, parts), {
        'idempotency-key': `"the-key-of-${task}"`,
      })
      expect([again.status, again.body.status]).toEqual([201, 'approved'])
      const filed = await living.get(dana, `/v1/grants?task=${task}&limit=100`)
      expect([task, filed.body.grants.map(({ id }: Json) => id).sort()]).toEqual([
        task,
        [again.body.id, ...again.body.linked].sort(),
      ])
      expect(filed.body.grants).toHaveLength(parts)
    }
    await (await starting).kill()
    console.log(`${KILLS} kills, ${KILLS / KILLS_EACH} askings; ${answered} of the killed brokers had answered`)
    expect(answered).toBeGreaterThan(KILLS / 20)
    expect(answered).toBeLessThan(KILLS)
  })
})
