/** Prints for people, or as one line of JSON for programs. */

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

export function printLines(lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}

/** Columns as wide as their widest cell. An empty table is said to be so. */
export function table(header: string[], rows: (string | number | null)[][]): string[] {
  if (rows.length === 0) return ['  none']
  const cells = [header, ...rows.map((row) => row.map((cell) => String(cell ?? '-')))]
  const widths = header.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  )
  return cells.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  )
}

/** A duration, roughly. */
export function lasting(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7_200) return `${Math.round(seconds / 60)}min`
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)}h` : `${Math.round(seconds / 86_400)}d`
}

/** How long ago an instant was, roughly. */
export function ago(instant: string | null, now = Date.now()): string {
  if (instant === null) return '-'
  return `${lasting(now - Date.parse(instant))} ago`
}
