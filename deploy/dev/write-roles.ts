// Writes config/ROLES.md, the table role × route for people, from the routes and the configuration that are shipped: what a row is judged
// by stands in ROUTES, what a group may is asked of the guards. `--check` writes nothing and exits 1 when the file is not up to date.
import { readFileSync, writeFileSync } from 'node:fs'
import type { Entitlement } from '../../src/domain/entitlement.ts'
import { named } from '../../src/domain/ids.ts'
import type { Person } from '../../src/domain/principal.ts'
import { ROUTES, type Route } from '../../src/http/routes.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { compilePolicy } from '../../src/policy/compile.ts'
import { mayBeOfBroker } from '../../src/policy/policy.ts'

const config = (name: string): URL => new URL(`../../config/${name}`, import.meta.url)
const source = (file: string) => ({ file, text: readFileSync(config(file), 'utf8') })

const policy = compilePolicy({
  entitlements: source('entitlements.yaml'),
  guards: source('guards.cedar'),
  schema: source('guards.cedarschema'),
})
const people = compilePeople(source('people.yaml').text, 'people.yaml')
if (!people.ok) throw new Error('people.yaml does not compile')

interface Column {
  readonly head: string
  cell(route: Route): string
}
const YES = '✓'
const NO = '·'
const ASKED = 'by the guards'

/** Requester, executor, the persons who answer for either: rules of the house, which no guard gives and none takes away. */
const PARTIES = {
  ReadGrant: [YES, YES, YES],
  Complete: [YES, YES, YES],
  Revoke: [YES, YES, YES],
  Approve: [NO, NO, NO],
  Exchange: [NO, ASKED, NO],
  Request: [ASKED, ASKED, ASKED],
  Freeze: [ASKED, ASKED, ASKED],
  ReadAudit: [ASKED, ASKED, ASKED],
  Operate: [ASKED, ASKED, ASKED],
  own: [YES, NO, 'for the requester'],
  server: [NO, NO, NO],
} as const
const ofGrant = ({ path }: Route): boolean => path.includes(':id')
function party(n: 0 | 1 | 2, { path, action, name }: Route): string {
  if (action === 'own' && !path.includes(':id')) return YES
  if (action === 'AutoApprove') throw new Error(`${name}: say what the parties may`)
  return PARTIES[action][n]
}

interface Judged {
  readonly id?: string
  /** The entitlement's own where it is left out. */
  readonly tenant?: string
  readonly groups?: readonly string[]
  /** Of whom the question only makes sense where people approve. */
  readonly seat?: true
}
const OWNER = 'an-owner'
const REVIEWERS = 'a-reviewer-group'
const OFFERED = policy.entitlements()
const home = OFFERED[0]?.tenant ?? ''
/** With seats for an owner and a reviewer of this table. */
const seated = (entitlement: Entitlement): Entitlement => ({
  ...entitlement,
  approval: {
    mode: 'people',
    owner: named.person(OWNER),
    deputies: [],
    reviewers: [{ role: 'security', group: named.group(REVIEWERS), count: 1, criteria: {}, evidence: [], veto: false }],
    approvals: 2,
    stepUp: false,
  },
})
const DECIDED = OFFERED.filter(({ approval }) => approval.mode === 'people').map(seated)

/** What the guards give to a person like this whose grant it is not. */
const judged = (head: string, { id = 'somebody', tenant, groups = [], seat }: Judged): Column => ({
  head,
  cell: (route) => {
    const { action } = route
    if (action === 'own') return ofGrant(route) ? NO : YES
    if (action === 'server') return NO
    // Both are somebody's alone: the executor's, and a seat's.
    if (action === 'Exchange' || (action === 'Approve' && seat === undefined)) return NO
    const who = (of: string): Person => ({
      kind: 'person',
      id: named.principal(id),
      person: named.person(id),
      tenant: named.tenant(of),
      groups: groups.map(named.group),
    })
    if (mayBeOfBroker(action)) return policy.judge({ action, principal: who(tenant ?? home) }).allowed ? YES : NO
    const asked = seat === undefined || action === 'Request' ? OFFERED : DECIDED
    const allowed = asked.filter((entitlement) => {
      const principal = who(tenant ?? entitlement.tenant)
      return policy.judge({ action, principal, entitlement, ...(action === 'Request' ? { requester: principal } : {}) })
        .allowed
    })
    if (allowed.length === 0) return NO
    return allowed.length === asked.length ? YES : allowed.map((one) => `\`${one.id}\``).join(' ')
  },
})

const groupsOf = (tenant: string): readonly string[] =>
  [...new Set(people.value.persons.filter((one) => one.tenant === tenant).flatMap(({ groups }) => groups))].toSorted()
const tenants = [...new Set(people.value.persons.map(({ tenant }) => tenant))].filter((tenant) => tenant !== home)

const COLUMNS: readonly Column[] = [
  { head: 'requester', cell: (route) => party(0, route) },
  { head: 'executor', cell: (route) => party(1, route) },
  { head: 'who answers for them', cell: (route) => party(2, route) },
  judged('owner', { id: OWNER, seat: true }),
  judged('reviewer', { groups: [REVIEWERS], seat: true }),
  ...groupsOf(home).map((group) => judged(group, { groups: [group] })),
  judged('any colleague', {}),
  ...tenants.flatMap((tenant) =>
    groupsOf(tenant).map((group) => judged(`${tenant}: ${group}`, { tenant, groups: [group] })),
  ),
]
const IN_WORDS: Readonly<Partial<Record<Route['action'], string>>> = { own: 'one’s own', server: 'resource servers' }
const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
const table = [
  row(['route', 'action', ...COLUMNS.map(({ head }) => head)]),
  row(['---', '---', ...COLUMNS.map(() => ':-:')]),
  ...ROUTES.map((route) => {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    const action = IN_WORDS[route.action] ?? `\`${route.action}\``
    return row([`\`${route.method} ${path}\``, action, ...COLUMNS.map(({ cell }) => cell(route))])
  }),
]

const text = `# Who may do what

Made by \`npm run roles\` from the table of routes and from the guards, entitlements and people in this folder; a test fails when it is out of
step, and another one asks every route, in every state of a grant, as every role.

The first three columns are the **parties** of a grant and the natural persons who answer for them: what is theirs no guard takes away, and
what they may never do no guard permits. All the others are judged by the guards: the action of the route, asked about the groups that the
people directory gives them, in the tenant that owns the target. There is no other way in: no administrator, no exception.

- ${YES} is yes, ${NO} is no; a name means: for that entitlement only.
- Whoever may not see a grant is told that there is none, at every route alike; so is everybody of another tenant.
- \`Approve\` also needs a seat: owner, or member of a reviewer group, of that entitlement, as filed or as of today. Who has one sees the grant.
- An end of many (\`/v1/completions\`, \`/v1/revocations\`) applies the rule of one to each grant that it finds.
- The rows of resource servers let nobody else in, and nothing else lets resource servers in: each is there for grants of its own audiences.
- Only persons approve, freeze and operate. Machines may do what the guards say of them, and what is theirs as a party.

${table.join('\n')}
`

const file = config('ROLES.md')
const before = (() => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
})()
if (before !== text) {
  const onlyCheck = process.argv.includes('--check')
  console.log(`config/ROLES.md ${onlyCheck ? 'is not up to date: npm run roles' : 'written'}`)
  if (onlyCheck) process.exitCode = 1
  else writeFileSync(file, text)
}
