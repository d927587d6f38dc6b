// A real Chromium for the tests of the pages, driven over its DevTools protocol. Invariant: its profile lies in a folder of its own that goes
// with it, and it listens on the loopback alone.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bringDebianTree, debianTree, hasDebianTree, librariesOf, type Report } from './debian.ts'
import { candidates, versionOf } from './path.ts'
import { controlled, launch, temporaryFolder, untilReady } from './running.ts'

const TREE = 'chromium'
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

interface Binary {
  readonly command: string
  readonly env: Readonly<Record<string, string>>
}

const treeBinary = (): Binary => ({
  command: join(debianTree(TREE), 'usr/lib/chromium/chromium'),
  env: { LD_LIBRARY_PATH: librariesOf(debianTree(TREE)) },
})

async function findChromium(): Promise<Binary | undefined> {
  const found = NAMES.flatMap((name) => candidates(name)).map((command) => ({ command, env: {} }))
  for (const binary of [...found, ...(hasDebianTree(TREE) ? [treeBinary()] : [])])
    if ((await versionOf(binary.command, /Chrom\w* (\d+)/, binary.env)) !== undefined) return binary
  return undefined
}

/** Afterwards `startChromium` succeeds: one on PATH, or one out of Debian's packages in the cache folder. */
export async function setUpChromium(report: Report): Promise<void> {
  if ((await findChromium()) !== undefined) return
  const packages = ['chromium', 'chromium-common', 'fonts-dejavu-core', 'fontconfig-config']
  await bringDebianTree(TREE, packages, /^libc6$/, report)
}

export interface ChromiumService {
  /** Where its DevTools protocol is spoken. */
  readonly url: string
  stop(): Promise<void>
}

/** Rejects with the line that brings it where there is none. */
export async function startChromium(): Promise<ChromiumService> {
  const binary = await findChromium()
  if (binary === undefined)
    throw new Error('there is no Chromium: npm test brings one, or install it by hand: apt-get install chromium')
  const folder = await temporaryFolder('chromium')
  const port = join(folder.path, 'profile/DevToolsActivePort')
  // Without a font that is found, nothing has a place on a page: this machine may have none.
  const fonts = `<dir>${debianTree(TREE)}/usr/share/fonts</dir><cachedir>${folder.path}/fonts</cachedir>`
  writeFileSync(join(folder.path, 'fonts.conf'), `<?xml version="1.0"?><fontconfig>${fonts}</fontconfig>`)
  const fontsOf = 'LD_LIBRARY_PATH' in binary.env ? { FONTCONFIG_FILE: join(folder.path, 'fonts.conf') } : {}
  const start = async () => {
    const running = await launch(join(folder.path, 'log'), {
      command: binary.command,
      args: [
        ...['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${folder.path}/profile`],
        ...['--no-first-run', '--no-default-browser-check', '--disable-gpu', '--disable-dev-shm-usage'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio'],
        // Its own sandbox wants rights that neither root nor a container has; all that it loads is ours.
        '--no-sandbox',
        'about:blank',
      ],
      env: { ...binary.env, ...fontsOf, HOME: folder.path },
      cwd: folder.path,
      stopSignal: 'SIGTERM',
      orphanSignal: 'SIGKILL',
    })
    await untilReady('chromium', running, async () => existsSync(port) && readFileSync(port, 'utf8').includes('\n'))
    return running
  }
  const { controls } = await controlled(start, () => folder.remove())
  const [at, path] = readFileSync(port, 'utf8').split('\n')
  return { url: `ws://127.0.0.1:${at}${path}`, stop: controls.stop }
}
