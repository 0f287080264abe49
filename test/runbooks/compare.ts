/** Whether a command printed what its runbook shows. `…` stands for anything within a line, and alone on a line
 *  for any lines. What differs each time is not compared: ids, instants, durations, and the width of columns. */

const differing: [RegExp, string][] = [
  [/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, '<id>'],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d)/g, '<instant>'],
  [/\b\d+(?:s|min|h|d)\b/g, '<time>'],
  [/\b\d+ ms\b|(?<="ms":)\d+/g, '<ms>'],
  [/-{2,}/g, '--'],
  [/\s+/g, ' '],
]

function plain(line: string): string {
  return differing.reduce((text, [what, by]) => text.replace(what, by), line).trim()
}

function lines(text: string): string[] {
  return text.trimEnd().split('\n').map(plain)
}

/** What is wrong, for people; undefined: nothing is. */
export function difference(shown: string, printed: string): string | undefined {
  const pattern = lines(shown)
    .map((line) => (line === '…' ? '(?:.*\n)*?' : `${anything(line)}\n`))
    .join('')
  if (new RegExp(`^${pattern}$`).test(`${lines(printed).join('\n')}\n`)) return undefined
  return `the runbook shows\n\n${shown}\n\nand this was printed\n\n${printed.trimEnd()}\n`
}

function anything(line: string): string {
  return line
    .split('…')
    .map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
    .join('.*')
}
