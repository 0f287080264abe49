import { expect, test } from 'vitest'
import { lockTiming } from '../../src/domain/lock.ts'

test('three renewals fit into the time that each is good for, which is the TTL or 15 s', () => {
  for (const [ttlMs, renew_ms, valid_ms] of [
    [1_000, 333, 1_000],
    [9_000, 3_000, 9_000],
    [15_000, 5_000, 15_000],
    [86_400_000, 5_000, 15_000],
  ] as const) {
    expect(lockTiming(ttlMs)).toEqual({ renew_ms, valid_ms })
  }
})
