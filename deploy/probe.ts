// The container's health check, for images without a shell: exit 0 when the broker that listens at WRIT_LISTEN says it is alive, else 1.
// It asks whether the process answers, not whether it may take traffic: a broker whose Vault is down must not be restarted for it.
import { get as getPlain, type RequestOptions } from 'node:http'
import { get as getSecure } from 'node:https'

const WITHIN_MS = 2_000
const [, host = '127.0.0.1', port = '8480'] = /^(.+):(\d+)$/.exec(process.env.WRIT_LISTEN ?? '') ?? []
/** What listens everywhere is asked on the loopback of its own kind. */
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '[::]': '::1' }

const where: RequestOptions = {
  host: (LOOPBACK[host] ?? host).replace(/^\[|\]$/g, ''),
  port,
  path: '/healthz',
  agent: false,
  timeout: WITHIN_MS,
}

const alive = (
  ask: (answered: (status: number | undefined) => void) => ReturnType<typeof getPlain>,
): Promise<boolean> =>
  new Promise((told) => {
    const asking = ask((status) => told(status === 200))
    asking.once('error', () => told(false))
    asking.once('timeout', () => asking.destroy())
  })

const plain = () => alive((answered) => getPlain(where, (answer) => answered(answer.resume().statusCode)))
// Its certificate names the public host, not loopback; nothing but "alive" is believed of it.
const secure = () =>
  alive((answered) =>
    getSecure({ ...where, rejectUnauthorized: false }, (answer) => answered(answer.resume().statusCode)),
  )

process.exitCode = (await plain()) || (await secure()) ? 0 : 1
