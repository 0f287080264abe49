import { goalText, median, type Result, rounded } from './figures.ts'
import type { Machine } from './machine.ts'

/** docs/performance.md between its marks: what was measured, where, and how. `names`: of all benches that there are. */
export function renderTables(results: Result[], names: string[]): string {
  const known = new Set(results.map(({ bench }) => bench))
  const missing = names.filter((name) => !known.has(name))
  const gap = missing.length > 0 ? [`Not measured yet: ${missing.join(', ')}.`, ''] : []
  return [...goalTable(results), ...gap, ...results.flatMap(section)].join('\n')
}

function goalTable(results: Result[]): string[] {
  const rows = results.flatMap(({ bench, goals, series }) =>
    goals.map((goal) => {
      const unit = series.find(({ name }) => name === goal.series)?.unit ?? ''
      const verdict = goal.isKept ? 'kept' : '**missed**'
      return [
        bench,
        goal.series,
        `${goalText(goal)} ${unit}`,
        `${rounded(goal.reached)} ${unit}`,
        verdict,
      ]
    }),
  )
  if (rows.length === 0) return []
  return [...table(['bench', 'figure', 'wanted', 'median', ''], rows), '']
}

function section({ bench, title, how, series, machine }: Result): string[] {
  const rows = series.map(({ name, unit, values }) => {
    const [least, most] = [Math.min(...values), Math.max(...values)].map(rounded)
    return [name, `${rounded(median(values))} ${unit}`, `${least} to ${most}`, values.length]
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
