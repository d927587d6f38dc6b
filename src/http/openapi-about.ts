// What the API document says about each route of `/v1` beyond its schemas, by the route's name. Invariant: a test holds that every route is
// here, that its statuses are those of the document, and that every example of a body is one that the route takes.
import type { z } from 'zod'
import * as wire from './wire.ts'

/** Request headers that only some routes read. */
export type ReadHeader = 'If-Match' | 'Idempotency-Key' | 'Last-Event-ID'
/** Answer headers that only some answers carry. */
export type GivenHeader = 'ETag' | 'Location' | 'Idempotency-Replayed'

export interface Given {
  readonly what: string
  /** The body; the row's `answers` where it is left out. */
  readonly schema?: z.ZodType
  readonly headers?: readonly GivenHeader[]
  /** Whether its `id` is the id in the paths of the other routes. */
  readonly leadsOn?: boolean
}
export interface About {
  readonly tag: 'Grants' | 'Freezes' | 'Resource servers' | 'Entitlements' | 'Operations' | 'Caller'
  readonly summary: string
  readonly description?: string
  /** Answers that are no refusals, by status. */
  readonly gives: Readonly<Record<number, Given>>
  readonly reads?: readonly ReadHeader[]
  /** Whether the same comes as `text/event-stream` to a client that asks for it. */
  readonly streams?: boolean
  readonly examples?: Readonly<Record<string, { readonly summary: string; readonly value: unknown }>>
}

const seen = (what: string): Given => ({ what, headers: ['ETag'] })
const ENDS = {
  200: seen('It is over and nothing of it is left.'),
  202: seen('It is being ended and the end is not confirmed yet: the credential may still work. Look again.'),
}
const EACH_ENDS = {
  200: { what: 'All of them are over, but for those that were refused: each is named with why.' },
  202: { what: 'At least one end is not confirmed yet.' },
}
const REASON = { reason: { summary: 'With a reason', value: { reason: 'The maintenance was called off.' } } }
const OPERATOR = { reason: { summary: 'With a reason', value: { reason: 'INC0012345: redis was restored' } } }
const WHERE = { ticket: { system: 'servicenow', id: 'CHG0031337' } }

export const ABOUT: Readonly<Record<string, About>> = {
  request: {
    tag: 'Grants',
    summary: 'Ask for access',
    description:
      'Files a grant: one asking and its whole life. What is asked for is fixed by its digest; whoever decides, decides on that. Send an Idempotency-Key, and the same key again when an answer was lost: the same asking is answered with the grant that was filed. With `dryRun=true` nothing is filed.',
    gives: {
      200: { what: 'With dryRun: what would become of this asking.', schema: wire.dryRunAnswer },
      201: {
        what: 'Filed, now or before under this key.',
        schema: wire.grantAnswer,
        headers: ['ETag', 'Location', 'Idempotency-Replayed'],
        leadsOn: true,
      },
    },
    reads: ['Idempotency-Key'],
    examples: {
      maintenance: {
        summary: 'A database login for a maintenance window',
        value: {
          entitlement: 'payments-migrator',
          actions: ['db.migrate'],
          task: {
            id: 'CHG0031337',
            summary: 'Add the index on payments.created_at',
            expectedOutcome: 'Reports finish within a minute.',
            rollback: 'Drop the index.',
          },
          ticket: { system: 'servicenow', id: 'CHG0031337' },
          window: { opensAt: '2026-12-01T22:00:00Z', closesAt: '2026-12-01T23:00:00Z' },
        },
      },
      report: {
        summary: 'A token for the next half hour',
        value: {
          entitlement: 'sales-report',
          actions: ['report.read'],
          task: { summary: 'The sales of last week' },
          window: { duration: '30m' },
        },
      },
    },
  },
  list: {
    tag: 'Grants',
    summary: 'List the grants that you may see',
    description:
      'Newest first. All filters hold together. Go on with the `next` of a page as `cursor`, until there is none.',
    gives: { 200: { what: 'A page.' } },
  },
  view: {
    tag: 'Grants',
    summary: 'Show a grant, or wait until it moves',
    description:
      'With `wait` the answer comes when the grant has changed or the time is over; then `timed_out` is true. A grant that is not there and one that is not yours to see are the same answer.',
    gives: { 200: seen('The grant. Its ETag is the revision to decide on.') },
  },
  decide: {
    tag: 'Grants',
    summary: 'Approve or deny',
    description:
      'The decision is on one revision: name it as If-Match or as `digest`. With an Idempotency-Key the same decision may be sent again. A reviewer finds every criterion of the seat true and cites evidence of each kind that the rule names, or denies. The owner decides last: over a review that is missing or negative only by accepting its risk by name, and never over a veto.',
    gives: { 200: seen('The decision counts.') },
    reads: ['If-Match', 'Idempotency-Key'],
    examples: {
      approve: { summary: 'Approve', value: { verdict: 'approve', reason: 'Reviewed with the database team.' } },
      review: {
        summary: 'A review: yes, if',
        value: {
          verdict: 'approve',
          reason: 'The model covers the new table.',
          as: 'security',
          checklist: ['threats-modelled'],
          evidence: [
            {
              kind: 'threat-model',
              url: 'https://docs.example/models/payments',
              digest: 'sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
            },
          ],
          conditions: [{ text: 'Close the debug port.', owner: 'rob', due: '2026-12-01T20:00:00Z' }],
        },
      },
      risk: {
        summary: 'The owner decides without a review',
        value: {
          verdict: 'approve',
          reason: 'Legal is out until Monday; the data is synthetic.',
          accepts: [{ risk: 'review:legal', until: '2026-12-02T00:00:00Z' }],
        },
      },
      deny: { summary: 'Deny', value: { verdict: 'deny', reason: 'Not during the freeze.' } },
    },
  },
  close: {
    tag: 'Grants',
    summary: 'Close a condition of yours',
    description: 'For whoever made it and still sits in that seat. Until then it blocks exchange.',
    gives: { 200: seen('It is closed.') },
    examples: {
      closed: {
        summary: 'With what was seen',
        value: { condition: 'k3V9xQ-f2Lr_', reason: 'The debug port is closed; I looked.' },
      },
    },
  },
  accept: {
    tag: 'Grants',
    summary: 'Accept a risk by name, as the owner',
    description:
      'The risk of an open condition, or of a review that is missing, negative, or does not count any more. It is signed, ends when its time is over, and is no approval.',
    gives: { 200: seen('The risk is accepted.') },
    examples: {
      condition: {
        summary: 'Of an open condition',
        value: {
          accepts: [{ risk: 'condition:k3V9xQ-f2Lr_', until: '2026-12-02T00:00:00Z' }],
          reason: 'The port is not reachable from outside.',
        },
      },
    },
  },
  retract: {
    tag: 'Grants',
    summary: 'Take your decision back',
    description:
      'At any time. A pending grant goes on without it; an approval that nobody has used is withdrawn; a credential is ended.',
    gives: {
      200: seen('Taken back, and nothing of what was derived from it is left.'),
      202: seen('Taken back; the end of the credential is not confirmed yet: it may still work. Look again.'),
    },
    examples: REASON,
  },
  begin_step_up: {
    tag: 'Grants',
    summary: 'Begin a decision that is signed with a passkey',
    description:
      'Where a decision, a closure or an acceptance is refused as `step_up_required`, send the same body here. It is judged as it would be there, and nothing is written. Open the page that is answered in a browser, within five minutes: what it shows is signed by your passkey, and counts then.',
    gives: { 201: { what: 'The page, and what will be signed on it.' } },
    reads: ['If-Match', 'Idempotency-Key'],
    examples: {
      approve: { summary: 'Approve', value: { verdict: 'approve', reason: 'Reviewed with the database team.' } },
    },
  },
  withdraw: {
    tag: 'Grants',
    summary: 'Withdraw an asking of yours that nobody has exchanged',
    gives: { 200: seen('Withdrawn.') },
    examples: REASON,
  },
  exchange: {
    tag: 'Grants',
    summary: 'Exchange an approved grant for a credential',
    description:
      'For the executor alone, with its own key, inside the window. The credential is in this answer and nowhere else; keep it out of logs. Send an `attempt` and the same one again when an answer was lost. Clients of OAuth use /oauth2/token.',
    gives: { 200: { what: 'The credential.' } },
    examples: { attempt: { summary: 'With an attempt of your own', value: { attempt: 'deploy-4711-try-1' } } },
  },
  complete: {
    tag: 'Grants',
    summary: 'Say that the task is done: the access ends',
    gives: ENDS,
    examples: { result: { summary: 'With what came of it', value: { result: { rows: '1024', state: 'migrated' } } } },
  },
  revoke: { tag: 'Grants', summary: 'End a grant now', gives: ENDS, examples: REASON },
  events: {
    tag: 'Grants',
    summary: 'What happened to a grant',
    description:
      'As `text/event-stream` each event is one message, its id the event’s version; a stream goes on after Last-Event-ID and closes when nothing can follow, or after five minutes: then come again.',
    gives: { 200: { what: 'The events in order.' } },
    reads: ['Last-Event-ID'],
    streams: true,
  },
  questions: {
    tag: 'Grants',
    summary: 'What approvers asked about a grant, and the answers',
    gives: { 200: { what: 'The questions in order.' } },
  },
  ask: {
    tag: 'Grants',
    summary: 'Ask the requester of a pending grant a question',
    gives: { 201: { what: 'All questions, the new one last.' } },
    examples: {
      question: { summary: 'A question', value: { text: 'Which tables does this lock, and for how long?' } },
    },
  },
  answer: {
    tag: 'Grants',
    summary: 'Answer a question',
    gives: { 201: { what: 'All questions.' } },
    examples: { answer: { summary: 'An answer', value: { text: 'None: the index is built concurrently.' } } },
  },
  feed: {
    tag: 'Grants',
    summary: 'What happened to all grants that you may see',
    description:
      'Go on with `next` as `after`. As `text/event-stream` each event is one message; a stream goes on after Last-Event-ID, and without a place it begins now.',
    gives: { 200: { what: 'Events in order, and where to go on.' } },
    reads: ['Last-Event-ID'],
    streams: true,
  },
  complete_each: {
    tag: 'Grants',
    summary: 'Complete every grant of yours for a task, session or ticket',
    gives: EACH_ENDS,
    examples: { ticket: { summary: 'By ticket', value: { where: WHERE, result: { state: 'done' } } } },
  },
  revoke_each: {
    tag: 'Grants',
    summary: 'End every grant of a task, session or ticket that you may end',
    gives: EACH_ENDS,
    examples: { ticket: { summary: 'By ticket', value: { where: WHERE, reason: 'The change was cancelled.' } } },
  },
  revocations: {
    tag: 'Resource servers',
    summary: 'Which grants for your audiences have ended, as they end',
    description:
      'Go on with `position` as `after`. With `wait` the answer comes with the first that ends, or when the time is over; then `timed_out` is true. As `text/event-stream` each is a message `revocation`; a message `position` comes at least every two seconds, with the time up to which nothing is missing: where it does not come, accept nothing that you cannot check otherwise. A stream goes on after Last-Event-ID and closes after five minutes: then come again. A grant may be told twice.',
    gives: { 200: { what: 'What has ended, and where to go on. Without any: there was none up to the position.' } },
    reads: ['Last-Event-ID'],
    streams: true,
  },
  acknowledge: {
    tag: 'Resource servers',
    summary: 'Say that this instance refuses everything up to a position',
    description:
      'Kept is when each position was first reached, and shown with every grant that has ended. An instance counts for what ends within a day after it was last heard of.',
    gives: { 204: { what: 'It is kept.' } },
    examples: {
      instance: { summary: 'By one instance', value: { position: '0.1796166000000-3', consumer: 'eu-2' } },
    },
  },
  report_uses: {
    tag: 'Resource servers',
    summary: 'Report uses of a credential, and refusals with their reason',
    description:
      'For the resource server of the grant’s audience. The same id again is the same use. Refusals as ended, expired, wrong_key, no_proof, replay and wrong_plan are misuse: they are events, and the policy may answer them by ending.',
    gives: { 200: { what: 'They are kept with the grant.' } },
    examples: {
      both: {
        summary: 'A use and a refusal',
        value: {
          uses: [
            {
              id: '0198a3c4-5b1e-7d20-9c3f-2a6b8e4d1f70',
              at: '2026-12-01T22:05:00Z',
              credential: '6f1d0d0e-8f51-4a0f-9d7c-1a2b3c4d5e6f',
              outcome: 'used',
              action: 'report.read',
              target: '/reports/sales/2026-47',
            },
            {
              id: '0198a3c4-5b1e-7d20-9c3f-2a6b8e4d1f71',
              at: '2026-12-01T23:00:01Z',
              credential: '6f1d0d0e-8f51-4a0f-9d7c-1a2b3c4d5e6f',
              outcome: 'refused',
              reason: 'ended',
              action: 'report.read',
              target: '/reports/sales/2026-48',
            },
          ],
        },
      },
    },
  },
  uses: {
    tag: 'Grants',
    summary: 'What was reported of a grant’s credentials',
    description:
      'Beside what was decided and under which policy. Reports are the word of the resource server; where there is none, the use was not reported.',
    gives: { 200: { what: 'The uses in the order in which they were reported.' } },
  },
  passkeys: {
    tag: 'Caller',
    summary: 'Your passkeys',
    gives: { 200: { what: 'The oldest first.' } },
  },
  add_passkey: {
    tag: 'Caller',
    summary: 'Begin to register a passkey',
    description:
      'For natural persons. Open the page that is answered in a browser, within five minutes. A further passkey is registered only after one that you have has signed for it there.',
    gives: { 201: { what: 'The page.' } },
    examples: { laptop: { summary: 'A passkey of this computer', value: { name: 'laptop' } } },
  },
  remove_passkey: {
    tag: 'Caller',
    summary: 'Begin to remove a passkey of yours',
    description: 'It is removed when a passkey that you have has signed for it on the page that is answered.',
    gives: { 201: { what: 'The page.' } },
    examples: { nothing: { summary: 'Nothing is said', value: {} } },
  },
  freeze: {
    tag: 'Freezes',
    summary: 'Freeze: nothing new for whom, what or where it names',
    description:
      'For the SOC. From this answer on nothing that matches is filed, approved or exchanged, and what matches and was filed before is dead for ever, also after the freeze is lifted. What was handed out before lives on until it is revoked or ends. All that `where` names must hold, and it bites only where the target or the requester is of your own tenant.',
    gives: { 201: { what: 'In force.' } },
    examples: {
      target: {
        summary: 'A target',
        value: { where: { target: 'payments-db' }, reason: 'INC0012345: the database is under investigation' },
      },
      agent: { summary: 'An agent', value: { where: { agent: 'triage-agent' }, reason: 'INC0012346' } },
    },
  },
  freezes: {
    tag: 'Freezes',
    summary: 'The freezes of your tenant, lifted ones too',
    description: 'For the SOC and for auditors. Newest first.',
    gives: { 200: { what: 'All of them, with who made and who lifted them, and why.' } },
  },
  lift_freeze: {
    tag: 'Freezes',
    summary: 'Lift a freeze',
    description:
      'For the SOC. What was filed before the freeze stays dead; what is filed from now on is judged without it. Lifting it again changes nothing.',
    gives: { 200: { what: 'Lifted, now or before.' } },
    examples: REASON,
  },
  contain: {
    tag: 'Freezes',
    summary: 'Contain: end whatever matches, and let nothing new through',
    description:
      'For the SOC. From this answer on, at every broker, nothing that matches is filed, approved or exchanged, and introspection refuses what was handed out; what matched is dead for ever, also after the freeze is lifted. The ends at the backends go on behind it: see `GET /v1/containments/{freeze}`. With `dryRun=true` it is counted and nothing is done. It concerns targets and requesters of your own tenant alone.',
    gives: {
      200: { what: 'With dryRun: what would be ended, by kind and status.', schema: wire.countedAnswer },
      202: { what: 'The denial holds; this far the ends behind it have come.', schema: wire.containmentAnswer },
    },
    examples: {
      agent: {
        summary: 'Everything that an agent holds',
        value: { where: { agent: 'triage-agent' }, reason: 'INC0012346: it does what nobody asked for' },
      },
      approver: {
        summary: 'What somebody approved, without stopping what is new',
        value: { where: { approver: 'olivia' }, reason: 'INC0012347', freeze: false },
      },
    },
  },
  containment: {
    tag: 'Freezes',
    summary: 'How far a containment is',
    description:
      'For the SOC and for auditors. With `Accept: text/event-stream` an event `progress` at each change and `done` at the end. Until `done` is true something that was handed out by a backend may still work.',
    gives: { 200: { what: 'How many have ended, are confirmed, and fail.' } },
    streams: true,
  },
  contained: {
    tag: 'Freezes',
    summary: 'What became of each grant that a containment matched',
    description: 'For the SOC and for auditors; `stage` picks. A hundred in a page.',
    gives: { 200: { what: 'Each with the confirmation of its end, or with what its last try said.' } },
  },
  whoami: {
    tag: 'Caller',
    summary: 'Who you are to this broker',
    gives: { 200: { what: 'As the directory knows you, whatever your token says of groups.' } },
  },
  offered: {
    tag: 'Entitlements',
    summary: 'What you may ask for',
    gives: { 200: { what: 'The entitlements that are open to you, with limits and who decides.' } },
  },
  recover: {
    tag: 'Operations',
    summary: 'Accept the store as it is, after somebody has looked at it',
    description: 'For operators. Issuing stopped because the store was behind what this broker remembers.',
    gives: { 200: { what: 'What was done.' } },
    examples: OPERATOR,
  },
  accept_clock: {
    tag: 'Operations',
    summary: 'Accept a jump of the clock, after somebody has looked at it',
    description: 'For operators. Issuing stopped because the clock of the store jumped.',
    gives: { 200: { what: 'What was done.' } },
    examples: OPERATOR,
  },
  canaries: {
    tag: 'Operations',
    summary: 'Whether ending works, as it was last tried',
    description:
      'For operators. For everything that comes from a backend, the last canary: a real credential that was made for nobody and ended, when the entitlement was loaded and every WRIT_CANARY_EVERY since. Where ending was shown not to work, nothing that should end at once is handed out until it works again.',
    gives: { 200: { what: 'One for each entitlement of a backend.' } },
  },
}
