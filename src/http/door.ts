// The http door as the composition makes it: `/v1`, whatever other endpoints are handed over, one listener. Invariant: closing first
// answers those who wait, then lets requests finish, and cuts what is left after the grace.
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type AppPorts, buildApp, buildServer, type Watch } from './app.ts'
import type { Endpoint } from './endpoint.ts'
import { answerNotHttp } from './not-http.ts'
import { openApiEndpoint } from './openapi.ts'
import { ROUTES, type V1Ports } from './routes.ts'
import { WAIT_LIMITS, type WaitLimits, waiters } from './wait.ts'

export interface DoorPorts extends Omit<V1Ports, 'waiters'>, Pick<AppPorts, 'newRequestId' | 'ticks'> {
  /** OAuth, health, and whatever else is served beside `/v1`. */
  readonly endpoints: readonly Endpoint[]
  readonly watch: Watch & { waiting(count: number): void }
  readonly waitLimits?: WaitLimits
}
export interface Door {
  readonly server: Server
  /** Resolves to the port: the given one, or a free one for 0. Rejects if it cannot be had. */
  listen(port: number, host: string): Promise<number>
  /** Resolves when every connection is gone: by itself, or cut after the grace. */
  close(graceMs: number): Promise<void>
}

export function httpDoor(p: DoorPorts): Door {
  const stopping = new AbortController()
  const waiting = waiters(p.waitLimits ?? WAIT_LIMITS, p.watch.waiting)
  const v1 = [...ROUTES.map((route) => route.endpoint({ ...p, waiters: waiting })), openApiEndpoint(p.issuer)]
  const { newRequestId, ticks, watch } = p
  const https = p.issuer.startsWith('https:')
  const endpoints = [...v1, ...p.endpoints]
  const server = buildServer(buildApp({ endpoints, newRequestId, ticks, watch, https, stopping: stopping.signal }))
  answerNotHttp(server, p)
  return {
    server,
    listen: (port, host) =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, () => {
          server.off('error', reject)
          resolve((server.address() as AddressInfo).port)
        })
      }),
    close: (graceMs) =>
      new Promise((resolve) => {
        stopping.abort()
        const cut = setTimeout(() => server.closeAllConnections(), graceMs)
        server.close(() => {
          clearTimeout(cut)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}
