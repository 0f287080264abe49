import type { Queryable } from './pool.ts'

export interface AttemptRow {
  fence: number
  attempt: number
  executor_id: string
  epoch: number
  outcome: 'succeeded' | 'failed' | 'cancelled' | 'released' | 'lost' | 'undelivered'
  error: { code: string; message: string; retryable: boolean } | null
  started_at: string
  ended_at: string
}

/** How the leases of a job ended, oldest first. */
export async function listAttempts(db: Queryable, jobId: string): Promise<AttemptRow[]> {
  const { rows } = await db.query<AttemptRow>({
    text: `SELECT fence, attempt, executor_id, epoch, outcome, error, started_at, ended_at
      FROM attempts WHERE job_id = $1 ORDER BY fence`,
    values: [jobId],
  })
  return rows
}

export interface LateReport {
  executor_id: string
  epoch: number
  fence: number
  outcome: string
  reason: string
  received_at: string
}

export async function listLateReports(db: Queryable, jobId: string): Promise<LateReport[]> {
  const { rows } = await db.query<LateReport>({
    text: `SELECT executor_id, epoch, fence, outcome, reason, received_at
      FROM late_reports WHERE job_id = $1 ORDER BY received_at LIMIT 1000`,
    values: [jobId],
  })
  return rows
}
