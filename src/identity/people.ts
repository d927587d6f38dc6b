// people.yaml: who the natural persons are, under which accounts they come, and which agents they answer for. The only source of
// aliases, sponsors and groups. One account belongs to one principal, or the file is refused.
import { z } from 'zod'
import type { Account } from '../broker/ports.ts'
import { isDigest, PATTERNS } from '../domain/ids.ts'
import { type Compiled, type Locate, type Problem, readConfig } from './config-file.ts'
import { activeField, freezeDeep, lineField, nameField, revisionField, standingAccessField, unique } from './fields.ts'

export interface PersonEntry {
  readonly id: string
  readonly name: string
  readonly tenant: string
  readonly groups: readonly string[]
  readonly accounts: readonly Account[]
  readonly active: boolean
  /** Targets that they reach without Writ. */
  readonly standingAccess: readonly string[]
}
export interface AgentEntry {
  readonly id: string
  readonly tenant: string
  readonly groups: readonly string[]
  readonly sponsors: readonly string[]
  readonly accounts: readonly Account[]
  readonly active: boolean
  readonly standingAccess: readonly string[]
  /** Of the registered model, prompt and tools. */
  readonly manifest: string | undefined
}
export interface People {
  readonly file: string
  readonly revision: number
  readonly persons: readonly PersonEntry[]
  readonly agents: readonly AgentEntry[]
  /** What is said of a group, by tenant and name. */
  readonly groups: Readonly<Record<string, Readonly<Record<string, { readonly administrative: boolean }>>>>
  /** For problems that show only beside another file. */
  readonly line: Locate
}

const AccountEntry = z.strictObject({
  issuer: nameField.describe('Short name of an issuer in issuers.yaml, or of a forge in forges.yaml.'),
  subject: lineField.describe(
    'The `sub` that the issuer uses, exactly; at a forge the numeric user id, in quotes. Never a mail address that somebody else can get later.',
  ),
})
const accounts = z.array(AccountEntry, { error: 'a list of accounts is needed' }).max(50)
const groups = unique(nameField).max(100).default([])

export const PeopleFile = z.strictObject({
  revision: revisionField.describe('Raise it with every change: brokers with an older file issue nothing.'),
  persons: z.record(
    nameField,
    z.strictObject({
      name: lineField.max(100).describe('For people to read; decides nothing.'),
      tenant: nameField,
      groups,
      accounts,
      active: activeField,
      standingAccess: standingAccessField,
    }),
    { error: 'persons by id are needed' },
  ),
  agents: z
    .record(
      nameField,
      z.strictObject({
        tenant: nameField,
        groups,
        sponsors: unique(nameField).min(1, 'at least one sponsor is needed: somebody answers for it').max(20),
        accounts,
        active: activeField,
        standingAccess: standingAccessField,
        manifest: z
          .string({ error: 'a digest is needed' })
          .refine(isDigest, 'a digest is sha-256: and 43 characters of base64url')
          .meta({ pattern: PATTERNS.digest })
          .optional()
          .describe("Digest of the agent's manifest as registered: its model, prompt and tools."),
      }),
      { error: 'agents by id are needed' },
    )
    .default({}),
  groups: z
    .record(
      nameField,
      z.record(
        nameField,
        z.strictObject({
          administrative: z
            .boolean({ error: 'true or false' })
            .describe('Its members administer systems: from tier high on it is no approver group.'),
        }),
        { error: 'groups of this tenant by name are needed' },
      ),
      { error: 'groups by tenant are needed' },
    )
    .default({})
    .describe('What is said of a group; who is in it is said by its members.'),
})

/** The JSON Schema for editors. */
export const peopleSchema = (): object => z.toJSONSchema(PeopleFile, { io: 'input', unrepresentable: 'any' })

/** Compiles people.yaml, or says everything that is wrong with it. `file` is for messages. */
export function compilePeople(text: string, file: string): Compiled<People> {
  const { value, problems, line } = readConfig(text, file, PeopleFile)
  if (value === undefined) return { ok: false, problems }
  const persons = Object.entries(value.persons).map(([id, entry]): PersonEntry => ({ id, ...entry }))
  const agents = Object.entries(value.agents).map(
    ([id, entry]): AgentEntry => ({ id, ...entry, manifest: entry.manifest }),
  )
  const found: Problem[] = []
  const report = (path: readonly PropertyKey[], message: string): void => {
    found.push({ file, line: line(path), message: `${path.join('.')}: ${message}` })
  }
  const ids = new Set(persons.map(({ id }) => id))
  for (const { id, sponsors } of agents) {
    if (ids.has(id)) report(['agents', id], 'a person has this id')
    for (const [n, sponsor] of sponsors.entries())
      if (!ids.has(sponsor)) report(['agents', id, 'sponsors', n], `'${sponsor}' is not a person of this file`)
  }
  const { doubled, similar } = compareAccounts(persons, agents)
  for (const { path, owner } of doubled) report(path, `this account belongs to '${owner}' already`)
  if (found.length > 0) return { ok: false, problems: found }
  const warnings = similar.map(({ path, owner }) => ({
    file,
    line: line(path),
    message: `${path.join('.')}: this account looks like one of '${owner}'; if they are the same human, they must be one person`,
  }))
  return {
    ok: true,
    value: Object.freeze({
      file,
      revision: value.revision,
      ...freezeDeep({ persons, agents, groups: value.groups }),
      line,
    }),
    warnings,
  }
}

interface Clash {
  readonly path: readonly PropertyKey[]
  readonly owner: string
}

/** Accounts that two entries claim, and accounts of two persons that differ only as a reader would not see. */
function compareAccounts(
  persons: readonly PersonEntry[],
  agents: readonly AgentEntry[],
): { readonly doubled: readonly Clash[]; readonly similar: readonly Clash[] } {
  const owners = new Map<string, string>()
  const looks = new Map<string, string>()
  const doubled: Clash[] = []
  const similar: Clash[] = []
  for (const [section, entries] of [
    ['persons', persons],
    ['agents', agents],
  ] as const)
    for (const entry of entries)
      for (const [n, account] of entry.accounts.entries()) {
        const path = [section, entry.id, 'accounts', n]
        const owner = owners.get(accountKey(account))
        if (owner !== undefined) doubled.push({ path, owner })
        else owners.set(accountKey(account), entry.id)
        if (section !== 'persons') continue
        // A help for the author of the file only: nothing is ever matched this way.
        const look = accountKey({ issuer: account.issuer, subject: account.subject.normalize('NFKC').toLowerCase() })
        const twin = looks.get(look)
        if (twin === undefined) looks.set(look, entry.id)
        else if (twin !== entry.id && owner === undefined) similar.push({ path, owner: twin })
      }
  return { doubled, similar }
}

/** Issuer names hold no space, so no two accounts share a key. */
export const accountKey = ({ issuer, subject }: Account): string => `${issuer} ${subject}`
