import { type Figures, percentile } from './figures.ts'
import type { DrillResult } from './run-drill.ts'

/** What a drill came to, for people. */
export function resultLines(result: DrillResult): string[] {
  const { drill, ok, seconds, events, violations, reclaims, counterexamples } = result
  const last = result.runs.at(-1)
  const more = violations.length - counterexamples.length
  const verdict = [
    ok ? 'ok    ' : 'FAILED',
    drill.padEnd(22),
    `${seconds.toFixed(1).padStart(6)} s`,
  ]
  const details = [
    ...result.notes,
    ...(last ? figureLines(last) : []),
    ...result.complaints,
    ...counterexamples.flatMap((text) => text.split('\n')),
    ...(more > 0 ? [`and ${more} violations more`] : []),
    ...(ok ? [] : [`everything that was seen is in ${result.folder}`]),
  ]
  const ends = Object.entries(result.ends).map(([reason, times]) => `${reason} ${times}`)
  const facts = `${events} events, ${violations.length} violations, ${reclaims} reclaims; terms ended: ${ends.join(', ')}`
  return [`${verdict.join('  ')}  ${facts}`, ...details.map((line) => `        ${line}`)]
}

function figureLines(run: Figures): string[] {
  const { gap_ms: gap, executor_gap_ms: each } = run
  const ms = (value: number | null) => (value === null ? '-' : `${Math.round(value)}`)
  const steps = [run.granted_ms, run.promoted_ms, run.served_ms].map(ms).join(', ')
  return [
    `gap in ms: executors ${ms(gap.executors)} (each ${ms(each.p50)} to ${ms(each.max)}; balanced ${ms(gap.balanced_executors)}), submitters ${ms(gap.submitters)} (balanced ${ms(gap.balanced_submitters)})`,
    `lock granted, promoted, served after ${steps} ms; submits failed ${run.failed_submits} (tries ${run.failed_tries}); requests without an answer ${run.lost}`,
  ]
}

const columns: [string, (run: Figures) => number | null][] = [
  ['executors', (run) => run.gap_ms.executors],
  ['slowest of them', (run) => run.executor_gap_ms.max],
  ['behind the balancer', (run) => run.gap_ms.balanced_executors],
  ['submitters', (run) => run.gap_ms.submitters],
  ['submits, balancer', (run) => run.gap_ms.balanced_submitters],
  ['promoted', (run) => run.promoted_ms],
  ['served', (run) => run.served_ms],
]

/** Figures of repeated drills as a table of Markdown: the median, the 99th percentile and the most. */
export function figuresTable(results: DrillResult[]): string[] {
  const heads = ['drill', 'runs', ...columns.map(([name]) => name), 'failed submits', 'reclaims']
  const rows = results.map(({ drill, runs, reclaims }) => [
    drill,
    runs.length,
    ...columns.map(([, of]) => spread(runs.map(of))),
    runs.reduce((sum, run) => sum + run.failed_submits, 0),
    reclaims,
  ])
  return [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`)
}

function spread(values: (number | null)[]): string {
  const at = (share: number) => percentile(values, share)
  if (at(1) === null) return '-'
  return [at(0.5), at(0.99), at(1)].map((value) => Math.round(value ?? 0)).join(' / ')
}
