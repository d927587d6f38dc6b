import { vaultWorld, CREDENTIAL, ENTITLEMENT } from './support/vault-world.ts'
import { vaultCredentialSource } from '../src/vault/credential-source.ts'
import { processTimer } from '../src/vault/timer.ts'
import { planOfTest, liveMint, openedMint } from './contracts/credential-source.ts'
import { minutes } from '../src/domain/instant.ts'
import nodeVault from 'node-vault'
const world = await vaultWorld()
let t0 = performance.now(); for (let i = 0; i < 1000; i++) nodeVault({ endpoint: 'http://x', 'request-promise': { defaults: () => async () => ({}) } } as any); console.log('node-vault instance ms', (performance.now() - t0) / 1000)
let k = 0
const word = () => 'b' + String(k++).replace(/\d/g, (d) => 'bcdefghijk'[Number(d)]!)
const pct = (xs: number[], p: number) => xs.toSorted((a, b) => a - b)[Math.floor(xs.length * p)]?.toFixed(0)
for (const c of [1, 2, 4, 8, 16]) {
  const source = vaultCredentialSource(world.backendsWith({ issueConcurrency: c, endConcurrency: c, issueQueue: 10000, endQueue: 10000, issueTimeoutMs: 60000, endTimeoutMs: 60000, callTimeoutMs: 30000 }), processTimer)
  await source.ready()
  const n = 120
  const lat: number[] = []
  const pool = async <T>(items: readonly any[], f: (x: any) => Promise<T>) => { const out: T[] = []; const q = [...items]; await Promise.all(Array.from({ length: c }, async () => { for (let x = q.shift(); x !== undefined; x = q.shift()) { const s = performance.now(); out.push(await f(x)); lat.push(performance.now() - s) } })); return out }
  let t = performance.now()
  const mints = await pool(Array.from({ length: n }, () => planOfTest(word())), async (plan) => { const hold = await source.open(plan); await source.keep(hold, minutes(10)); const { lease } = await source.issue(hold, plan, minutes(10)); return { plan, mint: liveMint(hold, lease) } })
  const mint = performance.now() - t; const ml = lat.splice(0)
  t = performance.now()
  await pool(mints, async ({ plan, mint }) => source.close(plan, mint)); const close = performance.now() - t; const cl = lat.splice(0)
  t = performance.now()
  const gone = await pool(mints, async ({ plan, mint }) => source.confirmGone(plan, mint)); const conf = performance.now() - t; const gl = lat.splice(0)
  console.log(`concurrency ${c}: mints/s ${(n / mint * 1000).toFixed(1)} (p50 ${pct(ml, .5)} p99 ${pct(ml, .99)}) closes/s ${(n / close * 1000).toFixed(1)} (p50 ${pct(cl, .5)} p99 ${pct(cl, .99)}) confirms/s ${(n / conf * 1000).toFixed(1)} (p50 ${pct(gl, .5)} p99 ${pct(gl, .99)}) gone ${gone.filter((g) => g.gone).length}/${n}`)
  source.stop()
}
console.log('load', (await import('node:os')).loadavg())
await world.stop()
