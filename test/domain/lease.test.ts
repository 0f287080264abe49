import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isFinal, jobMoves } from '../../src/domain/job.ts'
import {
  afterEnd,
  endByDeparture,
  endByDoubt,
  endByLoss,
  endByReport,
  endByRunTimeout,
  endByUndelivered,
  type LeaseEnd,
  type LockedJob,
} from '../../src/domain/lease.ts'
import { judgeReport } from '../../src/domain/report.ts'
import { resultsBytes } from '../../src/domain/stage.ts'

const leased = (more: Partial<LockedJob> = {}): LockedJob => ({
  id: 'j',
  class_id: 1,
  state: 'leased',
  fence: 5,
  attempt: 1,
  max_attempts: 5,
  lost_leases: 0,
  backoff_base_ms: 2_000,
  backoff_factor: 2,
  backoff_cap_ms: 600_000,
  executor_id: 'e',
  epoch: 3,
  leased_at: '2026-01-01',
  cancel_requested_at: null,
  stage: null,
  next_stage: null,
  results_bytes: 0,
  ...more,
})

const outcomes = fc.constantFrom('succeeded', 'failed', 'cancelled', 'released')

/** Any way in which a lease can end. */
const ends = fc
  .record({
    max_attempts: fc.integer({ min: 1, max: 10 }),
    attempt: fc.integer({ min: 1, max: 10 }),
    lost_leases: fc.nat(10),
    budget: fc.nat(10),
    how: fc.constantFrom('report', 'loss', 'undelivered', 'doubt', 'run_timeout', 'departure'),
    cancel_requested_at: fc.constantFrom(null, '2026-01-01'),
    outcome: outcomes,
    retryable: fc.boolean(),
    random: fc.double({ min: 0, max: 0.999, noNaN: true }),
    next_stage: fc.constantFrom(
      null,
      { name: 'work', class_id: 2 },
      { name: 'manual', class_id: null },
    ),
    results_bytes: fc.constantFrom(0, resultsBytes - 4, resultsBytes),
  })
  .map(({ how, outcome, retryable, budget, random, ...row }): LeaseEnd => {
    const job = leased({ ...row, attempt: Math.min(row.attempt, row.max_attempts) })
    if (how === 'loss') return endByLoss(job, budget, { tier: 'expired', why: 'test' })
    if (how === 'undelivered') return endByUndelivered(job)
    if (how === 'doubt') return endByDoubt(job, 'key')
    if (how === 'departure') return endByDeparture(job)
    if (how === 'run_timeout') return endByRunTimeout(job, () => random)
    const error = outcome === 'failed' ? { code: 'x', message: '', retryable } : undefined
    return endByReport(job, { outcome, error }, () => random)
  })

test('every end is a legal move, and leaves no owner', () => {
  fc.assert(
    fc.property(ends, (end) => {
      expect(jobMoves.leased as readonly string[]).toContain(end.to)
      const after = afterEnd(end)
      expect([after.executor_id, after.epoch, after.leased_at]).toEqual([null, null, null])
      expect(after.fence).toBeGreaterThanOrEqual(end.job.fence)
    }),
  )
})

test('invariant 11: only a failure of its own, or its success, spends an attempt of a job', () => {
  fc.assert(
    fc.property(ends, (end) => {
      // Each visit of a stage has budgets of its own.
      if (end.toStage) {
        expect([end.attempt, end.lostLeases]).toEqual([0, 0])
        return
      }
      const spends = ['succeeded', 'failed', 'cancelled'].includes(end.outcome)
      expect(end.attempt).toBe(end.job.attempt - (spends ? 0 : 1))
      expect(end.lostLeases).toBe(end.job.lost_leases + (end.outcome === 'lost' ? 1 : 0))
    }),
  )
})

test('whoever loses a lease against its will is fenced off; who ends it itself is not', () => {
  fc.assert(
    fc.property(ends, (end) => {
      expect(end.raisesFence).toBe(end.tier !== 'report')
    }),
  )
})

test('a retry waits no longer than its step and its cap, and only after a failure', () => {
  fc.assert(
    fc.property(ends, ({ job, outcome, to, delayMs }) => {
      if (outcome !== 'failed' || to !== 'available') {
        expect(delayMs).toBeNull()
        return
      }
      const step = job.backoff_base_ms * job.backoff_factor ** (job.attempt - 1)
      expect(delayMs).toBeLessThanOrEqual(Math.ceil(Math.min(step, job.backoff_cap_ms)))
      expect(delayMs).toBeGreaterThanOrEqual(0)
    }),
  )
})

test.each([
  [{ attempt: 4, max_attempts: 5 }, true, 'available'],
  [{ attempt: 5, max_attempts: 5 }, true, 'failed'],
  [{ attempt: 1, max_attempts: 5 }, false, 'failed'],
  [{ attempt: 1, max_attempts: 1 }, true, 'failed'],
])('a failure of %o, retryable %s, leads to %s', (row, retryable, to) => {
  const error = { code: 'x', message: '', retryable }
  expect(endByReport(leased(row), { outcome: 'failed', error }).to).toBe(to)
})

test.each([
  [0, 5, 'available'],
  [4, 5, 'available'],
  [5, 5, 'failed'],
  [0, 0, 'failed'],
])('after %i lost leases and a budget of %i, one more leads to %s', (lost_leases, budget, to) => {
  const end = endByLoss(leased({ lost_leases }), budget, { tier: 'expired', why: 'gone' })
  expect(end.to).toBe(to)
  expect(end.error?.code).toBe(to === 'failed' ? 'lost_lease_budget_spent' : 'lease_lost')
})

test('a success moves a job to its next stage, cancelled or not, unless its results are too large', () => {
  fc.assert(
    fc.property(ends, (end) => {
      const { next_stage, results_bytes, cancel_requested_at } = end.job
      const fits = results_bytes + 'null'.length <= resultsBytes
      const hasNext = end.outcome === 'succeeded' && next_stage !== null
      expect(end.toStage).toEqual(hasNext && fits ? next_stage : null)
      expect(end.resultsBytes).toBe(results_bytes + (hasNext && fits ? 4 : 0))
      if (!hasNext || cancel_requested_at !== null) return
      const entered = next_stage.class_id === null ? 'waiting' : 'available'
      expect(end.to).toBe(fits ? entered : 'failed')
      expect(end.error?.code).toBe(fits ? undefined : 'results_too_large')
    }),
  )
})

test('final states have no way out', () => {
  expect(Object.keys(jobMoves).filter((state) => isFinal(state as keyof typeof jobMoves))).toEqual([
    'succeeded',
    'failed',
    'cancelled',
  ])
})

const mine = { executorId: 'e', epoch: 3, fence: 5, outcome: 'succeeded' } as const

test('reports are judged in the order of DESIGN 6', () => {
  const ended = { executor_id: 'e', epoch: 3, outcome: 'succeeded' } as const
  const final = leased({ state: 'succeeded', executor_id: null, epoch: null })
  expect(judgeReport(undefined, mine, 4, undefined)).toMatchObject({ reason: 'not_found' })
  expect(judgeReport(final, mine, 4, ended)).toMatchObject({ reason: 'stale_epoch' })
  expect(judgeReport(final, mine, undefined, ended)).toMatchObject({ reason: 'stale_epoch' })
  expect(judgeReport(final, mine, 3, ended)).toEqual({ status: 'duplicate' })
  expect(judgeReport(final, { ...mine, outcome: 'failed' }, 3, ended)).toMatchObject({
    reason: 'already_final',
  })
  expect(judgeReport(leased({ fence: 6 }), mine, 3, undefined)).toMatchObject({
    reason: 'stale_fence',
  })
  expect(judgeReport(leased(), mine, 3, undefined)).toEqual({ status: 'accepted' })
})

test('invariant 2: only the current (executor, epoch, fence) of a leased job is accepted', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('available', 'leased', 'waiting', 'succeeded', 'failed', 'cancelled'),
      fc.constantFrom('e', 'other'),
      fc.integer({ min: 2, max: 4 }),
      fc.integer({ min: 4, max: 6 }),
      fc.integer({ min: 2, max: 4 }),
      (state, executorId, epoch, fence, currentEpoch) => {
        const job = leased({ state })
        const verdict = judgeReport(
          job,
          { ...mine, executorId, epoch, fence },
          currentEpoch,
          undefined,
        )
        const isOwner =
          state === 'leased' &&
          executorId === 'e' &&
          epoch === 3 &&
          fence === 5 &&
          currentEpoch === 3
        expect(verdict.status === 'accepted').toBe(isOwner)
      },
    ),
  )
})

test('invariant 6: once its end was asked for, only success keeps a job from being cancelled', () => {
  fc.assert(
    fc.property(ends, (end) => {
      if (end.job.cancel_requested_at === null) return
      const isDone = end.outcome === 'succeeded' && end.job.next_stage === null
      expect(end.to).toBe(isDone ? 'succeeded' : 'cancelled')
      expect(end.waitingFor).toBe(null)
      expect(end.delayMs).toBe(null)
    }),
  )
})
