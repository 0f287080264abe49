import { parseArgs } from 'node:util'
import { printJson, printLines, table } from '../../src/cli/print.ts'
import { check, type Finding } from './spin.ts'
import { type Variant, variants } from './variants.ts'

/** `npm run model`: every variant of docs/model/leadership.pml does what is expected of it, or exit code 1. */
const usage = `npm run model -- [options] [variant…]

Checks docs/model/leadership.pml in every order of events: the design must hold, and each variant that takes
a part of it out must fail. Needs spin and gcc (apt-get install spin gcc libc6-dev), and less than 4 GB.

  --json         one line of JSON instead of stories and a table
  --limit-s <n>  seconds that one search may take (600)
  --help         this text

${table(
  ['VARIANT', 'MUST FAIL', 'WHAT IT IS'],
  variants.map(({ name, expected, what }) => [name, expected ?? 'nothing', what]),
).join('\n')}

Exit code 0: every variant did what is expected; 1: one did not; 2: it could not be asked.
`

interface Result extends Finding {
  variant: Variant
  isGood: boolean
}

function judge(variant: Variant, limitS: number): Result {
  const finding = check(variant, limitS)
  const isGood =
    variant.expected === null
      ? finding.error === null && finding.isExhaustive
      : finding.error?.split(':')[0] === variant.expected
  return { ...finding, variant, isGood }
}

function storyLines({ variant, error, story }: Result): string[] {
  if (error === null) return []
  return [
    `${variant.name}: ${variant.what}`,
    ...story.map((line) => `  ${line}`),
    `  ! ${error}`,
    '',
  ]
}

function resultTable(results: Result[]): string[] {
  const header = ['VARIANT', 'EXPECTED', 'FOUND', 'STATES', 'MB', 'S', '']
  const rows = results.map(
    ({ variant, error, isExhaustive, states, memoryMb, seconds, isGood }) => [
      variant.name,
      variant.expected ?? 'no error',
      error ?? (isExhaustive ? 'no error' : 'search cut short'),
      states,
      Math.round(memoryMb),
      seconds.toFixed(1),
      isGood ? 'ok' : 'FAILED',
    ],
  )
  return table(header, rows)
}

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      'limit-s': { type: 'string', default: '600' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const unknown = positionals.filter((name) => !variants.some((variant) => variant.name === name))
  if (unknown.length > 0) throw new Error(`no such variant: ${unknown.join(', ')}`)
  const limitS = Number(values['limit-s'])
  if (!(limitS > 0)) throw new Error('--limit-s is a number of seconds')
  const chosen = variants.filter(
    ({ name }) => positionals.length === 0 || positionals.includes(name),
  )
  return { json: values.json, help: values.help, limitS, chosen }
}

function main(): number {
  const { json, help, limitS, chosen } = parse()
  if (help) {
    process.stdout.write(usage)
    return 0
  }
  const results = chosen.map((variant) => {
    const result = judge(variant, limitS)
    if (!json) printLines(storyLines(result))
    return result
  })
  const isGood = results.every((result) => result.isGood)
  if (json) printJson({ is_good: isGood, variants: results.map(toJson) })
  else printLines(resultTable(results))
  return isGood ? 0 : 1
}

function toJson({
  variant,
  error,
  isExhaustive,
  states,
  memoryMb,
  seconds,
  story,
  isGood,
}: Result) {
  return {
    name: variant.name,
    expected: variant.expected,
    error,
    is_exhaustive: isExhaustive,
    is_good: isGood,
    states,
    memory_mb: memoryMb,
    seconds,
    story,
  }
}

try {
  process.exitCode = main()
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 2
}
