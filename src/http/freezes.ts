// The freezes of `/v1`: from parsed bodies to verbs and back. Who may freeze what is the verbs' to say.
import type { z } from 'zod'
import type { Broker } from '../broker/broker.ts'
import { noSuchFreeze } from '../broker/freeze.ts'
import type { Freeze } from '../domain/freeze.ts'
import { type FreezeId, isFreezeId, named } from '../domain/ids.ts'
import { formatInstant, parseInstant } from '../domain/instant.ts'
import type { Selector } from '../domain/selector.ts'
import { type Answer, type Incoming, json } from './endpoint.ts'
import type { Call } from './grants.ts'
import type { FreezeBody, freezeAnswer, freezesAnswer, reasonBody } from './wire.ts'

interface FreezesPorts {
  readonly broker: Pick<Broker, 'freeze' | 'freezes' | 'liftFreeze'>
}

/** One that cannot be a freeze's looks like any other that is not there. */
export function freezeIdOf(incoming: Incoming): FreezeId {
  const { freeze = '' } = incoming.params
  if (!isFreezeId(freeze)) throw noSuchFreeze()
  return freeze
}

export const freeze = async (p: FreezesPorts, { caller, body }: Call<FreezeBody, unknown>): Promise<Answer> =>
  json(201, showFreeze(await p.broker.freeze(caller, selectorOf(body.where), body.reason)))

export const list = async (p: FreezesPorts, { caller }: Call<unknown, unknown>): Promise<Answer> =>
  json(200, {
    freezes: (await p.broker.freezes(caller)).map(showFreeze),
  } satisfies z.infer<typeof freezesAnswer>)

export const lift = async (
  p: FreezesPorts,
  { caller, incoming, body }: Call<z.infer<typeof reasonBody>, unknown>,
): Promise<Answer> => json(200, showFreeze(await p.broker.liftFreeze(caller, freezeIdOf(incoming), body.reason)))

export function selectorOf(where: FreezeBody['where']): Selector {
  const { person, agent, workload, sponsor, tenant, target, environment, entitlement, task, session, ticket } = where
  const issuedBefore = where.issuedBefore === undefined ? undefined : parseInstant(where.issuedBefore)
  return {
    ...(person === undefined ? {} : { person: named.person(person) }),
    ...(agent === undefined ? {} : { agent: named.principal(agent) }),
    ...(workload === undefined ? {} : { workload: named.principal(workload) }),
    ...(sponsor === undefined ? {} : { sponsor: named.person(sponsor) }),
    ...(tenant === undefined ? {} : { tenant: named.tenant(tenant) }),
    ...(target === undefined ? {} : { target }),
    ...(environment === undefined ? {} : { environment }),
    ...(entitlement === undefined ? {} : { entitlement: named.entitlement(entitlement) }),
    ...(task === undefined ? {} : { task }),
    ...(session === undefined ? {} : { session }),
    ...(ticket === undefined ? {} : { ticket }),
    ...(where.planDigest === undefined ? {} : { planDigest: where.planDigest }),
    ...(where.key === undefined ? {} : { key: where.key }),
    ...(where.approver === undefined ? {} : { approver: named.person(where.approver) }),
    ...(where.policyDigest === undefined ? {} : { policyDigest: where.policyDigest }),
    ...(issuedBefore === undefined ? {} : { issuedBefore }),
  }
}

export const showFreeze = ({
  id,
  tenant,
  selector: { issuedBefore, ...selector },
  contains,
  reason,
  by,
  at,
  lifted,
}: Freeze): z.infer<typeof freezeAnswer> => ({
  id,
  tenant,
  where: { ...selector, ...(issuedBefore === undefined ? {} : { issuedBefore: formatInstant(issuedBefore) }) },
  contains,
  reason,
  by,
  at: formatInstant(at),
  ...(lifted === undefined ? {} : { lifted: { at: formatInstant(lifted.at), by: lifted.by, reason: lifted.reason } }),
})
