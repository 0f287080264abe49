import { validate, version } from 'uuid'
import { expect, test } from 'vitest'
import { newJobId } from '../../src/services/job-ids.ts'

test('job ids are UUIDv7, each later than the one before, and no two alike', () => {
  const ids = Array.from({ length: 20_000 }, newJobId)
  expect(ids).toEqual(ids.toSorted())
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.filter((id) => !validate(id) || version(id) !== 7)).toEqual([])
})

test('what two processes draw in one millisecond differs in more than its count', () => {
  const ends = Array.from({ length: 1_000 }, () => newJobId().slice(-12))
  expect(new Set(ends).size).toBe(ends.length)
})
