import { expect, test } from 'vitest'
import { judgeRetry } from '../../src/domain/retry.ts'

test.each([
  ['failed', 'retry'],
  ['cancelled', 'retry'],
  ['succeeded', 'not_retryable'],
  ['available', 'job_not_final'],
  ['leased', 'job_not_final'],
  ['waiting', 'job_not_final'],
] as const)('a retry of a job that is %s: %s', (state, outcome) => {
  expect(judgeRetry({ state, retried_as: null })).toEqual({ outcome })
})

test('a job that was retried is not retried again', () => {
  expect(judgeRetry({ state: 'failed', retried_as: 'j' })).toEqual({ outcome: 'replayed', as: 'j' })
})
