// What the command remembers of each broker: the login and the key that its credentials are bound to. Files of their own in a folder of
// their own. Invariant: nobody but the user can read them, not even for a moment, and one that others could read is refused, not used.
import { createHash, generateKeyPairSync } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import type { Machine } from './machine.ts'

const Login = z.object({
  broker: z.string(),
  issuer: z.string(),
  clientId: z.string(),
  scope: z.string(),
  resource: z.string(),
  accessToken: z.string(),
  refreshToken: z.string().optional(),
  /** Milliseconds since the epoch, by this machine's clock. */
  expiresAt: z.number(),
})
export type Login = z.infer<typeof Login>
const Key = z.object({ kty: z.literal('EC'), crv: z.literal('P-256'), x: z.string(), y: z.string(), d: z.string() })
export type PrivateJwk = z.infer<typeof Key>

export interface Profiles {
  login(broker: string): Login | undefined
  keep(login: Login): void
  /** Whether there was one. */
  forget(broker: string): boolean
  /** The private key for this broker; made when it is first wanted. */
  key(broker: string): PrivateJwk
  keyFile(broker: string): string
  /** The broker that somebody logged in at last. */
  latest(): string | undefined
  /** Runs `work` while no other command does so for this broker: a refresh token is good once. */
  alone<T>(broker: string, work: () => Promise<T>): Promise<T>
}

/** Where each broker's files begin: readable, and two URLs never share one. */
const nameOf = (broker: string): string =>
  `${new URL(broker).host.replace(/[^a-z0-9.-]/gi, '_')}-${createHash('sha256').update(broker).digest('hex').slice(0, 8)}`

export function profilesIn(folder: string, machine: Pick<Machine, 'newId' | 'pause'>): Profiles {
  const path = (broker: string, end: string): string => join(folder, `${nameOf(broker)}.${end}`)
  const write = (file: string, text: string): void => {
    openFolder(folder)
    openWhole(file, machine.newId()).put(text)
  }
  const keyFile = (broker: string): string => path(broker, 'key.json')
  return {
    login: (broker) => parsed(Login, path(broker, 'login.json')),
    keep: (login) => {
      write(path(login.broker, 'login.json'), JSON.stringify(login))
      write(join(folder, 'latest'), login.broker)
    },
    forget: (broker) => {
      const file = path(broker, 'login.json')
      const was = readPrivate(file) !== undefined
      rmSync(file, { force: true })
      return was
    },
    key: (broker) => {
      const known = parsed(Key, keyFile(broker))
      if (known !== undefined) return known
      const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
      const key = Key.parse(made)
      write(keyFile(broker), JSON.stringify(key))
      return key
    },
    keyFile,
    latest: () => readPrivate(join(folder, 'latest'))?.trim(),
    alone: async (broker, work) => {
      openFolder(folder)
      const lock = path(broker, 'lock')
      for (let waitedMs = 0; !takeLock(lock, waitedMs); waitedMs += LOOK_MS) await machine.pause(LOOK_MS)
      try {
        return await work()
      } finally {
        rmSync(lock, { force: true })
      }
    },
  }
}

const LOOK_MS = 50
/** The lock holds who has it: whoever is gone has it no more, and a refresh that takes longer than this hangs. */
const LOCK_MS = 30_000

function takeLock(lock: string, waitedMs: number): boolean {
  try {
    const file = openSync(lock, 'wx', 0o600)
    writeSync(file, String(process.pid))
    closeSync(file)
    return true
  } catch (thrown) {
    if (!hasCode(thrown, 'EEXIST')) throw thrown
    if (waitedMs > LOCK_MS || isGone(lock)) rmSync(lock, { force: true })
    return false
  }
}

function isGone(lock: string): boolean {
  try {
    const holder = Number(readFileSync(lock, 'utf8'))
    // Between its making and its first byte it is somebody's all the same.
    if (!Number.isInteger(holder) || holder <= 0) return false
    process.kill(holder, 0)
    return false
  } catch (thrown) {
    return hasCode(thrown, 'ESRCH')
  }
}

function openFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  mustBePrivate(folder, statSync(folder), 0o700)
}

function mustBePrivate(path: string, { mode, uid }: Stats, wanted: number): void {
  const ours = process.getuid?.() ?? uid
  if (uid !== ours)
    throw refused(`${path} belongs to somebody else.`, `Remove it, or name another folder in XDG_CONFIG_HOME.`)
  if ((mode & 0o077) !== 0) throw refused(`Others may read ${path}.`, `chmod ${wanted.toString(8)} '${path}'`)
}
const refused = (message: string, next: string): Failure => new Failure(EXIT.refused, message, { next })

/** The text of a file that only the user can read; undefined where there is none. */
function readPrivate(path: string): string | undefined {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (thrown) {
    if (hasCode(thrown, 'ENOENT')) return undefined
    throw thrown
  }
  try {
    mustBePrivate(path, fstatSync(file), 0o600)
    mustBePrivate(join(path, '..'), statSync(join(path, '..')), 0o700)
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function parsed<T>(schema: z.ZodType<T>, file: string): T | undefined {
  const text = readPrivate(file)
  if (text === undefined) return undefined
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    throw refused(`${file} cannot be read.`, `rm '${file}', then log in again: writ login`)
  }
}

export interface Whole {
  /** Puts the text in place of what is there. */
  put(text: string): void
  drop(): void
}

/** A file that will be there whole or not at all, readable by the user alone from the first byte on. Opened before it is needed. */
export function openWhole(path: string, unique: string): Whole {
  const part = `${path}.${unique}`
  const file = openSync(part, 'wx', 0o600)
  let isOpen = true
  const drop = (): void => {
    if (isOpen) closeSync(file)
    isOpen = false
    rmSync(part, { force: true })
  }
  return {
    put: (text) => {
      try {
        writeSync(file, text)
        fsyncSync(file)
        closeSync(file)
        isOpen = false
        renameSync(part, path)
      } catch (thrown) {
        drop()
        throw thrown
      }
    },
    drop,
  }
}

export const hasCode = (thrown: unknown, code: string): boolean =>
  thrown instanceof Error && 'code' in thrown && thrown.code === code
