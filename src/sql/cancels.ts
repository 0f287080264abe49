import type { LockedJob } from '../domain/lease.ts'
import { checked } from './checked.ts'
import { columns } from './columns.ts'
import { sectionEndFrom } from './jobs.ts'
import { type HeldLease, lockedColumns } from './leases.ts'
import type { Queryable } from './pool.ts'

/** Statements on cancels and on critical sections (invariant 6). A request is a column of the job's row, so that
 *  every statement that moves the job sees it under the row's lock. */

/** Until a job is final it can be cancelled. */
const open = `state IN ('available', 'leased', 'waiting')`

/** An executor holds it, or an outside actor owns its next move: either is waited for. */
const isHeld = `(j.state = 'leased' OR coalesce(j.waiting_for = 'transition', false))`

export interface CancelledRow {
  id: string
  state: 'cancelled' | 'leased' | 'waiting'
}

/** Cancels what nobody holds, and asks for the end of what is held; the first to ask says why. Final jobs are
 *  missing in the answer. */
export async function cancelJobsIfOpen(
  tx: Queryable,
  ids: string[],
  reason: string | null,
): Promise<CancelledRow[]> {
  const { rows } = await tx.query<CancelledRow>({
    name: 'cancel_jobs_if_open',
    text: `
      WITH locked AS MATERIALIZED (
        SELECT id FROM jobs WHERE id = ANY ($1::uuid[]) AND ${open} ORDER BY id FOR NO KEY UPDATE
      )
      UPDATE jobs j SET
        state = CASE WHEN ${isHeld} THEN j.state ELSE 'cancelled' END,
        waiting_for = CASE WHEN ${isHeld} THEN j.waiting_for END,
        scheduled = false,
        finished_at = CASE WHEN NOT ${isHeld} THEN clock_timestamp() END,
        cancel_requested_at = coalesce(j.cancel_requested_at, clock_timestamp()),
        cancel_reason = CASE WHEN j.cancel_requested_at IS NULL THEN $2 ELSE j.cancel_reason END
      FROM locked WHERE j.id = locked.id AND j.${open}
      RETURNING j.id, j.state`,
    values: [ids, reason],
  })
  return rows
}

/** Jobs that were asked to be cancelled and that nobody holds: a leader of a build that knew no cancels has ended
 *  their lease. */
export async function listUnfinishedCancels(
  db: Queryable,
  after: string,
  limit: number,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: 'list_unfinished_cancels',
    text: `SELECT id FROM jobs j
      WHERE cancel_requested_at IS NOT NULL AND ${open} AND NOT ${isHeld} AND id > $1::uuid
      ORDER BY id LIMIT $2`,
    values: [after, limit],
  })
  return rows.map(({ id }) => id)
}

/** Which term judges deadlines, and with which lease TTL its floor was set. */
export interface Judge {
  term: number
  leaseTtlMs: number
}

/** `o.at`: what graces and ceilings are counted from, at the earliest. While there was no active replica nobody could
 *  answer, or end a section (invariant 7). Null, and every deadline with it, until the floor of the term is set. */
const opened = `(SELECT deadline_floor_at - $2 * interval '1 millisecond' AS at
  FROM terms WHERE term = $1) o`

export const sectionEnd = sectionEndFrom('o.at')

/** In a section that has not reached its ceiling. A cancel that was told is in force, whatever comes after. */
export const isInSection = `j.critical_fence = j.fence AND j.cancel_told_at IS NULL
  AND (o.at IS NULL OR statement_timestamp() < ${sectionEnd})`

/** Notes that the holders of these jobs are told, and returns what to tell them. Those in a critical section are left
 *  out, until its end or its ceiling. */
export async function tellCancels(
  tx: Queryable,
  { term, leaseTtlMs }: Judge,
  leases: { job_id: string; fence: number }[],
): Promise<{ job_id: string; fence: number; reason: string | null }[]> {
  const { rows } = await tx.query<{ job_id: string; fence: number; reason: string | null }>({
    name: 'tell_cancels',
    text: `
      UPDATE jobs j SET cancel_told_at = coalesce(j.cancel_told_at, clock_timestamp())
      FROM unnest($3::uuid[], $4::bigint[]) AS l(job_id, fence), ${opened}
      WHERE j.id = l.job_id AND j.fence = l.fence
        AND ${checked(`j.state = 'leased' AND j.cancel_requested_at IS NOT NULL`)}
        AND NOT coalesce(${isInSection}, false)
      RETURNING j.id AS job_id, j.fence, j.cancel_reason AS reason`,
    values: [term, leaseTtlMs, ...columns(leases, ['job_id', 'fence'])],
  })
  return rows
}

/** Cancels that were told and not answered within the grace. `$3` is the grace. */
const unanswered = `FROM jobs j, ${opened}
  WHERE j.cancel_requested_at IS NOT NULL AND j.${open} AND j.state = 'leased'
    AND j.cancel_told_at IS NOT NULL AND o.at IS NOT NULL
    AND greatest(j.cancel_told_at, o.at) + $3 * interval '1 millisecond' < statement_timestamp()`

export async function listUnansweredCancels(
  db: Queryable,
  { term, leaseTtlMs }: Judge,
  graceMs: number,
  after: string,
  limit: number,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: 'list_unanswered_cancels',
    text: `SELECT j.id ${unanswered} AND j.id > $4 ORDER BY j.id LIMIT $5`,
    values: [term, leaseTtlMs, graceMs, after, limit],
  })
  return rows.map(({ id }) => id)
}

export async function lockUnansweredCancels(
  tx: Queryable,
  { term, leaseTtlMs }: Judge,
  graceMs: number,
  ids: string[],
): Promise<LockedJob[]> {
  const { rows } = await tx.query<LockedJob>({
    name: 'lock_unanswered_cancels',
    text: `SELECT ${lockedColumns} ${unanswered} AND j.id = ANY ($4::uuid[])
      ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED`,
    values: [term, leaseTtlMs, graceMs, ids],
  })
  return rows
}

/** How a lease stands towards cancels. */
export interface Section {
  /** Whether a cancel is there that waits for nothing. */
  is_in_force: boolean
  /** When a cancel no longer waits; null: there is no section that it would wait for. */
  critical_until: string | null
  cancel_reason: string | null
}

/** Of a lease that its caller has locked. */
export async function getSection(
  tx: Queryable,
  { term, leaseTtlMs }: Judge,
  jobId: string,
): Promise<Section> {
  const { rows } = await tx.query<Section>({
    name: 'get_section',
    text: `SELECT j.cancel_requested_at IS NOT NULL AND NOT coalesce(${isInSection}, false) AS is_in_force,
        CASE WHEN ${isInSection} THEN ${sectionEnd} END AS critical_until,
        j.cancel_reason
      FROM jobs j, ${opened} WHERE j.id = $3`,
    values: [term, leaseTtlMs, jobId],
  })
  if (!rows[0]) throw new Error(`job ${jobId} is gone from under its lock`)
  return rows[0]
}

/** Begins a section, where none is that a cancel would wait for, and no cancel is there. */
export async function enterCriticalIfHeld(
  tx: Queryable,
  { job_id, fence, executor_id, epoch }: HeldLease,
  { term, leaseTtlMs }: Judge,
  ceilingMs: number,
): Promise<void> {
  await tx.query({
    name: 'enter_critical_if_held',
    text: `UPDATE jobs j SET critical_fence = fence, critical_entered_at = clock_timestamp(),
        critical_ceiling_ms = $7
      FROM ${opened}
      WHERE id = $3 AND fence = $4 AND executor_id = $5 AND epoch = $6 AND state = 'leased'
        AND cancel_requested_at IS NULL AND NOT coalesce(${isInSection}, false)`,
    values: [term, leaseTtlMs, job_id, fence, executor_id, epoch, ceilingMs],
  })
}

/** Ends the section of this lease, if it has one. */
export async function leaveCriticalIfHeld(
  tx: Queryable,
  { job_id, fence, executor_id, epoch }: HeldLease,
): Promise<void> {
  await tx.query({
    name: 'leave_critical_if_held',
    text: `UPDATE jobs SET critical_fence = NULL
      WHERE id = $1 AND fence = $2 AND executor_id = $3 AND epoch = $4 AND state = 'leased'
        AND critical_fence = fence`,
    values: [job_id, fence, executor_id, epoch],
  })
}
