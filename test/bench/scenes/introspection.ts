// S5: introspection of tokens that hold, by bare express with one GET, and by oidc-provider.

import { startExpress } from '../express-side.ts'
import { answersOf, type Ours } from '../ours.ts'
import { alternate, type Side } from '../rounds.ts'
import { type Scene, sideOf } from '../scene.ts'
import { effectiveOf } from '../switched.ts'
import { extentOf } from './exchange.ts'

const TOKENS = 500
const QUICK_TOKENS = 20
/** Two seconds of work for the slowest of the three. */
const COUNT = 24_000

export const S5: Scene = {
  id: 'S5',
  uses: ['exchange', 'oidc'],
  measure: async (scope) => {
    const [ours, oidc] = [await scope.stages.ours('exchange'), await scope.stages.oidc()]
    scope.say('S5: introspection, ours, oidc-provider and bare express in turn')
    const tokens = await issued(ours, scope.quick ? QUICK_TOKENS : TOKENS)
    const [answer] = await answersOf(
      ours.port,
      tokens.slice(0, 1).map((token) => ours.introspection(token)),
    )
    if (answer?.active !== true) throw new Error('a token that was just issued is not active')
    const express = await startExpress(tokens, answer)
    try {
      const sides = [introspecting(ours, tokens), express.side, await oidc.introspecting()]
      const [our, bare, their] = await alternate(sides, extentOf(scope, COUNT))
      if (our === undefined || bare === undefined || their === undefined) throw new Error('a side is missing')
      return {
        numbers: {
          'of express and one GET': our.median.perSecond / bare.median.perSecond,
          'of oidc-provider': our.median.perSecond / their.median.perSecond,
        },
        sides: [sideOf(our), sideOf(bare), sideOf(their)],
        notes: [`the resource server authenticates by ${ours.serverAuthentication}; express asks for nothing`],
        effective: await effectiveOf(ours),
      }
    } finally {
      await express.stop()
    }
  },
}

const introspecting = (ours: Ours, tokens: readonly string[]): Side => ({
  name: 'writ, introspection',
  port: ours.port,
  pid: ours.pid,
  redisPid: ours.redisPid,
  prepare: async (count) =>
    Array.from({ length: count }, (_, n) => ours.introspection(tokens[n % tokens.length] ?? '')),
})

async function issued(ours: Ours, many: number): Promise<readonly string[]> {
  const answers = await answersOf(ours.port, ours.exchanges(await ours.approved(many, 'bearer'), 'bearer', true))
  return answers.map(({ access_token: token }) => String(token))
}
