// The services themselves: what every test on real parts relies on. A service that could be left behind, lose data over a restart,
// or go on answering while frozen would make other tests lie.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exclusively } from '../../deploy/dev/cache.mjs'
import { type PostgresService, startPostgres } from '../../deploy/dev/postgres.ts'
import { type RedisService, startRedis } from '../../deploy/dev/redis.ts'
import { family } from '../../deploy/dev/running.ts'
import { setUp } from '../../deploy/dev/services.ts'
import { startVault, type VaultService } from '../../deploy/dev/vault.ts'

const DEV = fileURLToPath(new URL('../../deploy/dev', import.meta.url))

const isRunning = (pid: number): boolean => {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !/[ZX]/.test(line.slice(line.lastIndexOf(')') + 2)[0] ?? '')
  } catch {
    return false
  }
}

const isSoon = async (holds: () => boolean | Promise<boolean>): Promise<boolean> => {
  for (let n = 0; n < 200; n++, await pause(25)) if (await holds()) return true
  return false
}

const listens = (port: number): Promise<boolean> =>
  new Promise((answer) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => answer(false))
    socket.once('connect', () => {
      socket.destroy()
      answer(true)
    })
  })

const within = <T>(ms: number, work: Promise<T>): Promise<T | 'nothing'> =>
  Promise.race([work, pause(ms).then((): 'nothing' => 'nothing')])

/** A script run by the Node of this test; resolves its first line, and later how it ended. */
const child = async (script: string, env: NodeJS.ProcessEnv = {}) => {
  const process_ = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(process_, 'exit')
  const [line] = (await once(createInterface({ input: process_.stdout }), 'line')) as [string]
  return { line, pid: process_.pid ?? 0, kill: (signal: NodeJS.Signals) => process_.kill(signal), ended }
}

describe('Redis', () => {
  let redis: RedisService
  let client: Redis
  beforeAll(async () => {
    redis = await startRedis({ own: true })
    client = new Redis(redis.url, { commandTimeout: 1_000, retryStrategy: () => 50 })
    client.on('error', () => {})
  })
  afterAll(async () => {
    client.disconnect()
    await redis.stop()
  })

  it('is configured as Writ demands of a production server', async () => {
    const setting = async (name: string) => ((await client.config('GET', name)) as string[])[1]
    expect(await setting('appendonly')).toBe('yes')
    expect(await setting('appendfsync')).toBe('always')
    expect(await setting('maxmemory-policy')).toBe('noeviction')
    expect(Number(await setting('maxmemory'))).toBeGreaterThan(0)
    expect(await setting('bind')).toBe('127.0.0.1')
  })

  it('refuses a client without the password', async () => {
    const stranger = new Redis({ port: redis.port, retryStrategy: () => null })
    stranger.on('error', () => {})
    await expect(stranger.get('a')).rejects.toThrow(/NOAUTH/)
    stranger.disconnect()
  })

  it('answers nothing while it is frozen, and everything afterwards', async () => {
    await redis.freeze()
    const asked = client.ping().catch(() => 'nothing')
    expect(await asked).toBe('nothing')
    await redis.thaw()
    expect(await client.ping()).toBe('PONG')
  })

  it('keeps every acknowledged write over a kill', async () => {
    await client.set('kept', 'yes')
    await redis.kill()
    await redis.restart()
    expect(await isSoon(async () => (await client.get('kept').catch(() => null)) === 'yes')).toBe(true)
  })

  it('leaves neither process nor folder behind when it is stopped', async () => {
    const other = await startRedis({ own: true })
    const { port, dir } = other
    await other.stop()
    expect(await listens(port)).toBe(false)
    expect(existsSync(dir ?? '')).toBe(false)
  })

  it('dies with the process that started it, even when that one is killed', async () => {
    const script = `
      const { startRedis } = await import(${JSON.stringify(join(DEV, 'redis.ts'))})
      const redis = await startRedis({ own: true })
      console.log(JSON.stringify({ port: redis.port, dir: redis.dir }))
      setInterval(() => {}, 1000)`
    const owner = await child(script)
    const { port, dir } = JSON.parse(owner.line) as { port: number; dir: string }
    expect(await listens(port)).toBe(true)
    owner.kill('SIGKILL')
    await owner.ended
    expect(await isSoon(async () => !(await listens(port)))).toBe(true)
    rmSync(dir, { recursive: true, maxRetries: 5 })
  })

  it('takes its folder with it when its process is asked to end', async () => {
    const script = `
      const { startRedis } = await import(${JSON.stringify(join(DEV, 'redis.ts'))})
      const redis = await startRedis({ own: true })
      console.log(JSON.stringify({ port: redis.port, dir: redis.dir }))
      setInterval(() => {}, 1000)`
    const owner = await child(script)
    const { port, dir } = JSON.parse(owner.line) as { port: number; dir: string }
    owner.kill('SIGTERM')
    expect((await owner.ended)[0]).toBe(143)
    expect(await isSoon(async () => !(await listens(port)))).toBe(true)
    expect(existsSync(dir)).toBe(false)
  })
})

describe('PostgreSQL', () => {
  let postgres: PostgresService
  beforeAll(async () => {
    postgres = await startPostgres({ own: true })
  })
  afterAll(() => postgres.stop())

  const connected = async (url = postgres.url): Promise<pg.Client> => {
    const client = new pg.Client(url)
    client.on('error', () => {})
    await client.connect()
    return client
  }

  it('lets nobody in without the password', async () => {
    const wrong = connected(postgres.url.replace(postgres.password, 'wrong'))
    await expect(wrong).rejects.toMatchObject({ code: '28P01' })
  })

  it('answers on no open session and to no new one while it is frozen', async () => {
    const open = await connected()
    await postgres.freeze()
    const asked = open.query('select 1').then(() => 'answered')
    const knocked = connected().then(
      (client) => client.end(),
      () => undefined,
    )
    expect(await within(400, asked)).toBe('nothing')
    expect(await within(100, knocked)).toBe('nothing')
    await postgres.thaw()
    expect(await asked).toBe('answered')
    await knocked
    await open.end()
  })

  it('keeps what was committed over a restart, at the same address', async () => {
    const before = await connected()
    await before.query('create table kept as select 1 as one')
    await before.end()
    await postgres.restart()
    const after = await connected()
    expect((await after.query('select one from kept')).rows).toEqual([{ one: 1 }])
    await after.end()
  })

  it('leaves no process behind when it is stopped while frozen', async () => {
    const other = await startPostgres({ own: true })
    const pids = other.pid === undefined ? [] : family(other.pid)
    await other.freeze()
    await other.stop()
    expect(await isSoon(() => !pids.some(isRunning))).toBe(true)
    expect(await listens(other.port)).toBe(false)
  })
})

describe('Vault', () => {
  let vault: VaultService
  beforeAll(async () => {
    vault = await startVault({ own: true })
  })
  afterAll(() => vault.stop())

  const ask = (method: string, path: string, body?: unknown, ms = 5_000): Promise<Response> =>
    fetch(`${vault.addr}/v1/${path}`, {
      method,
      headers: { 'x-vault-token': vault.rootToken },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ms),
    })

  it('is unsealed and answers as a real server of its version', async () => {
    const health = (await (await ask('GET', 'sys/health')).json()) as { sealed: boolean; version: string }
    expect(health).toMatchObject({ initialized: true, sealed: false, standby: false })
    expect(health.version).toMatch(/^1\.21\./)
  })

  it('comes back unsealed with its data after a kill', async () => {
    expect((await ask('POST', 'sys/mounts/kept', { type: 'kv' })).status).toBe(204)
    expect((await ask('POST', 'kept/one', { value: 'yes' })).status).toBe(204)
    await vault.kill()
    await vault.restart()
    expect(await (await ask('GET', 'kept/one')).json()).toMatchObject({ data: { value: 'yes' } })
  })

  it('answers nothing while it is frozen', async () => {
    await vault.freeze()
    await expect(ask('GET', 'sys/health', undefined, 400)).rejects.toMatchObject({ name: 'TimeoutError' })
    await vault.thaw()
    expect((await ask('GET', 'sys/health')).status).toBe(200)
  })
})

describe('the set-up', () => {
  it('does nothing when everything is there, and names where each service comes from', async () => {
    const lines: string[] = []
    const started = performance.now()
    await setUp({ vault: true, report: (line) => lines.push(line) })
    expect(performance.now() - started).toBeLessThan(5_000)
    for (const name of ['Redis', 'PostgreSQL', 'Vault'])
      expect(lines.some((line) => line.startsWith(`${name}: `))).toBe(true)
  })
})

describe('a Docker that is of no use', () => {
  interface Heard {
    readonly asked: readonly string[]
    readonly lines: readonly string[]
    readonly has: boolean
    readonly ms: number
  }
  const HERE = { Name: hostname(), SecurityOptions: ['name=seccomp,profile=default'] }

  /** What a process makes of a Docker that answers so; undefined answers nothing. */
  const meet = async (answer: (path: string) => [number, unknown] | undefined, ask: string): Promise<Heard> => {
    const folder = mkdtempSync(join(tmpdir(), 'writ-docker-'))
    const socket = join(folder, 'docker.sock')
    const asked: string[] = []
    const docker = createServer((request, reply) => {
      asked.push(`${request.method} ${request.url}`)
      const [status, body] = answer(request.url ?? '') ?? []
      if (status !== undefined) reply.writeHead(status).end(JSON.stringify(body))
    })
    docker.listen(socket)
    await once(docker, 'listening')
    const script = `
      const docker = await import(${JSON.stringify(join(DEV, 'docker.ts'))})
      const lines = []
      const report = (line) => lines.push(line)
      const started = performance.now()
      await docker.reportDocker(report)
      const has = await docker.${ask}('redis:7', report)
      console.log(JSON.stringify({ has: has || (await docker.hasImage('redis:7', report)), lines, ms: performance.now() - started }))`
    const asker = await child(script, { DOCKER_HOST: `unix://${socket}` })
    await asker.ended
    docker.closeAllConnections()
    docker.close()
    rmSync(folder, { recursive: true })
    return { asked, ...(JSON.parse(asker.line) as Omit<Heard, 'asked'>) }
  }
  const withoutImage = (path: string): [number, unknown] => (path === '/info' ? [200, HERE] : [404, {}])

  it('is passed over by the set-up, in a line, when it has no image and cannot pull it', async () => {
    const { has, lines, asked } = await meet(withoutImage, 'bringImage')
    expect(has).toBe(false)
    expect(asked.filter((line) => line.startsWith('POST /images/create'))).toHaveLength(1)
    expect(lines).toEqual([expect.stringContaining('pulling'), expect.stringContaining('going on without')])
  })

  it('is never asked to download by the start of a service', async () => {
    const { has, lines, asked } = await meet(withoutImage, 'hasImage')
    expect(has).toBe(false)
    expect(asked.filter((line) => !line.startsWith('GET '))).toEqual([])
    expect(lines).toEqual([expect.stringContaining('going on without')])
  })

  it('is passed over in seconds when it accepts and never answers', async () => {
    const { has, lines, ms } = await meet(() => undefined, 'bringImage')
    expect(has).toBe(false)
    expect(lines).toEqual([expect.stringContaining('does not answer')])
    expect(ms).toBeLessThan(5_000)
  })

  it.each([
    ['on another host', { ...HERE, Name: `not-${hostname()}` }],
    ['rootless, in a network of its own', { ...HERE, SecurityOptions: ['name=seccomp', 'name=rootless'] }],
  ])('is passed over with all its images when it is %s', async (_, info) => {
    const { has, lines } = await meet((path) => [200, path === '/info' ? info : {}], 'bringImage')
    expect(has).toBe(false)
    expect(lines).toEqual([expect.stringContaining('does not share')])
  })
})

describe('a process with containers', () => {
  it('has them removed with their volumes when it is killed, and no others', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'writ-docker-'))
    const socket = join(folder, 'docker.sock')
    const removed: string[] = []
    const filters: string[] = []
    const docker = createServer((request, reply) => {
      const url = new URL(request.url ?? '', 'http://docker')
      if (request.method === 'DELETE') removed.push(`${url.pathname}${url.search}`)
      else filters.push(url.searchParams.get('filters') ?? '')
      reply.end(JSON.stringify(removed.length === 0 ? [{ Id: 'one' }, { Id: 'two' }] : []))
    })
    docker.listen(socket)
    await once(docker, 'listening')
    const script = `
      const { guarded } = await import(${JSON.stringify(join(DEV, 'container-guard.ts'))})
      console.log(JSON.stringify(Object.entries(await guarded())))
      setInterval(() => {}, 1000)`
    const owner = await child(script, { DOCKER_HOST: `unix://${socket}` })
    await pause(300)
    expect(filters).toEqual([])
    owner.kill('SIGKILL')
    await owner.ended
    expect(await isSoon(() => removed.length === 2)).toBe(true)
    expect(removed.toSorted()).toEqual(['/containers/one?force=1&v=1', '/containers/two?force=1&v=1'])
    const [[label, value]] = JSON.parse(owner.line) as [[string, string]]
    expect(JSON.parse(filters[0] ?? '')).toEqual({ label: [`${label}=${value}`] })
    docker.close()
    rmSync(folder, { recursive: true })
  })
})

describe('the cache', () => {
  let folder: string
  let before: string | undefined
  beforeAll(() => {
    before = process.env.WRIT_CACHE_DIR
    folder = mkdtempSync(join(tmpdir(), 'writ-cache-'))
    process.env.WRIT_CACHE_DIR = folder
  })
  afterAll(() => {
    if (before === undefined) delete process.env.WRIT_CACHE_DIR
    else process.env.WRIT_CACHE_DIR = before
    rmSync(folder, { recursive: true })
  })

  it('lets one process at a time do a piece of work', async () => {
    const marks = join(folder, 'marks')
    const script = `
      const { appendFileSync } = await import('node:fs')
      const { exclusively } = await import(${JSON.stringify(join(DEV, 'cache.mjs'))})
      const mark = (text) => appendFileSync(${JSON.stringify(marks)}, text)
      for (let n = 0; n < 5; n++) await exclusively('work', async () => {
        mark('<')
        await new Promise((done) => setTimeout(done, 20))
        mark('>')
      })
      console.log('done')`
    const workers = await Promise.all([child(script), child(script), child(script)])
    await Promise.all(workers.map(({ ended }) => ended))
    expect(readFileSync(marks, 'utf8')).toBe('<>'.repeat(15))
  })

  it('is not blocked by a process that was killed at its work', async () => {
    const script = `
      const { exclusively } = await import(${JSON.stringify(join(DEV, 'cache.mjs'))})
      await exclusively('killed', async () => {
        console.log('working')
        await new Promise((done) => setTimeout(done, 60_000))
      })`
    const killed = await child(script)
    killed.kill('SIGKILL')
    await killed.ended
    expect(await exclusively('killed', async () => 'done')).toBe('done')
  })
})

describe('the bootstrap', () => {
  let root: string
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'writ-bootstrap-'))
    const lock = JSON.stringify({ packages: { '': {} } })
    for (const file of ['node.mjs', 'cache.mjs', 'parent.mjs']) cpSync(join(DEV, file), join(root, 'deploy/dev', file))
    mkdirSync(join(root, 'node_modules'))
    writeFileSync(join(root, 'package-lock.json'), lock)
    writeFileSync(join(root, 'node_modules/.writ-lock'), createHash('sha256').update(lock).digest('hex'))
    writeFileSync(
      join(root, 'script.ts'),
      `const [what]: string[] = process.argv.slice(2)
       process.on('SIGTERM', () => process.exit(7))
       if (what === 'code') process.exit(5)
       if (what === 'signal') process.kill(process.pid, 'SIGKILL')
       setInterval(() => {}, 1000)
       console.log(process.pid)`,
    )
  })
  afterAll(() => rmSync(root, { recursive: true }))

  const start = (what: string) =>
    spawn(process.execPath, [join(root, 'deploy/dev/node.mjs'), 'script.ts', what], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })

  it('ends with the exit code of its child', async () => {
    expect(await once(start('code'), 'exit')).toEqual([5, null])
  })

  it('dies by the signal that its child died by', async () => {
    expect(await once(start('signal'), 'exit')).toEqual([null, 'SIGKILL'])
  })

  it('hands a signal on to its child and ends as that one does', async () => {
    const bootstrap = start('wait')
    await once(bootstrap.stdout, 'data')
    bootstrap.kill('SIGTERM')
    expect(await once(bootstrap, 'exit')).toEqual([7, null])
  })

  it('leaves no child behind when it is killed', async () => {
    const bootstrap = start('wait')
    const [line] = (await once(bootstrap.stdout, 'data')) as [Buffer]
    bootstrap.kill('SIGKILL')
    expect(await isSoon(() => !isRunning(Number(line.toString())))).toBe(true)
  })
})
