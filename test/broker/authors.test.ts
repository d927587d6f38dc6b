// Who the authors of a change are here: accounts become principals by exact text, and one that nobody has refuses the change.
import { describe, expect, it } from 'vitest'
import { authorsOfChange } from '../../src/broker/authors.ts'
import type { Author } from '../../src/broker/ports.ts'
import type { AuthorRole } from '../../src/domain/authorship.ts'
import { compileClients } from '../../src/identity/clients.ts'
import { compileDirectory } from '../../src/identity/directory.ts'
import { compilePeople } from '../../src/identity/people.ts'
import { codeOf } from '../support/code-of.ts'
import { compiled, someJwks } from '../support/directory.ts'
import { memoryForges } from '../support/memory-ports.ts'

const PEOPLE = `
revision: 1
persons:
  dana: { name: Dana, tenant: northwind, accounts: [{ issuer: login, subject: dana }, { issuer: forge, subject: "101" }, { issuer: forge, subject: "109" }] }
  rob: { name: Rob, tenant: northwind, accounts: [{ issuer: forge, subject: "102" }] }
  sam: { name: Sam, tenant: northwind, accounts: [{ issuer: login, subject: sam }] }
agents:
  bot: { tenant: northwind, sponsors: [sam], accounts: [{ issuer: forge, subject: "104" }] }
`
const directory = compiled(
  compileDirectory(
    compiled(compilePeople(PEOPLE, 'people.yaml')),
    compiled(compileClients('revision: 1\nworkloads: {}\nresourceServers: {}\n', 'clients.yaml', someJwks)),
    { issuers: ['login'], forges: ['forge'] },
  ),
)
const change = { forge: 'forge', repository: 'northwind/payments', sha: 'a'.repeat(40) }
const author = (subject: string, ...roles: readonly AuthorRole[]): Author => ({
  account: { issuer: 'forge', subject },
  login: `login-${subject}`,
  roles,
})
const of = (...authors: readonly Author[]) => {
  const forges = memoryForges()
  forges.add(change, authors)
  return authorsOfChange({ forges }, { directory }, change)
}

describe('the authors of a change', () => {
  it('are the principals of the accounts, with the sponsors of agents among the persons', async () => {
    const { principals, persons, labels } = await of(
      author('104', 'author', 'pusher'),
      author('102', 'opener', 'merger'),
    )
    expect(principals.map(({ id }) => id)).toEqual(['bot', 'rob'])
    expect(persons).toEqual(['rob', 'sam'])
    expect(labels).toEqual(['bot: author, pusher', 'rob: opener, merger'])
  })

  it('are one person with the roles of both where somebody has two accounts', async () => {
    const { principals, persons, labels } = await of(
      author('101', 'author', 'opener'),
      author('109', 'author', 'pusher'),
    )
    expect(principals).toHaveLength(1)
    expect(persons).toEqual(['dana'])
    expect(labels).toEqual(['dana: author, opener, pusher'])
  })

  it.each([
    ['is in no entry', '999'],
    ['is a login and not an id', 'dana'],
    ['is written another way', '0101'],
    ['is of somebody at an issuer', 'sam'],
  ])('are unknown where an account %s, however many are known', async (_, subject) => {
    expect(await codeOf(of(author('101', 'author'), author('102', 'merger'), author(subject, 'opener')))).toBe(
      'authors_unknown',
    )
  })

  it('are unknown where the account is one at another forge', async () => {
    const elsewhere = { ...author('101', 'author'), account: { issuer: 'other', subject: '101' } }
    expect(await codeOf(of(elsewhere))).toBe('authors_unknown')
  })

  it('say which accounts are missing, by id', async () => {
    const refusal = of(author('101', 'author'), author('999', 'opener'), author('998', 'pusher'))
    await expect(refusal).rejects.toMatchObject({ facts: { forge: 'forge', unlisted: ['999', '998'] } })
  })

  it('are not made up where the forge knows nobody or does not answer', async () => {
    expect(await codeOf(of())).toBe('authors_unknown')
    const nobody = { forges: { authorsOf: async () => [] } }
    expect(await codeOf(authorsOfChange(nobody, { directory }, change))).toBe('authors_unknown')
    const forges = memoryForges()
    forges.setAnswering(false)
    expect(await codeOf(authorsOfChange({ forges }, { directory }, change))).toBe('forge_unavailable')
  })

  it('authenticate nobody by their account at a forge', () => {
    expect(directory.byAccount({ issuer: 'forge', subject: '101' })?.id).toBe('dana')
    expect(directory.resolve('forge', { sub: '101' })).toBeUndefined()
    expect(directory.candidates('forge', { sub: '101' })).toEqual([])
    expect(directory.expectedFrom('forge')).toEqual([])
    expect(directory.resolve('login', { sub: 'dana' })?.principal.id).toBe('dana')
    expect(directory.resolve('login', { sub: '101' })).toBeUndefined()
  })
})
