// Whose token is sent: a file's, the environment's, or the one of the profile, refreshed when it is about to end. Invariant: a refresh
// token is used by one command at a time, and what it gave is on disk before it is used.
import { readFileSync } from 'node:fs'
import { EXIT } from './exit-codes.ts'
import { Failure } from './failure.ts'
import type { Machine } from './machine.ts'
import type { Login, Profiles } from './profiles.ts'

/** Refreshed this long before its end, so that it does not end on the way. */
const MARGIN_MS = 30_000

export interface SessionPorts {
  readonly machine: Machine
  readonly profiles: Profiles
  readonly broker: string
  readonly tokenFile: string | undefined
}

export async function accessToken(p: SessionPorts): Promise<string> {
  if (p.tokenFile !== undefined) return tokenIn(p.tokenFile)
  const fromEnvironment = p.machine.env.WRIT_TOKEN
  if (fromEnvironment !== undefined && fromEnvironment !== '') return wellFormed(fromEnvironment, 'WRIT_TOKEN')
  const login = p.profiles.login(p.broker)
  if (login === undefined) throw loggedOut(`You are not logged in at ${p.broker}.`, p.broker)
  if (isFresh(login, p.machine.now())) return login.accessToken
  return p.profiles.alone(p.broker, () => refreshed(p))
}

const isFresh = (login: Login, now: number): boolean => login.expiresAt - MARGIN_MS > now
const loggedOut = (message: string, broker: string): Failure =>
  new Failure(EXIT.unauthenticated, message, { next: `writ login ${broker}` })

async function refreshed({ machine, profiles, broker }: SessionPorts): Promise<string> {
  // Another command may have done it while this one waited.
  const login = profiles.login(broker)
  if (login === undefined) throw loggedOut(`You are not logged in at ${broker}.`, broker)
  if (isFresh(login, machine.now())) return login.accessToken
  if (login.refreshToken === undefined) throw loggedOut(`Your login at ${broker} is over.`, broker)
  const { refresh } = await import('./identity-provider.ts')
  const next = await refresh(login, login.refreshToken, machine)
  profiles.keep(next)
  return next.accessToken
}

function tokenIn(file: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new Failure(EXIT.unauthenticated, `The token file ${file} cannot be read.`, { next: 'Check --token-file.' })
  }
  return wellFormed(text.trim(), file)
}

/** RFC 6750 §2.1. What is not a token is not shown: it may be another secret. */
function wellFormed(text: string, where: string): string {
  if (/^[A-Za-z0-9._~+/-]{1,8192}=*$/.test(text)) return text
  throw new Failure(EXIT.unauthenticated, `${where} holds no access token.`, {
    next: 'It must hold the token and nothing else.',
  })
}
