import type { LeaseEnd, LockedJob } from '../domain/lease.ts'
import { columns } from './columns.ts'
import type { HeldLease } from './leases.ts'
import type { Queryable } from './pool.ts'

export interface JobStanding {
  id: string
  state: LockedJob['state']
  fence: number
  executor_id: string | null
  epoch: number | null
  /** Until the lease expires; less than 0: it has. */
  left_ms: number | null
}

/** How jobs stand that an executor believed to hold. */
export async function findStandings(tx: Queryable, ids: string[]): Promise<JobStanding[]> {
  const { rows } = await tx.query<JobStanding>({
    name: 'find_standings',
    text: `SELECT id, state, fence, executor_id, epoch,
        (extract(epoch FROM lease_expires_at - clock_timestamp()) * 1000)::float8 AS left_ms
      FROM jobs WHERE id = ANY ($1::uuid[])`,
    values: [ids],
  })
  return rows
}

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
