import { columns } from './columns.ts'
import type { JobSummaryRow, PlacedRow } from './jobs.ts'
import type { Queryable } from './pool.ts'

/** Statements that make new jobs of final ones. All of a retry is one transaction: under the lock of the old
 *  job's row the pointer is set where there is none, so that of any number of callers one makes the new job. */

export interface RetriedJob {
  id: string
  state: JobSummaryRow['state']
  retried_as: string | null
  idempotency_key: string | null
  body_hash: Buffer | null
}

export async function lockForRetry(tx: Queryable, ids: string[]): Promise<RetriedJob[]> {
  const { rows } = await tx.query<RetriedJob>({
    name: 'lock_for_retry',
    text: `SELECT id, state, retried_as, idempotency_key, body_hash FROM jobs
      WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE`,
    values: [ids],
  })
  return rows
}

/** The job that this one was retried as. Its row is locked. */
export async function findRetry(tx: Queryable, jobId: string): Promise<string | null> {
  const { rows } = await tx.query<{ retried_as: string | null }>({
    name: 'find_retry',
    text: 'SELECT retried_as FROM jobs WHERE id = $1',
    values: [jobId],
  })
  return rows[0]?.retried_as ?? null
}

/** A job about to be made of a final one. */
export interface NewRetry {
  id: string
  retry_of: string
  /** Those of the old job, or null where somebody else has the key by now. */
  idempotency_key: string | null
  body_hash: Buffer | null
}

/** Points each old job to its new one, once and for good. It keeps its key to be shown, and gives it up. */
export async function pointToRetriesIfFinal(tx: Queryable, retries: NewRetry[]): Promise<void> {
  const { rowCount } = await tx.query({
    name: 'point_to_retries_if_final',
    text: `UPDATE jobs j SET retried_as = r.id, former_key = j.idempotency_key,
        idempotency_key = NULL, body_hash = NULL
      FROM unnest($1::uuid[], $2::uuid[]) AS r(id, retry_of)
      WHERE j.id = r.retry_of AND j.state IN ('failed', 'cancelled') AND j.retried_as IS NULL`,
    values: columns(retries, ['id', 'retry_of']),
  })
  // The rows were locked in this transaction, so a miss is a fault of ours: nothing may commit.
  if (rowCount !== retries.length) throw new Error(`${rowCount} of ${retries.length} were retried`)
}

/** Makes the new jobs, with budgets of their own, of those whose key is free; a cancelled job's may have been
 *  taken since. One with stages begins in that where the old job ended: at a manual one it waits for a decision. The fence goes on from where the old job's was: whatever is handed on (progress, the ledger)
 *  stays older than every lease of the new job, and so does a word of the old job's executors outside. */
export async function insertRetriesUnlessKeyed(
  tx: Queryable,
  retries: NewRetry[],
  delayMs: number,
): Promise<PlacedRow[]> {
  const { rows } = await tx.query<PlacedRow>({
    name: 'insert_retries_unless_keyed',
    text: `
      INSERT INTO jobs (id, retry_of, class_id, queue, kind, scheduled, priority, run_at, claim_at, fence,
        max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, run_timeout_ms, on_silence,
        labels, payload, payload_bytes, traceparent, idempotency_key, body_hash, stage, stage_fence,
        results_bytes, state, waiting_for)
      SELECT r.id, j.id, j.class_id, j.queue, j.kind, $5::bigint > 0 AND s.waiting_for IS NULL, j.priority, n.run_at,
        n.run_at - j.priority * interval '10 minutes', j.fence, j.max_attempts, j.backoff_base_ms,
        j.backoff_factor, j.backoff_cap_ms, j.run_timeout_ms, j.on_silence, j.labels, j.payload,
        j.payload_bytes, j.traceparent, r.idempotency_key, r.body_hash, j.stage, j.stage_fence, j.results_bytes,
        CASE WHEN s.waiting_for IS NULL THEN 'available' ELSE 'waiting' END, s.waiting_for
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[])
        AS r(id, retry_of, idempotency_key, body_hash)
      JOIN jobs j ON j.id = r.retry_of
      LEFT JOIN LATERAL (
        SELECT 'decision' AS waiting_for FROM stages
        WHERE job_id = j.id AND name = j.stage AND class_id IS NULL) s ON true
      CROSS JOIN (
        SELECT clock_timestamp() + $5::bigint * interval '1 millisecond' AS run_at) n
      ORDER BY j.queue, r.idempotency_key, r.id
      ON CONFLICT (queue, idempotency_key)
        WHERE idempotency_key IS NOT NULL AND state <> 'cancelled' DO NOTHING
      RETURNING id, class_id, state, scheduled`,
    values: [...columns(retries, ['id', 'retry_of', 'idempotency_key', 'body_hash']), delayMs],
  })
  return rows
}

/** Hands the ledger on: what is committed is never repeated, what is in doubt stays so (invariant 5), under
 *  the same token. Nobody who holds the new job was told anything of it yet, nor has settled it. */
export async function inheritEffects(tx: Queryable, retries: NewRetry[]): Promise<void> {
  await tx.query({
    name: 'inherit_effects',
    // `begun` is left on a final job only by a leader of a build that knew no effects.
    text: `
      INSERT INTO effects (job_id, key, state, on_doubt, effect_token, begin_id, fence, executor_id, epoch,
        begun_at, result, settled_at)
      SELECT r.id, e.key, CASE e.state WHEN 'begun' THEN 'in_doubt' ELSE e.state END, e.on_doubt,
        e.effect_token, e.begin_id, e.fence, e.executor_id, e.epoch, e.begun_at, e.result, e.settled_at
      FROM unnest($1::uuid[], $2::uuid[]) AS r(id, retry_of)
      JOIN effects e ON e.job_id = r.retry_of
      WHERE e.state IN ('committed', 'in_doubt', 'begun')`,
    values: columns(retries, ['id', 'retry_of']),
  })
}

/** Hands the stages on, with what came of those that are done: they are not gone through again. */
export async function inheritStages(tx: Queryable, retries: NewRetry[]): Promise<void> {
  await tx.query({
    name: 'inherit_stages',
    text: `
      INSERT INTO stages (job_id, position, name, class_id, done_at, result)
      SELECT r.id, s.position, s.name, s.class_id, s.done_at, s.result
      FROM unnest($1::uuid[], $2::uuid[]) AS r(id, retry_of)
      JOIN stages s ON s.job_id = r.retry_of`,
    values: columns(retries, ['id', 'retry_of']),
  })
}

/** Hands on what was last told of the old job's progress: the first attempt's checkpoint. */
export async function inheritProgress(tx: Queryable, retries: NewRetry[]): Promise<void> {
  await tx.query({
    name: 'inherit_progress',
    text: `
      INSERT INTO progress (job_id, fence, progress, updated_at)
      SELECT r.id, p.fence, p.progress, p.updated_at
      FROM unnest($1::uuid[], $2::uuid[]) AS r(id, retry_of)
      JOIN progress p ON p.job_id = r.retry_of`,
    values: columns(retries, ['id', 'retry_of']),
  })
}
