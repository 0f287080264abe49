import { parseInstant } from './clocks.ts'
import type { Change } from './events.ts'

/** A row of jobs. Of one that is not leased, executor and epoch are '' and 0. */
export interface JobRow {
  queue: string
  kind: string
  key: string | undefined
  state: string
  fence: number
  attempt: number
  maxAttempts: number
  lostLeases: number
  executorId: string
  epoch: number
  /** By the wall clock. */
  leaseExpiresAt: number | undefined
  /** '': it has none. */
  stage: string
  move: number
  /** '': for nothing. */
  waitingFor: string
  /** '': of none. */
  retryOf: string
  /** '': nobody has asked for its end. */
  cancelRequestedAt: string
  /** '': its executor was not told. */
  cancelToldAt: string
  /** The lease whose critical section it is in; 0: in none. */
  criticalFence: number
  /** By the wall clock. */
  criticalEnteredAt: number | undefined
  criticalCeilingMs: number
}

export interface AttemptRow {
  jobId: string
  fence: number
  attempt: number
  executorId: string
  epoch: number
  outcome: string
}

/** Columns that a change leaves out are as they were. */
export function toJob(row: Change['row'], before: JobRow | undefined): JobRow {
  const expiresAt = row.lease_expires_at
  const enteredAt = row.critical_entered_at
  const text = (name: string, was = '') => (row[name] === undefined ? was : (row[name] ?? ''))
  return {
    queue: row.queue ?? before?.queue ?? '',
    kind: row.kind ?? before?.kind ?? '',
    key: row.idempotency_key === undefined ? before?.key : (row.idempotency_key ?? undefined),
    state: row.state ?? before?.state ?? '',
    fence: Number(row.fence ?? before?.fence ?? 0),
    attempt: Number(row.attempt ?? before?.attempt ?? 0),
    maxAttempts: Number(row.max_attempts ?? before?.maxAttempts ?? 0),
    lostLeases: Number(row.lost_leases ?? before?.lostLeases ?? 0),
    executorId: text('executor_id', before?.executorId),
    epoch: row.epoch === undefined ? (before?.epoch ?? 0) : Number(row.epoch ?? 0),
    leaseExpiresAt: expiresAt === undefined ? before?.leaseExpiresAt : toInstant(expiresAt),
    stage: text('stage', before?.stage),
    move: Number(row.move ?? before?.move ?? 0),
    waitingFor: text('waiting_for', before?.waitingFor),
    retryOf: text('retry_of', before?.retryOf),
    cancelRequestedAt: text('cancel_requested_at', before?.cancelRequestedAt),
    cancelToldAt: text('cancel_told_at', before?.cancelToldAt),
    criticalFence: Number(text('critical_fence', String(before?.criticalFence ?? 0))),
    criticalEnteredAt: enteredAt === undefined ? before?.criticalEnteredAt : toInstant(enteredAt),
    criticalCeilingMs: Number(row.critical_ceiling_ms ?? before?.criticalCeilingMs ?? 0),
  }
}

function toInstant(text: string | null): number | undefined {
  return text === null ? undefined : parseInstant(text)
}

/** One act in the ledger of a job. */
export interface EffectRow {
  state: string
  onDoubt: string
  token: string
  beginId: string
  fence: number
  executorId: string
  epoch: number
  /** Who was told last that it is in doubt; '' and 0: nobody. */
  doubtBeginId: string
  doubtFence: number
  /** The begin that settled it; '': none, or an operator. */
  settledBeginId: string
}

export function toEffect(row: Change['row']): EffectRow {
  return {
    state: row.state ?? '',
    onDoubt: row.on_doubt ?? '',
    token: row.effect_token ?? '',
    beginId: row.begin_id ?? '',
    fence: Number(row.fence),
    executorId: row.executor_id ?? '',
    epoch: Number(row.epoch),
    doubtBeginId: row.doubt_begin_id ?? '',
    doubtFence: Number(row.doubt_fence ?? 0),
    settledBeginId: row.settled_begin_id ?? '',
  }
}

export function toAttempt(row: Change['row']): AttemptRow {
  return {
    jobId: row.job_id ?? '',
    fence: Number(row.fence),
    attempt: Number(row.attempt),
    executorId: row.executor_id ?? '',
    epoch: Number(row.epoch),
    outcome: row.outcome ?? '',
  }
}

export function isFinal(state: string | undefined): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled'
}
