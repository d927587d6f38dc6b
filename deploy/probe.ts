// The container's health check, for images without a shell: exit 0 when the broker that listens at WRIT_LISTEN says it is alive, else 1.
// It asks whether the process answers, not whether it may take traffic: a broker whose Vault is down must not be restarted for it.
// Waits a little for one that only begins to listen, so that a container counts as healthy as soon as it is.
// By hand over a socket, because it runs every few seconds and loading a client for HTTP takes longer than asking.
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

const WITHIN_MS = 2_000
const [, given = '127.0.0.1', port = '8480'] = /^(.+):(\d+)$/.exec(process.env.WRIT_LISTEN ?? '') ?? []
/** What listens everywhere is asked on the loopback of its own kind. */
const LOOPBACK: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '[::]': '::1' }
const host = (LOOPBACK[given] ?? given).replace(/^\[|\]$/g, '')

const alive = (socket: Socket, opened: 'connect' | 'secureConnect'): Promise<boolean> =>
  new Promise((told) => {
    let heard = ''
    socket.setTimeout(WITHIN_MS, () => socket.destroy())
    socket.once(opened, () => socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'))
    socket.on('data', (bytes) => {
      heard += bytes.toString('latin1')
    })
    socket.once('error', () => undefined)
    socket.once('close', () => told(/^HTTP\/1\.1 200 /.test(heard)))
  })

const plain = () => alive(connect({ host, port: Number(port) }), 'connect')
// Its certificate names the public host, not loopback; nothing but "alive" is believed of it.
const secure = async () => {
  const tls = await import('node:tls')
  return alive(tls.connect({ host, port: Number(port), rejectUnauthorized: false }), 'secureConnect')
}

const isAlive = async () => (await plain()) || (await secure())
const over = performance.now() + WITHIN_MS
let found = await isAlive()
while (!found && performance.now() < over) {
  await pause(50)
  found = await isAlive()
}
process.exitCode = found ? 0 : 1
