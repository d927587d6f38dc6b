// Makes the package that a resource server installs: `writ` with nothing but `writ/verifier`, and jose as its only dependency. Into `dist/`, or
// into the folder given; `npm pack ./dist` makes one file of it.
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const out = resolve(process.argv[2] ?? join(ROOT, 'dist'))

rmSync(join(out, 'verifier'), { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const compiler = join(ROOT, 'node_modules/.bin/tsc')
const { status } = spawnSync(
  compiler,
  ['-p', join(ROOT, 'tsconfig.verifier.json'), '--outDir', join(out, 'verifier')],
  {
    stdio: ['ignore', 'inherit', 'inherit'],
  },
)
if (status !== 0) process.exit(status ?? 1)

const { version, license, dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
writeFileSync(
  join(out, 'package.json'),
  `${JSON.stringify(
    {
      name: 'writ',
      version,
      description: 'Checks the credentials of a Writ broker at a resource server.',
      license,
      type: 'module',
      // `hash` of node:crypto.
      engines: { node: '>=20.12' },
      exports: {
        './verifier': { types: './verifier/index.d.ts', default: './verifier/index.js' },
        './package.json': './package.json',
      },
      files: ['verifier'],
      dependencies: { jose: `^${dependencies.jose}` },
    },
    undefined,
    2,
  )}\n`,
)
copyFileSync(join(ROOT, 'LICENSE'), join(out, 'LICENSE'))
