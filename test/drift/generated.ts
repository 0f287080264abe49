import { readFile, writeFile } from 'node:fs/promises'

export const root = new URL('../../', import.meta.url)

/** A committed file that is generated: written with --write, else compared. Returns the faults. */
export async function keepFresh(file: string, fresh: string, command: string): Promise<string[]> {
  const url = new URL(file, root)
  if (process.argv.includes('--write')) {
    await writeFile(url, fresh)
    return []
  }
  const committed = await readFile(url, 'utf8').catch(() => '')
  if (committed === fresh) return []
  return [`${file} is stale: run \`${command}\`\n${firstDifference(committed, fresh)}`]
}

function firstDifference(committed: string, fresh: string): string {
  const before = committed.split('\n')
  const after = fresh.split('\n')
  const at = after.findIndex((line, index) => line !== before[index])
  const line = at < 0 ? after.length : at
  return [
    `  first difference, line ${line + 1}:`,
    `  - ${before[line] ?? '(end of file)'}`,
    `  + ${after[line] ?? '(end of file)'}`,
  ].join('\n')
}

/** Ends a step of `npm run check`: each fault on stderr, and exit code 1 if there is one. */
export function tellFaults(faults: string[]): void {
  process.stderr.write(faults.map((fault) => `${fault}\n`).join(''))
  process.exitCode = faults.length > 0 ? 1 : 0
}
