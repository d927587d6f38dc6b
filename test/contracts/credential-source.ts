// What every CredentialSource promises, as tests: run on the memory source and on real Vault with PostgreSQL. A world is a source with a
// backend that can be looked at, frozen and taken away. Nothing here knows how a credential is made.
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { CredentialSource, Hold, MintPlan, VaultSecret } from '../../src/broker/ports.ts'
import { type BrokerError, isBrokerError } from '../../src/domain/errors.ts'
import { type AttemptId, type Digest, grantId, mintId, named, shard } from '../../src/domain/ids.ts'
import { after, type Duration, type Instant, instant, minutes, seconds } from '../../src/domain/instant.ts'
import {
  type ClaimedMint,
  closing,
  type Lease,
  type LiveMint,
  type Mint,
  type OpenedMint,
} from '../../src/domain/mint.ts'
import { reveal } from '../../src/domain/secret.ts'

export interface Session {
  alive(): Promise<boolean>
  leave(): Promise<void>
}
export interface World {
  readonly source: CredentialSource
  /** The credential rule of every plan. */
  readonly plan: Pick<MintPlan, 'entitlement' | 'credential'>
  /** Undefined where the backend refuses the login. */
  logIn(credential: VaultSecret): Promise<Session | undefined>
  /** How long, from now, until the backend itself refuses the login with nobody doing anything; at most a second too long. */
  nativeLife(credential: VaultSecret): Promise<Duration>
  /** Whether Vault still knows the hold. */
  holdLives(hold: Hold): Promise<boolean>
  /** Lets so much time go by. */
  pass(time: Duration): Promise<void>
  /** The database stops answering, and answers again. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Vault is out of reach, and back. */
  down(): Promise<void>
  up(): Promise<void>
  stop(): Promise<void>
}

/** No operation may keep its caller longer than this, whatever the backend does. */
const LONGEST = seconds(15)
const AT: Instant = instant(1_800_000_000_000)

/** `together` where `pass` waits for real time; a clock that is turned by hand would be turned under the others' feet. */
export type Waiting = 'together' | 'in turn'

export function credentialSourceContract(name: string, waiting: Waiting, make: () => Promise<World>): void {
  describe(`${name} as a credential source`, () => {
    let world: World
    let source: CredentialSource
    let made = 0
    const canaries: string[] = []
    const errors: unknown[] = []

    beforeAll(async () => {
      world = await make()
      source = world.source
    }, 120_000)
    afterEach(async () => {
      await world.thaw()
      await world.up()
    })
    afterAll(() => world?.stop(), 30_000)

    const newPlan = (n = 1): MintPlan => {
      made += 1
      const grant = grantId(shard(0), lettersOf(`${process.hrtime.bigint()}${made}`).padEnd(26, 'z'))
      return { ...world.plan, grant, mint: mintId(grant, n), digest: `sha-256:${'d'.repeat(43)}` as Digest }
    }
    const open = async (plan: MintPlan): Promise<Hold> => {
      const hold = await source.open(plan)
      canaries.push(reveal(hold.token))
      return hold
    }
    const issue = async (plan: MintPlan, hold: Hold, left: Duration) => {
      const { lease, secret } = await source.issue(hold, plan, left)
      const credential = reveal(secret)
      canaries.push(String(credential.password))
      return { lease, credential }
    }
    const complete = async (left: Duration = minutes(10), plan = newPlan()) => {
      const hold = await open(plan)
      await source.keep(hold, left)
      const { lease, credential } = await issue(plan, hold, left)
      return { plan, hold, lease, credential, mint: liveMint(hold, lease) }
    }
    const gone = async (plan: MintPlan, mint: Mint): Promise<boolean> => (await source.confirmGone(plan, mint)).gone
    /** Asked again for a while, as a verb would: a backend may need a moment for what was not recorded. */
    const goneSoon = async (plan: MintPlan, mint: Mint): Promise<boolean> => {
      for (let tries = 0; tries < 40; tries += 1) {
        if (await gone(plan, mint)) return true
        await world.pass(seconds(0.25))
      }
      return false
    }
    const errorOf = async (work: Promise<unknown>): Promise<BrokerError> => {
      const startedAt = performance.now()
      const thrown = await work.then(
        (value) => expect.fail(`nothing was thrown, but: ${inspect(value)}`),
        (thrown: unknown) => thrown,
      )
      expect(performance.now() - startedAt).toBeLessThan(LONGEST)
      errors.push(thrown)
      if (!isBrokerError(thrown)) throw thrown
      return thrown
    }

    it('opens two holds when it is asked twice', async () => {
      const plan = newPlan()
      const [first, second] = [await open(plan), await open(plan)]
      expect(first.accessor).not.toBe(second.accessor)
      expect(reveal(first.token)).not.toBe(reveal(second.token))
    })

    describe('as time goes by', { concurrent: waiting === 'together' }, () => {
      it('lets a hold that is not kept die by itself within 15 seconds', async () => {
        const hold = await open(newPlan())
        expect(await world.holdLives(hold)).toBe(true)
        await world.pass(seconds(16))
        expect(await world.holdLives(hold)).toBe(false)
      }, 30_000)

      it('keeps a hold that is kept', async () => {
        const hold = await open(newPlan())
        await source.keep(hold, minutes(2))
        await world.pass(seconds(16))
        expect(await world.holdLives(hold)).toBe(true)
      }, 30_000)

      it('lets a login end by itself when nobody ends it', async () => {
        const { credential } = await complete(seconds(11))
        await world.pass(seconds(11))
        expect(await world.logIn(credential)).toBeUndefined()
      }, 30_000)

      it('closes a mint whose hold has died by itself', async () => {
        const plan = newPlan()
        const mint = openedMint(await open(plan))
        await world.pass(seconds(16))
        await source.close(plan, mint)
        expect(await gone(plan, mint)).toBe(true)
      }, 30_000)
    })

    it('hands out a login that works, with a lease that names it', async () => {
      const { lease, credential } = await complete()
      expect(lease.id).not.toBe('')
      const session = await world.logIn(credential)
      expect(await session?.alive()).toBe(true)
      await session?.leave()
    })

    it('gives every login an end of its own within the time left', async () => {
      for (const left of [seconds(11), seconds(61.9), minutes(90)]) {
        const { lease, credential } = await complete(left)
        expect(lease.durationSeconds * 1_000).toBeLessThanOrEqual(left)
        expect(lease.durationSeconds).toBeGreaterThan(0)
        expect(await world.nativeLife(credential)).toBeLessThanOrEqual(left)
      }
    })

    it('makes nothing when the window is about to close', async () => {
      const plan = newPlan()
      const hold = await open(plan)
      await source.keep(hold, minutes(1))
      const error = await errorOf(source.issue(hold, plan, seconds(9.9)))
      expect(error.code).toBe('window_closing')
      const mint = openedMint(hold)
      await source.close(plan, mint)
      expect(await gone(plan, mint)).toBe(true)
    })

    it('cuts the session, refuses the login and says so once a mint is closed', async () => {
      const { plan, mint, credential, hold } = await complete()
      const session = await world.logIn(credential)
      expect(await session?.alive()).toBe(true)
      await source.close(plan, mint)
      const { gone, answer } = await source.confirmGone(plan, mint)
      expect(gone).toBe(true)
      expect(answer).not.toBe('')
      expect(await session?.alive()).toBe(false)
      expect(await world.logIn(credential)).toBeUndefined()
      expect(await world.holdLives(hold)).toBe(false)
    })

    it('closes what is closed, any number of times', async () => {
      const { plan, mint } = await complete()
      for (const status of [mint, closing(mint, AT), mint]) await source.close(plan, status)
      expect(await gone(plan, mint)).toBe(true)
    })

    it('closes a mint that never got beyond its claim', async () => {
      const plan = newPlan()
      await source.close(plan, claimedMint())
      expect(await gone(plan, claimedMint())).toBe(true)
    })

    it('ends a login whose lease was never recorded, by the hold alone', async () => {
      const { plan, hold, credential } = await complete()
      const session = await world.logIn(credential)
      const mint = closing(openedMint(hold), AT)
      expect(await gone(plan, mint)).toBe(false)
      await source.close(plan, mint)
      expect(await goneSoon(plan, mint)).toBe(true)
      expect(await session?.alive()).toBe(false)
      expect(await world.logIn(credential)).toBeUndefined()
    })

    it('makes nothing under a hold that was closed meanwhile', async () => {
      const plan = newPlan()
      const hold = await open(plan)
      await source.keep(hold, minutes(5))
      await source.close(plan, openedMint(hold))
      expect((await errorOf(source.issue(hold, plan, minutes(5)))).code).toBe('vault_refused')
      await source.close(plan, openedMint(hold))
      expect(await gone(plan, openedMint(hold))).toBe(true)
    })

    it('does not call gone what is still open', async () => {
      const { plan, mint, credential } = await complete()
      const session = await world.logIn(credential)
      expect(await gone(plan, mint)).toBe(false)
      expect(await session?.alive()).toBe(true)
      await session?.leave()
    })

    it('leaves every other mint alone, also one whose name begins the same', async () => {
      const plan = newPlan(1)
      const twin: MintPlan = { ...plan, mint: mintId(plan.grant, 11) }
      const first = await complete(minutes(5), plan)
      const second = await complete(minutes(5), twin)
      await source.close(plan, first.mint)
      expect(await gone(plan, first.mint)).toBe(true)
      expect(await gone(twin, second.mint)).toBe(false)
      const session = await world.logIn(second.credential)
      expect(await session?.alive()).toBe(true)
      await source.close(twin, second.mint)
    })

    it('never says gone while the database does not answer, and says it afterwards', async () => {
      const recorded = await complete()
      const unrecorded = await complete()
      const openedOnly = openedMint(unrecorded.hold)
      const session = await world.logIn(recorded.credential)
      await world.freeze()
      await errorOf(source.close(recorded.plan, recorded.mint))
      // The accessor goes at once; that says nothing about the login.
      await source.close(unrecorded.plan, openedOnly).catch(() => undefined)
      const asked = await Promise.all([
        source.confirmGone(recorded.plan, recorded.mint).catch((thrown: unknown) => thrown),
        source.confirmGone(unrecorded.plan, openedOnly).catch((thrown: unknown) => thrown),
      ])
      for (const answer of asked) expect((answer as { gone?: boolean }).gone).not.toBe(true)
      await world.thaw()
      await source.close(recorded.plan, recorded.mint)
      await source.close(unrecorded.plan, openedOnly)
      expect(await goneSoon(recorded.plan, recorded.mint)).toBe(true)
      expect(await goneSoon(unrecorded.plan, openedOnly)).toBe(true)
      expect(await session?.alive()).toBe(false)
    }, 90_000)

    it('rejects everything in time while Vault is out of reach, and says of an opening that nothing was made', async () => {
      const { plan, hold, mint } = await complete()
      await source.reach(plan.credential)
      await world.down()
      const reaching = await errorOf(source.reach(plan.credential))
      expect([reaching.code, reaching.facts.definite]).toEqual(['vault_unavailable', true])
      const opening = await errorOf(source.open(newPlan()))
      expect(opening.code).toBe('vault_unavailable')
      expect(opening.facts.definite).toBe(true)
      for (const work of [
        () => source.keep(hold, minutes(1)),
        () => source.issue(hold, plan, minutes(1)),
        () => source.close(plan, mint),
        () => source.confirmGone(plan, mint),
      ])
        expect((await errorOf(work())).code).toBe('vault_unavailable')
      await world.up()
      await source.close(plan, mint)
      expect(await goneSoon(plan, mint)).toBe(true)
    }, 90_000)

    it('puts no token and no password into an error, however deep one looks', () => {
      expect(errors.length).toBeGreaterThan(4)
      expect(canaries.length).toBeGreaterThan(10)
      const shown = errors.map((error) => {
        const all = { error, cause: (error as Error).cause, stack: (error as Error).stack }
        return `${inspect(all, { depth: 10, showHidden: true })}${JSON.stringify(all)}${JSON.stringify(error, Object.getOwnPropertyNames(error))}`
      })
      for (const canary of canaries) expect(shown.filter((text) => text.includes(canary))).toEqual([])
    })
  })
}

const lettersOf = (digits: string): string => digits.replace(/\d/g, (digit) => 'abcdefghij'.charAt(Number(digit)))

const attempt = 'attempt-of-a-test' as AttemptId
const base = { n: 1, attempt, key: undefined, claimedAt: AT }
export const claimedMint = (): ClaimedMint => ({ ...base, status: 'claimed', deadline: after(AT, seconds(30)) })
export const openedMint = (hold: Hold): OpenedMint => ({
  ...base,
  status: 'opened',
  deadline: after(AT, seconds(30)),
  accessor: hold.accessor,
})
export const liveMint = (hold: Hold, lease: Lease): LiveMint => ({
  ...base,
  status: 'live',
  kind: 'vault',
  accessor: hold.accessor,
  lease,
  issuedAt: AT,
  expiresAt: after(AT, seconds(lease.durationSeconds)),
  fingerprint: 'f'.repeat(43),
})

/** For plans in tests that need no world. */
export const planOfTest = (word: string, n = 1): MintPlan => {
  const grant = grantId(shard(0), word.padEnd(26, 'a'))
  return {
    grant,
    mint: mintId(grant, n),
    digest: `sha-256:${'d'.repeat(43)}` as Digest,
    entitlement: named.entitlement('payments-migrator'),
    credential: {
      kind: 'vault',
      backend: 'vault-main',
      engine: 'database',
      database: {
        mount: 'database',
        connection: 'payments',
        grantedRole: 'payments_migrator',
        ownerRole: 'payments_owner',
      },
      revocability: 'at_once',
    },
  }
}
