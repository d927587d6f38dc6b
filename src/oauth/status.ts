// GET /status/{list} and GET /status (draft-ietf-oauth-status-list §8 and §9): for verifiers who do not ask about each token. Invariant: a list
// that cannot be known to be right is not answered, and whoever gets none refuses.
import { json, type OAuthAnswer, type OAuthEndpoint, type OAuthRequest } from './endpoint.ts'
import { refuse } from './errors.ts'
import { PUBLIC, STATUS_PATH } from './metadata.ts'

export interface StatusPorts {
  /** The signed list of this name, and for how many seconds it may be kept; undefined where there is none. */
  list(name: string): Promise<{ readonly token: string; readonly maxAgeSeconds: number } | undefined>
  uris(): Promise<readonly string[]>
}

const MEDIA = 'application/statuslist+jwt'

export function statusEndpoints(p: StatusPorts): readonly OAuthEndpoint[] {
  const get = (path: string, name: string, answer: (request: OAuthRequest) => Promise<OAuthAnswer>): OAuthEndpoint => ({
    method: 'GET',
    path,
    name,
    takes: { media: 'none', limitBytes: 0 },
    answer,
    refuse,
  })
  return [
    get(STATUS_PATH, 'status_lists', async () => json(200, { status_lists: await p.uris() }, PUBLIC)),
    get(`${STATUS_PATH}/:list`, 'status_list', (request) => listOf(p, request)),
  ]
}

async function listOf(p: StatusPorts, request: OAuthRequest): Promise<OAuthAnswer> {
  if (!accepts(request.header('accept'))) return refused(406, `There is only ${MEDIA} here.`)
  // What a list said at another time: an answer of now would be taken for it.
  if (/(^|&)time=/.test(request.query)) return refused(501, 'Only what is so now is told here.')
  const found = await p.list(request.path.slice(STATUS_PATH.length + 1))
  if (found === undefined) return refused(404, 'There is no such status list.')
  const headers = { ...PUBLIC, Vary: 'Accept', 'Cache-Control': `public, max-age=${found.maxAgeSeconds}` }
  return { status: 200, media: MEDIA, text: found.token, headers }
}

const refused = (status: number, description: string): OAuthAnswer => ({
  ...json(status, { error: 'invalid_request', error_description: description }, PUBLIC),
  code: 'invalid_request',
})

/** RFC 9110 §12.5.1: the most specific range that fits counts; nothing said means anything. */
function accepts(headers: readonly string[]): boolean {
  const ranges = headers
    .flatMap((header) => header.toLowerCase().split(','))
    .map((range) => range.split(';').map((part) => part.trim()))
    .filter(([range]) => range !== '')
  if (ranges.length === 0) return true
  const fitting = [MEDIA, 'application/*', '*/*'].map((wanted) => ranges.find(([range]) => range === wanted))
  const best = fitting.find((range) => range !== undefined)
  return best !== undefined && !best.some((part) => /^q=0(\.0{0,3})?$/.test(part))
}
