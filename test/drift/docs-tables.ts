import type { Command } from 'commander'
import { exitCodes, exitCodesHelp } from '../../src/cli/exit.ts'
import { errorTable } from '../../src/errors.ts'
import { tableRows, unquoted } from './markdown.ts'

/** Tables in the documents that say what the code says: none may have more, less or other. */

function differences(name: string, told: string[], true_: string[]): string[] {
  return [
    ...true_.filter((row) => !told.includes(row)).map((row) => `${name}: missing: ${row}`),
    ...told.filter((row) => !true_.includes(row)).map((row) => `${name}: not so: ${row}`),
    ...told
      .filter((row, index) => told.indexOf(row) < index)
      .map((row) => `${name}: twice: ${row}`),
  ]
}

export function errorFaults(markdown: string): string[] {
  const rows = tableRows(markdown, 'Code', 'Status', 'Retryable', 'Logged as')
  const told = rows.map((cells) => cells.slice(0, 4).map(unquoted).join(' | '))
  const real = Object.entries(errorTable).map(([code, { status, retryable, level }]) =>
    [code, status, retryable ? 'yes' : 'no', level].join(' | '),
  )
  return differences('docs/errors.md', told, real)
}

export function exitCodeFaults(markdown: string): string[] {
  const told = tableRows(markdown, 'Code', 'Meaning').map((cells) =>
    cells.map(unquoted).join(' | '),
  )
  const help = [...exitCodesHelp.matchAll(/^ {2}(\d+) +(.+)$/gm)].map(([, code, what]) => [
    code,
    what,
  ])
  const codes = Object.values(exitCodes).map(String)
  return [
    ...differences(
      'docs/cli.md',
      told,
      help.map((row) => row.join(' | ')),
    ),
    ...differences(
      'exitCodesHelp in src/cli/exit.ts',
      help.map(([code]) => String(code)),
      codes,
    ),
  ]
}

export function commandFaults(markdown: string, program: Command): string[] {
  const told = tableRows(markdown, 'Command', 'What it does').map((cells) =>
    cells.map(unquoted).join(' | '),
  )
  const real = leaves(program).map(([name, what]) => `${name} | ${what}`)
  return differences('docs/cli.md', told, real)
}

function leaves(command: Command, before = ''): [string, string][] {
  const name = `${before} ${command.name()}`.trim()
  return command.commands.length === 0
    ? [[name, command.description()]]
    : command.commands.flatMap((each) => leaves(each, name))
}

interface Variable {
  isRequired: boolean
  default: string | undefined
}

/** The variables in the text of src/config.ts; its schemas are not exported. The first that names a
 *  variable wins: that is the replica's. */
export function readVariables(config: string): Map<string, Variable> {
  const found = new Map<string, Variable>()
  for (const [, body = ''] of config.matchAll(/= z\.object\(\{(.*?)\}\)$/gms)) {
    for (const [, name = '', value = ''] of body.matchAll(
      /\b([A-Z][A-Z_]+): (.*?)(?=,\s*(?:[A-Z][A-Z_]+:|$))/gs,
    )) {
      const [, given] = /(?:\.default|milliseconds)\('?([^',)]*)/.exec(value) ?? []
      const isRequired = given === undefined && !value.includes('.optional()')
      if (!found.has(name)) found.set(name, { isRequired, default: given?.replaceAll('_', '') })
    }
  }
  return found
}

export function variableFaults(markdown: string, config: string): string[] {
  const variables = readVariables(config)
  const named = new Set(config.match(/\b(?:UNDERSTUDY_[A-Z_]+|DATABASE_URL)(?=:)/g))
  const unread = [...named].filter((name) => !variables.has(name))
  const rows = tableRows(markdown, 'Variable', 'Default').map((cells) => cells.map(unquoted))
  const names = rows.map(([name = '']) => name)
  const quoted = tableRows(markdown, 'Variable', 'Default').map(([, cell = '']) => cell)
  return [
    ...unread.map((name) => `src/config.ts: ${name} could not be read by this check`),
    ...differences('docs/configuration.md', names, [...variables.keys()]),
    ...names.flatMap((name, index) => {
      const variable = variables.get(name)
      const cell = quoted[index] ?? ''
      return variable && !isDefault(variable, cell)
        ? [`docs/configuration.md: ${name}: default ${cell} should be ${variable.default}`]
        : []
    }),
  ]
}

function isDefault({ isRequired, default: given }: Variable, cell: string): boolean {
  if (isRequired) return cell === 'required'
  return given === undefined ? cell !== 'required' && !/^`.*`$/.test(cell) : cell === `\`${given}\``
}
