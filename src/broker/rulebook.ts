// The rules this broker has compiled, found by what the control record names. A broker whose files are older than the record judges nothing.
import { BrokerError } from '../domain/errors.ts'
import type { Control, Rules } from './ports.ts'

export type PublishedRules = Pick<Control, 'policyRevision' | 'policyDigest' | 'peopleRevision' | 'peopleDigest'>

export interface Rulebook {
  /** What the files of this broker say now. */
  current(): Rules
  /** The rules that the record names. Throws `policy_outdated` where this broker has not got them. */
  under(control: Control): Rules
  /** Takes new rules over: they are known at once, so that whoever publishes them finds them here. */
  adopt(rules: Rules): void
}

export const publishedOf = ({ policy, directory }: Rules): PublishedRules => ({
  policyRevision: policy.revision,
  policyDigest: policy.digest,
  peopleRevision: directory.revision,
  peopleDigest: directory.digest,
})

/** Whether the record names exactly these rules. */
export const isUnder = (rules: Rules, control: PublishedRules): boolean =>
  rules.policy.digest === control.policyDigest &&
  rules.policy.revision === control.policyRevision &&
  rules.directory.digest === control.peopleDigest &&
  rules.directory.revision === control.peopleRevision

export function rulebook(first: Rules): Rulebook {
  // The one before stays known, because it is in force until the new one is published.
  let known: readonly Rules[] = [first]
  return {
    current: () => known[0] ?? first,
    adopt: (rules) => {
      known = [rules, ...known].slice(0, 3)
    },
    under: (control) => {
      const rules = known.find((candidate) => isUnder(candidate, control))
      if (rules !== undefined) return rules
      throw new BrokerError('policy_outdated', 'This broker does not have the policy that is in force.', {
        nextAction: 'Give this broker the same configuration files as the others; until then it issues nothing.',
        facts: { inForce: control.policyRevision, here: (known[0] ?? first).policy.revision },
      })
    },
  }
}
