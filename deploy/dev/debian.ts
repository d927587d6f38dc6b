// Servers out of Debian's packages, without installing anything: `apt-get download` and `dpkg -x` into the cache folder.
// Invariant: a package tree in the cache is complete, because it is renamed into its place as the last step.
import { execFile } from 'node:child_process'
import { existsSync, globSync, mkdirSync } from 'node:fs'
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir, exclusively } from './cache.mjs'

const run = promisify(execFile)
export type Report = (line: string) => void

export const debianTree = (name: string): string => join(cacheDir(), 'debian', name)
export const hasDebianTree = (name: string): boolean => existsSync(debianTree(name))

/** Where the libraries of an extracted tree lie, for LD_LIBRARY_PATH: some packages have theirs under /lib, some in folders of their own. */
export const librariesOf = (tree: string): string => {
  const files = globSync(['usr/lib/*-linux-*/**/*.so*', 'lib/*-linux-*/**/*.so*'], { cwd: tree })
  return [...new Set(files.map((file) => join(tree, dirname(file))))].sort().join(':')
}

type Apt = (command: 'apt-get' | 'apt-cache', args: readonly string[], cwd?: string) => Promise<string>

/** apt with package lists of its own in the cache folder: needs no root, and leaves the system's lists alone. */
const privateApt = (): Apt => {
  const state = join(cacheDir(), 'apt')
  mkdirSync(join(state, 'lists', 'partial'), { recursive: true })
  mkdirSync(join(state, 'archives', 'partial'), { recursive: true })
  const options = [`Dir::State::lists=${state}/lists`, `Dir::Cache=${state}`]
  return aptWith(options)
}
const aptWith =
  (options: readonly string[]): Apt =>
  async (command, args, cwd = cacheDir()) => {
    const settings = [...options, 'APT::Sandbox::User=root'].flatMap((option) => ['-o', option])
    const { stdout } = await run(command, [...settings, ...args], {
      cwd,
      timeout: 300_000,
      maxBuffer: 64 * 1024 * 1024,
    })
    return stdout
  }

const dependsFlags = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
  (kind) => `--no-${kind}`,
)

const isInstalled = async (name: string): Promise<boolean> => {
  const answer = await run('dpkg', ['-s', name]).catch(() => undefined)
  return /^Status: .* installed$/m.test(answer?.stdout ?? '')
}

/** The packages that these name under Depends: of alternatives (marked `|`) the first, and none that is only virtual (`<name>`). */
const directDepends = async (apt: Apt, packages: readonly string[]): Promise<readonly string[]> => {
  const listed = await apt('apt-cache', ['depends', ...dependsFlags, ...packages])
  const rows = listed.split('\n').map((row) => /^ ([ |])(?:Pre)?Depends: ([a-z0-9][a-z0-9.+-]*)$/.exec(row))
  return rows.flatMap((row, n) => (row?.[2] && rows[n - 1]?.[1] !== '|' ? [row[2]] : []))
}

/** The wanted packages, and the libraries they need, directly or not, that this system does not have. */
const neededPackages = async (apt: Apt, wanted: readonly string[], without: RegExp): Promise<readonly string[]> => {
  const needed = new Set(wanted)
  for (let level = wanted; level.length > 0; ) {
    const libraries = (await directDepends(apt, level)).filter((name) => name.startsWith('lib') && !without.test(name))
    const missing = [...new Set(libraries)].filter((name) => !needed.has(name))
    const checked = await Promise.all(missing.map(async (name) => ((await isInstalled(name)) ? [] : [name])))
    level = checked.flat()
    for (const name of level) needed.add(name)
  }
  return [...needed]
}

/** The first of these packages that the archive offers. */
export const firstOffered = async (names: readonly string[]): Promise<string | undefined> => {
  for (const name of names) {
    const policy = await aptWith([])('apt-cache', ['policy', name]).catch(() => '')
    if (/Candidate: (?!\(none\))/.test(policy)) return name
  }
  return undefined
}

const download = async (apt: Apt, wanted: readonly string[], without: RegExp, folder: string) => {
  const packages = await neededPackages(apt, wanted, without)
  await apt('apt-get', ['download', ...packages], folder)
}

/**
 * Brings the wanted packages, with the libraries they miss, as a tree under `debianTree(name)`. Rejects with the line that
 * installs the package by hand where this system has no apt or its archive cannot be reached.
 */
export const bringDebianTree = (name: string, wanted: readonly string[], without: RegExp, report: Report) =>
  exclusively(`debian-${name}`, async () => {
    if (hasDebianTree(name)) return
    report(`${name}: downloading ${wanted.join(', ')} and the libraries they need (nothing is installed)…`)
    mkdirSync(join(cacheDir(), 'debian'), { recursive: true })
    const work = await mkdtemp(join(cacheDir(), 'debian', '.work-'))
    try {
      await download(aptWith([]), wanted, without, work).catch(async () => {
        report(`${name}: the package lists are missing or out of date; fetching fresh ones…`)
        const apt = privateApt()
        await apt('apt-get', ['update'])
        await download(apt, wanted, without, work)
      })
      const archives = (await readdir(work)).filter((file) => file.endsWith('.deb'))
      for (const archive of archives) await run('dpkg', ['-x', join(work, archive), join(work, 'tree')])
      await rename(join(work, 'tree'), debianTree(name))
      report(`${name}: ${archives.length} packages extracted.`)
    } catch (cause) {
      const text = `could not bring ${name}. Install it by hand: apt-get install ${wanted[0]}`
      throw new Error(text, { cause })
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  })
