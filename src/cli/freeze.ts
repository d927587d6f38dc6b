// `writ freeze`: nothing new for whom, what or where it names; which freezes there are; and lifting one.
import { isFreezeId } from '../domain/ids.ts'
import { type FreezeAnswer, freezeAnswer, freezesAnswer } from '../http/wire.ts'
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { table } from './facts.ts'
import { usage } from './failure.ts'
import { type Shown, shown, visible } from './shown.ts'
import { WHERE_HELP, WHERE_OPTION, whereIn, whereShown } from './where.ts'

export const freeze: Command = {
  name: 'freeze',
  summary: 'let nothing new be asked, approved or exchanged; list and lift freezes',
  usage: '--where NAME=VALUE … --reason TEXT | list [--all] | lift ID --reason TEXT',
  about: `Stops whatever it names from getting anything new, at once. What matches and was filed before is dead for ever, also after the freeze is
lifted; what was handed out before lives on until it ends or is ended: writ contain freezes and ends at once. Every --where must hold. A freeze concerns the targets
and the requesters of your own tenant alone. The SOC may do this. Where it names something of tier high or above, somebody else lifts it.
${WHERE_HELP}`,
  examples: [
    'writ freeze --where target=payments-db --reason "INC0012345"',
    'writ freeze --where agent=triage-agent --where environment=production --reason "INC0012346"',
    'writ freeze list',
    'writ freeze lift f-7xk2m4q6s2u3w5y7a2c4e6g3i5 --reason "INC0012345 is over"',
  ],
  options: {
    ...WHERE_OPTION,
    reason: { takes: 'text', value: 'TEXT', help: 'why, for those who read it later' },
    all: { takes: 'flag', help: 'list: those that were lifted too' },
  },
  words: [0, 2],
  run: async (context) => {
    const [what, id, ...more] = context.given.words
    if (what === undefined) return put(context)
    if (what === 'list' && id === undefined) return list(context)
    if (what === 'lift' && id !== undefined && more.length === 0) return lift(context, id)
    throw usage(`writ freeze ${freeze.usage}`, 'See writ freeze --help.')
  },
}

export function reasonIn({ given }: Context): string {
  const reason = given.text('reason')
  if (reason === undefined) throw usage('Say why: --reason TEXT.')
  return reason
}

async function put(context: Context): Promise<ExitCode> {
  const body = { where: whereIn(context), reason: reasonIn(context) }
  const { value, raw } = await (await context.client()).post('/v1/freezes', body, freezeAnswer, { again: 'safe' })
  context.sayJson(raw)
  context.say(line(context, value))
  context.note(shown`What was handed out before lives on: writ contain ends that too.`)
  return EXIT.ok
}

async function list(context: Context): Promise<ExitCode> {
  const { value, raw } = await (await context.client()).get('/v1/freezes', freezesAnswer)
  context.sayJson(raw)
  const freezes = value.freezes.filter(({ lifted }) => lifted === undefined || context.given.has('all'))
  if (freezes.length === 0) context.note(shown`No freeze is in force.`)
  else
    table(
      context,
      ['ID', 'STATE', 'KIND', 'SINCE', 'BY', 'WHERE', 'REASON'],
      freezes.map((one) => [
        shown`${one.id}`,
        state(context, one),
        one.contains ? 'containment' : 'freeze',
        one.at,
        one.by,
        whereShown(one.where),
        one.reason,
      ]),
    )
  return EXIT.ok
}

async function lift(context: Context, id: string): Promise<ExitCode> {
  // One that cannot be a freeze's never leaves this machine: it would be part of a path.
  if (!isFreezeId(id)) throw usage(`${visible(id)} is not the id of a freeze.`, 'writ freeze list shows the ids.')
  const body = { reason: reasonIn(context) }
  const client = await context.client()
  const { value, raw } = await client.post(`/v1/freezes/${id}/lift`, body, freezeAnswer, { again: 'safe' })
  context.sayJson(raw)
  context.say(line(context, value))
  context.note(shown`What was filed before this freeze stays dead; it has to be asked for anew.`)
  return EXIT.ok
}

const state = ({ paint }: Context, { lifted }: FreezeAnswer): Shown =>
  lifted === undefined ? paint.warn('in force') : paint.dim('lifted')

const line = (context: Context, one: FreezeAnswer): Shown =>
  shown`${one.id}  ${state(context, one)}  ${whereShown(one.where)}`
