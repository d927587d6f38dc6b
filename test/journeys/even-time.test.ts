// The shipped broker on a real Redis: a stranger who measures for long cannot tell a grant that is there from one that is not.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { client, proofKey } from '../../deploy/dev/client.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { closeStage } from '../support/leak-scan.ts'
import { compared } from '../support/timing.ts'

const SAMPLES = 2_000

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
  const found = await compared(port, of(id), of(`${id.slice(0, -3)}777`), SAMPLES, 10)
  console.log(found)
  expect(Math.abs(found.deltaMs)).toBeLessThan(1)
  expect(Math.abs(found.welch)).toBeLessThan(4.5)
}, 120_000)
