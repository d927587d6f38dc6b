// Bugs on purpose, one at a time: in the functions as they are loaded, or between a broker and its ports; the shipped code stays as it is. A
// model that does not find each of them proves nothing by finding nothing.
import type { Loaded, Ports } from '../../src/broker/ports.ts'
import { inStatus } from '../../src/domain/grant.ts'
import type { Plant } from './stage.ts'

const lua = (from: string, to: string): Plant => ({ lua: [[from, to]] })
const ports = (change: (ports: Ports) => Partial<Ports>): Plant => ({
  ports: (shipped) => ({ ...shipped, ...change(shipped) }),
})

/** Every try counts as the first one. */
const withOneTry = (loaded: Loaded | undefined): Loaded | undefined => {
  if (loaded === undefined || !inStatus(loaded.grant, 'active')) return loaded
  const { grant } = loaded
  const [first] = grant.head.mints
  const mints = grant.head.mints.map((mint) => ({ ...mint, attempt: first?.attempt ?? mint.attempt }))
  return { ...loaded, grant: { ...grant, head: { ...grant.head, mints } } }
}

export const PLANTED: Readonly<Record<string, Plant>> = {
  'an edge too many: what has ended comes back': lua(
    'local EDGES = { ',
    "local EDGES = { ['ended>active'] = true, ['denied>pending'] = true, ['withdrawn>approved'] = true, ",
  ),
  'a commit that does not look at the version': lua(
    'if version ~= step.version - 1 or status ~= step.from then',
    'if status ~= step.from then',
  ),
  'a guard that is not asked for': lua(
    "if not guarded and ALLOWING[step.from .. '>' .. step.to] then",
    'if false then',
  ),
  'a time limit that is not kept': lua('if now >= not_after then', 'if false then'),
  'rules that moved between judging and writing': lua('if shard.judged ~= args[4] then', "if shard.judged == '' then"),
  'a deadline that is not written': lua(
    "redis.call('ZADD', step.due, step.deadline, step.id)",
    "if step.to ~= 'active' then redis.call('ZADD', step.due, step.deadline, step.id) end",
  ),
  'an event that is lost': lua(
    "'grant', step.id, 'version'",
    "'grant', step.to == 'withdrawn' and 'lost' or step.id, 'version'",
  ),
  'an index that is not left': lua(
    "if step.leaves ~= step.enters then redis.call('ZREM', step.leaves, step.id) end",
    '',
  ),
  'a token that stays valid in its status list': lua("redis.call('SETBIT', list, step.place, 0)", 'list = list'),
  'a lease that is not taken': lua("for _, id in ipairs(ids) do redis.call('ZADD', keys[3], now + lease, id) end", ''),
  'a flood that is not stopped': lua('if full then return reply(full, shard, unpack(left)) end', ''),
  'a freeze that an exchange does not look at': ports(({ freezes }) => ({
    freezes: { ...freezes, under: async (control, id) => (id === undefined ? freezes.under(control) : []) },
  })),
  'a freeze that kills nothing any more once it is lifted': ports(({ freezes }) => ({
    freezes: {
      ...freezes,
      under: async (control, id) =>
        (await freezes.under(control, id)).filter(({ freeze }) => freeze.lifted === undefined),
    },
  })),
  'a containment that does not know who was born before it': ports(({ freezes }) => ({
    freezes: { ...freezes, on: async (shard) => (await freezes.on(shard)).map((one) => ({ ...one, seq: 1_000_000 })) },
  })),
  'uses that are counted wrongly': ports(({ grants }) => ({
    grants: { ...grants, load: async (id) => withOneTry(await grants.load(id)) },
  })),
  'an own request that its sponsor decides': ports(({ rules }) => ({
    rules: (control) => {
      const { policy, directory } = rules(control)
      const principal: typeof directory.principal = (id) => {
        const found = directory.principal(id)
        return found?.kind === 'agent' ? { ...found, sponsors: [] } : found
      }
      return { policy, directory: { ...directory, principal } }
    },
  })),
  'an answer before its event is sealed': ports(({ seal }) => ({
    seal: { seal: async (receipt) => seal.seal(receipt).catch(() => undefined) },
  })),
  'an end that is believed and not confirmed': ports(({ credentials }) => ({
    credentials: {
      ...credentials,
      close: async (plan, mint) => credentials.close(plan, mint).catch(() => undefined),
      confirmGone: async (plan, mint) =>
        credentials.confirmGone(plan, mint).catch(() => ({ gone: true, answer: 'surely' })),
    },
  })),
}
