// `writ policy`: what the configuration files say, before a broker has them. `check` and `test` ask no broker; `explain` asks one what would
// become of an asking.
import type { Command, Context } from './command.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { usage } from './failure.ts'
import { shown } from './shown.ts'

export const policy: Command = {
  name: 'policy',
  summary: 'check and test the configuration files; explain an asking',
  usage: 'check DIR | test DIR | explain FILE',
  about: `check DIR      compiles the folder as the broker does, and tells every problem with its file and line; exit code 1 if there is one
test DIR       runs the cases in DIR/tests/*.yaml against it: who may do what, and by which rule; exit code 1 if one does not hold
explain FILE   asks the broker what would become of the asking in FILE, and files nothing
Issuers, clients, backends and forges are those of the folder, or of --issuers, --clients, --backends, --forges. Files of keys that a clients.yaml names and
that are not here are told, and hinder nothing: they lie where the broker runs.`,
  examples: ['writ policy check config', 'writ policy test config', 'writ policy explain ask.yaml'],
  options: {
    issuers: { takes: 'text', value: 'FILE', help: 'in place of DIR/issuers.yaml' },
    clients: { takes: 'text', value: 'FILE', help: 'in place of DIR/clients.yaml' },
    backends: { takes: 'text', value: 'FILE', help: 'in place of DIR/backends.yaml' },
    forges: { takes: 'text', value: 'FILE', help: 'in place of DIR/forges.yaml' },
    dev: { takes: 'flag', help: 'as a broker in development takes it: http too' },
  },
  words: [2, 2],
  run: async (context) => {
    const [what, where = ''] = context.given.words
    if (what === 'check') return check(context, where)
    if (what === 'test') return test(context, where)
    if (what !== 'explain') throw usage('writ policy check DIR, writ policy test DIR or writ policy explain FILE')
    const { checked, readAsking } = await import('./asking.ts')
    const { explain } = await import('./dry-run.ts')
    await explain(context, await context.client(), checked(await readAsking(context.machine, where)))
    return EXIT.ok
  },
}

async function compiled(context: Context, folder: string) {
  const { compileFolder } = await import('./policy-check.ts')
  const { given } = context
  const file = (name: string) => given.text(name)
  return compileFolder(folder, {
    issuers: file('issuers'),
    clients: file('clients'),
    backends: file('backends'),
    forges: file('forges'),
    dev: given.has('dev'),
  })
}

async function check(context: Context, folder: string): Promise<ExitCode> {
  const { rules, problems, warnings } = await compiled(context, folder)
  const { say, note, paint, sayJson } = context
  sayJson({
    ok: problems.length === 0,
    problems,
    warnings,
    ...(rules === undefined ? {} : { revision: rules.policy.revision, digest: rules.policy.digest }),
  })
  for (const { file, line, message } of problems) say(shown`${file}:${line}: ${paint.bad(message)}`)
  for (const { file, line, message } of warnings) note(shown`${file}:${line}: ${paint.warn('note:')} ${message}`)
  if (rules === undefined) {
    note(shown`${problems.length} problems; a broker would not take these files.`)
    return EXIT.refused
  }
  say(
    shown`${paint.good('ok')}  revision ${rules.policy.revision}, ${rules.policy.entitlements().length} entitlements, ${rules.policy.digest}`,
  )
  return EXIT.ok
}

async function test(context: Context, folder: string): Promise<ExitCode> {
  const { rules, problems } = await compiled(context, folder)
  if (rules === undefined) return check(context, folder).then(() => (problems.length > 0 ? EXIT.refused : EXIT.ok))
  const { runCases } = await import('./policy-test.ts')
  const { results, problems: unreadable } = runCases(folder, rules)
  const { say, paint, sayJson } = context
  const failed = results.filter(({ holds }) => !holds)
  sayJson({ ok: failed.length + unreadable.length === 0, cases: results, problems: unreadable })
  for (const { file, line, message } of unreadable) say(shown`${file}:${line}: ${paint.bad(message)}`)
  for (const { file, line, name, holds, seen } of results)
    say(
      holds
        ? shown`${paint.good('✓')} ${name}`
        : shown`${paint.bad('✗')} ${name}  ${paint.dim(`${file}:${line}`)}\n    ${seen}`,
    )
  say(shown`${results.length - failed.length} hold, ${failed.length} do not`)
  return failed.length + unreadable.length === 0 ? EXIT.ok : EXIT.refused
}
