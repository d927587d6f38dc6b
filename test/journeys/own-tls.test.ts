// A broker that speaks TLS itself, with its settings in a file: reached by https alone, its certificate renewed while it runs, and taken over
// by the first operator of its settings, because the guards name none.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { freePort, launch, type Running } from '../../deploy/dev/running.ts'
import { type DevStage, openStage } from '../../deploy/dev/stage.ts'
import { fileKey, SETTING_NAMES } from '../../src/settings.ts'
import { certificateFor } from '../support/certificate.ts'
import { actors, eventually } from '../support/journey-actors.ts'
import { closeStage } from '../support/leak-scan.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NAME = 'writ.example'
const first = certificateFor(NAME)
const second = certificateFor(NAME)

let stage: DevStage
let broker: Running
let port: number
const place = (name: string): string => join(stage.dir, name)

beforeAll(async () => {
  stage = await openStage({ vault: false })
  port = await freePort()
  cpSync(join(ROOT, 'config'), place('config'), { recursive: true })
  const guards = readFileSync(place('config/guards.cedar'), 'utf8')
  const permit = 'permit (\n  principal is Person in Group::"northwind/operators"'
  expect(guards).toContain(permit)
  writeFileSync(place('config/guards.cedar'), guards.replace(permit, permit.replace('permit', 'forbid')))
  writeFileSync(place('tls.crt'), first.cert)
  writeFileSync(place('tls.key'), first.key)
  const given: Readonly<Record<string, string>> = {
    ...stage.settings(0, port),
    WRIT_CONFIG_DIR: 'config',
    WRIT_TLS_CERT_FILE: 'tls.crt',
    WRIT_TLS_KEY_FILE: 'tls.key',
    WRIT_FIRST_OPERATOR: 'vera',
  }
  // A number in a file is one, not a text.
  const inFile = (text = ''): string | number => (/^\d+$/.test(text) ? Number(text) : text)
  const lines = SETTING_NAMES.filter((name) => name in given).map((name) => [fileKey(name), inFile(given[name])])
  writeFileSync(place('settings.yaml'), stringify(Object.fromEntries(lines)))
  broker = await launch(place('broker.log'), {
    command: process.execPath,
    args: [join(ROOT, 'src/main.ts')],
    env: { WRIT_SETTINGS_FILE: place('settings.yaml') },
    cwd: ROOT,
    stopSignal: 'SIGTERM',
    orphanSignal: 'SIGKILL',
  })
  await eventually(
    'an answer',
    () => statusOf(first.cert),
    (status) => status === 200,
    30_000,
  )
}, 120_000)
afterAll(async () => {
  await broker?.stop()
  await closeStage(stage)
})

interface Sent {
  readonly ca: string
  readonly method?: string
  readonly path?: string
  readonly token?: string
  readonly body?: string
}
/** The status, or why there is none. */
const send = ({ ca, method = 'GET', path = '/healthz', token, body }: Sent): Promise<number | string> =>
  new Promise((resolve) => {
    const headers = {
      host: NAME,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    request({ host: '127.0.0.1', port, servername: NAME, ca, agent: false, method, path, headers }, (res) => {
      res.resume()
      res.once('end', () => resolve(res.statusCode ?? 0))
    })
      .once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end(body)
  })
const statusOf = (ca: string) => send({ ca })

it('answers https, and plain http not at all', async () => {
  expect(await statusOf(first.cert)).toBe(200)
  await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()
})

it('takes a renewed certificate over while it runs, and keeps the one it has where a new one does not fit', async () => {
  writeFileSync(place('tls.crt'), 'no certificate')
  await eventually(
    'the refusal in the log',
    () => broker.output(),
    (text) => text.includes('the changed certificate is refused'),
    10_000,
  )
  expect(await statusOf(first.cert)).toBe(200)
  writeFileSync(place('tls.crt'), second.cert)
  writeFileSync(place('tls.key'), second.key)
  await eventually(
    'the new one',
    () => statusOf(second.cert),
    (status) => status === 200,
    10_000,
  )
  expect(await statusOf(first.cert)).not.toBe(200)
})

it('is taken over by its first operator, on record, and by nobody else', async () => {
  const play = actors(stage)
  const recover = async (login: string): Promise<number | string> => {
    const { token } = await play.who(login)
    const body = '{"reason":"nobody operates here yet"}'
    return send({ ca: second.cert, method: 'POST', path: '/v1/operations/recover', token, body })
  }
  expect(await recover('oscar')).toBe(403)
  expect(await recover('vera')).toBe(200)
  const records = broker
    .output()
    .split('\n')
    .filter((line) => line.includes('took over'))
    .map((line) => JSON.parse(line))
  expect(records).toMatchObject([{ message: 'the first operator took over: recover', principal: 'vera' }])
})
