// The http door as the composition makes it: `/v1`, whatever other endpoints are handed over, one listener. Invariant: closing first
// answers those who wait, then lets requests finish, also those whose client has hung up, and cuts what is left after the grace.
import type { Server } from 'node:http'
import { Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type AppPorts, buildApp, buildServer, type Watch } from './app.ts'
import { type Certificate, type CertificateFiles, certificateWatch, readCertificate } from './certificate.ts'
import { clientAddress, type Subnet } from './client-address.ts'
import type { Endpoint } from './endpoint.ts'
import { answerNotHttp } from './not-http.ts'
import { openApiEndpoint } from './openapi.ts'
import { ROUTES, type V1Ports } from './routes.ts'
import { LISTEN_LIMITS, WAIT_LIMITS, type Waiters, type WaitLimits, waiters } from './wait.ts'

export interface DoorPorts
  extends Omit<V1Ports, 'waiters' | 'listeners'>,
    Pick<AppPorts, 'newRequestId' | 'ticks' | 'traced'> {
  /** OAuth, health, and whatever else is served beside `/v1`. */
  readonly endpoints: readonly Endpoint[]
  readonly watch: Watch & { waiting(count: number): void }
  readonly waitLimits?: WaitLimits
  /** Whose word about the client's address is taken; nobody's where it is absent. */
  readonly trustedProxies?: readonly Subnet[]
  readonly tls?: DoorTls
}
export interface DoorTls {
  readonly files: CertificateFiles
  every(ms: number, task: () => void): () => void
  /** The certificate in use was replaced, or why a new one was not taken. */
  told(refusal: string | undefined): void
}
export interface Door {
  readonly server: Server | TlsServer
  /** Resolves to the port: the given one, or a free one for 0. Rejects if it cannot be had. */
  listen(port: number, host: string): Promise<number>
  /**
   * Resolves when every connection is gone and every verb is through, or after the grace: then connections are cut. Who hung up is waited
   * for too: the verb works on, and would find its store closed in the middle of a mint.
   */
  close(graceMs: number): Promise<void>
}

export function httpDoor(p: DoorPorts): Door {
  const stopping = new AbortController()
  const tell = () => p.watch.waiting(waiting.count() + listening.count())
  const waiting: Waiters = waiters(p.waitLimits ?? WAIT_LIMITS, tell)
  const listening: Waiters = waiters(LISTEN_LIMITS, tell)
  const v1Ports = { ...p, waiters: waiting, listeners: listening }
  const v1 = [...ROUTES.map((route) => route.endpoint(v1Ports)), openApiEndpoint(p.issuer)]
  const { newRequestId, ticks, watch } = p
  const https = p.issuer.startsWith('https:')
  const work = workInProgress()
  // Express looks at one after the other: those that are asked most come first.
  const endpoints = [...p.endpoints, ...v1].map(work.counted)
  const traced = p.traced === undefined ? {} : { traced: p.traced }
  const addressOf = clientAddress(p.trustedProxies ?? [])
  const app = buildApp({
    endpoints,
    newRequestId,
    ticks,
    watch,
    addressOf,
    https,
    stopping: stopping.signal,
    ...traced,
  })
  const inUse = p.tls && readCertificate(p.tls.files)
  const server = buildServer(app, inUse)
  answerNotHttp(server, p)
  const stopLooking = p.tls && inUse && server instanceof TlsServer ? renewing(p.tls, inUse, server) : () => undefined
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
        stopLooking()
        const cut = setTimeout(() => {
          server.closeAllConnections()
          resolve()
        }, graceMs)
        server.close(() => {
          void work.over().then(() => {
            clearTimeout(cut)
            resolve()
          })
        })
        server.closeIdleConnections()
      }),
  }
}

function renewing(tls: DoorTls, inUse: Certificate, server: TlsServer): () => void {
  const look = certificateWatch({
    files: tls.files,
    inUse,
    use: (certificate) => {
      server.setSecureContext(certificate)
      tls.told(undefined)
    },
    refuse: tls.told,
  })
  return tls.every(1_000, look)
}

/** What is being answered. A connection does not tell: it may be gone while the work goes on. */
function workInProgress() {
  const running = new Set<Promise<unknown>>()
  return {
    counted: (endpoint: Endpoint): Endpoint => ({
      ...endpoint,
      answer: (incoming) => {
        const answered = endpoint.answer(incoming)
        running.add(answered)
        const gone = () => running.delete(answered)
        answered.then(gone, gone)
        return answered
      },
    }),
    over: () => Promise.allSettled(running),
  }
}
