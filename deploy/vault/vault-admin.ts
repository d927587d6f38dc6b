// A Vault administrator's calls, as plain HTTP. An error names method, path, status and Vault's own words, never what was sent.
type Body = Readonly<Record<string, unknown>>

export interface VaultAdmin {
  read(path: string): Promise<Body | undefined>
  list(path: string): Promise<readonly string[]>
  write(path: string, body: Body): Promise<Body>
  remove(path: string): Promise<void>
}

const isBody = (value: unknown): value is Body => typeof value === 'object' && value !== null && !Array.isArray(value)

export const dataOf = (body: Body | undefined): Body => (isBody(body?.data) ? body.data : {})

/** Calls with this token. `read` and `list` answer with nothing for 404. */
export const vaultAdmin = (addr: string, token: string, namespace?: string): VaultAdmin => {
  const headers = { 'x-vault-token': token, ...(namespace === undefined ? {} : { 'x-vault-namespace': namespace }) }
  const call = async (method: string, path: string, body?: Body): Promise<{ status: number; body: Body }> => {
    const reply = await fetch(`${addr.replace(/\/$/, '')}/v1/${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(30_000),
    })
    const text = await reply.text()
    const answer: unknown = text === '' ? {} : JSON.parse(text)
    const said = isBody(answer) && Array.isArray(answer.errors) ? answer.errors.join('; ') : ''
    if (!reply.ok && reply.status !== 404) throw new Error(`Vault: ${method} ${path} answered ${reply.status} ${said}`)
    return { status: reply.status, body: isBody(answer) ? answer : {} }
  }
  return {
    read: async (path) => {
      const { status, body } = await call('GET', path)
      return status === 404 ? undefined : body
    },
    list: async (path) => {
      const { keys } = dataOf((await call('LIST', path)).body)
      return Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : []
    },
    write: async (path, body) => {
      const answer = await call('POST', path, body)
      if (answer.status === 404) throw new Error(`Vault: POST ${path} answered 404`)
      return answer.body
    },
    remove: async (path) => {
      await call('DELETE', path)
    },
  }
}
