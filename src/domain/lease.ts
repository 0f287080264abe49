import { fullJitter } from '../backoff.ts'
import type { JobState } from './job.ts'
import { enter, type NextStage, resultsBytes, type WaitingFor } from './stage.ts'

/**
 * How leases end. Pure: a locked row goes in, and what is to be written comes out; the statement that
 * writes it names state, executor, epoch and fence again in its WHERE.
 *
 * Two budgets, kept apart (invariant 11): `attempt` counts what the job itself spent, `lost_leases`
 * what the infrastructure lost. Whatever is not the job's fault gives its attempt number back.
 */

/** A job's row, locked. Lease columns are null unless it is leased. */
export interface LockedJob {
  id: string
  class_id: number
  state: JobState
  fence: number
  attempt: number
  max_attempts: number
  lost_leases: number
  backoff_base_ms: number
  backoff_factor: number
  backoff_cap_ms: number
  executor_id: string | null
  epoch: number | null
  /** As Postgres wrote it, microseconds included: it is written back unchanged. */
  leased_at: string | null
  /** Somebody has asked for its end: nothing but success keeps it from being cancelled (invariant 6). */
  cancel_requested_at: string | null
  /** null: it has none. */
  stage: string | null
  /** null: there is none after it. */
  next_stage: NextStage | null
  /** Of what earlier stages hand on. */
  results_bytes: number
}

export type Outcome = 'succeeded' | 'failed' | 'cancelled' | 'released' | 'lost' | 'undelivered'

export interface Failure {
  code: string
  message: string
  retryable: boolean
}

/** Who or what found that a lease is over. */
export const tiers = [
  'report',
  'expired',
  'expired_before_failover',
  'new_epoch',
  'deregistered',
  'undelivered',
  'effect_in_doubt',
  'cancel_unanswered',
  'run_timeout',
] as const
export type Tier = (typeof tiers)[number]

/** Why the deadlines of all leases are moved. */
export const deferrals = ['promotion', 'stall', 'silence'] as const
export type Deferral = (typeof deferrals)[number]

/** How it is known that an executor is gone. */
export interface Loss {
  tier: Extract<Tier, 'expired' | 'expired_before_failover' | 'new_epoch' | 'deregistered'>
  why: string
}

/** What the end of one lease writes: to the job's row, and as a row of attempts. */
export interface LeaseEnd {
  job: LockedJob
  outcome: Outcome
  tier: Tier
  to: Exclude<JobState, 'leased'>
  /** An owner that loses its lease must not write again; one that ends it itself needs no fence. */
  raisesFence: boolean
  attempt: number
  lostLeases: number
  /** How long the job may not be claimed; null leaves its place in the queue as it was. */
  delayMs: number | null
  /** The stage that the job moves to; null: it stays where it is. */
  toStage: NextStage | null
  waitingFor: WaitingFor | null
  resultsBytes: number
  result: unknown
  error: Failure | null
}

export interface Report {
  outcome: 'succeeded' | 'failed' | 'cancelled' | 'released'
  result?: unknown
  error?: Failure | undefined
}

const unexplained: Failure = { code: 'failed', message: '', retryable: true }

/** An accepted report. */
export function endByReport(
  job: LockedJob,
  report: Report,
  random: () => number = Math.random,
): LeaseEnd {
  const end = base(job, report.outcome, 'report')
  switch (report.outcome) {
    case 'succeeded':
      return endBySuccess(end, report.result ?? null)
    case 'cancelled':
      return { ...end, to: 'cancelled', error: report.error ?? null }
    case 'released':
      return heedCancel({ ...end, attempt: job.attempt - 1, error: report.error ?? null })
    case 'failed':
      return heedCancel(endByFailure(end, report.error ?? unexplained, random))
  }
}

/** Once its end was asked for, a job that leaves `leased` goes nowhere else, unless it succeeded (invariant 6). One that
 *  succeeded in a stage is cancelled in the next, which is where a retry of it begins. */
function heedCancel(end: LeaseEnd): LeaseEnd {
  if (end.job.cancel_requested_at === null) return end
  return { ...end, to: 'cancelled', waitingFor: null, delayMs: null }
}

/** On to the next stage, at the job's old place in the queue and with budgets of its own; from the last one, out. */
function endBySuccess(end: LeaseEnd, result: unknown): LeaseEnd {
  const { next_stage: next, results_bytes } = end.job
  if (next === null) return { ...end, to: 'succeeded', result }
  const handedOn = results_bytes + Buffer.byteLength(JSON.stringify(result))
  if (handedOn > resultsBytes) {
    const message = `the stages would hand on ${handedOn} bytes of results, ${resultsBytes} are allowed`
    const error = { code: 'results_too_large', message, retryable: false }
    return heedCancel({ ...end, to: 'failed', result, error })
  }
  const { state, waitingFor } = enter(next)
  const budgets = { attempt: 0, lostLeases: 0 }
  return heedCancel({
    ...end,
    to: state,
    waitingFor,
    toStage: next,
    ...budgets,
    result,
    resultsBytes: handedOn,
  })
}

function endByFailure(end: LeaseEnd, error: Failure, random: () => number): LeaseEnd {
  const { job } = end
  if (!error.retryable || job.attempt >= job.max_attempts) return { ...end, to: 'failed', error }
  const limits = {
    baseMs: job.backoff_base_ms,
    factor: job.backoff_factor,
    capMs: job.backoff_cap_ms,
  }
  return { ...end, error, delayMs: Math.ceil(fullJitter(job.attempt - 1, limits, random)) }
}

/** The executor is known gone. Claimable again at its old place, until the budget is spent. */
export function endByLoss(job: LockedJob, lostLeaseBudget: number, { tier, why }: Loss): LeaseEnd {
  const lostLeases = job.lost_leases + 1
  const end = {
    ...base(job, 'lost', tier),
    raisesFence: true,
    attempt: job.attempt - 1,
    lostLeases,
  }
  if (lostLeases <= lostLeaseBudget) {
    return heedCancel({ ...end, error: { code: 'lease_lost', message: why, retryable: true } })
  }
  const message = `${lostLeases} leases lost, ${lostLeaseBudget} allowed; the last: ${why}`
  return heedCancel({
    ...end,
    to: 'failed',
    error: { code: 'lost_lease_budget_spent', message, retryable: false },
  })
}

/** Its executor is heard, and has neither ended it in time nor within the grace that followed: the job's own
 *  fault, which spends an attempt. */
export function endByRunTimeout(job: LockedJob, random: () => number = Math.random): LeaseEnd {
  const end = { ...base(job, 'failed', 'run_timeout'), raisesFence: true }
  const message = 'taken from its executor, which had not ended it long after run_timeout_ms'
  const error = { code: 'run_timeout', message, retryable: true }
  return heedCancel(endByFailure(end, error, random))
}

/** The executor has said that it goes, and gives back what it holds: nothing is spent. */
export function endByDeparture(job: LockedJob): LeaseEnd {
  return heedCancel({
    ...base(job, 'released', 'deregistered'),
    raisesFence: true,
    attempt: job.attempt - 1,
    error: { code: 'executor_deregistered', message: 'its executor has left', retryable: true },
  })
}

/** The executor never showed that it holds the job: the offer goes back and spends nothing. */
export function endByUndelivered(job: LockedJob): LeaseEnd {
  const end = base(job, 'undelivered', 'undelivered')
  return heedCancel({ ...end, raisesFence: true, attempt: job.attempt - 1 })
}

/** Its executor was told to stop, and has not answered in time. */
export function endByUnansweredCancel(job: LockedJob): LeaseEnd {
  const message = `executor ${job.executor_id} did not answer in time`
  return {
    ...base(job, 'cancelled', 'cancel_unanswered'),
    to: 'cancelled',
    raisesFence: true,
    error: { code: 'cancel_unanswered', message, retryable: false },
  }
}

/** An effect is in doubt that only an operator can resolve: the job waits for that, and spends nothing. */
export function endByDoubt(job: LockedJob, key: string): LeaseEnd {
  return heedCancel({
    ...base(job, 'released', 'effect_in_doubt'),
    to: 'waiting',
    waitingFor: 'effect',
    raisesFence: true,
    attempt: job.attempt - 1,
    error: { code: 'effect_in_doubt', message: key, retryable: true },
  })
}

function base(job: LockedJob, outcome: Outcome, tier: Tier): LeaseEnd {
  return {
    job,
    outcome,
    tier,
    to: 'available',
    raisesFence: false,
    attempt: job.attempt,
    lostLeases: job.lost_leases,
    delayMs: null,
    toStage: null,
    waitingFor: null,
    resultsBytes: job.results_bytes,
    result: null,
    error: null,
  }
}

/** The row as it is after the end is written, for the next item of the same batch. */
export function afterEnd(end: LeaseEnd): LockedJob {
  return {
    ...end.job,
    state: end.to,
    class_id: end.toStage?.class_id ?? end.job.class_id,
    stage: end.toStage?.name ?? end.job.stage,
    // Known again once it is locked anew.
    next_stage: end.toStage ? null : end.job.next_stage,
    results_bytes: end.resultsBytes,
    fence: end.job.fence + (end.raisesFence ? 1 : 0),
    attempt: end.attempt,
    lost_leases: end.lostLeases,
    executor_id: null,
    epoch: null,
    leased_at: null,
  }
}
