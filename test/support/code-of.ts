// What a refused promise was refused with. Anything that is not a refusal of ours is thrown on, and so fails the test.
import { BrokerError, type ErrorCode } from '../../src/domain/errors.ts'

/** The code of the refusal, or `accepted`. */
export const codeOf = async (promise: Promise<unknown>): Promise<ErrorCode | 'accepted'> =>
  promise.then(
    () => 'accepted' as const,
    (thrown: unknown) => {
      if (thrown instanceof BrokerError) return thrown.code
      throw thrown
    },
  )
