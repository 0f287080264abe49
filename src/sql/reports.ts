import type { LeaseEnd } from '../domain/lease.ts'
import { columns } from './columns.ts'
import type { HeldLease } from './leases.ts'
import type { Queryable } from './pool.ts'

export interface EndedLease {
  job_id: string
  fence: number
  executor_id: string
  epoch: number
  outcome: LeaseEnd['outcome']
}

/** How leases ended, for reports that may have been sent before. */
export async function findEndedLeases(
  tx: Queryable,
  leases: { job_id: string; fence: number }[],
): Promise<EndedLease[]> {
  const { rows } = await tx.query<EndedLease>({
    name: 'find_ended_leases',
    text: `SELECT a.job_id, a.fence, a.executor_id, a.epoch, a.outcome
      FROM attempts a JOIN unnest($1::uuid[], $2::bigint[]) AS l(job_id, fence)
        ON a.job_id = l.job_id AND a.fence = l.fence`,
    values: columns(leases, ['job_id', 'fence']),
  })
  return rows
}

export interface LateReportRow extends HeldLease {
  outcome: string
  reason: string
  result: string | null
  error: string | null
}

/** Keeps reports that came too late, once each. */
export async function recordLateReports(tx: Queryable, late: LateReportRow[]): Promise<void> {
  await tx.query({
    name: 'record_late_reports',
    text: `
      INSERT INTO late_reports
        (job_id, executor_id, epoch, fence, outcome, reason, result, error)
      SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[],
        $6::text[], $7::json[], $8::json[])
      ON CONFLICT DO NOTHING`,
    values: columns(
      late,
      ['job_id', 'executor_id', 'epoch', 'fence', 'outcome', 'reason', 'result', 'error'],
      ['result', 'error'],
    ),
  })
}
