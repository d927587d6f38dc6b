#!/usr/bin/env node
// The door of the `writ` command, on Node >= 20 with built-ins only: finds the Node that Writ needs and runs src/cli/writ.ts on it, in this
// very process where it is that Node. Invariant: the folder it is called in stays, its streams are the command's, it ends as that ends.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import module from 'node:module'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

const NEEDED = 26
const root = fileURLToPath(new URL('../..', import.meta.url))
const { resolve } = module.createRequire(import.meta.url)

const fail = (message) => {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

const find = (name) => {
  try {
    return resolve(name)
  } catch {
    return undefined
  }
}

/** Node takes no TypeScript from below a node_modules folder, where an installed package lies: there this package's own files are stripped here. */
const stripOurOwn = () => {
  const sources = new URL('..', import.meta.url).href
  process.removeAllListeners('warning')
  module.registerHooks({
    load: (url, context, next) => {
      if (!url.startsWith(sources) || !url.endsWith('.ts')) return next(url, context)
      const source = module.stripTypeScriptTypes(readFileSync(fileURLToPath(url), 'utf8'))
      return { format: 'module', source, shortCircuit: true }
    },
  })
}

const here = async () => {
  module.enableCompileCache?.()
  if (root.includes(`${sep}node_modules${sep}`)) stripOurOwn()
  const { start } = await import('./writ.ts')
  await start()
}

const there = (node) => {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => {
      // On a terminal Ctrl-C reaches the child by itself.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  child.once('error', () => fail(`${node} cannot be started.`))
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    for (const one of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(one)
    process.kill(process.pid, signal)
  })
}

if (find('zod/package.json') === undefined)
  fail(`The packages of Writ are not there; run this once: npm ci --prefix '${root}'`)
const isRight = Number(process.versions.node.split('.')[0]) >= NEEDED
const own = find(`node-linux-${process.arch}/package.json`)
if (isRight) await here()
else if (process.platform === 'linux' && own !== undefined) there(join(dirname(own), 'bin', 'node'))
else fail(`writ needs Node ${NEEDED} or newer; this is ${process.version}. Install it from https://nodejs.org.`)
