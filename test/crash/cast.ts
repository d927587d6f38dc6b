// Who asks, who decides and who looks, with logins that are renewed while the run lasts.
import type { Who } from '../../deploy/dev/client.ts'
import type { DevStage } from '../../deploy/dev/stage.ts'
import type { People } from './invariants-of-events.ts'

const RENEW_MS = 240_000

export interface Cast {
  person(login: string): () => Promise<Who>
  /** With the key that its tokens are bound to. */
  agent(id: string): () => Promise<Who>
  deployJob(sha: string, runId: string): () => Promise<Who>
}

export function cast({ idp }: Pick<DevStage, 'idp'>): Cast {
  const known = new Map<string, { readonly since: number; readonly token: Promise<string> }>()
  const renewed = async (name: string, make: () => Promise<string>): Promise<Who> => {
    const now = performance.now()
    const former = known.get(name)
    if (former !== undefined && now - former.since < RENEW_MS) return { token: await former.token }
    const token = make()
    known.set(name, { since: now, token })
    return { token: await token }
  }
  return {
    person: (login) => () => renewed(login, () => idp.personToken(login)),
    agent: (id) => () => renewed(id, () => idp.agentToken(id, undefined, 'crash')),
    deployJob: (sha, runId) => () => renewed(runId, () => idp.ciToken({ job: 'deploy', sha, runId })),
  }
}

/** As config/people.yaml and config/clients.yaml say; written again here, so that the broker's reading is held against another. */
export const PEOPLE: People = {
  persons: new Set(['vera', 'olivia', 'rob', 'dana', 'sam', 'lena', 'paula', 'sol', 'audra', 'oscar']),
  behind: (requester) => BEHIND[requester] ?? [requester],
}
const BEHIND: Readonly<Record<string, readonly string[]>> = {
  'vera-agent': ['vera'],
  'triage-agent': ['sam'],
  'webshop-deploy': ['dana'],
  'webshop-build': ['dana'],
  'report-job': ['dana'],
}
