// The id of a grant as a word of the command line. One that cannot be a grant's never leaves this machine: it would be part of a path.
import { type GrantId, isGrantId } from '../domain/ids.ts'
import type { Context } from './command.ts'
import { usage } from './failure.ts'
import { visible } from './shown.ts'

export function grantIdIn({ given }: Pick<Context, 'given'>, at = 0): GrantId {
  const word = given.words[at] ?? ''
  if (!isGrantId(word))
    throw usage(`${visible(word)} is not the id of a grant.`, 'writ list shows the ids; they look like g0-7xk…')
  return word
}
