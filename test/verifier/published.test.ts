// The library as it is published: packed, put into a project of its own beside nothing but jose, type-checked there strictly, and run on
// plain node. The project is the example resource server, so that the example is tried too.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort, temporaryFolder } from '../../deploy/dev/running.ts'
import { AUDIENCE, type ContractBroker, contractBroker, SERVER_ID } from '../support/contract-broker.ts'
import { athOf, proof } from '../support/keys.ts'
import { until } from '../support/until.ts'
import { holder } from '../support/verified.ts'

const ROOT = resolve(import.meta.dirname, '../..')
let folder: { readonly path: string; remove(): void }
let project: string
let broker: ContractBroker
const running: ChildProcess[] = []
beforeAll(async () => {
  folder = await temporaryFolder('consumer')
  project = join(folder.path, 'project')
  broker = await contractBroker()
})
afterAll(async () => {
  for (const child of running) child.kill('SIGKILL')
  await broker.stop()
  folder.remove()
})

const run = (command: string, args: readonly string[], cwd = project) => {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  return { status, stdout, said: `${stdout}${stderr}` }
}
/** The oldest Node at hand that the package is for: a plain one on the path, or the project's own. */
const plainNode = (): string => {
  const { status, stdout } = spawnSync('node', ['--version'], { encoding: 'utf8' })
  const [, major = 0, minor = 0] = /^v(\d+)\.(\d+)/.exec(stdout ?? '') ?? []
  return status === 0 && (Number(major) > 20 || (Number(major) === 20 && Number(minor) >= 12))
    ? 'node'
    : process.execPath
}

it('is built and packed, and holds the verifier, the licence and nothing else', () => {
  const built = join(folder.path, 'built')
  expect(run(process.execPath, [join(ROOT, 'deploy/dev/build-verifier.ts'), built], ROOT)).toMatchObject({ status: 0 })
  const packed = run(
    'npm',
    ['pack', built, '--ignore-scripts', '--offline', '--pack-destination', folder.path],
    folder.path,
  )
  expect(packed.status, packed.said).toBe(0)
  const installed = join(project, 'node_modules/writ')
  mkdirSync(installed, { recursive: true })
  const tarball = readdirSync(folder.path).find((name) => name.endsWith('.tgz')) ?? ''
  expect(run('tar', ['-xzf', join(folder.path, tarball), '-C', installed, '--strip-components=1']).status).toBe(0)
  expect(readdirSync(installed).sort()).toEqual(['LICENSE', 'package.json', 'verifier'])
  const { dependencies, exports } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  expect(Object.keys(dependencies)).toEqual(['jose'])
  expect(Object.keys(exports)).toEqual(['./verifier', './package.json'])
  const imported = new Set(
    readdirSync(join(installed, 'verifier'))
      .filter((name) => name.endsWith('.js'))
      .flatMap((name) => [
        ...readFileSync(join(installed, 'verifier', name), 'utf8').matchAll(
          /\b(?:from|import)\s*\(?\s*'([^'.][^']*)'/g,
        ),
      ])
      .map(([, target]) => target?.replace(/^node:.*/, 'node')),
  )
  expect([...imported].sort()).toEqual(['jose', 'node'])
})

it('type-checks in a strict project, its declarations included', () => {
  cpSync(join(ROOT, 'node_modules/jose'), join(project, 'node_modules/jose'), { recursive: true })
  // What a TypeScript project for Node has anyway; nothing of it is there at run time.
  mkdirSync(join(project, 'node_modules/@types'))
  for (const name of ['@types/node', 'undici-types'])
    symlinkSync(join(ROOT, 'node_modules', name), join(project, 'node_modules', name))
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'consumer', type: 'module', private: true }))
  cpSync(join(ROOT, 'deploy/examples/resource-server.ts'), join(project, 'resource-server.ts'))
  writeFileSync(
    join(project, 'wrong.ts'),
    `import { verifier } from 'writ/verifier'
// @ts-expect-error how it is known what was revoked must be said
verifier({ issuer: 'https://a.example', audience: 'b', publicUrl: 'https://c.example' })
const verdict = await verifier({ issuer: 'https://a.example', audience: 'b', publicUrl: 'https://c.example', revocation: { by: 'status' } })
  .verify({ method: 'GET', target: '/', authorization: [], dpop: [] })
// @ts-expect-error a verdict is no credential before it was looked at
verdict.credential
`,
  )
  const strict = {
    target: 'es2023',
    lib: ['es2023'],
    module: 'nodenext',
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    types: ['node'],
    outDir: 'out',
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: strict, include: ['*.ts'] }))
  const checked = run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', '.'])
  expect([checked.said, checked.status]).toEqual(['', 0])
})

it('nothing but its one door can be imported', () => {
  const imports = (what: string) =>
    run(plainNode(), ['--input-type=module', '-e', `console.log(Object.keys(await import('${what}')).sort().join())`])
  expect(imports('writ/verifier').stdout.trim()).toBe(
    'DROPPED_ACTION,answerRefusal,guardExpress,guardNode,planDigest,presentedBy,verifier',
  )
  for (const other of ['writ', 'writ/verifier/verify.js', 'writ/broker']) expect(imports(other).status).not.toBe(0)
})

it('runs on plain node: a verified credential gets in, a revoked one is refused within a second, and both are reported', async () => {
  for (const name of ['@types', 'undici-types']) run('rm', ['-r', join('node_modules', name)])
  expect(readdirSync(join(project, 'node_modules')).sort()).toEqual(['jose', 'writ'])
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const { privateKey, kid } = broker.client
  writeFileSync(join(project, 'key.json'), JSON.stringify(Object(privateKey).export({ format: 'jwk' })))
  const child = spawn(plainNode(), ['out/resource-server.js'], {
    cwd: project,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      WRIT_BROKER: broker.issuer,
      AUDIENCE,
      CLIENT_ID: SERVER_ID,
      KEY_FILE: 'key.json',
      KID: kid,
      PORT: String(port),
      INSTANCE: 'consumer-1',
    },
  })
  running.push(child)
  let said = ''
  for (const from of [child.stdout, child.stderr]) from?.on('data', (part) => (said += String(part)))
  await until(
    'listening',
    20_000,
    async () => said.includes('listening') || (child.exitCode !== null && Promise.reject(said)),
    20,
  )

  const plan = 'CREATE TABLE settlement (id int)'
  const { planDigest } = await import('../../src/verifier/index.ts')
  const claims = broker.claims()
  const grant = { ...Object(claims['https://writ.dev/claims/grant']), plan_digest: planDigest(plan) }
  const one = await holder(broker, { ...claims, 'https://writ.dev/claims/grant': grant })
  const deploy = async (body: string) => {
    const dpop = await proof(one.key, {
      jti: crypto.randomUUID(),
      htm: 'POST',
      htu: `${url}/deploy`,
      iat: Math.floor(Date.now() / 1_000),
      ath: athOf(one.token),
    })
    const response = await fetch(`${url}/deploy`, {
      method: 'POST',
      headers: { authorization: `DPoP ${one.token}`, dpop },
      body,
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  expect(await deploy(plan)).toEqual({ status: 200, body: { deployed: plan.length, plan: planDigest(plan) } })
  expect((await deploy('DROP TABLE ledger')).status).toBe(403)
  broker.revoke(one.grant)
  const started = performance.now()
  await until('refused', 3_000, async () => (await deploy(plan)).status === 401, 10)
  expect(performance.now() - started).toBeLessThan(1_000)
  await until('acknowledged', 3_000, async () => broker.acks.at(-1)?.position === broker.position(), 10)
  expect(broker.acks.at(-1)?.consumer).toBe('consumer-1')
  child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number]
  expect([code, said.replace(/^listening.*\n/, '')]).toEqual([0, ''])
  const reasons = broker.uses.map(({ use }) => use.reason ?? use.outcome)
  expect(new Set(reasons)).toEqual(new Set(['used', 'wrong_plan', 'ended']))
})
