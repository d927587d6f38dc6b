// How a credential ends is declared by its entitlement, bounded by its tier, and told before anybody approves: what outlives its revoke is
// capped, and from tier high on there is no such thing.
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { worstResidue } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import { minutes, seconds } from '../../src/domain/instant.ts'
import { compileEntitlements } from '../../src/policy/entitlements.ts'
import { explain } from '../../src/policy/explain.ts'
import { compileTexts, person, smallFile } from './sample-policies.ts'

type Json = { [key: string]: unknown }
const PATH = { mount: 'aws', path: 'sts/deployer', method: 'write', parameters: { region: 'eu' }, lifeParameter: 'ttl' }
const CREDENTIAL = {
  ...{ kind: 'vault', backend: 'vault-main', engine: 'path' },
  ...{ path: PATH, maxLife: '10m', revocability: 'expiry' },
}
/** The sample with a third entitlement whose credential comes from a path, at tier elevated. */
const file = (credential: Json = {}, more: { readonly entitlement?: Json; readonly tiers?: Json } = {}): string => {
  const { tiers, entitlements, ...rest } = smallFile()
  const { credential: _, ...former } = entitlements.database ?? {}
  const cloud = { ...former, tier: 'elevated', credential: { ...CREDENTIAL, ...credential }, ...more.entitlement }
  const whole = { ...rest, tiers: { ...tiers, ...more.tiers }, entitlements: { ...entitlements, cloud } }
  return stringify(whole, { aliasDuplicateObjects: false })
}
const problems = (text: string) => compileEntitlements('entitlements.yaml', text).problems.map(({ path }) => path)
const CLOUD = named.entitlement('cloud')
const TIER = { approvals: 1, maxDuration: '4h', horizon: '14d', decideWithin: '1d', maxUses: 5, maxLife: '15m' }

describe('a credential of any path of Vault', () => {
  it('is compiled whole, with its defaults', () => {
    expect(compileTexts(file()).entitlement(CLOUD)?.credential).toEqual({
      kind: 'vault',
      backend: 'vault-main',
      engine: 'path',
      path: { ...PATH, endMember: undefined },
      maxLife: minutes(10),
      revocability: 'expiry',
    })
  })

  it.each([
    ['says itself whether it can be revoked', { revocability: undefined }, 'credential.revocability'],
    ['says itself how long it lives', { maxLife: undefined }, 'credential.maxLife'],
    ['lives no longer than its tier allows', { maxLife: '16m' }, 'credential.maxLife'],
    ['is of a known engine', { engine: 'aws' }, 'credential.engine'],
    ['has no member of another engine', { database: {} }, 'credential.database'],
    ['is only read or written', { path: { ...PATH, method: 'list' } }, 'credential.path.method'],
    [
      'sends nothing where it is read',
      { path: { ...PATH, method: 'read', lifeParameter: undefined } },
      'credential.path.parameters',
    ],
    ['says its life once', { path: { ...PATH, parameters: { ttl: '1h' } } }, 'credential.path.parameters.ttl'],
    [
      'sends no text that Vault would read as a pattern',
      { path: { ...PATH, parameters: { a: 'x*' } } },
      'credential.path.parameters.a',
    ],
    [
      'sends no text that would be an expression in a policy',
      { path: { ...PATH, parameters: { a: ['$', '{x}'].join('') } } },
      'credential.path.parameters.a',
    ],
    [
      'needs no end of its own where its lease says it',
      { revocability: 'at_once', path: { ...PATH, endMember: 'expiration' } },
      'credential.path.endMember',
    ],
  ])('%s', (_, credential, where) => {
    expect(problems(file(credential))).toEqual([`entitlements.cloud.${where}`])
  })

  it.each([
    ...['sys/policies', 'sys', 'team/sys/x', 'auth/token', 'team/auth', 'identity/oidc', 'cubbyhole/x'],
    ...[
      '../sys',
      'a/../b',
      'a//b',
      '/a',
      'a/',
      'a*',
      '+/a',
      'a%2fb',
      'a b',
      '.',
      '..',
      'a/./b',
      'creds/writ-x',
      'writ-a',
    ],
  ])('never comes from %s', (path) => {
    expect(problems(file({ path: { ...PATH, path } })), path).toEqual(['entitlements.cloud.credential.path.path'])
    expect(problems(file({ path: { ...PATH, mount: path } })), path).toEqual([
      'entitlements.cloud.credential.path.mount',
    ])
  })
})

describe('what outlives its revoke', () => {
  it.each(['high', 'critical'])('is an error at tier %s', (tier) => {
    const written = file({}, { entitlement: { tier }, tiers: { critical: { ...TIER, approvals: 2 } } })
    expect(problems(written)).toEqual(['entitlements.cloud.credential.revocability'])
    const once = file(
      { revocability: 'at_once' },
      { entitlement: { tier }, tiers: { critical: { ...TIER, approvals: 2 } } },
    )
    expect(problems(once)).toEqual([])
  })

  it('cannot be had by an asking that is raised to tier high', () => {
    const policy = compileTexts(file())
    expect([policy.at(CLOUD, 'elevated')?.tier, policy.at(CLOUD, 'high')]).toEqual(['elevated', undefined])
    expect(compileTexts(file({ revocability: 'at_once' })).at(CLOUD, 'high')?.tier).toBe('high')
  })

  it('is bounded by maxResidue of its tier: an error where more is written, and less where nothing is', () => {
    const bounded = { tiers: { elevated: { ...TIER, maxResidue: '5m' } } }
    expect(problems(file({}, bounded))).toEqual(['entitlements.cloud.credential.maxLife'])
    expect(problems(file({ maxLife: '5m' }, bounded))).toEqual([])
    const none = { tiers: { elevated: { ...TIER, maxResidue: '0s' } } }
    expect(problems(file({}, none))).toEqual([
      'entitlements.asked.credential.verifierCache',
      'entitlements.cloud.credential.maxLife',
    ])
    expect(problems(file({ revocability: 'at_once' }, none))).toEqual(['entitlements.asked.credential.verifierCache'])
    const low = compileTexts(file({}, { tiers: { low: { ...TIER, maxResidue: '10s' } } }))
    expect(low.entitlement(named.entitlement('automatic'))?.credential).toMatchObject({ verifierCache: seconds(10) })
  })

  it('is bounded by maxResidue of a tier that an asking is raised to, or cannot be had there', () => {
    const approval = { owner: 'olivia', reviewers: [{ role: 'operations', group: 'dba' }] }
    const at = (maxResidue: string) => {
      const more = { entitlement: { tier: 'low', approval }, tiers: { elevated: { ...TIER, maxResidue } } }
      return compileTexts(file({}, more).replace('verifierCache: 30s', 'verifierCache: 0s')).at(CLOUD, 'elevated')
    }
    expect(at('2m')?.credential).toMatchObject({ maxLife: minutes(2) })
    expect(at('0s')).toBeUndefined()
  })

  it('is told in the explanation of the offer', () => {
    const policy = compileTexts(file())
    const entitlement = policy.entitlement(CLOUD)
    if (entitlement === undefined) throw new Error('no entitlement')
    const told = explain(policy, { principal: person('sam', 'northwind'), entitlement })
    expect([told.maxLife, told.residue]).toEqual([minutes(10), minutes(10)])
    expect(told.why.join(' ')).toContain(
      'It cannot be revoked: it ends by itself, 10m after it was made at the latest.',
    )
    expect(worstResidue(entitlement.credential, minutes(3))).toBe(minutes(3))
  })
})
