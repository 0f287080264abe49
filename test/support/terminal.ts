import { InvalidArgumentError } from 'commander'

/** What commands for developers have in common: benches and drills. */

/** Of an option that counts something. */
export function positive(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('must be 1 or more.')
  return value
}

/** What is under way, on a terminal; it is overwritten by the next. */
export function show(step: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${step}`)
}

export function say(...lines: string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}
