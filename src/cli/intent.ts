// `writ intent digest`: reckons the digest of an intent here, without a broker, and compares it with the one it is said to have.
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { canonical } from '../domain/canonical.ts'
import { semantic } from '../domain/intent.ts'
import { grantAnswer } from '../http/wire.ts'
import type { Command, Context } from './command.ts'
import { EXIT } from './exit-codes.ts'
import { facts } from './facts.ts'
import { Failure, usage } from './failure.ts'
import { digestHere, intentOf } from './intent-of-wire.ts'
import { shown } from './shown.ts'
import { readAnswer } from './wire-reader.ts'

const Grant = z.looseObject({ id: z.string().optional(), digest: z.string().optional(), intent: z.unknown() })

export const intent: Command = {
  name: 'intent',
  summary: 'reckon the digest of an intent yourself',
  usage: 'digest FILE [--issuer URL]',
  about: `FILE is a grant as the API shows it (writ show ID --json), or its member \`intent\` alone; - is stdin. Prints the digest that people vote
on: SHA-256 over RFC 8785 canonical JSON, with the public URL of the broker, which --issuer or --broker names. Where the file says which
digest it has, the two are compared: another is exit code 1. No broker is asked.`,
  examples: [
    'writ show g0-7xk2m4q6s2u3w5y7a2c4e6g3i5 --json | writ intent digest -',
    'writ intent digest grant.json --issuer https://writ.example',
  ],
  options: {
    issuer: { takes: 'text', value: 'URL', help: 'the public URL of the broker' },
    canonical: { takes: 'flag', help: 'print the text that is hashed too' },
  },
  words: [2, 2],
  run: async (context) => {
    const [what, file = ''] = context.given.words
    if (what !== 'digest') throw usage('writ intent digest FILE')
    const issuer = (context.given.text('issuer') ?? context.brokerUrl()).replace(/\/+$/, '')
    const { wire, said } = read(file, file === '-' ? await context.machine.input() : fileText(file))
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

type WireIntent = z.infer<typeof grantAnswer>['intent']

function read(file: string, text: string): { readonly wire: WireIntent; readonly said: string | undefined } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw usage(`${file === '-' ? 'stdin' : file} is no JSON.`)
  }
  const grant = Grant.safeParse(value)
  const isGrant = grant.success && grant.data.intent !== undefined
  const wire = readAnswer(grantAnswer.shape.intent, isGrant ? grant.data.intent : value)
  if (wire === undefined) throw usage(`${file} is neither a grant nor an intent as the API shows it.`)
  return { wire, said: isGrant ? grant.data.digest : undefined }
}
