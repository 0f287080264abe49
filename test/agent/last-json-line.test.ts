import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LastJsonLine } from '../../src/agent/last-json-line.ts'

function read(text: string, cuts: number[] = []): unknown {
  const bytes = Buffer.from(text)
  const found = new LastJsonLine()
  let at = 0
  for (const cut of [
    ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ]) {
    found.write(bytes.subarray(at, cut))
    at = cut
  }
  return found.end()
}

test.each([
  ['', undefined],
  ['no json here\n', undefined],
  ['{"a":1}', { a: 1 }],
  ['{"a":1}\n', { a: 1 }],
  ['{"a":1}\r\n\n  \n', { a: 1 }],
  ['{"a":1}\nlog line\n{broken\n', { a: 1 }],
  ['1\n2\n[3]\n', [3]],
  ['null\n', null],
  ['true\nfalsehood\n', true],
  [`{"a":1}\n${'x'.repeat(300_000)}\nlog\n`, { a: 1 }],
  [`"${'x'.repeat(300_000)}"\n{"a":1}\n`, { a: 1 }],
])('%j', (text, value) => {
  expect(read(text)).toEqual(value)
})

test('however the bytes are cut, also within a character, the line found is the same', () => {
  fc.assert(
    fc.property(fc.json(), fc.array(fc.nat(), { maxLength: 8 }), (json, cuts) => {
      const line = JSON.stringify(JSON.parse(json))
      const text = `é before\n${line}\nnot json é\n`
      expect(read(text, cuts)).toEqual(JSON.parse(line))
    }),
  )
})

test.each([
  [`{"a":1}\n"${'x'.repeat(300_000)}"\nlog\n`, true],
  [`{"a":1}\n  "${'x'.repeat(300_000)}`, true],
  [`"${'x'.repeat(300_000)}"\n{"a":1}\n`, false],
  [`{"a":1}\n${'x'.repeat(300_000)}\n`, false],
])('a line too long to be read is no reason to take an earlier one, case %#', (text, isTooLong) => {
  const found = new LastJsonLine()
  found.write(Buffer.from(text))
  expect(found.end()).toEqual(isTooLong ? undefined : { a: 1 })
  expect(found.isTooLong).toBe(isTooLong)
})
