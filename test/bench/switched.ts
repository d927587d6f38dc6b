// What of the measured broker is otherwise than in one that was told nothing but what it must be told: read from its own environment, held against
// the table of settings, and asked of the broker itself. Invariant: what is not seen to be on counts as off.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { rowOf, SETTING_NAMES, type SettingName } from '../../src/settings.ts'
import { fire, requestBytes } from './load.ts'
import type { Ours } from './ours.ts'

export interface SettingSeen {
  readonly value: string
  /** What it is where nothing is said. */
  readonly usual: string
  readonly why: string
}
export interface Effective {
  readonly settings: Readonly<Record<string, SettingSeen>>
  readonly switchedOff: readonly string[]
}

/** Where a broker lies and listens is its own, and no feature. */
const PLACES: readonly SettingName[] = ['WRIT_LISTEN', 'WRIT_CONFIG_DIR']
const WHY: Readonly<Record<string, string>> = {
  WRIT_MODE: 'Vault and the issuers are reached by plain http on this machine; nothing is left out of a request',
  WRIT_RATE_LIMIT: 'one client asks as fast as the machine can; every request is counted all the same',
  WRIT_RATE_LIMIT_ENDS: 'the same for ends',
  WRIT_MAX_PENDING_PER_REQUESTER: 'thousands are filed beforehand in one name; the bound is checked at every filing',
  WRIT_MAX_PENDING_PER_OWNER: 'the same for their owner',
}

/** What these settings say, without asking anybody. */
export function judgeSettings(given: Readonly<Record<string, string>>): Effective {
  const settings: Record<string, SettingSeen> = {}
  for (const name of SETTING_NAMES) {
    const value = given[name]
    const usual = rowOf(name).fallback
    if (value === undefined || usual === undefined || value === usual || PLACES.includes(name)) continue
    settings[name] = { value, usual, why: WHY[name] ?? 'not said' }
  }
  const off = [
    ...(given.WRIT_VAULT === 'off' ? ['Vault (WRIT_VAULT=off)'] : []),
    ...(given.WRIT_VAULT !== 'off' && /^0+[a-z]*$/.test(given.WRIT_CANARY_EVERY ?? '1h') ? ['canaries'] : []),
    ...(given.WRIT_SETTINGS_FILE === undefined ? [] : ['unknown: there is a settings file beside the environment']),
    ...(given.NODE_ENV === 'test' ? ['unknown: NODE_ENV is test'] : []),
  ]
  return { settings, switchedOff: off }
}

/** Of a broker that has just answered exchanges. */
export async function effectiveOf(ours: Ours): Promise<Effective> {
  const { settings, switchedOff } = judgeSettings(environmentOf(ours.pid))
  return { settings, switchedOff: [...switchedOff, ...(await notSeen(ours))] }
}

function environmentOf(pid: number): Readonly<Record<string, string>> {
  const lines = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

/** What the broker does not show to be at work. */
async function notSeen(ours: Ours): Promise<readonly string[]> {
  const metrics = await (await fetch(`http://127.0.0.1:${ours.port}/metrics`)).text()
  const figure = (name: string): number => Number(/ (\S+)$/.exec(lineOf(metrics, name) ?? '')?.[1] ?? Number.NaN)
  const made = ['jwt', 'vault'].reduce((sum, kind) => sum + (figure(`writ_mint_seconds_count{kind="${kind}"}`) || 0), 0)
  const folder = join(ours.stage.dir, 'broker-0')
  const witnessed = readdirSync(folder).some(
    (name) => name.startsWith('witness') && statSync(join(folder, name)).size > 0,
  )
  const redis = await ours.redis.config('GET', 'append*')
  const [stranger, replayed] = await refusals(ours)
  const { headers } = await fetch(`http://127.0.0.1:${ours.port}/v1/grants?limit=1`, {
    headers: { authorization: `Bearer ${ours.runnerToken()}` },
  })
  return [
    ...(figure('writ_ready') === 1 ? [] : ['readiness: a check fails']),
    ...(made > 0 ? [] : ['metrics']),
    ...(witnessed && figure('writ_witness_healthy') === 1 && figure('writ_witness_seconds_count') >= made
      ? []
      : ['the witness']),
    ...(headers.has('ratelimit') ? [] : ['rate limits']),
    ...(stranger ? [] : ['policy: a stranger was not refused']),
    ...(replayed ? [] : ['the replay store: an assertion was taken twice']),
    ...(settingOf(redis, 'appendonly') === 'yes' && settingOf(redis, 'appendfsync') === 'always'
      ? []
      : ['Redis: not every write is on disk before its answer']),
  ]
}

const lineOf = (text: string, name: string): string | undefined =>
  text.split('\n').find((line) => line.startsWith(`${name} `))
const settingOf = (pairs: unknown, name: string): string => {
  if (Array.isArray(pairs)) return String(pairs[pairs.indexOf(name) + 1])
  return String(Reflect.get(Object(pairs), name))
}

/** Whether somebody else's exchange, and an assertion that was shown before, are refused. */
async function refusals(ours: Ours): Promise<readonly [boolean, boolean]> {
  const [grant = ''] = await ours.approved(1, 'bearer', '3h')
  const headers = { authorization: `Bearer ${ours.personToken('rob')}`, 'content-type': 'application/json' }
  const question = ours.provenQuestion()
  const requests = [requestBytes('POST', `/v1/grants/${grant}/exchange`, headers, '{}'), question, question]
  const statuses: number[] = []
  await fire({ port: ours.port, connections: 1, requests, seen: ({ status }) => statuses.push(status) })
  const [stranger = 200, first = 0, again = 200] = statuses
  return [stranger >= 400 && stranger < 500, first === 200 && again === 401]
}
