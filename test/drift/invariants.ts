import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root, tellFaults } from './generated.ts'

/** Every invariant that is built is named by its number at the code that guards it, and in the title of a
 *  test. The list is the table of docs/invariants.md. */
export interface Invariant {
  number: number
  /** Empty: not built. */
  guards: string[]
}

export function readTable(markdown: string): Invariant[] {
  return [...markdown.matchAll(/^\| (\d+) \| .+ \| ([^|]+) \|$/gm)].map(([, number, guards]) => ({
    number: Number(number),
    guards: [...(guards ?? '').matchAll(/`([^`]+)`/g)].map(([, file = '']) => file),
  }))
}

/** Numbers that a text speaks of as invariants: "invariant 7", "Invariants 2 and 3". */
export function namedIn(text: string): Set<number> {
  const mentions = text.matchAll(/\binvariants?\s(\d+(?:(?:, | and )\d+)*)/gi)
  return new Set([...mentions].flatMap(([, list = '']) => list.match(/\d+/g) ?? []).map(Number))
}

/** The titles of tests, those of test.each among them. */
export function titlesIn(source: string): string[] {
  const titles = source.matchAll(/^(?:test\(|.*\)\()\s*(['"`])(.+?)\1/gm)
  return [...titles].map(([, , title = '']) => title)
}

export function invariantFaults(
  invariants: Invariant[],
  read: (file: string) => string | undefined,
  tests: string[],
): string[] {
  const proven = namedIn(tests.flatMap(titlesIn).join('\n'))
  const known = new Set(invariants.map(({ number }) => number))
  return [
    ...invariants.flatMap(({ number, guards }) => guardFaults(number, guards, read)),
    ...invariants
      .filter(({ number, guards }) => guards.length > 0 && !proven.has(number))
      .map(({ number }) => `invariant ${number} is in no test's title`),
    ...[...proven]
      .filter((number) => !known.has(number))
      .map((number) => `a test's title has invariant ${number}: there is none`),
  ]
}

function guardFaults(
  number: number,
  guards: string[],
  read: (file: string) => string | undefined,
): string[] {
  return guards.flatMap((file) => {
    const text = read(file)
    if (text === undefined) return [`invariant ${number}: ${file} does not exist`]
    return namedIn(text).has(number) ? [] : [`invariant ${number} is not named in ${file}`]
  })
}

const top = fileURLToPath(root)

function read(file: string): string | undefined {
  try {
    return readFileSync(join(top, file), 'utf8')
  } catch {
    return undefined
  }
}

if (import.meta.main) {
  const invariants = readTable(read('docs/invariants.md') ?? '')
  const tests = readdirSync(join(top, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => read(join('test', file)) ?? '')
  tellFaults([
    ...(invariants.length === 12 ? [] : ['docs/invariants.md: twelve invariants were expected']),
    ...invariantFaults(invariants, read, tests),
  ])
}
