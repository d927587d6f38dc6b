// The whole work of a vendor, an approver and the SOC with nothing but `writ`, on a real broker with real Redis, Vault and PostgreSQL; and a
// pipeline's, by the scripts in deploy/examples. The transcript in the README is of this very run; WRIT_TEST_TRANSCRIPT=write writes it anew.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { client } from '../../deploy/dev/client.ts'
import { temporaryFolder } from '../../deploy/dev/running.ts'
import { confirmDevice, signInAt } from '../../deploy/dev/sign-in.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { type Person, person, plainEnvironment, type Ran, writOnPath } from '../support/command-line.ts'
import { type Eyes, eventually, eyes, type Login, NOTHING } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'
import { asPage, type Line, pageIn } from '../support/transcript.ts'

const README = fileURLToPath(new URL('../../README.md', import.meta.url))
const EXAMPLES = fileURLToPath(new URL('../../deploy/examples', import.meta.url))
const SHA = 'c0ffee'.padEnd(40, '0')

let stage: DevStage
let outside: Eyes
let port: number
let folder: { readonly path: string; remove(): void }
let vera: Person
let olivia: Person
let sol: Person
const lines: Line[] = []
const secrets: string[] = []

beforeAll(async () => {
  stage = await openStage({ vault: true })
  const services = await stage.bringVault()
  outside = eyes(services)
  port = services.postgres.port
  await stage.startBroker()
  folder = await temporaryFolder('terminals')
  ;[vera, olivia, sol] = ['vera', 'olivia', 'sol'].map((name) => person(folder.path, name)) as [Person, Person, Person]
}, 180_000)
afterAll(async () => {
  folder?.remove()
  await closeStage(stage)
})

const quoted = (word: string): string => (/[^\w:/.@=,-]/.test(word) ? `"${word}"` : word)
const typedAs = (args: readonly string[]): string => ['writ', ...args.map(quoted)].join(' ')

/** Typed, seen, written down. */
async function at(who: Person, args: readonly string[], more: Parameters<Person['run']>[1] = {}): Promise<Ran> {
  const ran = await who.run(args, more)
  lines.push({ who: who.name, typed: typedAs(args), saw: ran.err + ran.out, code: ran.code })
  return ran
}
async function atTerminal(who: Person, args: readonly string[], answers: readonly string[]): Promise<string> {
  const { code, screen } = await who.type(args, answers)
  lines.push({ who: who.name, typed: typedAs(args), saw: screen, code })
  expect(code, screen).toBe(0)
  return screen
}
const idIn = (text: string): string => /g\d+-[a-z2-7]{26}/.exec(text)?.[0] ?? 'no id'

async function loggedIn(who: Person, ...more: readonly string[]): Promise<void> {
  let acted: Promise<unknown> | undefined
  const watch = (said: string): void => {
    const [, address] = /(?:here|there): (\S+)\n/.exec(said) ?? []
    const [, code] = /code: (\S+)/.exec(said) ?? []
    if (address === undefined) return
    acted ??=
      code === undefined
        ? signInAt(new URL(address), who.name)
        : confirmDevice(new URL(address.split('?')[0] ?? ''), code, who.name)
  }
  const { code, err } = await at(who, ['login', stage.url, ...more], { watch })
  await acted
  expect(code, err).toBe(0)
}

/** The login that lies in the two files of `exchange --output psql`. */
function loginIn(who: Person, name: string): Login {
  const [, , , user = '', password = ''] = readFileSync(join(who.folder, `${name}.pgpass`), 'utf8')
    .trim()
    .split(':')
  secrets.push(password)
  return { user, password }
}

const ASK = ['request', 'payments-migrator', '--action', 'db.migrate', '--for', '30m']
const PSQL = ['--output', 'psql', '--file', 'payments', '--host', '127.0.0.1', '--dbname', 'payments']

describe('with nothing but writ', () => {
  it('a vendor asks, an approver asks back and approves, the vendor migrates and is done', {
    timeout: 120_000,
  }, async () => {
    await loggedIn(vera)
    expect((await at(vera, ['entitlements'])).out).toContain('payments-migrator')
    const asked = await at(vera, [
      ...ASK,
      '--summary',
      'Add the settlement table',
      '--rollback',
      'Drop table settlement',
      '--ticket',
      'servicenow:CHG0031337',
    ])
    expect(asked.code, asked.err).toBe(0)
    const id = idIn(asked.out)
    expect((await at(vera, ['exchange', id, ...PSQL])).code).toBe(6)
    expect((await at(vera, ['approve', id, '--reason', 'looks good to me'])).code).toBe(4)

    await loggedIn(olivia, '--device')
    expect((await at(olivia, ['list', '--waiting'])).out).toContain(id)
    expect((await at(olivia, ['ask', id, 'Is the replica drained first?'])).code).toBe(0)
    const question = /question (\d+)/.exec((await vera.run(['show', id])).out)?.[1] ?? ''
    expect((await at(vera, ['answer', id, question, 'Yes, by the step before.'])).code).toBe(0)
    const reviewed = await atTerminal(olivia, ['review'], ['a', 'Tested on staging'])
    expect(reviewed).toContain('reckoned here too')
    expect(reviewed).toContain('1 approved.')

    expect((await vera.run(['show', id, '--wait=60'])).code).toBe(0)
    const made = await at(vera, ['exchange', id, ...PSQL, `--port=${port}`, '--wait'])
    expect(made.code, made.err).toBe(0)
    const login = loginIn(vera, 'payments')
    expect(await outside.tryLogin(login)).toBe('ok')
    expect((await at(vera, ['complete', id, '--result', 'tables=1', '--wait'])).code).toBe(0)
    expect(await outside.tryLogin(login)).toMatch(/^refused/)
    expect((await at(vera, ['exchange', id, ...PSQL])).code).toBe(7)
    expect((await at(vera, ['show', id, '--events'])).out).toContain('ended')
  })

  it('the SOC sees what is live, ends it by its ticket, and has it confirmed', { timeout: 120_000 }, async () => {
    const asked = await vera.run([...ASK, '--summary', 'Add an index', '--ticket', 'servicenow:CHG0031338'])
    const id = idIn(asked.out)
    expect((await olivia.run(['approve', id, '--reason', 'Fine'])).code).toBe(0)
    expect(
      (
        await vera.run([
          'exchange',
          id,
          '--output',
          'psql',
          '--file',
          'index',
          '--host',
          '127.0.0.1',
          '--dbname',
          'payments',
        ])
      ).code,
    ).toBe(0)
    const login = loginIn(vera, 'index')
    const session = await outside.openSession(login)

    await loggedIn(sol)
    expect((await at(sol, ['list', '--all', '--status', 'active'])).out).toContain(id)
    const stream = follow(sol)
    await stream.ready
    expect(
      (await at(sol, ['revoke', '--ticket', 'servicenow:CHG0031338', '--reason', 'Alarm 4711', '--wait'])).code,
    ).toBe(0)
    await session.closed
    expect(await outside.tryLogin(login)).toMatch(/^refused/)
    await eventually(
      'the feed tells of the end',
      () => stream.seen(),
      (seen) => seen.some(({ grant, type }) => grant === id && type === 'ended'),
      10_000,
    )
    await stream.stop()
    const shown = await at(sol, ['show', id])
    expect(shown.out).toContain('ended by')
    expect((await at(sol, ['doctor'])).code).toBe(0)
    const grant = await vera.run(['show', id, '--json'])
    expect((await vera.run(['intent', 'digest', '-'], { input: grant.out })).code).toBe(0)
    await eventually(
      'nothing is left',
      () => outside.left(),
      (left) => JSON.stringify(left) === JSON.stringify(NOTHING),
      15_000,
    )
  })

  it('an asking is explained before it is filed, filed once however often, linked, refused and taken back', {
    timeout: 60_000,
  }, async () => {
    const dana = person(folder.path, 'dana')
    const token = join(dana.folder, 'token')
    writeFileSync(token, await stage.idp.personToken('dana'))
    const as = (...args: readonly string[]) => dana.run([...args, '--broker', stage.url, '--token-file', token])
    const one = { entitlement: 'sales-report', actions: ['report.read'] }
    const ask = join(dana.folder, 'ask.yaml')
    writeFileSync(
      ask,
      JSON.stringify({ ...one, task: { id: 'T-1', summary: 'Weekly' }, window: { duration: '10m' }, more: [one] }),
    )
    expect((await as('policy', 'explain', ask)).out).toContain('would be filed at tier low')
    expect((await as('list')).out).toBe('')

    const filed = await as('request', '--file', ask, '--key', 'weekly-1', '--json')
    const again = await as('request', '--file', ask, '--key', 'weekly-1', '--json')
    expect(JSON.parse(again.out)).toEqual(JSON.parse(filed.out))
    expect((await as('request', '--file', ask, '--key', 'weekly-1', '--for', '11m')).code).toBe(1)
    const { id, linked } = JSON.parse(filed.out)
    expect(linked).toHaveLength(1)
    expect((await as('list', '--task', 'T-1')).out.trim().split('\n')).toHaveLength(3)

    // The same attempt is the same token: same claims, signed again.
    const claims = async (): Promise<string> => {
      const made = await as('exchange', id, '--output', 'json', '--attempt', 'attempt-1')
      const { token: jwt, ...credential } = JSON.parse(made.out)
      expect(credential).toMatchObject({ kind: 'jwt', tokenType: 'DPoP' })
      return jwt.split('.')[1]
    }
    expect(await claims()).toBe(await claims())
    const elsewhere = person(folder.path, 'elsewhere')
    expect((await elsewhere.run(['exchange', id, '--broker', stage.url, '--token-file', token])).code).toBe(4)
    expect((await as('withdraw', linked[0])).code).toBe(0)
    expect((await as('complete', '--task', 'T-1', '--json')).code).toBe(0)
    expect((await as('show', id)).out).toContain('ended')

    const denied = idIn(
      (await vera.run([...ASK, '--summary', 'Drop a table', '--ticket', 'servicenow:CHG0031339'])).out,
    )
    expect((await olivia.run(['deny', denied, '--reason', 'Not before the quarter is closed'])).code).toBe(0)
    expect((await vera.run(['show', denied, '--wait'])).code).toBe(7)
    expect((await dana.run(['show', denied, '--broker', stage.url, '--token-file', token])).code).toBe(5)
  })

  it('the doctor names what is down, with the line that mends it, and is content when it is back', {
    timeout: 60_000,
  }, async () => {
    const { vault } = await stage.services()
    const findings = async () => {
      const { code, out } = await sol.run(['doctor', '--json'])
      const wrong = JSON.parse(out).checks.filter(({ ok }: { readonly ok: boolean }) => !ok)
      for (const { mend } of wrong) expect(mend).toMatch(/\w/)
      return [code, ...wrong.map(({ name }: { readonly name: string }) => name)]
    }
    for (const [name, service] of [
      ['redis', stage.redis],
      ['vault', vault],
    ] as const) {
      await service.freeze()
      await eventually(`${name} is missed`, findings, (seen) => seen[0] === 8 && seen.includes(name), 20_000)
      await service.thaw()
      await eventually(`${name} is back`, findings, (seen) => seen.length === 1 && seen[0] === 0, 20_000)
    }
  })

  it('the transcript in the README is of this run, and no secret was ever said', () => {
    const said = lines.map(({ saw }) => saw).join('\n')
    expect(secrets).toHaveLength(2)
    for (const secret of secrets) expect(said).not.toContain(secret)
    expect(said).not.toMatch(/eyJ[A-Za-z0-9_-]{8,}\.eyJ/)
    const page = asPage(lines, {
      // As the quickstart's broker is called: it takes no login under another name.
      [stage.url]: 'http://localhost:8480',
      [stage.idp.loginUrl]: 'http://127.0.0.1:8481',
      [`--port=${port}`]: '--port=5432',
    })
    const readme = readFileSync(README, 'utf8')
    const stands = pageIn(readme)
    if (process.env.WRIT_TEST_TRANSCRIPT === 'write' && stands !== undefined)
      writeFileSync(
        README,
        readme.replace(stands, () => page),
      )
    else expect(stands).toBe(page)
  })
})

describe('a pipeline', () => {
  it.each(['pipeline.sh', 'pipeline-curl.sh'])(
    'deploys exactly what was approved, by %s',
    { timeout: 120_000 },
    async (script) => {
      const { ended, left, where } = await deploy(script, 'approve')
      expect(ended).toBe(0)
      expect(readFileSync(join(where, 'deployed'), 'utf8')).toMatch(/^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+\n?$/)
      expect(left).toMatchObject({ status: 'ended', result: { commit: SHA }, facts: { outcome: 'completed' } })
    },
  )
  it.each(['pipeline.sh', 'pipeline-curl.sh'])(
    'deploys nothing that was denied, and says so by its exit code: %s',
    { timeout: 120_000 },
    async (script) => {
      const { ended, left, where } = await deploy(script, 'deny')
      expect(ended).toBe(7)
      expect(left.status).toBe('denied')
      expect(() => readFileSync(join(where, 'deployed'))).toThrow()
    },
  )
})

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex')

/** Runs a script as the runner of a CI would, with the release owner deciding meanwhile. */
async function deploy(script: string, verdict: 'approve' | 'deny') {
  const where = join(folder.path, `${script}-${verdict}`)
  mkdirSync(where)
  writeFileSync(join(where, 'plan.json'), '{"steps":["deploy"]}')
  writeFileSync(join(where, 'deploy.sh'), '#!/bin/sh\nexec cp "$1" deployed\n', { mode: 0o755 })
  const runId = `${script}-${verdict}`
  // Another commit for each denial: what was denied rests.
  const sha = verdict === 'approve' ? SHA : sha1(runId)
  const env = {
    ...plainEnvironment(where),
    PATH: `${writOnPath(where)}:${process.env.PATH}`,
    WRIT_BROKER: stage.url,
    SHA: sha,
    RUN_ID: runId,
    DEPLOY: './deploy.sh',
    ...(await stage.idp.ciJob({ job: 'deploy', sha, runId })),
  }
  const job = spawn('sh', [join(EXAMPLES, script)], { cwd: where, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [job.stdout, job.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = new Promise<number>((resolve) => job.once('close', (code) => resolve(code ?? -1)))
  const rob = { token: await stage.idp.personToken('rob') }
  const to = client(stage.url)
  const filed = await eventually(
    `the asking of ${script}`,
    async () => (await to.get(rob, `/v1/grants?waiting=true&session=${runId}`)).body.grants[0],
    (grant) => grant !== undefined || job.exitCode !== null,
    30_000,
  )
  expect(filed, said).toBeDefined()
  await to.post(rob, `/v1/grants/${filed.id}/decisions`, { verdict, reason: 'The release plan says so' })
  const code = await ended
  return { ended: code, left: (await to.get(rob, `/v1/grants/${filed.id}`)).body, where, said }
}

/** `writ events --follow --json` as a process that goes on until it is stopped. */
function follow(who: Person) {
  const bin = writOnPath(who.folder)
  const child = spawn(join(bin, 'writ'), ['events', '--follow', '--json'], {
    cwd: who.folder,
    env: plainEnvironment(who.folder),
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const seen = (): readonly { readonly grant: string; readonly type: string }[] =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
  return {
    seen,
    ready: eventually(
      'the stream is open',
      async () => (await (await fetch(`${stage.url}/metrics`)).text()).match(/^writ_\w*waiting\w* ([1-9])/m),
      (open) => open !== null,
      10_000,
    ),
    stop: async () => {
      child.kill('SIGINT')
      await gone
    },
  }
}
