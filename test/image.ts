// `npm run image:test`: builds the image and runs it as it shall be run, then looks from outside whether it is what it promises. It needs a
// Docker engine on this machine and says so in one line where there is none. Bases that cannot be pulled are made here.
import { strict as assert } from 'node:assert'
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeBases } from '../deploy/dev/base-image.ts'
import { bringImage } from '../deploy/dev/docker.ts'
import { ask } from '../deploy/dev/docker-api.ts'
import { temporaryFolder } from '../deploy/dev/running.ts'
import { openStage } from '../deploy/dev/stage.ts'
import { actors, eventually, reports } from './support/journey-actors.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PUBLIC_BASE = 'node:26-slim'
const IMAGE = 'writ:image-test'
const HEALTHY_WITHIN_MS = 5_000
const UID = 65_532

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const docker = (args: readonly string[], input?: Buffer): string =>
  execFileSync('docker', args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    ...(input === undefined ? {} : { input }),
    stdio: ['pipe', 'pipe', 'pipe'],
  }).trim()

function build(bases: readonly string[]): void {
  const started = performance.now()
  docker(['build', '--network', 'host', '--target', 'broker', ...bases, '--tag', IMAGE, ROOT])
  say(
    `built in ${Math.round((performance.now() - started) / 1_000)} s, ${docker(['image', 'inspect', '--format', '{{.Size}}', IMAGE])} bytes`,
  )
}

/** What the image holds, by name. */
function contents(): readonly string[] {
  const container = docker(['create', IMAGE])
  try {
    const tar = execFileSync('docker', ['export', container], { maxBuffer: 2 ** 30 })
    return execFileSync('tar', ['-t'], { input: tar, encoding: 'utf8', maxBuffer: 2 ** 28 }).split('\n')
  } finally {
    docker(['rm', container])
  }
}

function checkContents(ownBase: boolean): void {
  const names = contents()
  const never = /^app\/(test|\.git|deploy\/dev|node_modules\/(node-linux|typescript|vitest|oidc-provider|@biomejs))/
  assert.deepEqual(
    names.filter((name) => never.test(name)),
    [],
  )
  assert.ok(names.includes('app/src/main.ts'))
  const programs = names.filter((name) => /^(usr\/)?(local\/)?s?bin\/./.test(name))
  if (ownBase) assert.deepEqual(programs, ['usr/local/bin/node'])
  say(`holds ${names.length} names, ${programs.length} programs${ownBase ? ': node, and no shell' : ''}`)
}

/** A copy that every user may read: the stage's own belongs to us alone. */
function settingsFor(to: string, stage: { readonly dir: string }): void {
  for (const name of ['issuers.yaml', 'clients.yaml', 'resource-servers', 'secrets/redis-url']) {
    mkdirSync(join(to, 'secrets'), { recursive: true })
    cpSync(join(stage.dir, name), join(to, name), { recursive: true })
  }
  for (const name of ['', 'secrets', 'resource-servers']) chmodSync(join(to, name), 0o755)
  chmodSync(join(to, 'secrets/redis-url'), 0o644)
}

function start(folder: string, url: string): string {
  const settings = {
    WRIT_MODE: 'dev',
    WRIT_LISTEN: new URL(url).host,
    WRIT_PUBLIC_URL: url,
    WRIT_REDIS_URL_FILE: '/run/writ/secrets/redis-url',
    WRIT_ISSUERS_FILE: '/run/writ/issuers.yaml',
    WRIT_CLIENTS_FILE: '/run/writ/clients.yaml',
    WRIT_CONFIG_DIR: '/app/config',
    WRIT_KEYS_DIR: '/keys',
    WRIT_VAULT: 'off',
  }
  const owned = `uid=${UID},gid=${UID},mode=0700`
  return docker([
    ...['run', '--detach', '--network', 'host', '--read-only', '--cap-drop', 'ALL'],
    ...['--security-opt', 'no-new-privileges', '--pids-limit', '64', '--memory', '512m'],
    ...['--tmpfs', `/data:${owned}`, '--tmpfs', `/keys:${owned}`, '--volume', `${folder}:/run/writ:ro`],
    ...Object.entries(settings).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    IMAGE,
  ])
}

const inspect = (container: string, format: string): string => docker(['inspect', '--format', format, container])

/** As Docker has it: when it was started, and when the first probe that found it alive had its answer. */
async function healthOf(container: string): Promise<{ readonly status: string; readonly afterMs: number }> {
  const told = await ask('GET', `/containers/${container}/json`, 3_000)
  const { State: state } = JSON.parse(told?.body ?? '{}')
  const alive = state.Health.Log.find(({ ExitCode: code }: { readonly ExitCode: number }) => code === 0)
  return { status: state.Health.Status, afterMs: Date.parse(alive?.End) - Date.parse(state.StartedAt) }
}

async function healthyAfter(container: string): Promise<number> {
  const isHealthy = ({ status }: { readonly status: string }): boolean => status === 'healthy'
  const health = await eventually('healthy', () => healthOf(container), isHealthy, 30_000).catch((thrown: unknown) => {
    say(docker(['logs', container]))
    throw thrown
  })
  return health.afterMs
}

/** As the kernel sees it, read from outside: nothing is run in the container. */
function checkProcess(container: string): void {
  const pid = inspect(container, '{{.State.Pid}}')
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const line = (name: string): string => new RegExp(`^${name}:\\s+(.*)$`, 'm').exec(status)?.[1] ?? ''
  assert.deepEqual(line('Uid').split(/\s+/), Array(4).fill(String(UID)))
  assert.deepEqual(line('Gid').split(/\s+/), Array(4).fill(String(UID)))
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) assert.match(line(set), /^0+$/, set)
  assert.equal(line('NoNewPrivs'), '1')
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .trim()
    .split('\n')
    .map((row) => row.split(' '))
  const root = mounts.find((row) => row[4] === '/')
  assert.ok(root?.[5]?.split(',').includes('ro'), 'the root is read-only')
  const writable = mounts
    .filter((row) => row[5]?.startsWith('rw') && !/^\/(proc|dev|sys)(\/|$)/.test(row[4] ?? ''))
    .map((row) => row[4])
  // Docker writes host name, hosts and resolver there itself; they belong to root.
  assert.deepEqual(writable.filter((at) => !at?.startsWith('/etc/')).toSorted(), ['/data', '/keys'])
  say(
    `uid ${line('Uid').split(/\s+/)[1]}, CapEff ${line('CapEff')}, CapBnd ${line('CapBnd')}, NoNewPrivs ${line('NoNewPrivs')}, Seccomp ${line('Seccomp')}, root ${root?.[5]}`,
  )
}

if ((await ask('GET', '/info', 3_000))?.status !== 200) {
  say('The image is not tried here: no Docker engine answers on this machine.')
  process.exit(0)
}
const named = process.env.WRIT_TEST_NODE_IMAGE
const pulled = named ?? ((await bringImage(PUBLIC_BASE, say)) ? PUBLIC_BASE : undefined)
const bases = pulled === undefined ? await makeBases(docker) : { nodeImage: pulled, runtimeImage: pulled }
say(pulled === undefined ? 'base images made of the Node of this machine' : `base image ${pulled}`)
build(['--build-arg', `NODE_IMAGE=${bases.nodeImage}`, '--build-arg', `RUNTIME_IMAGE=${bases.runtimeImage}`])
checkContents(pulled === undefined)

const stage = await openStage({ vault: false })
const folder = await temporaryFolder('image')
let container: string | undefined
try {
  settingsFor(folder.path, stage)
  const id = start(folder.path, stage.url)
  container = id
  const afterMs = await healthyAfter(id)
  say(`healthy ${afterMs} ms after its start`)
  assert.ok(afterMs <= HEALTHY_WITHIN_MS, `healthy after ${afterMs} ms`)
  checkProcess(id)

  // zod, Cedar, the signer, the witness: a whole exchange under the flags of the image.
  const clerk = reports(stage, actors(stage))
  const { report, said } = await clerk.filed(stage.url, 300)
  assert.equal(said, 'ok')
  assert.equal((await clerk.exchange(stage.url, report)).said, 'ok')
  say('a report was asked for and its token handed out')

  docker(['stop', '--time', '30', id])
  assert.equal(inspect(id, '{{.State.ExitCode}}'), '0')
  say('stopped with exit code 0')
} finally {
  if (container !== undefined) docker(['rm', '--force', '--volumes', container])
  await stage.stop()
  folder.remove()
}
