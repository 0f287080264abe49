import { expect, test } from 'vitest'
import { invariantFaults, namedIn, readTable, titlesIn } from './invariants.ts'

const table = `
| # | Invariant | Guarded in |
|---|---|---|
| 1 | **One.** Words | \`src/a.ts\`, \`src/b.ts\` |
| 2 | **Two.** Words | not built |
`
const source: Record<string, string> = {
  'src/a.ts': '/** Invariant 1. */',
  'src/b.ts': '// (invariants 1 and 3)',
}
const proof = "test('invariant 1: it holds', () => {})"
const faults = (files: Record<string, string>, tests: string[]) =>
  invariantFaults(readTable(table), (file) => files[file], tests)

test('an invariant that is guarded and proven is well; one that is not built needs neither', () => {
  expect(faults(source, [proof])).toEqual([])
})

test('a guard that does not name it, or is gone, is found', () => {
  expect(faults({ ...source, 'src/b.ts': '// invariant 10' }, [proof])).toEqual([
    'invariant 1 is not named in src/b.ts',
  ])
  expect(faults({ 'src/a.ts': source['src/a.ts'] ?? '' }, [proof])).toEqual([
    'invariant 1: src/b.ts does not exist',
  ])
})

test('one that is in no title is found; a comment in a test proves nothing', () => {
  expect(faults(source, ["// invariant 1\ntest('it holds', () => {})"])).toEqual([
    "invariant 1 is in no test's title",
  ])
})

test('a number that there is none of is found', () => {
  expect(faults(source, [proof, "test('invariant 4: new', () => {})"])).toEqual([
    "a test's title has invariant 4: there is none",
  ])
})

test('numbers are read in lists, and not within others', () => {
  expect([...namedIn('Invariants 2, 3 and 11; invariant 12x')]).toEqual([2, 3, 11, 12])
  expect([...namedIn('variant 1, invariant: 2')]).toEqual([])
})

test('titles are found in each way that a test is written', () => {
  expect(
    titlesIn(`test('one', () => {})
test.each([1])('two', () => {})
test.for([
  1,
])(
  'three',
  () => {},
)
])('four', () => {})
`),
  ).toEqual(['one', 'two', 'three', 'four'])
})
