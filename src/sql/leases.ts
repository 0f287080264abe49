import { afterEnd, type LeaseEnd, type LockedJob } from '../domain/lease.ts'
import { checked } from './checked.ts'
import { columns } from './columns.ts'
import type { Queryable } from './pool.ts'

/** Statements on leases. What a holder asks for counts only with its (executor, epoch, fence), in the WHERE
 *  of the statement that writes (invariant 2), and only while the job is leased, so that what has ended is
 *  never ended again (invariant 3). Deadlines are written and judged by the database's clock (invariant 8).
 *
 *  Locking, renewing and ending: rows are locked in the order of their ids, so that no two statements wait for each
 *  other in a circle; those that skip what is locked wait for nobody. Lists go along the index of leases, so that
 *  their cost never follows the table; what they find is checked again under its lock. */

/** What follows a stage never changes, so that it may be read beside a row that was locked after a wait. */
export const lockedColumns = `j.id, j.class_id, j.state, j.fence, j.attempt, j.max_attempts, j.lost_leases,
  j.backoff_base_ms, j.backoff_factor, j.backoff_cap_ms, j.executor_id, j.epoch,
  j.leased_at::text AS leased_at, j.cancel_requested_at, j.stage, j.results_bytes,
  CASE WHEN j.stage IS NOT NULL THEN (
    SELECT json_build_object('name', n.name, 'class_id', n.class_id)
    FROM stages s JOIN stages n ON n.job_id = s.job_id AND n.position = s.position + 1
    WHERE s.job_id = j.id AND s.name = j.stage) END AS next_stage`

/** Locks jobs, whatever their state, and waits for who holds one. */
export async function lockJobs(tx: Queryable, ids: string[]): Promise<LockedJob[]> {
  const { rows } = await tx.query<LockedJob>({
    name: 'lock_jobs',
    text: `SELECT ${lockedColumns} FROM jobs j WHERE id = ANY ($1::uuid[])
      ORDER BY id FOR NO KEY UPDATE`,
    values: [ids],
  })
  return rows
}

/** Locks what these executors hold, up to a limit. */
export async function lockLeasesOfExecutors(
  tx: Queryable,
  executorIds: string[],
  limit: number,
): Promise<LockedJob[]> {
  const { rows } = await tx.query<LockedJob>({
    name: 'lock_leases_of_executors',
    text: `SELECT ${lockedColumns} FROM jobs j
      WHERE j.state = 'leased' AND j.executor_id = ANY ($1::text[])
      ORDER BY j.id LIMIT $2 FOR NO KEY UPDATE`,
    values: [executorIds, limit],
  })
  return rows
}

/** Locks those of these jobs that nobody else has locked. */
export async function lockFreeJobs(tx: Queryable, ids: string[]): Promise<LockedJob[]> {
  const { rows } = await tx.query<LockedJob>({
    name: 'lock_free_jobs',
    text: `SELECT ${lockedColumns} FROM jobs j WHERE id = ANY ($1::uuid[])
      ORDER BY id FOR NO KEY UPDATE SKIP LOCKED`,
    values: [ids],
  })
  return rows
}

/** Leases that may be taken back now: expired, and past the term's deadline floor (invariant 7); or of
 *  an executor that has registered anew. A null floor holds everything. */
const reclaimable: DueLeases = {
  from: 'jobs j',
  where: `j.state = 'leased' AND (
    (j.lease_expires_at < statement_timestamp() AND
      (SELECT deadline_floor_at FROM terms WHERE term = $1) < statement_timestamp())
    OR EXISTS (
      SELECT FROM executors x WHERE x.executor_id = j.executor_id AND x.epoch > j.epoch))`,
}

/** A place among the leases, in the order of their index. */
export interface LeaseKey {
  executor_id: string
  id: string
}

export const beforeAllLeases: LeaseKey = {
  executor_id: '',
  id: '00000000-0000-0000-0000-000000000000',
}

export type DueLeases = Record<'from' | 'where', string>

/** How leases that are due are listed, and locked: `due` is asked again under the lock, for the time between. Its
 *  $1 is the term; what else it takes comes last, as $5 of the list and $3 of the lock. */
export const listOf =
  <More extends number[] = []>(name: string, { from, where }: DueLeases) =>
  async (
    db: Queryable,
    term: number,
    after: LeaseKey,
    limit: number,
    ...more: More
  ): Promise<LeaseKey[]> => {
    const { rows } = await db.query<LeaseKey>({
      name,
      text: `SELECT j.executor_id, j.id FROM ${from}
        WHERE ${where} AND (j.executor_id, j.id) > ($2, $3::uuid)
        ORDER BY j.executor_id, j.id LIMIT $4`,
      values: [term, after.executor_id, after.id, limit, ...more],
    })
    return rows
  }

export const lockOf =
  <More extends number[] = []>(name: string, { from, where }: DueLeases) =>
  async (tx: Queryable, term: number, ids: string[], ...more: More): Promise<LockedJob[]> => {
    const { rows } = await tx.query<LockedJob>({
      name,
      text: `SELECT ${lockedColumns} FROM ${from} WHERE j.id = ANY ($2::uuid[]) AND ${checked(where)}
        ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED`,
      values: [term, ids, ...more],
    })
    return rows
  }

export const listReclaimableLeases = listOf('list_reclaimable_leases', reclaimable)
export const lockReclaimableLeases = lockOf('lock_reclaimable_leases', reclaimable)

/** Leases that had run out while an active replica could still be heard, and so before any outage:
 *  past the last instant at which an earlier term served, and past that term's own floor. */
const ranOut: DueLeases = {
  from: `jobs j, (
    SELECT max(served_at) AS until, max(deadline_floor_at) AS floor FROM terms
    WHERE term < $1 AND deadline_floor_at IS NOT NULL
  ) served`,
  where: "j.state = 'leased' AND j.lease_expires_at < served.until AND served.floor < served.until",
}

export const listLeasesExpiredWhileServed = listOf('list_leases_expired_while_served', ranOut)
export const lockLeasesExpiredWhileServed = lockOf('lock_leases_expired_while_served', ranOut)

/** What one end writes, named as the statement below names it, and in that order. */
const rowOf = (end: LeaseEnd) => ({
  id: end.job.id,
  old_fence: end.job.fence,
  old_executor: end.job.executor_id,
  old_epoch: end.job.epoch,
  started_at: end.job.leased_at,
  old_attempt: end.job.attempt,
  outcome: end.outcome,
  to_state: end.to,
  new_fence: afterEnd(end).fence,
  new_attempt: end.attempt,
  lost_leases: end.lostLeases,
  delay_ms: end.delayMs,
  result: end.result === null ? null : JSON.stringify(end.result),
  error: end.error === null ? null : JSON.stringify(end.error),
  old_stage: end.job.stage,
  to_stage: end.toStage?.name ?? null,
  to_class: end.toStage?.class_id ?? null,
  waiting_for: end.waitingFor,
  results_bytes: end.resultsBytes,
})

const endColumns = [
  'id',
  'old_fence',
  'old_executor',
  'old_epoch',
  'started_at',
  'old_attempt',
  'outcome',
  'to_state',
  'new_fence',
  'new_attempt',
  'lost_leases',
  'delay_ms',
  'result',
  'error',
  'old_stage',
  'to_stage',
  'to_class',
  'waiting_for',
  'results_bytes',
] as const satisfies (keyof ReturnType<typeof rowOf>)[]

/** Ends leases of locked rows: the move, to the next stage or out, the attempt's row, and the doubt about what their
 *  holders had begun (invariant 5), in one statement. The WHERE holds against everything a frozen or repeated
 *  caller could have missed. */
export async function endLeasesIfFenced(tx: Queryable, ends: LeaseEnd[]): Promise<void> {
  const { rowCount } = await tx.query({
    name: 'end_leases_if_fenced',
    text: `
      WITH e AS MATERIALIZED (
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[],
          $6::integer[], $7::text[], $8::text[], $9::bigint[], $10::integer[], $11::integer[],
          $12::bigint[], $13::json[], $14::json[], $15::text[], $16::text[], $17::integer[], $18::text[],
          $19::integer[])
          AS e(id, old_fence, old_executor, old_epoch, started_at, old_attempt, outcome, to_state,
            new_fence, new_attempt, lost_leases, delay_ms, result, error, old_stage, to_stage, to_class,
            waiting_for, results_bytes)
      ), ended AS (
        UPDATE jobs j SET state = e.to_state, fence = e.new_fence, attempt = e.new_attempt,
          lost_leases = e.lost_leases, executor_id = NULL, epoch = NULL, poll_id = NULL,
          offered = false, leased_at = NULL, lease_expires_at = NULL,
          scheduled = coalesce(e.delay_ms > 0, false),
          run_at = coalesce(r.run_at, j.run_at),
          claim_at = coalesce(r.run_at - j.priority * interval '10 minutes', j.claim_at),
          finished_at = CASE WHEN e.to_state IN ('succeeded', 'failed', 'cancelled')
            THEN clock_timestamp() END,
          stage = coalesce(e.to_stage, j.stage), class_id = coalesce(e.to_class, j.class_id),
          move = j.move + CASE WHEN e.to_stage IS NULL THEN 0 ELSE 1 END,
          stage_fence = CASE WHEN e.to_stage IS NULL THEN j.stage_fence ELSE e.new_fence END,
          waiting_for = e.waiting_for, results_bytes = e.results_bytes
        FROM e CROSS JOIN LATERAL (
          SELECT clock_timestamp() + e.delay_ms * interval '1 millisecond' AS run_at) r
        WHERE j.id = e.id AND ${checked(`j.state = 'leased' AND j.fence = e.old_fence
          AND j.executor_id = e.old_executor AND j.epoch = e.old_epoch
          AND j.stage IS NOT DISTINCT FROM e.old_stage`)}
        RETURNING j.id, j.move
      ), done AS (
        UPDATE stages s SET done_at = clock_timestamp(), result = e.result FROM e JOIN ended USING (id)
        WHERE e.old_stage IS NOT NULL AND (e.to_stage IS NOT NULL OR e.to_state = 'succeeded')
          AND s.job_id = e.id AND s.name = e.old_stage
      ), moved AS (
        INSERT INTO moves (job_id, move, from_stage, to_stage, by, fence)
        SELECT id, ended.move, old_stage, to_stage, 'report', old_fence
        FROM e JOIN ended USING (id) WHERE to_stage IS NOT NULL
      ), doubted AS (
        UPDATE effects SET state = 'in_doubt' FROM ended
        WHERE effects.job_id = ended.id AND ${checked("effects.state = 'begun'")}
      )
      INSERT INTO attempts (job_id, fence, attempt, executor_id, epoch, outcome, result, error,
        started_at, ended_at, stage)
      SELECT id, old_fence, old_attempt, old_executor, old_epoch, outcome, result, error, started_at,
        clock_timestamp(), old_stage
      FROM e JOIN ended USING (id)`,
    values: columns(ends.map(rowOf), [...endColumns], ['result', 'error']),
  })
  // The rows were locked in this transaction, so a miss is a fault of ours: nothing may commit.
  if (rowCount !== ends.length) throw new Error(`${rowCount} of ${ends.length} leases ended`)
}

/** A lease as its holder names it. */
export interface HeldLease {
  job_id: string
  fence: number
  executor_id: string
  epoch: number
}

export interface ExtendedLease extends HeldLease {
  /** Somebody has asked for its end. */
  is_cancelled: boolean
}

/** Renews the leases that are still held as listed, which also shows that offers arrived; not those of rows that another
 *  transaction has locked. */
export async function extendLeasesIfHeld(
  tx: Queryable,
  listed: HeldLease[],
  leaseTtlMs: number,
): Promise<ExtendedLease[]> {
  const { rows } = await tx.query<ExtendedLease>({
    name: 'extend_leases_if_held',
    text: `
      WITH held AS MATERIALIZED (
        SELECT j.id FROM jobs j
        JOIN unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[])
          AS l(job_id, fence, executor_id, epoch)
          ON j.id = l.job_id AND j.fence = l.fence AND j.executor_id = l.executor_id
            AND j.epoch = l.epoch
        WHERE ${checked("j.state = 'leased'")} ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
      )
      UPDATE jobs j SET offered = false,
        lease_expires_at = clock_timestamp() + $5 * interval '1 millisecond'
      FROM held WHERE j.id = held.id AND ${checked("j.state = 'leased'")}
      RETURNING j.id AS job_id, j.fence, j.executor_id, j.epoch,
        j.cancel_requested_at IS NOT NULL AS is_cancelled`,
    values: [...columns(listed, ['job_id', 'fence', 'executor_id', 'epoch']), leaseTtlMs],
  })
  return rows
}

/** Locks offers that were never shown, for giving back. One that was shown meanwhile is left out. */
export async function lockOffersIfUnshown(
  tx: Queryable,
  offers: { job_id: string; fence: number }[],
): Promise<LockedJob[]> {
  const { rows } = await tx.query<LockedJob>({
    name: 'lock_offers_if_unshown',
    text: `SELECT ${lockedColumns} FROM jobs j
      JOIN unnest($1::uuid[], $2::bigint[]) AS o(job_id, fence)
        ON j.id = o.job_id AND j.fence = o.fence
      WHERE ${checked("j.state = 'leased' AND j.offered")} ORDER BY j.id FOR NO KEY UPDATE OF j`,
    values: columns(offers, ['job_id', 'fence']),
  })
  return rows
}
