// Switches of the environment that turn TLS checks off or print secrets. The broker refuses to start with any of them, because they are
// read by libraries behind our back. It errs to the safe side: a pattern that might name a protected library is refused.

const PRINTS_REQUESTS = ['node-vault', 'ioredis', 'axios', 'follow-redirects', 'pg']
const PRINTS_WIRE = ['http', 'https', 'http2', 'net', 'tls', 'stream', 'undici', 'fetch']

/** Every reason not to start, empty when there is none. Names the variable, never its value. */
export function unsafeEnvironment(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const problems: string[] = []
  if (env.VAULT_SKIP_VERIFY !== undefined && env.VAULT_SKIP_VERIFY !== '')
    problems.push('VAULT_SKIP_VERIFY is set: it turns TLS checks off in node-vault, whatever its value')
  if (env.NODE_TLS_REJECT_UNAUTHORIZED === '0')
    problems.push('NODE_TLS_REJECT_UNAUTHORIZED=0 turns TLS checks off everywhere')
  if (patterns(env.DEBUG).some((pattern) => mayName(pattern, PRINTS_REQUESTS)))
    problems.push('DEBUG names a library that prints requests with their tokens')
  if (patterns(env.NODE_DEBUG).some((pattern) => mayName(pattern, PRINTS_WIRE)))
    problems.push('NODE_DEBUG names a module of Node that prints what is sent')
  if (/--tls-keylog/.test(env.NODE_OPTIONS ?? ''))
    problems.push('NODE_OPTIONS writes the keys of TLS connections to a file')
  return problems
}

/** Throws an Error that names every problem at once. */
export function assertSafeEnvironment(env: Readonly<Record<string, string | undefined>>): void {
  const problems = unsafeEnvironment(env)
  if (problems.length > 0) throw new Error(`The environment is not safe for secrets:\n- ${problems.join('\n- ')}`)
}

const patterns = (list: string | undefined): readonly string[] =>
  (list ?? '')
    .split(/[\s,]+/)
    .filter((pattern) => pattern !== '' && !pattern.startsWith('-'))
    .map((pattern) => pattern.toLowerCase())

/** `*` names everything, `node-*` may name node-vault, `ioredis:redis` is a part of ioredis. */
const mayName = (pattern: string, names: readonly string[]): boolean => {
  const [fixed = ''] = pattern.split('*')
  return names.some((name) =>
    pattern.includes('*') && fixed.length <= name.length
      ? name.startsWith(fixed)
      : fixed === name || fixed.startsWith(`${name}:`),
  )
}
