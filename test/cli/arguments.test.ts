// The command line is read strictly, and no secret can stand in it.
import { describe, expect, it } from 'vitest'
import { GLOBAL, type Options, readArguments } from '../../src/cli/arguments.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { Failure } from '../../src/cli/failure.ts'

const KNOWN: Options = {
  ...GLOBAL,
  scope: { takes: 'many', help: '' },
  wait: { takes: 'maybe', help: '' },
  reason: { takes: 'text', help: '' },
}
const read = (...args: readonly string[]) => readArguments(args, KNOWN)
const refusal = (...args: readonly string[]): Failure => {
  try {
    read(...args)
  } catch (thrown) {
    if (thrown instanceof Failure) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

describe('arguments', () => {
  it('are words, flags, values behind a space or =, and values that repeat', () => {
    const given = read('id', '--json', '--reason', 'a b', '--scope=x', '--scope', 'y=z', '--wait')
    expect(given.words).toEqual(['id'])
    expect([given.has('json'), given.has('help')]).toEqual([true, false])
    expect(given.text('reason')).toBe('a b')
    expect(given.many('scope')).toEqual(['x', 'y=z'])
    expect([given.has('wait'), given.text('wait')]).toEqual([true, undefined])
    expect(read('--wait=5').text('wait')).toBe('5')
    expect(read('--reason=--odd').text('reason')).toBe('--odd')
  })
  it('end with --, and a dash alone is a word', () => {
    expect(read('--', '--json', '-').words).toEqual(['--json', '-'])
    expect(read('-').words).toEqual(['-'])
  })
  it.each([
    ['an unknown option', ['--reasn', 'x']],
    ['an unknown short option', ['-x']],
    ['a flag with a value', ['--json=yes']],
    ['the same twice', ['--reason', 'a', '--reason', 'b']],
    ['a value that was forgotten at the end', ['--reason']],
    ['a value that was forgotten before another option', ['--reason', '--json']],
    ['a name of every object', ['--constructor']],
  ])('%s is a usage error', (_, args) => {
    expect(refusal(...args).exit).toBe(EXIT.usage)
  })
  it('name the closest one that is known', () => {
    expect(refusal('--reasn', 'x').next).toContain('--reason')
  })
  it.each(['-k3V9xQf2Lr_', '--V9xQ-f2Lr_'])(
    'say where a word stands that begins with a dash, as ids of conditions and passkeys may: %s',
    (id) => {
      expect(refusal('close', id, '--reason', 'x').next).toContain('-- ID')
      expect(read('close', '--reason', 'x', '--', id).words).toEqual(['close', id])
    },
  )
  it.each(['--token', '--password', '--secret'])(
    '%s is refused with the way that nobody can read, and its value is not repeated',
    (name) => {
      const failure = refusal(`${name}=hunter2`)
      expect(failure.next).toContain('--token-file')
      expect(failure.message + failure.next).not.toContain('hunter2')
    },
  )
})
