// Docker's own API over its socket. Invariant: every question is bounded in time, so a daemon that does not answer costs seconds.
import { request } from 'node:http'

export interface Answer {
  readonly status: number
  readonly body: string
}

/** Undefined for a remote Docker, whose host is another machine, and off Linux, where the host is a virtual one. */
const socketPath = (): string | undefined => {
  const address = process.env.DOCKER_HOST || 'unix:///var/run/docker.sock'
  return process.platform === 'linux' && address.startsWith('unix://') ? address.slice('unix://'.length) : undefined
}

/** Docker's answer once its body is complete; undefined when it takes longer than that, or is silent for longer than that. */
export const ask = (
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  withinMs: number,
  silentMs = withinMs,
): Promise<Answer | undefined> =>
  new Promise((answer) => {
    const socket = socketPath()
    if (socket === undefined) return answer(undefined)
    const signal = AbortSignal.timeout(withinMs)
    const call = request({ socketPath: socket, method, path, signal, agent: false }, (reply) => {
      let body = ''
      reply.setEncoding('utf8')
      reply.on('data', (text: string) => {
        body += text
      })
      reply.once('error', () => answer(undefined))
      reply.once('end', () => answer({ status: reply.statusCode ?? 0, body }))
    })
    call.setTimeout(silentMs, () => call.destroy(new Error('silent')))
    call.once('error', () => answer(undefined))
    call.end()
  })
