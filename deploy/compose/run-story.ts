// `npm run compose:story`: starts the whole set-up, plays the story in it, and takes it down with its volumes. Where Docker, its compose
// command or an image is missing it says which, in one line, and exits 0: the same story runs in the tests without containers.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ask } from '../dev/docker-api.ts'
import { makeSecrets, SECRETS } from './secrets.ts'

const FILE = fileURLToPath(new URL('../compose.yaml', import.meta.url))
const FAILED = 1

/** The exit code. */
const compose = (args: readonly string[], quiet = false): number => {
  const all = ['compose', '--file', FILE, '--project-name', 'writ-story', ...args]
  return spawnSync('docker', all, { stdio: quiet ? 'ignore' : 'inherit' }).status ?? FAILED
}

const has = (image: string): boolean =>
  spawnSync('docker', ['image', 'inspect', image], { stdio: 'ignore' }).status === 0 ||
  spawnSync('docker', ['pull', '--quiet', image], { stdio: 'ignore' }).status === 0

/** Every image that is not built here, as `compose.yaml` names it: a setting and what stands for it. */
const imagesOf = (yaml: string): readonly string[] =>
  [...yaml.matchAll(/(?:image|_IMAGE): \$\{(\w+):-([^}]+)\}/g)]
    .map(([, name = '', otherwise = '']) => process.env[name] || otherwise)
    .filter((image) => !/^writ(-dev)?:local$/.test(image))

/** Why the story cannot be played here. */
const hindrance = async (): Promise<string | undefined> => {
  if ((await ask('GET', '/info', 3_000))?.status !== 200) return 'no Docker engine answers on this machine'
  if (compose(['version'], true) !== 0) return 'this Docker has no compose command'
  const missing = imagesOf(readFileSync(FILE, 'utf8')).find((image) => !has(image))
  return missing === undefined ? undefined : `there is no image ${missing} and it cannot be pulled`
}

makeSecrets(SECRETS)
const why = await hindrance()
if (why !== undefined) {
  process.stdout.write(`The compose story is not played here: ${why}.\n`)
} else {
  try {
    process.exitCode =
      compose(['up', '--detach', '--build', '--wait']) ||
      compose(['exec', '--no-TTY', 'identity', 'node', 'deploy/compose/story.ts'])
    if (process.exitCode !== 0) compose(['logs', '--tail', '50'])
  } finally {
    compose(['down', '--volumes', '--timeout', '40'])
  }
}
