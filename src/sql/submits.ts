import { columns } from './columns.ts'
import type { PlacedRow } from './jobs.ts'
import type { Queryable } from './pool.ts'

/** Statements that make jobs of what was submitted. */

/** A job about to be inserted. Its id is chosen by the replica, so that nothing need be read back to
 *  tell rows apart. */
export interface NewJob {
  id: string
  class_id: number
  queue: string
  kind: string
  priority: number
  run_at: string | null
  delay_ms: number
  max_attempts: number
  backoff_base_ms: number
  backoff_factor: number
  backoff_cap_ms: number
  run_timeout_ms: number | null
  on_silence: string
  labels: string
  payload: string
  traceparent: string | null
  idempotency_key: string | null
  body_hash: Buffer | null
  /** The first one, and whether it waits for a decision; null: it has no stages. */
  stage: string | null
  waiting_for: 'decision' | null
}

/** Inserts jobs whose idempotency key is not taken; the ids of the others are missing in the answer.
 *  Ordered by key, so that two batches with the same keys never wait for each other in a circle. */
export async function insertJobsUnlessKeyed(tx: Queryable, jobs: NewJob[]): Promise<PlacedRow[]> {
  const { rows } = await tx.query<PlacedRow>({
    name: 'insert_jobs',
    text: `
      INSERT INTO jobs (id, class_id, queue, kind, scheduled, priority, run_at, claim_at,
        max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, run_timeout_ms, on_silence,
        labels, payload, payload_bytes, traceparent, idempotency_key, body_hash, stage, waiting_for, state)
      SELECT n.id, n.class_id, n.queue, n.kind, r.run_at > now.at AND n.waiting_for IS NULL, n.priority, r.run_at,
        r.run_at - n.priority * interval '10 minutes', n.max_attempts, n.backoff_base_ms,
        n.backoff_factor, n.backoff_cap_ms, n.run_timeout_ms, n.on_silence, n.labels, n.payload, octet_length(n.payload::text),
        n.traceparent, n.idempotency_key, n.body_hash, n.stage, n.waiting_for,
        CASE WHEN n.waiting_for IS NULL THEN 'available' ELSE 'waiting' END
      FROM (SELECT clock_timestamp() AS at) now,
        unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::smallint[],
          $6::timestamptz[], $7::bigint[], $8::integer[], $9::integer[], $10::real[],
          $11::integer[], $12::bigint[], $13::text[], $14::jsonb[], $15::json[], $16::text[],
          $17::text[], $18::bytea[], $19::text[], $20::text[])
          AS n(id, class_id, queue, kind, priority, run_at, delay_ms, max_attempts,
            backoff_base_ms, backoff_factor, backoff_cap_ms, run_timeout_ms, on_silence, labels,
            payload, traceparent, idempotency_key, body_hash, stage, waiting_for),
        LATERAL (SELECT coalesce(n.run_at, now.at + n.delay_ms * interval '1 millisecond') AS run_at) r
      ORDER BY n.queue, n.idempotency_key, n.id
      ON CONFLICT (queue, idempotency_key)
        WHERE idempotency_key IS NOT NULL AND state <> 'cancelled' DO NOTHING
      RETURNING id, class_id, state, scheduled`,
    values: columns(
      jobs,
      [
        'id',
        'class_id',
        'queue',
        'kind',
        'priority',
        'run_at',
        'delay_ms',
        'max_attempts',
        'backoff_base_ms',
        'backoff_factor',
        'backoff_cap_ms',
        'run_timeout_ms',
        'on_silence',
        'labels',
        'payload',
        'traceparent',
        'idempotency_key',
        'body_hash',
        'stage',
        'waiting_for',
      ],
      ['labels', 'payload'],
    ),
  })
  return rows
}

export interface KeyedJob {
  id: string
  queue: string
  idempotency_key: string
  body_hash: Buffer
}

/** Who has these keys now. Cancelled jobs have none. */
export async function findJobsByKey(
  tx: Queryable,
  keys: { queue: string; idempotency_key: string }[],
): Promise<KeyedJob[]> {
  const { rows } = await tx.query<KeyedJob>({
    name: 'find_jobs_by_key',
    text: `SELECT j.id, j.queue, j.idempotency_key, j.body_hash
      FROM jobs j JOIN unnest($1::text[], $2::text[]) AS k(queue, idempotency_key)
        ON j.queue = k.queue AND j.idempotency_key = k.idempotency_key
      WHERE j.idempotency_key IS NOT NULL AND j.state <> 'cancelled'`,
    values: columns(keys, ['queue', 'idempotency_key']),
  })
  return rows
}
