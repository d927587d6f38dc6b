// Images to build on where none can be pulled: made of the Node that runs this, its libraries and npm, from this machine alone. Invariant: the
// one to run on holds no shell and no other program; the one to build with has npm as well, set up as it is here.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { temporaryFolder } from './running.ts'

const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'

export interface LocalBases {
  readonly nodeImage: string
  readonly runtimeImage: string
}

/** Imports both; Linux only. Their names are fixed, so that a second run replaces the first's. */
export async function makeBases(docker: (args: readonly string[], input?: Buffer) => string): Promise<LocalBases> {
  const folder = await temporaryFolder('base')
  // It becomes the root, through which everybody must get.
  chmodSync(folder.path, 0o755)
  try {
    const put = (from: string, to = from): void => {
      mkdirSync(join(folder.path, dirname(to)), { recursive: true })
      cpSync(realpathSync(from), join(folder.path, to), { recursive: true })
    }
    const bring = (name: string): string => {
      const tar = execFileSync('tar', ['-c', '--owner=0', '--group=0', '-C', folder.path, '.'], { maxBuffer: 2 ** 30 })
      docker(['import', '--change', 'ENV PATH=/usr/local/bin:/usr/bin', '-', name], tar)
      return name
    }
    for (const dir of ['tmp', 'etc']) mkdirSync(join(folder.path, dir), { recursive: true })
    put(process.execPath, '/usr/local/bin/node')
    for (const library of librariesOf(process.execPath)) put(library)
    if (existsSync(AUTHORITIES)) put(AUTHORITIES)
    writeFileSync(join(folder.path, 'etc/passwd'), 'root:x:0:0::/:\n')
    const runtimeImage = bring('writ-base:runtime')

    // npm is a script that asks `env` for node.
    put('/usr/bin/env')
    for (const library of librariesOf('/usr/bin/env')) put(library)
    put(npmFolder(), '/usr/local/lib/node_modules/npm')
    symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(folder.path, 'usr/local/bin/npm'))
    mkdirSync(join(folder.path, 'usr/local/etc'))
    writeFileSync(join(folder.path, 'usr/local/etc/npmrc'), npmSettings())
    return { nodeImage: bring('writ-base:build'), runtimeImage }
  } finally {
    folder.remove()
  }
}

/** Every shared library a program is linked with, the loader included, at the paths under which it looks for them. */
const librariesOf = (program: string): readonly string[] =>
  execFileSync('ldd', [program], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => /(?:=> |^\s*)(\/\S+) \(0x/.exec(line)?.[1] ?? [])

const npm = (...args: readonly string[]): string => execFileSync('npm', args, { encoding: 'utf8' }).trim()
const npmFolder = (): string => {
  const folder = join(npm('root', '--global'), 'npm')
  readFileSync(join(folder, 'package.json'))
  return folder
}
/** Where packages come from, as on this machine. */
const npmSettings = (): string => {
  const cafile = npm('config', 'get', 'cafile')
  return `registry=${npm('config', 'get', 'registry')}\n${existsSync(cafile) ? `cafile=${AUTHORITIES}\n` : ''}`
}
