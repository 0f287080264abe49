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
  return {
    queue: row.queue ?? before?.queue ?? '',
    kind: row.kind ?? before?.kind ?? '',
    key: row.idempotency_key === undefined ? before?.key : (row.idempotency_key ?? undefined),
    state: row.state ?? before?.state ?? '',
    fence: Number(row.fence ?? before?.fence ?? 0),
    attempt: Number(row.attempt ?? before?.attempt ?? 0),
    maxAttempts: Number(row.max_attempts ?? before?.maxAttempts ?? 0),
    lostLeases: Number(row.lost_leases ?? before?.lostLeases ?? 0),
    executorId:
      row.executor_id === undefined ? (before?.executorId ?? '') : (row.executor_id ?? ''),
    epoch: row.epoch === undefined ? (before?.epoch ?? 0) : Number(row.epoch ?? 0),
    leaseExpiresAt: expiresAt === undefined ? before?.leaseExpiresAt : toInstant(expiresAt),
  }
}

function toInstant(text: string | null): number | undefined {
  return text === null ? undefined : parseInstant(text)
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
