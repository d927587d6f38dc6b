// What the http door tells of itself, as metrics and log lines. Invariant: successes are only counted (the events of the grants tell of
// them); a line is written for what is the broker's fault or has a cause that the caller was not told, once, with the request id.
import { type Log, thrownRecord } from './log.ts'
import type { Metrics } from './metrics.ts'

export function doorWatch(metrics: Metrics, log: Log) {
  return {
    answered(route: string, method: string, status: number, seconds: number): void {
      metrics.count('http_requests_total', { route, method, status: String(status) })
      metrics.observe('http_request_seconds', { route }, seconds)
    },
    refused: (route: string, code: string): void => metrics.count('refusals_total', { route, code }),
    waiting: (count: number): void => metrics.set('http_waiting', count),
    failed(failure: { requestId: string; route: string; address: string; status: number; thrown: unknown }): void {
      const { requestId, route, address, status, thrown } = failure
      const level = status === 500 ? 'error' : status > 500 ? 'warn' : 'info'
      log(level, 'request refused or failed', { requestId, route, address, status, ...thrownRecord(thrown) })
    },
  }
}
