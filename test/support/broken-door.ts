// The real door with one thing broken in it, as the target of a hostile run: what a run must find. In memory, with real tokens.
import { Agent } from 'node:http'
import { proofKey } from '../../deploy/dev/client.ts'
import { BrokerError } from '../../src/domain/errors.ts'
import { named } from '../../src/domain/ids.ts'
import type { DoorPorts } from '../../src/http/door.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { hostileDoor } from '../doors/hostile-door.ts'
import { isDoc } from '../hostile/fields.ts'
import { NO_SEED } from '../hostile/plan.ts'
import type { Role } from '../hostile/samples.ts'
import type { Target } from '../hostile/target.ts'
import { asking, HOME, ISSUER, type World } from './world.ts'

export type Fault = (ports: DoorPorts, w: World) => DoorPorts

const operations = (ports: DoorPorts, over: Partial<DoorPorts['operations']>): DoorPorts => ({
  ...ports,
  operations: { ...ports.operations, ...over },
})
const thrown = async (): Promise<never> => {
  throw new TypeError('cannot read properties of undefined')
}

/** What is broken, and in which operation it shows. */
export const FAULTS: Readonly<
  Record<string, { readonly operation: string; readonly kind: string; readonly fault: Fault }>
> = {
  'a verb that throws': {
    ...{ operation: 'offered', kind: 'fiveHundred' },
    fault: (ports) => ({ ...ports, broker: { ...ports.broker, offered: thrown } }),
  },
  'a door that writes before it has looked': {
    ...{ operation: 'accept_clock', kind: 'stateChange' },
    fault: (ports, w) => ({
      ...ports,
      parseJson: (text) => {
        const asked = asking(w.now(), { entitlement: named.entitlement('sales-report'), actions: ['report.read'] })
        void w.file(w.as('dana', { key: undefined }), asked).catch(() => undefined)
        return ports.parseJson(text)
      },
    }),
  },
  'a refusal that the document does not know there': {
    ...{ operation: 'canaries', kind: 'schemaViolation' },
    fault: (ports) =>
      operations(ports, {
        canaries: async () => {
          throw new BrokerError('window_closed', 'It is over.')
        },
      }),
  },
  'an answer of another shape': {
    ...{ operation: 'recovery', kind: 'schemaViolation' },
    fault: (ports) =>
      operations(ports, {
        recovery: async (caller) => ({ ...(await ports.operations.recovery(caller)), seen: 1.5 }),
      }),
  },
  'a trace in an answer': {
    ...{ operation: 'accept_clock', kind: 'leak' },
    fault: (ports) => operations(ports, { acceptClock: async () => ({ trace: String(new Error('a trace').stack) }) }),
  },
  'a token in an answer': {
    ...{ operation: 'accept_clock', kind: 'leak' },
    fault: (ports) =>
      operations(ports, {
        acceptClock: async () => ({ token: `eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ2ZXJhIn0.${'A'.repeat(86)}` }),
      }),
  },
  'a body that nobody looks at': {
    ...{ operation: 'accept_clock', kind: 'takenAgainstSchema' },
    fault: (ports) => ({ ...ports, parseJson: () => ({ reason: 'anything' }) }),
  },
  'somebody let in who may not be': {
    ...{ operation: 'accept_clock', kind: 'takenFromNobody' },
    fault: (ports) => operations(ports, { acceptClock: async () => ({ done: true }) }),
  },
}

const SUBJECTS: Partial<Record<Role, string>> = {
  ...{ requester: 'dana', owner: 'lena', reviewer: 'paula', SOC: 'sol', auditor: 'audra', operator: 'oscar' },
  ...{ colleague: 'sam', 'other tenant': 'vera', agent: 'triage-agent', executor: 'report-job' },
}

export async function brokenTarget(fault: Fault): Promise<Target & { stop(): Promise<void> }> {
  const on = await hostileDoor(new Agent(), fault)
  const document: unknown = JSON.parse(JSON.stringify(openApiDocument(ISSUER)))
  if (!isDoc(document)) throw new Error('no API document')
  const { privateKey, thumbprint } = proofKey()
  const subject = (role: Role): string => (SUBJECTS[role] === undefined ? 'a.b.c' : on.token(SUBJECTS[role]))
  let heard = 0
  return {
    url: `http://127.0.0.1:${on.port}`,
    port: on.port,
    document,
    authorization: (role) => {
      if (role === 'anonymous') return undefined
      return `Bearer ${role === 'resource server' ? on.assertion() : subject(role)}`
    },
    subject,
    assertion: on.assertion,
    oauth: { issuer: ISSUER, server: { id: 'desk-api', privateKey, kid: thumbprint } },
    seed: async () => NO_SEED,
    ahead: async () => undefined,
    spoiled: () => undefined,
    refresh: async () => undefined,
    state: async () => ({
      kept: new Map([['seq', String((await on.world.store.read(HOME))?.seq)]]),
      passing: new Set(),
    }),
    commits: async () => String((await on.world.store.read(HOME))?.seq),
    failures: () => {
      const fresh = on.failures.slice(heard)
      heard = on.failures.length
      return fresh
    },
    now: () => on.world.now(),
    stop: on.stop,
  }
}
