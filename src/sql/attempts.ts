import { build, rowsOf } from './build.ts'
import type { Queryable } from './pool.ts'

/** How the leases of a job ended, oldest first. */
export function listAttempts(db: Queryable, jobId: string) {
  return rowsOf(
    db,
    build
      .selectFrom('attempts')
      .select(['fence', 'attempt', 'stage', 'executor_id', 'epoch', 'outcome', 'error'])
      .select(['started_at', 'ended_at'])
      .where('job_id', '=', jobId)
      .orderBy('fence'),
  )
}

/** Reports that came too late to count, oldest first. */
export function listLateReports(db: Queryable, jobId: string) {
  return rowsOf(
    db,
    build
      .selectFrom('late_reports')
      .select(['executor_id', 'epoch', 'fence', 'outcome', 'reason', 'error', 'received_at'])
      .where('job_id', '=', jobId)
      .orderBy('received_at')
      .limit(1_000),
  )
}
