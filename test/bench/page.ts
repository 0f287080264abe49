import { goalText, percentile, type Result, rounded } from './figures.ts'
import type { Machine } from './machine.ts'

/** docs/performance.md between its marks: what was measured, where, and how. */
export function renderTables(results: Result[]): string {
  return [...goalTable(results), ...results.flatMap(section)].join('\n')
}

function goalTable(results: Result[]): string[] {
  const rows = results.flatMap(({ bench, goals }) =>
    goals.map((goal) => [
      goal.letter,
      bench,
      goal.series,
      goalText(goal),
      rounded(goal.reached),
      goal.isKept ? 'kept' : '**missed**',
    ]),
  )
  if (rows.length === 0) return []
  return [...table(['goal', 'bench', 'figure', 'wanted', 'median', ''], rows), '']
}

function section({ bench, title, how, series, machine }: Result): string[] {
  const rows = series.map(({ name, unit, values }) => {
    const [median, least, most] = [0.5, 0, 1].map((share) => rounded(percentile(values, share)))
    return [name, `${median} ${unit}`, `${least} to ${most}`, values.length]
  })
  return [
    `### ${title}`,
    '',
    `\`npm run bench -- ${bench}\``,
    '',
    ...how.map((line) => `- ${line}`),
    '',
    ...table(['', 'median', 'from, to', 'rounds'], rows),
    '',
    placeOf(machine),
    '',
  ]
}

function placeOf({ cpu, cores, memoryGiB, system, node, postgres, commit, at }: Machine): string {
  return `At commit ${commit}, ${at} UTC: ${cpu}, ${cores} cores shared by everything, ${memoryGiB} GiB, ${system}, Node ${node}, Postgres ${postgres}.`
}

function table(heads: string[], rows: (string | number)[][]): string[] {
  return [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
}

const marks = ['<!-- measured: begin -->', '<!-- measured: end -->'] as const

/** The page with these tables in place of those that it has. */
export function withTables(page: string, tables: string): string {
  const [begin, end] = marks
  const [before, rest] = page.split(begin)
  const after = rest?.split(end)[1]
  if (before === undefined || after === undefined)
    throw new Error(`the page lacks ${marks.join(' or ')}`)
  return `${before}${begin}\n\n${tables}\n${end}${after}`
}
