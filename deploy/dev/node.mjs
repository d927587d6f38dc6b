// The door of every `npm run`: brings the packages and the Node that Writ needs, then runs the script given as first argument
// under it, with the options of Node that stand before it. Runs on Node >= 20 with built-ins only. Invariant: it ends as its
// child ends, and never leaves a child behind.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheDir, exclusively } from './cache.mjs'
import { boundToParent } from './parent.mjs'

const NEEDED = 26
const root = fileURLToPath(new URL('../..', import.meta.url))
const stamp = join(root, 'node_modules', '.writ-lock')
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']

const sha256 = (content) => createHash('sha256').update(content).digest('hex')
const readIfThere = (path) => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)
const lockDigest = () => sha256(readFileSync(join(root, 'package-lock.json')))

/** True when npm itself has already put exactly the locked packages there, say by hand; only other platforms' may be absent. */
const isInstalledByHand = () => {
  const there = readIfThere(join(root, 'node_modules', '.package-lock.json'))
  if (there === undefined) return false
  const found = JSON.parse(there).packages
  const { '': _project, ...locked } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  return (
    Object.entries(found).every(([path, { version }]) => locked[path]?.version === version) &&
    Object.entries(locked).every(([path, { optional }]) => optional || path in found)
  )
}

/** Runs a command to its end. While it runs, our signals are its signals. */
const run = (command, args, options) =>
  new Promise((done, failed) => {
    const child = spawn(...boundToParent(command, args, 'SIGTERM'), { stdio: 'inherit', cwd: root, ...options })
    const forward = (signal) => {
      // On a terminal Ctrl-C reaches the whole foreground group; a second copy would look like an impatient user.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    }
    // npm dies of a signal without passing it on, and so does its shell: who started us is gone, so nobody is left to stop the child.
    const parent = process.ppid
    const orphaned = setInterval(() => process.ppid !== parent && child.kill('SIGTERM'), 500)
    const release = () => {
      clearInterval(orphaned)
      for (const signal of SIGNALS) process.off(signal, forward)
      process.off('exit', killChild)
    }
    const killChild = () => child.kill('SIGKILL')
    for (const signal of SIGNALS) process.on(signal, forward)
    process.on('exit', killChild)
    child.once('error', (error) => {
      release()
      failed(error)
    })
    child.once('exit', (code, signal) => {
      release()
      done({ code, signal })
    })
  })

const installPackages = async () => {
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm']
  const started = performance.now()
  const elapsed = () => `${Math.round((performance.now() - started) / 1000)} s`
  process.stderr.write('Installing packages (npm ci, usually under a minute with an empty cache)…\n')
  const ticking = setInterval(() => process.stderr.write(`  npm ci: ${elapsed()}\n`), 5_000)
  const flags = ['ci', '--ignore-scripts', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error']
  const { code, signal } = await run(npm[0], [...npm.slice(1), ...flags, '--cache', join(cacheDir(), 'npm')], {
    stdio: ['ignore', 2, 2],
  }).finally(() => clearInterval(ticking))
  if (code !== 0) return leave({ code: code ?? 1, signal })
  process.stderr.write(`Packages installed in ${elapsed()}.\n`)
}

const preparePackages = async () => {
  if (readIfThere(stamp) === lockDigest()) return
  await exclusively(
    `npm-${sha256(root).slice(0, 16)}`,
    async () => {
      const digest = lockDigest()
      if (readIfThere(stamp) === digest) return
      if (!isInstalledByHand()) await installPackages()
      writeFileSync(stamp, digest)
    },
    () => process.stderr.write('Another set-up is installing the packages; waiting for it…\n'),
  )
}

const nodeOfProject = () => {
  if (Number(process.versions.node.split('.')[0]) >= NEEDED) return process.execPath
  const own = join(root, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
  if (process.platform === 'linux' && existsSync(own)) return own
  process.stderr.write(
    `Writ needs Node ${NEEDED} or newer; this is ${process.version}. Install it from https://nodejs.org.\n`,
  )
  process.exit(1)
}

/** Ends as the child ended: with its exit code, or by its signal. */
const leave = ({ code, signal }) => {
  if (signal === null) process.exit(code)
  process.kill(process.pid, signal)
  return new Promise(() => setTimeout(() => process.exit(1), 1_000))
}

const given = process.argv.slice(2)
const at = given.findIndex((one) => !one.startsWith('--'))
if (at < 0) {
  process.stderr.write('usage: node deploy/dev/node.mjs [options of Node] <script> [arguments]\n')
  process.exit(2)
}
await preparePackages()
await leave(await run(nodeOfProject(), [...given.slice(0, at), resolve(root, given[at]), ...given.slice(at + 1)]))
