// Makes the next signing key in the folder that all brokers read, and removes access keys of which nothing can be alive any more.
// Run it from a timer, as often as keys shall change: `rotate-keys.ts <folder> [access|decision]`. A second run before the next key
// signs changes nothing. `rotate-keys.ts <folder> --create` makes the folder and the first key of each purpose, once.
import { instant } from '../src/domain/instant.ts'
import { ensureKeyRing, KeyRingError, PURPOSES, type Purpose, rotate } from '../src/tokens/key-ring.ts'

const isPurpose = (text: string): text is Purpose => (PURPOSES as readonly string[]).includes(text)

const USAGE = `usage: npm run keys:rotate -- <folder> [${PURPOSES.join('|')}]     or     npm run keys:rotate -- <folder> --create`

async function run([folder, purpose = 'access', ...more]: readonly string[]): Promise<number> {
  if (folder === undefined || more.length > 0 || !(purpose === '--create' || isPurpose(purpose))) {
    console.error(USAGE)
    return 2
  }
  if (purpose === '--create') {
    await ensureKeyRing(folder)
    console.log(`${folder} has a first key of each purpose: ${PURPOSES.join(', ')}`)
    return 0
  }
  try {
    const { next, removed } = await rotate(folder, { now: instant(Date.now()), purpose })
    const from = new Date(next.signsFrom).toISOString()
    console.log(
      next.made ? `made ${next.file}, which signs from ${from}` : `${next.file} is next already and signs from ${from}`,
    )
    for (const file of removed) console.log(`removed ${file}: nothing it signed can be alive`)
    return 0
  } catch (thrown) {
    if (!(thrown instanceof KeyRingError)) throw thrown
    console.error(thrown.message)
    return 1
  }
}

process.exitCode = await run(process.argv.slice(2))
