// The pages on a real socket, with the whole broker behind them on memory ports: what a browser comes to.
import type { Server } from 'node:http'
import { freePort } from '../../deploy/dev/running.ts'
import type { StepUpPage } from '../../src/broker/step-up.ts'
import { pageEndpoints } from '../../src/console/pages.ts'
import { buildApp, buildServer } from '../../src/http/app.ts'
import { problem } from '../../src/http/problem.ts'
import { parseStrictJson } from '../../src/identity/strict-json.ts'
import { type World, world } from './world.ts'

export interface ConsoleDoor {
  readonly on: World
  readonly url: string
  /** Pages of decisions that no verb has begun, by the id of their ceremony: whatever one who writes into the store could make of them. */
  readonly planted: Map<string, StepUpPage>
  /** What was told of passkeys. */
  readonly told: readonly unknown[]
  stop(): Promise<void>
}

export async function consoleDoor(): Promise<ConsoleDoor> {
  const port = await freePort()
  // A name: browsers know no relying party by an address.
  const url = `http://localhost:${port}`
  const on = await world({ issuer: url })
  const told: unknown[] = []
  const planted: ConsoleDoor['planted'] = new Map()
  let requests = 0
  const app = buildApp({
    endpoints: pageEndpoints({
      broker: { ...on.broker, showStepUp: async (id) => planted.get(id) ?? on.broker.showStepUp(id) },
      issuer: url,
      relyingPartyId: on.ports.relyingParty.id,
      sha256: on.ports.sha256,
      parseJson: parseStrictJson,
      problem,
      told: (step) => told.push(step),
    }),
    newRequestId: () => {
      requests += 1
      return `r-${requests}`
    },
    ticks: () => performance.now(),
    watch: { answered: () => undefined, refused: () => undefined, failed: () => undefined },
    addressOf: () => '127.0.0.1',
    https: false,
    stopping: new AbortController().signal,
  })
  const server = buildServer(app)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return { on, url, planted, told, stop: () => stopped(server) }
}

const stopped = (server: Pick<Server, 'close' | 'closeAllConnections'>): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
