import { expect, test } from 'vitest'
import { ReadyClasses } from '../../src/services/ready-classes.ts'

const both = new Set([1, 2])

test('a class that is marked while a claim is under way stays ready, though not since before it', () => {
  const ready = new ReadyClasses()
  ready.mark(1)
  const before = ready.now()
  ready.mark(1)
  const meanwhile = ready.now()
  ready.drained([1], before)
  expect(ready.within(both)).toEqual([1])
  expect([before, meanwhile].map((moment) => ready.isAnySince(both, moment))).toEqual([false, true])
  ready.drained([1], ready.now())
  expect(ready.within(both)).toEqual([])
  expect(ready.isAnySince(both, ready.now())).toBe(false)
})

test('a class that is marked again and again has been ready since the first', () => {
  const ready = new ReadyClasses()
  ready.mark(2)
  const before = ready.now()
  for (const classId of [1, 2, 1]) ready.mark(classId)
  expect(ready.isAnySince(both, before)).toBe(true)
  expect(ready.isAnySince(new Set([1]), before)).toBe(false)
})
