// What is begun here and finished by a passkey: decisions, and the passkeys themselves. The answer is a page; nothing is done before a passkey
// of the person has signed on it.
import type { z } from 'zod'
import type { Begun, Said } from '../broker/ceremony.ts'
import { formatInstant } from '../domain/instant.ts'
import { type Answer, json } from './endpoint.ts'
import { acceptanceOf, ballotOf, type Call, closureOf, type GrantsPorts, idOf } from './grants.ts'
import type { begunAnswer, passkeyBody, passkeysAnswer, stepUpAnswer, stepUpBody } from './wire.ts'

const begunOf = ({ url, expiresAt }: Begun) => ({ url, expiresAt: formatInstant(expiresAt) })

export const beginStepUp = async (
  p: GrantsPorts,
  { caller, incoming, body }: Call<z.infer<typeof stepUpBody>, unknown>,
): Promise<Answer> => {
  const said: Said =
    'verdict' in body
      ? { act: 'vote', ballot: ballotOf(incoming, body) }
      : 'condition' in body
        ? { act: 'close', closure: closureOf(body) }
        : { act: 'accept', acceptance: acceptanceOf(body) }
  const begun = await p.broker.beginStepUp(caller, idOf(incoming), said)
  return json(201, { ...begunOf(begun), statement: begun.statement } satisfies z.infer<typeof stepUpAnswer>)
}

export const list = async (p: GrantsPorts, { caller }: Call<unknown, unknown>): Promise<Answer> => {
  const passkeys = (await p.broker.passkeys(caller)).map(({ credentialId, name, registeredAt, transports }) => ({
    id: credentialId,
    name,
    registeredAt: formatInstant(registeredAt),
    transports: [...transports],
  }))
  return json(200, { passkeys } satisfies z.infer<typeof passkeysAnswer>)
}

export const add = async (
  p: GrantsPorts,
  { caller, body }: Call<z.infer<typeof passkeyBody>, unknown>,
): Promise<Answer> =>
  json(201, begunOf(await p.broker.addPasskey(caller, body.name)) satisfies z.infer<typeof begunAnswer>)

export const remove = async (p: GrantsPorts, { caller, incoming }: Call<unknown, unknown>): Promise<Answer> =>
  json(201, begunOf(await p.broker.removePasskey(caller, incoming.params.passkey ?? '')))
