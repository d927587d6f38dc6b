// The order of commits as Redis keeps it, read from outside: each event once, in its order, and what became of each grant by its events alone.
// A second reader of the lifecycle: it knows the words of the events and nothing of the broker's code.
import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Json } from '../../deploy/dev/client.ts'

export const RANK = {
  pending: 0,
  approved: 1,
  issuing: 2,
  active: 2,
  ending: 3,
  stuck: 3,
  denied: 4,
  withdrawn: 4,
  lapsed: 4,
  ended: 4,
} as const
export type Status = keyof typeof RANK
export const isStatus = (text: unknown): text is Status => typeof text === 'string' && Object.hasOwn(RANK, text)
export const isOver = (status: Status): boolean => RANK[status] === 4

export interface Told {
  readonly grant: string
  readonly version: number
  readonly seq: number
  readonly type: string
  readonly by: string
  readonly at: number
  readonly digest: string
  readonly details: Json
  /** SHA-256 of its text as stored, as the witness has it. */
  readonly hash: string
}
export interface Life {
  readonly id: string
  status: Status
  version: number
  readonly told: Told[]
}

const EVENTS = '{writ:0}:events'
const CONTROL = '{writ:0}:control'
const MOST = 2_000

export interface Journal {
  readonly lives: Map<string, Life>
  /** Everything since the last reading. Rejects where Redis does not answer. */
  read(): Promise<{ readonly told: readonly Told[]; readonly gaps: readonly string[] }>
  life(id: string): Life | undefined
}

export function journal(redis: Redis): Journal {
  const lives = new Map<string, Life>()
  let last = '0-0'
  let seq: number | undefined
  const read: Journal['read'] = async () => {
    const told: Told[] = []
    const gaps: string[] = []
    const known = Number((await redis.hget(CONTROL, 'n')) ?? '0')
    if (seq !== undefined && known < seq) gaps.push(`the store has come to ${known} and was at ${seq} before`)
    for (;;) {
      const entries = await redis.xrange(EVENTS, `(${last}`, '+', 'COUNT', MOST)
      for (const [id, fields] of entries) {
        last = id
        const one = toldOf(fields)
        if (seq !== undefined && one.seq !== seq + 1) gaps.push(`after ${seq} comes ${one.seq}`)
        seq = one.seq
        told.push(one)
      }
      if (entries.length < MOST) return { told, gaps }
    }
  }
  return { lives, read, life: (id) => lives.get(id) }
}

function toldOf(fields: readonly string[]): Told {
  const field = (name: string): string => fields[fields.indexOf(name) + 1] ?? ''
  const text = field('event')
  const { type, by, at, digest, details } = JSON.parse(text)
  return {
    grant: field('grant'),
    version: Number(field('version')),
    seq: Number(field('seq')),
    hash: createHash('sha256').update(text).digest('base64url'),
    ...{ type, by, at, digest, details },
  }
}

/** What a grant is after this event; undefined where no grant that is `from` can have such an event. */
export function statusAfter(from: Status | 'none', type: string): Status | undefined {
  if (from === 'none') return type === 'filed' ? 'pending' : undefined
  const [allowed, to] = STEPS[type] ?? []
  if (allowed === undefined || !allowed.includes(from)) return undefined
  return typeof to === 'function' ? to(from) : to
}
const same = (from: Status): Status => from
const HELD = ['issuing', 'active'] as const
const STEPS: Readonly<Record<string, readonly [readonly Status[], Status | ((from: Status) => Status)]>> = {
  question_asked: [['pending'], same],
  question_answered: [['pending'], same],
  approval_added: [['pending', 'approved'], same],
  escalated: [['pending'], same],
  approved: [['pending'], 'approved'],
  denied: [['pending'], 'denied'],
  withdrawn: [['pending', 'approved'], 'withdrawn'],
  lapsed: [['pending', 'approved'], 'lapsed'],
  claimed: [['approved', 'active'], (from) => (from === 'approved' ? 'issuing' : from)],
  opened: [HELD, same],
  issued: [['approved', ...HELD], 'active'],
  released: [HELD, (from) => (from === 'issuing' ? 'approved' : from)],
  mint_closing: [[...HELD, 'ending', 'stuck'], same],
  mint_closed: [['active'], same],
  ending: [['approved', ...HELD], 'ending'],
  end_delayed: [['ending', 'stuck'], same],
  stuck: [['ending'], 'stuck'],
  ended: [['active', 'ending', 'stuck'], 'ended'],
}
