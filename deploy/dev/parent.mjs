// Children that die with us, even when we are killed: on Linux the kernel signals them (PR_SET_PDEATHSIG through setpriv).
// Elsewhere only an orderly exit ends them. Plain JavaScript on built-ins, for the bootstrap.
import { spawnSync } from 'node:child_process'

let able

const isAble = () => {
  able ??=
    process.platform === 'linux' &&
    spawnSync('setpriv', ['--pdeathsig', 'keep', 'true'], { stdio: 'ignore', timeout: 5_000 }).status === 0
  return able
}

/** The command line that runs `command` and has the kernel send it `signal` ('SIGTERM', …) when its parent thread ends. */
export const boundToParent = (command, args, signal) =>
  isAble() ? ['setpriv', ['--pdeathsig', signal.replace('SIG', ''), command, ...args]] : [command, [...args]]
