// The shipped broker on a real Redis: a stranger who measures for long cannot tell a grant that is there from one that is not.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, proofKey } from '../../deploy/dev/client.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { closeStage } from '../support/leak-scan.ts'
import { type Compared, compared, type Request } from '../support/timing.ts'

const SAMPLES = 2_000
const ROUNDS = 3
const PLAIN = { method: 'GET', headers: {}, body: '' }

/** A difference that is there shows in every round; one that the machine made does not. */
async function differs(port: number, one: Request, other: Request, many: number): Promise<boolean> {
  const rounds: Compared[] = []
  for (let n = 0; n < ROUNDS; n += 1) {
    const { deltaMs, welch } = await compared(port, one, other, many, 8)
    rounds.push({ deltaMs, welch })
    if (Math.abs(deltaMs) < 1 && Math.abs(welch) < 4.5) break
  }
  console.log(rounds)
  return rounds.length === ROUNDS
}

let stage: DevStage
beforeAll(async () => {
  stage = await openStage({ vault: false })
  await stage.startBroker(0)
}, 120_000)
afterAll(() => closeStage(stage))

it(`of ${SAMPLES} answers for a foreign grant and as many for none the median and the mean are the same`, async () => {
  const dana = { token: await stage.idp.personToken('dana'), key: proofKey() }
  const asked = await client(stage.url).post(dana, '/v1/grants', {
    entitlement: 'sales-report',
    actions: ['report.read'],
    task: { summary: 'A report' },
    window: { duration: '5m' },
  })
  expect(asked.said).toBe('ok')
  const { id } = asked.body
  const vera = await stage.idp.personToken('vera')
  const of = (grant: string) => ({
    method: 'GET',
    path: `/v1/grants/${grant}`,
    headers: { authorization: `Bearer ${vera}` },
    body: '',
  })
  const port = Number(new URL(stage.url).port)
  expect(await differs(port, of(id), of(`${id.slice(0, -3)}777`), SAMPLES)).toBe(false)
}, 240_000)

it('five milliseconds would be seen', async () => {
  const server = createServer((req, res) => void setTimeout(() => res.end(), req.url === '/slow' ? 25 : 20))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  expect(await differs(port, { ...PLAIN, path: '/slow' }, { ...PLAIN, path: '/' }, 200)).toBe(true)
  server.close()
})
