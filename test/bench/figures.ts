import type { Goal, Series } from './bench.ts'
import type { Machine } from './machine.ts'

/** What a bench came to. */
export interface Result {
  bench: string
  title: string
  how: string[]
  series: Series[]
  goals: (Goal & { reached: number | null; isKept: boolean })[]
  seconds: number
  machine: Machine
}

export function judge(goals: Goal[], series: Series[]): Result['goals'] {
  return goals.map((goal) => {
    const values = series.find(({ name }) => name === goal.series)?.values ?? []
    const reached = values.length === 0 ? null : median(values)
    const isKept =
      reached !== null && ('atLeast' in goal ? reached >= goal.atLeast : reached <= goal.atMost)
    return { ...goal, reached, isKept }
  })
}

/** The value that this share of them does not exceed. */
export function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = Math.max(0, Math.ceil(share * sorted.length) - 1)
  return sorted[at] ?? Number.NaN
}

/** Of an even number, the mean of the two in the middle. */
export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const [below, above] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle)]]
  return ((below ?? Number.NaN) + (above ?? Number.NaN)) / 2
}

/** In three figures that mean something. */
export function rounded(value: number | null): string {
  if (value === null || Number.isNaN(value)) return '-'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}

export function goalText(goal: Goal): string {
  return 'atLeast' in goal ? `≥ ${rounded(goal.atLeast)}` : `≤ ${rounded(goal.atMost)}`
}
