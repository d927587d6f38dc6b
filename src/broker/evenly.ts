// What is not there and what is not yours take the same time to be told. A grant that is found is read and judged, one that is not costs
// nothing, and whoever measures long enough could tell them apart; so both are answered at one moment, set before anything is looked for.
import { isBrokerError } from '../domain/errors.ts'
import type { Ports } from './ports.ts'

/** Longer than finding and judging take while the store is well; when it is not, its own unrest hides more. */
export const EVENLY_MS = 20

export const evenly =
  <A extends readonly unknown[], T>(p: Pick<Ports, 'evenly'>, verb: (...args: A) => Promise<T>) =>
  async (...args: A): Promise<T> => {
    const over = p.evenly()
    try {
      return await verb(...args)
    } catch (thrown) {
      if (isBrokerError(thrown, 'grant_not_found')) await over
      throw thrown
    }
  }
