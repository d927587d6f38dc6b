// `writ intent digest`: reckons the digest of an intent here, without a broker, and compares it with the one it is said to have.
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { canonical } from '../domain/canonical.ts'
import { after, formatInstant, parseDuration, parseInstant } from '../domain/instant.ts'
import { semantic } from '../domain/intent.ts'
import { askBody, grantAnswer } from '../http/wire.ts'
import { checked, digestOfFile, planOf, readAsking } from './asking.ts'
import type { Command, Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { facts } from './facts.ts'
import { Failure, usage } from './failure.ts'
import { digestHere, intentOf } from './intent-of-wire.ts'
import { shown } from './shown.ts'
import { readAnswer } from './wire-reader.ts'

type WireIntent = z.infer<typeof grantAnswer>['intent']
const Grant = z.looseObject({ id: z.string().optional(), digest: z.string().optional(), intent: z.unknown() })
const DryRun = z.looseObject({ grants: z.array(z.unknown()) })

export const intent: Command = {
  name: 'intent',
  summary: 'reckon the digest of an intent yourself',
  usage: 'digest FILE [--filed GRANT] [--plan FILE] [--issuer URL]',
  about: `FILE is a grant as the API shows it (writ show ID --json), its member \`intent\` alone, or an asking as \`writ request --file\` takes it; - is
stdin. Prints the digest that people vote on: SHA-256 over RFC 8785 canonical JSON, with the public URL of the broker, which --issuer or
--broker names. Of an asking, tenant, target, requester and the like are the broker's: --filed names what it has answered, a grant or a dry
run, and everything that the asking says stands in place of that. With --plan the digest of this plan's bytes does. Where a file says which
digest it has, the two are compared: another is exit code 1. No broker is asked.`,
  examples: [
    'writ show g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --json | writ intent digest -',
    'writ intent digest grant.json --plan tfplan.json --issuer https://writ.example',
    'writ intent digest ask.yaml --filed grant.json',
  ],
  options: {
    filed: { takes: 'text', value: 'FILE', help: 'what the broker answered to the asking: a grant, or a dry run' },
    plan: { takes: 'text', value: 'FILE', help: 'the plan that will be executed; its digest is reckoned here' },
    issuer: { takes: 'text', value: 'URL', help: 'the public URL of the broker' },
    canonical: { takes: 'flag', help: 'print the text that is hashed too' },
  },
  words: [2, 2],
  run: async (context) => {
    const [what, file = ''] = context.given.words
    if (what !== 'digest') throw usage('writ intent digest FILE')
    const issuer = (context.given.text('issuer') ?? context.brokerUrl()).replace(/\/+$/, '')
    const { wire, said } = withPlan(context, await read(context, file))
    const digest = digestHere(wire, issuer)
    const text = canonical({ typ: 'writ/intent/v1', iss: issuer, value: semantic(intentOf(wire)) })
    show(context, { digest, said, text, issuer })
    if (said !== undefined && said !== digest)
      throw new Failure(EXIT.refused, `The file says ${said}.`, {
        next: 'Either it was changed, or --issuer is not the public URL of its broker.',
      })
    return EXIT.ok
  },
}

interface Reckoned {
  readonly digest: string
  readonly said: string | undefined
  readonly text: string
  readonly issuer: string
}
function show(context: Context, { digest, said, text, issuer }: Reckoned): void {
  const { given, paint } = context
  context.sayJson({
    digest,
    issuer,
    ...(said === undefined ? {} : { said, same: said === digest }),
    ...(given.has('canonical') ? { canonical: text } : {}),
  })
  context.say(shown`${digest}`)
  if (said !== undefined)
    facts({ ...context, say: context.note }, [
      ['compared', said === digest ? paint.good('the same as in the file') : paint.bad('not the same')],
    ])
  if (given.has('canonical')) context.say(shown`${text}`)
}

function fileText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw usage(`${file} cannot be read.`)
  }
}

interface Read {
  readonly wire: WireIntent
  readonly said: string | undefined
}

async function read({ given, machine }: Context, file: string): Promise<Read> {
  const text = file === '-' ? await machine.input() : fileText(file)
  const filed = given.text('filed')
  const shownThere = answered(text)
  if (filed === undefined) {
    if (shownThere.length === 1 && shownThere[0] !== undefined) return shownThere[0]
    throw usage(
      `${file === '-' ? 'stdin' : file} is neither a grant nor an intent as the API shows it.`,
      'An asking alone has no digest: name what the broker answered to it with --filed.',
    )
  }
  const asking = askBody.parse(checked(await readAsking({ input: async () => text }, file)))
  const of = answered(fileText(filed)).find(({ wire }) => wire.entitlement === asking.entitlement)
  if (of === undefined) throw usage(`${filed} answers no asking for ${asking.entitlement}.`)
  return { wire: asAsked(of.wire, asking), said: of.said }
}

/** A grant, an intent alone, or the parts of a dry run. */
function answered(text: string): readonly Read[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return []
  }
  const dry = DryRun.safeParse(value)
  const all = dry.success ? dry.data.grants : [value]
  return all.flatMap((one) => {
    const grant = Grant.safeParse(one)
    const isGrant = grant.success && grant.data.intent !== undefined
    const wire = readAnswer(grantAnswer.shape.intent, isGrant ? grant.data.intent : one)
    return wire === undefined ? [] : [{ wire, said: isGrant ? grant.data.digest : undefined }]
  })
}

const CLASSES = ['standard', 'normal', 'emergency']
/** The intent with everything that the asking says in it; what it leaves to the broker is as the broker answered. */
function asAsked(filed: WireIntent, asking: z.output<typeof askBody>): WireIntent {
  const { executor, ticket, plan, exposure, changeClass } = asking
  const { exposure: _, plan: __, ticket: ___, ...rest } = filed
  const principal = executor?.principal ?? filed.requester
  // A declared class can only raise the one that follows from what is asked.
  const raised = CLASSES.indexOf(changeClass) > CLASSES.indexOf(filed.changeClass) ? changeClass : filed.changeClass
  return {
    ...rest,
    // Whoever asks for their own hand is bound to the key that they showed.
    executor: {
      principal,
      ...there('key', executor?.key ?? (principal === filed.requester ? filed.executor.key : undefined)),
    },
    task: asking.task.id,
    actions: asking.actions,
    scope: asking.scope,
    dataTypes: asking.dataTypes,
    destination: asking.destination,
    changeClass: raised,
    impact: asking.impact,
    ...there('exposure', exposure),
    ...there('plan', plan && { digest: plan.digest, mediaType: plan.mediaType }),
    ...there('ticket', ticket && { system: ticket.system, id: ticket.id }),
    window: windowIn(filed.window, asking.window),
    credential: { kind: filed.credential.kind, uses: asking.credential.uses },
  }
}
const there = <K extends string, T>(name: K, value: T | undefined): { readonly [N in K]?: T } =>
  value === undefined ? {} : ({ [name]: value } as { readonly [N in K]: T })

/** Of a window by its length alone the broker chose when it opens. */
function windowIn(filed: WireIntent['window'], asked: z.output<typeof askBody>['window']): WireIntent['window'] {
  if (!('duration' in asked)) return asked
  const opens = parseInstant(filed.opensAt)
  const long = parseDuration(asked.duration)
  if (opens === undefined || long === undefined) throw usage('The window cannot be read.')
  return { opensAt: filed.opensAt, closesAt: formatInstant(after(opens, long)) }
}

function withPlan({ given }: Context, { wire, said }: Read): Read {
  const file = given.text('plan')
  if (file === undefined) return { wire, said }
  const { mediaType = 'application/octet-stream' } = planOf(file, undefined)
  return { wire: { ...wire, plan: { digest: digestOfFile(file), mediaType: wire.plan?.mediaType ?? mediaType } }, said }
}
