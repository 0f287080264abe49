import type { Command } from 'commander'
import { Registry } from 'prom-client'
import { exitCodes, exitCodesHelp } from '../../src/cli/exit.ts'
import { clientSchema, serverSchema } from '../../src/config.ts'
import { reasonMeanings } from '../../src/contract/explain.ts'
import { errorTable } from '../../src/errors.ts'
import { defineMetrics } from '../../src/metrics/definitions.ts'
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

export function reasonFaults(markdown: string): string[] {
  const told = tableRows(markdown, 'Reason', 'Meaning', 'Facts', 'What to do').map((cells) =>
    cells.slice(0, 2).map(unquoted).join(' | '),
  )
  const real = Object.entries(reasonMeanings).map((row) => row.join(' | '))
  return differences('docs/explain.md', told, real)
}

/** Labels are told as `a`, `b`; none as –. */
export function metricFaults(markdown: string): string[] {
  const registry = new Registry()
  defineMetrics(registry)
  const real = registry.getMetricsAsArray().map((metric) => {
    const { labelNames } = metric as unknown as { labelNames: string[] }
    return [metric.name, metric.type, labelNames.join(', ') || '–'].join(' | ')
  })
  const told = tableRows(markdown, 'Metric', 'Type', 'Labels', 'Meaning', 'Alert on')
  return differences(
    'docs/metrics.md',
    told.map(([name = '', type, labels]) =>
      [`understudy_${unquoted(name)}`, type, labels?.replaceAll('`', '')].join(' | '),
    ),
    real,
  )
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

/** The variables that src/config.ts reads, and what they are when they are not set. */
export function readVariables(): Map<string, Variable> {
  const fields = { ...clientSchema.shape, ...serverSchema.shape }
  return new Map(
    Object.entries(fields).map(([name, field]) => {
      const unset = field.safeParse(undefined)
      const given = unset.success && unset.data !== undefined ? String(unset.data) : undefined
      return [name, { isRequired: !unset.success, default: given }]
    }),
  )
}

export function variableFaults(markdown: string, variables = readVariables()): string[] {
  const rows = tableRows(markdown, 'Variable', 'Default').map(([name = '', cell = '']) => ({
    name: unquoted(name),
    cell,
  }))
  return [
    ...differences(
      'docs/configuration.md',
      rows.map(({ name }) => name),
      [...variables.keys()],
    ),
    ...rows.flatMap(({ name, cell }) => {
      const variable = variables.get(name)
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
