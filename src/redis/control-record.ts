// The stored form of the control record: one text, so that a commit compares it in one step and half of it can never be read.
import type { Control } from '../broker/ports.ts'
import { type Digest, isDigest } from '../domain/ids.ts'

/** The text that Redis compares. */
export const printControl = (control: Control): string =>
  [
    control.policyRevision,
    control.policyDigest,
    control.peopleRevision,
    control.peopleDigest,
    control.freezeEpoch,
  ].join('|')

/** The same without the freeze epoch: what a lift is judged under, which itself moves the epoch of one shard after the other. */
export const printRules = (control: Control): string => printControl(control).split('|').slice(0, 4).join('|')

/** Undefined for anything but a whole record, which means that there is none. */
export function readControl(stored: string): Control | undefined {
  const [, policyRevision, policyDigest = '', peopleRevision, peopleDigest = '', freezeEpoch] =
    /^(\d{1,15})\|([^|]+)\|(\d{1,15})\|([^|]+)\|(\d{1,15})$/.exec(stored) ?? []
  if (!isDigest(policyDigest) || !isDigest(peopleDigest)) return undefined
  return {
    policyRevision: Number(policyRevision),
    policyDigest: policyDigest satisfies Digest,
    peopleRevision: Number(peopleRevision),
    peopleDigest,
    freezeEpoch: Number(freezeEpoch),
  }
}
