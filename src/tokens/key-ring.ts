// The broker's signing keys: files in one folder that every broker reads. A file is named `<purpose>-<generation>.json`, and what a key may
// do at an instant follows from the files alone: the highest generation whose `signsFrom` has come signs, a later one is already published,
// an earlier one stays published until nothing it signed can live. So two brokers that read the folder never disagree about who signs.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { calculateJwkThumbprint } from 'jose'
import { z } from 'zod'
import { BrokerError } from '../domain/errors.ts'
import { after, type Duration, hours, type Instant, instant, minutes } from '../domain/instant.ts'

/** `access`: ES256, signs access tokens. `decision`: Ed25519, signs approvals; its public half is kept as long as the decisions are. */
export const PURPOSES = ['access', 'decision'] as const
export type Purpose = (typeof PURPOSES)[number]

export interface PublicJwk {
  readonly kty: string
  readonly crv: string
  readonly x: string
  readonly y?: string
}
export interface Key {
  readonly purpose: Purpose
  readonly generation: number
  /** RFC 7638 thumbprint. */
  readonly kid: string
  readonly signsFrom: Instant
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly publicJwk: PublicJwk
}

export interface KeyTimes {
  /** How long somebody may keep our JWKS: a new key is published for longer than this before it signs. */
  readonly jwksMaxAge: Duration
  /** From the making of a key to its first signature. More than `jwksMaxAge` and the time between two reloads together. */
  readonly lead: Duration
  /** No access token lives longer than this: how long a key stays published after its last signature, besides `jwksMaxAge`. */
  readonly longestToken: Duration
}
export const KEY_TIMES: KeyTimes = { jwksMaxAge: minutes(5), lead: minutes(15), longestToken: hours(24) }

/** One reading of the folder, immutable. */
export interface Keys {
  /** The key that signs at this instant. Throws `clock_untrusted` when none may sign yet: there was one when the folder was read. */
  signing(purpose: Purpose, at: Instant): Key
  /** Access keys that verifiers must know at this instant, the next one included. */
  published(at: Instant): readonly Key[]
  /** Access keys whatever the time, to look one up; `isPublished` says whether it counts. */
  access(): readonly Key[]
  isPublished(key: Key, at: Instant): boolean
  /** A decision key of any age. */
  decision(kid: string): Key | undefined
}
export interface KeyRing {
  readonly times: KeyTimes
  keys(): Keys
  /** Reads the folder again. Rejects with every problem at once, and then the former keys stay in use. */
  reload(): Promise<void>
}

/** What is wrong with a key folder, all of it. Names files, never their contents. */
export class KeyRingError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`The signing keys cannot be used:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`)
    this.name = 'KeyRingError'
    this.problems = problems
  }
}

const NAME = /^(access|decision)-([1-9]\d{0,8})\.json$/
const base64url = z.string().regex(/^[A-Za-z0-9_-]+$/)
const KeyFile = z.strictObject({
  v: z.literal(1),
  kid: base64url,
  signsFrom: z.int().min(0),
  jwk: z.union([
    z.strictObject({ kty: z.literal('EC'), crv: z.literal('P-256'), x: base64url, y: base64url, d: base64url }),
    z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: base64url, d: base64url }),
  ]),
})
const KTY: Readonly<Record<Purpose, string>> = { access: 'EC', decision: 'OKP' }

/** Reads every key of the folder. Rejects with a KeyRingError that lists every problem at once; a folder in which no key may sign is one. */
export async function loadKeyRing(
  folder: string,
  options: { readonly now: () => Instant; readonly times?: KeyTimes },
): Promise<KeyRing> {
  const { now, times = KEY_TIMES } = options
  if (times.lead <= times.jwksMaxAge)
    throw new KeyRingError([
      `a new key signs after ${times.lead} ms, while verifiers may keep the old set ${times.jwksMaxAge} ms`,
    ])
  let keys = keysOf(await readFolder(folder, now()), times)
  return {
    times,
    keys: () => keys,
    reload: async () => {
      keys = keysOf(await readFolder(folder, now()), times)
    },
  }
}

/** For a first start: makes the folder and the first key of each purpose where there is none. Safe when several brokers start at once. */
export async function ensureKeyRing(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const names = await readdir(folder)
  for (const purpose of PURPOSES)
    if (!names.some((name) => NAME.exec(name)?.[1] === purpose)) await makeKey(folder, purpose, 1, instant(0))
}

export interface Rotation {
  /** The file of the key that is next, and from when it signs; made now or waiting already. */
  readonly next: { readonly file: string; readonly signsFrom: Instant; readonly made: boolean }
  readonly removed: readonly string[]
}
/**
 * Makes the next key of a purpose unless one is waiting already, and removes access keys of which nothing can be alive any more.
 * Decision keys are never removed: old approvals are verified with them. Run it as often as keys shall change.
 */
export async function rotate(
  folder: string,
  at: { readonly now: Instant; readonly purpose?: Purpose; readonly times?: KeyTimes },
): Promise<Rotation> {
  const { now, purpose = 'access', times = KEY_TIMES } = at
  const all = (await readFolder(folder, now)).filter((key) => key.purpose === purpose)
  const last = all.at(-1)
  if (last === undefined) throw new KeyRingError([`there is no usable ${purpose} key`])
  const removed = purpose === 'access' ? all.filter((key) => !isPublished(key, all, now, times)) : []
  for (const key of removed) await rm(join(folder, fileOf(key)))
  if (last.signsFrom > now)
    return { next: { file: fileOf(last), signsFrom: last.signsFrom, made: false }, removed: removed.map(fileOf) }
  const next = { purpose, generation: last.generation + 1, signsFrom: after(now, times.lead) }
  const made = await makeKey(folder, purpose, next.generation, next.signsFrom)
  return { next: { file: fileOf(next), signsFrom: next.signsFrom, made }, removed: removed.map(fileOf) }
}

const fileOf = (key: Pick<Key, 'purpose' | 'generation'>): string => `${key.purpose}-${key.generation}.json`

/** `all` holds one purpose by rising generation. Out of use is a key from the moment its successor signs. */
function isPublished(key: Key, all: readonly Key[], at: Instant, times: KeyTimes): boolean {
  const successors = all.filter((other) => other.generation > key.generation).map((other) => other.signsFrom)
  if (successors.length === 0) return true
  return at < Math.min(...successors) + times.longestToken + times.jwksMaxAge
}

function keysOf(all: readonly Key[], times: KeyTimes): Keys {
  const of = (purpose: Purpose) => all.filter((key) => key.purpose === purpose)
  const byPurpose: Readonly<Record<Purpose, readonly Key[]>> = { access: of('access'), decision: of('decision') }
  const decisions = new Map(byPurpose.decision.map((key) => [key.kid, key]))
  return {
    signing: (purpose, at) => {
      const key = byPurpose[purpose].findLast((candidate) => candidate.signsFrom <= at)
      if (key === undefined) throw new BrokerError('clock_untrusted', 'No key may sign at this time.')
      return key
    },
    published: (at) => byPurpose.access.filter((key) => isPublished(key, byPurpose.access, at, times)),
    access: () => byPurpose.access,
    isPublished: (key, at) => isPublished(key, byPurpose.access, at, times),
    decision: (kid) => decisions.get(kid),
  }
}

async function readFolder(folder: string, now: Instant): Promise<readonly Key[]> {
  const problems: string[] = []
  const keys: Key[] = []
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    throw new KeyRingError([
      `the folder ${folder} cannot be read (${cause.code ?? 'unknown'}); make the first keys with: npm run keys:rotate -- ${folder} --create`,
    ])
  })
  // Whoever may write here may add a key, and that key would sign.
  if (((await stat(folder)).mode & 0o022) !== 0) problems.push(`the folder ${folder} is writable for others: chmod 700`)
  for (const name of names.filter((each) => each.endsWith('.json')).sort()) {
    const read = await readKey(folder, name)
    if (typeof read === 'string') problems.push(`${name}: ${read}`)
    else keys.push(read)
  }
  for (const purpose of PURPOSES)
    if (!keys.some((key) => key.purpose === purpose && key.signsFrom <= now))
      problems.push(`no ${purpose} key may sign now`)
  for (const key of keys)
    if (keys.some((other) => other !== key && other.kid === key.kid))
      problems.push(`${fileOf(key)}: the same key as another file`)
  if (problems.length > 0) throw new KeyRingError(problems)
  return keys.sort((a, b) => a.generation - b.generation)
}

/** The key in this file, or what is wrong with it. */
async function readKey(folder: string, name: string): Promise<Key | string> {
  const [, purpose, generation] = NAME.exec(name) ?? []
  if (purpose === undefined) return 'not named <purpose>-<generation>.json with a purpose of access or decision'
  const path = join(folder, name)
  try {
    if (((await stat(path)).mode & 0o077) !== 0) return 'readable for others: chmod 600'
    return await parseKey(purpose as Purpose, Number(generation), await readFile(path, 'utf8'))
  } catch (cause) {
    return `cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`
  }
}

async function parseKey(purpose: Purpose, generation: number, text: string): Promise<Key | string> {
  // The cause is dropped on purpose: a parser's message may quote the private key.
  try {
    const { kid, signsFrom, jwk } = KeyFile.parse(JSON.parse(text))
    if (jwk.kty !== KTY[purpose]) return `a key of type ${jwk.kty} does not serve ${purpose}`
    const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
    const publicKey = createPublicKey(privateKey)
    const publicJwk = publicKey.export({ format: 'jwk' }) as unknown as PublicJwk
    if (publicJwk.x !== jwk.x || ('y' in jwk && publicJwk.y !== jwk.y)) return 'its public and private half differ'
    if ((await calculateJwkThumbprint({ ...publicJwk })) !== kid)
      return 'its kid is not the RFC 7638 thumbprint of the key'
    return { purpose, generation, kid, signsFrom: instant(signsFrom), privateKey, publicKey, publicJwk }
  } catch {
    return 'not a key file of version 1'
  }
}

/** Writes one key, whole or not at all. False when another process made this generation first. */
async function makeKey(folder: string, purpose: Purpose, generation: number, signsFrom: Instant): Promise<boolean> {
  const pair =
    purpose === 'access' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const jwk = pair.privateKey.export({ format: 'jwk' })
  const kid = await calculateJwkThumbprint(pair.publicKey.export({ format: 'jwk' }) as { kty: string })
  const path = join(folder, fileOf({ purpose, generation }))
  // Not `.json`, so that a half-written one is never read as a key; with the kid, so that no two makers write the same.
  const draft = `${path}.draft-${kid}`
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify({ v: 1, kid, signsFrom, jwk })}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    // A link, not a rename: it refuses where the name is taken, so one of two makers wins.
    await link(draft, path)
    await syncFolder(folder)
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw cause
  } finally {
    await rm(draft, { force: true })
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
