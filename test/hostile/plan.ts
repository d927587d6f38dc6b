// Which requests are sent, in which order. Invariant: every field of every operation meets every bad value once, from somebody who would be let
// in with a good one, before any meets it again; then from every other role; then two things at once are wrong. The same seed, the same order.
import { type Doc, type Field, fieldsOf, type Operation, operationsOf } from './fields.ts'
import { type Badness, badnessesOf, holds, type Sample } from './requests.ts'
import { ROLES, type Role, rowOf, type Seed } from './samples.ts'

export interface Combination {
  readonly operation: Operation
  readonly field: Field
  /** Which of the samples has the field. */
  readonly sample: number
  readonly bad: Badness
}
export interface Case extends Combination {
  readonly role: Role
  /** What is wrong besides, from the last round on. */
  readonly also?: Combination
}
export interface Plan {
  readonly combinations: readonly Combination[]
  readonly fields: number
  readonly values: number
  /** All of them by every role. */
  readonly product: number
  /** The n-th request; there is no last one. */
  at(n: number): Case
}

/** Mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
const shuffled = <T>(all: readonly T[], random: () => number): readonly T[] => {
  const out = [...all]
  for (let n = out.length - 1; n > 0; n -= 1) {
    const other = Math.floor(random() * (n + 1))
    const [a, b] = [out[n], out[other]]
    if (a === undefined || b === undefined) continue
    out[n] = b
    out[other] = a
  }
  return out
}

/** For asking which sample holds what. */
export const NO_SEED: Seed = {
  id: 'g0-a',
  digest: 'd',
  ticket: { system: 's', id: 'i' },
  condition: 'c',
  question: '1',
  freeze: 'f-a',
  jti: 'j',
  token: 't',
  list: '0-0',
  position: 'p',
  place: 'p',
  cursor: 'c',
}
export function samplesFor(operation: string): readonly Sample[] {
  const found =
    known.get(operation) ?? rowOf(operation).samples({ seed: NO_SEED, n: 0, now: 0, subject: 's', assertion: 'a' })
  known.set(operation, found)
  return found
}
const known = new Map<string, readonly Sample[]>()

export function combinationsOf(
  document: Doc,
  only: (operation: string) => boolean = () => true,
): readonly Combination[] {
  return operationsOf(document)
    .filter(({ id }) => only(id))
    .flatMap((operation) => {
      const samples = samplesFor(operation.id)
      return fieldsOf(document, operation).flatMap((field) => {
        const sample = samples.findIndex((one) => holds(one, field))
        if (sample < 0) throw new Error(`no sample of ${operation.id} says ${field.place} ${field.at.join('.')}`)
        return badnessesOf(field, operation).map((bad) => ({ operation, field, sample, bad }))
      })
    })
}

/** Who is let in with a good one comes first. */
const rolesOf = ({ operation, sample }: Combination): readonly Role[] => {
  const first = samplesFor(operation.id)[sample]?.by ?? rowOf(operation.id).may[0] ?? 'requester'
  return [first, ...ROLES.filter((role) => role !== first)]
}

export function planOf(document: Doc, seed: number, only?: (operation: string) => boolean): Plan {
  const all = combinationsOf(document, only)
  const rounds = new Map<number, readonly Combination[]>()
  const round = (n: number): readonly Combination[] => {
    const known = rounds.get(n) ?? shuffled(all, randomFrom(seed * 31 + n))
    rounds.clear()
    rounds.set(n, known)
    return known
  }
  return {
    combinations: all,
    fields: new Set(all.map(({ field }) => JSON.stringify(field))).size,
    values: new Set(all.map(({ field, bad }) => `${field.place === 'whole'} ${bad.name}`)).size,
    product: all.length * ROLES.length,
    at: (n) => {
      const turn = Math.floor(n / all.length)
      const one = round(turn)[n % all.length]
      if (one === undefined) throw new Error('there is nothing to send')
      const roles = rolesOf(one)
      const roleAt = (place: number): Role => roles[place] ?? 'anonymous'
      if (turn === 0) return { ...one, role: roleAt(0) }
      if (turn < roles.length) return { ...one, role: roleAt(shiftOf(one, turn, roles.length)) }
      const random = randomFrom(seed + n * 7)
      const beside = all.filter(({ operation, sample }) => operation.id === one.operation.id && sample === one.sample)
      const also = beside[Math.floor(random() * beside.length)]
      const role = roleAt(random() < 0.5 ? 0 : Math.floor(random() * roles.length))
      return { ...one, role, ...(also === undefined ? {} : { also }) }
    },
  }
}

/** Over the rounds each of the other roles once, beginning elsewhere for each combination. */
const shiftOf = ({ bad, field }: Combination, turn: number, roles: number): number => {
  const begin = [...`${bad.name}${field.at.join()}`].reduce((sum, sign) => (sum * 33 + sign.charCodeAt(0)) >>> 0, 5)
  return 1 + ((begin + turn) % (roles - 1))
}
