// A real Chromium for the tests of the pages, driven over its DevTools protocol. Invariant: its profile lies in a folder of its own that goes
// with it, and it listens on the loopback alone.
import { existsSync, readFileSync } from 'node:fs'
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

/** On PATH, or out of Debian's packages in the cache folder, which are fetched the first time. Rejects with the line that installs it. */
export async function bringChromium(report: Report): Promise<Binary> {
  for (const command of NAMES.flatMap((name) => candidates(name)))
    if ((await versionOf(command, /Chrom\w* (\d+)/)) !== undefined) return { command, env: {} }
  if (!hasDebianTree(TREE))
    await bringDebianTree(
      TREE,
      ['chromium', 'chromium-common', 'fonts-dejavu-core', 'fontconfig-config'],
      /^libc6$/,
      report,
    )
  const binary = treeBinary()
  if ((await versionOf(binary.command, /Chrom\w* (\d+)/, binary.env)) !== undefined) return binary
  throw new Error('the tests of the pages need Chromium. Install it by hand: apt-get install chromium')
}

export interface ChromiumService {
  /** Where its DevTools protocol is spoken. */
  readonly url: string
  stop(): Promise<void>
}

export async function startChromium({
  report = () => undefined,
}: {
  readonly report?: Report
} = {}): Promise<ChromiumService> {
  const binary = await bringChromium(report)
  const folder = await temporaryFolder('chromium')
  const port = join(folder.path, 'profile/DevToolsActivePort')
  const start = async () => {
    const running = await launch(join(folder.path, 'log'), {
      command: binary.command,
      args: [
        ...['--headless=new', '--remote-debugging-port=0', `--user-data-dir=${folder.path}/profile`],
        ...['--no-first-run', '--no-default-browser-check', '--disable-gpu', '--disable-dev-shm-usage'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync', '--mute-audio'],
        // Its own sandbox refuses to run as root.
        ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
        'about:blank',
      ],
      env: { ...binary.env, HOME: folder.path },
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
