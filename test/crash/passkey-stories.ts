// Stories about the passkeys of persons: the first is registered with no more than a login, each further one and each removal is signed by one that
// is there. One story at a time about a person; what an earlier one left behind is removed first.
import { type Browsers, isInDoubt, type Person, personOf } from './browsers.ts'
import type { Cast } from './cast.ts'
import { type Desk, getAs, type Outcome, type Prefer, postAs } from './desk.ts'
import type { Report } from './violation.ts'

export interface PasskeyStoryPorts {
  readonly publicUrl: string
  readonly desk: Desk
  readonly cast: Cast
  readonly browsers: Browsers
  readonly report: Report
}
/** Nobody of them decides on anything here. */
const HOLDERS = ['paula', 'audra', 'oscar', 'sam', 'dana']

export function passkeyStories({ publicUrl, desk, cast, browsers, report }: PasskeyStoryPorts) {
  const holders = HOLDERS.map(personOf)
  const busy = new Set<Person>()

  async function ask(person: Person, verb: string, path: string, body: object, prefer: Prefer) {
    // What was begun before may have removed it, or added one, since.
    const mayRefuse = isInDoubt(person) ? ['not_permitted', 'policy_refused'] : []
    const send = postAs(publicUrl, cast.person(person.login), path, body)
    return desk.ask({ verb, send, mayRefuse }, prefer)
  }

  /** The ids of the passkeys that the broker has of this person; undefined where nobody answered. */
  async function listed(person: Person, prefer: Prefer): Promise<readonly string[] | undefined> {
    const send = getAs(publicUrl, cast.person(person.login), '/v1/passkeys')
    const outcome = await desk.ask({ verb: 'passkeys', send }, prefer)
    const ids: readonly string[] | undefined = outcome?.body?.passkeys?.map(({ id }: { readonly id: string }) => id)
    for (const id of ids ?? [])
      if (!person.passkeys.has(id))
        report({ invariant: 'passkeysAreTheirPersons', expected: `one that ${person.login} made`, seen: id })
    return ids
  }

  async function add(person: Person, prefer: Prefer): Promise<Outcome | undefined> {
    const name = `key ${person.passkeys.size}`
    const begun = await ask(person, 'addPasskey', '/v1/passkeys/ceremonies', { name }, prefer)
    if (begun?.ok !== true) return undefined
    return browsers.follow(person, begun.body.url, { verb: 'addPasskey' }, prefer)
  }

  async function remove(person: Person, id: string, prefer: Prefer): Promise<void> {
    const begun = await ask(person, 'removePasskey', `/v1/passkeys/${id}/remove`, {}, prefer)
    if (begun?.ok !== true) return
    const removed = await browsers.follow(person, begun.body.url, { verb: 'removePasskey' }, prefer)
    const left = removed === undefined ? undefined : await listed(person, prefer)
    if (left?.includes(id) === true)
      report({ invariant: 'whatIsRemovedIsGone', expected: `no passkey ${id} of ${person.login}`, seen: 'listed' })
  }

  async function life(person: Person, prefer: Prefer): Promise<void> {
    for (const id of (await listed(person, prefer)) ?? []) await remove(person, id, prefer)
    for (let many = 1; many <= 2; many += 1) {
      const before = (await listed(person, prefer)) ?? []
      const added = await add(person, prefer)
      const after = added === undefined ? undefined : await listed(person, prefer)
      if (after?.every((id) => before.includes(id)) === true)
        report({ invariant: 'whatIsRegisteredIsThere', expected: `one more of ${person.login}`, seen: `${before}` })
    }
    for (const id of (await listed(person, prefer)) ?? []) await remove(person, id, prefer)
  }

  return {
    add,
    /** Of somebody about whom no other story is told; none where all are taken. */
    tell: async (prefer: Prefer): Promise<void> => {
      const person = holders.find((one) => !busy.has(one))
      if (person === undefined) return
      busy.add(person)
      await life(person, prefer).finally(() => busy.delete(person))
    },
  }
}
