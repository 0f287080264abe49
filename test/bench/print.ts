import { goalText, median, type Result, rounded } from './figures.ts'

/** What a bench came to, for people: the median of each series, and from where to where its rounds went. */
export function resultLines({ bench, title, series, goals, seconds }: Result): string[] {
  const widest = Math.max(...series.map(({ name }) => name.length))
  return [
    `${title} (${bench}, ${Math.round(seconds)} s)`,
    ...series.map(({ name, unit, values }) => {
      const [least, most] = [Math.min(...values), Math.max(...values)].map(rounded)
      const middle = rounded(median(values)).padStart(8)
      return `  ${name.padEnd(widest)}  ${middle} ${unit}   (${least} to ${most}, ${values.length} rounds)`
    }),
    ...goals.map(
      (goal) =>
        `  ${goal.isKept ? 'kept  ' : 'MISSED'}  goal ${goal.letter}: ${goal.series} ${goalText(goal)}: ${rounded(goal.reached)}`,
    ),
    '',
  ]
}
