import { checked } from './checked.ts'
import type { Queryable } from './pool.ts'

/** Statements that give jobs to executors. One claim flush is in flight per term, so nothing here
 *  competes with itself; SKIP LOCKED steps round jobs that a client is just changing. */

/** One place that an executor has free; the same object for each of a poll. */
export interface Slot {
  executor_id: string
  epoch: number
  poll_id: string | null
}

export interface ClaimedRow {
  job_id: string
  fence: number
  attempt: number
  queue: string
  kind: string
  stage: string | null
  /** What the stages before it came to, by name; null: there are none. */
  results: Record<string, unknown> | null
  payload: unknown
  checkpoint: unknown
  run_timeout_ms: number | null
  on_silence: 'continue' | 'abort'
  traceparent: string | null
  class_id: number
  executor_id: string
  poll_id: string | null
  offered: boolean
}

/** Results are those of the stages before the job's own, which were written before it came there. Progress that was
 *  told in an earlier stage is no checkpoint of this one. */
const assignmentColumns = `j.id AS job_id, j.fence, j.attempt, j.queue, j.payload, j.stage,
  CASE WHEN j.stage IS NULL THEN j.kind
    ELSE (SELECT kind FROM classes c WHERE c.class_id = j.class_id) END AS kind,
  CASE WHEN j.stage IS NOT NULL THEN (
    SELECT json_object_agg(s.name, s.result ORDER BY s.position)
    FROM stages here JOIN stages s ON s.job_id = here.job_id AND s.position < here.position
    WHERE here.job_id = j.id AND here.name = j.stage
      AND s.done_at IS NOT NULL AND s.class_id IS NOT NULL) END AS results,
  CASE WHEN j.fence > 1 THEN (
    SELECT progress FROM progress p WHERE p.job_id = j.id AND p.fence > j.stage_fence) END AS checkpoint,
  j.run_timeout_ms, j.on_silence, j.traceparent, j.class_id, j.executor_id, j.poll_id, j.offered`

/** The class again: a client may just have moved the job to a stage that these slots do not serve. */
const isClaimable = (job: string) =>
  checked(`${job}.state = 'available' AND NOT ${job}.scheduled AND ${job}.cancel_requested_at IS NULL
    AND ${job}.class_id = ANY ($1::integer[])`)

/** How much of the head of a queue others may hold, and be passed over: more than a client changes at once. */
const passedOver = 1_000

/** Gives each job to one executor, under a fence of its own (invariant 2): claims the earliest of these classes, one per
 *  slot, in the order of claim_at, as many as fit into `maxBytes` of payloads, results and checkpoints. `is_cut` says
 *  that some were left: those that did not fit, that others hold or have just changed, or that are `resting`. Where that was all that
 *  there was, what lies behind is claimed instead: who changes a few rows holds up no queue. */
export async function claimJobs(
  tx: Queryable,
  classIds: number[],
  slots: Slot[],
  resting: string[],
  bounds: ClaimBounds,
): Promise<(ClaimedRow & { is_cut: boolean })[]> {
  const claimAmong = (looked: number) => claimEarliest(tx, classIds, slots, looked, resting, bounds)
  const claimed = await claimAmong(slots.length)
  return claimed.length > 0 ? claimed : await claimAmong(slots.length + passedOver)
}

export interface ClaimBounds {
  leaseTtlMs: number
  maxBytes: number
}

/** Claims among the `looked` earliest. Each class is read from the head of its own stretch of the index, and of many
 *  classes, those that begin among the earliest: of the first few of each, as many as are looked at end where none that
 *  comes later can be wanted. From its head a row is found by where it lies: one that was changed meanwhile lies elsewhere,
 *  and is left to the next claim; one that is locked stays where it is. */
async function claimEarliest(
  tx: Queryable,
  classIds: number[],
  slots: Slot[],
  looked: number,
  resting: string[],
  { leaseTtlMs, maxBytes }: ClaimBounds,
): Promise<(ClaimedRow & { is_cut: boolean })[]> {
  const takers = [...new Set(slots)]
  const places = new Map(takers.map((taker, nth) => [taker, nth + 1]))
  const { rows } = await tx.query<ClaimedRow & { is_cut: boolean }>({
    name: 'claim_jobs',
    text: `
      WITH first AS MATERIALIZED (
        SELECT c.class_id, f.claim_at FROM unnest($1::integer[]) AS c(class_id)
        CROSS JOIN LATERAL (
          SELECT claim_at, id FROM jobs
          WHERE class_id = c.class_id AND state = 'available' AND NOT scheduled
            AND cancel_requested_at IS NULL
          -- Twice its share, since others have less than theirs; a single class has its end by its own LIMIT, below.
          ORDER BY claim_at, id
          LIMIT CASE cardinality($1) WHEN 1 THEN 1 ELSE least($5, 2 * ($5 / cardinality($1)) + 1) END
        ) f
        ORDER BY f.claim_at, f.id LIMIT $5
      ), head AS MATERIALIZED (
        SELECT h.at FROM (SELECT DISTINCT class_id FROM first) c CROSS JOIN LATERAL (
          SELECT ctid AS at, id, claim_at FROM jobs
          WHERE class_id = c.class_id AND state = 'available' AND NOT scheduled
            AND cancel_requested_at IS NULL
            AND claim_at <= (SELECT CASE WHEN count(*) = $5 THEN max(claim_at) ELSE 'infinity' END FROM first)
          ORDER BY claim_at, id LIMIT $5
        ) h
        ORDER BY h.claim_at, h.id LIMIT $5
      ), locked AS MATERIALIZED (
        SELECT ctid AS at, id, claim_at, fence, stage_fence, payload_bytes + results_bytes AS bytes FROM jobs
        WHERE ctid = ANY (ARRAY(SELECT at FROM head)) AND ${isClaimable('jobs')} AND id <> ALL ($9::uuid[])
        ORDER BY claim_at, id LIMIT cardinality($8::integer[])
        FOR NO KEY UPDATE SKIP LOCKED
      ), sized AS (
        SELECT at, row_number() OVER earlier AS place,
          sum(bytes + CASE WHEN fence > 0 THEN coalesce((SELECT octet_length(progress::text) FROM progress p
            WHERE p.job_id = locked.id AND p.fence > locked.stage_fence), 0) ELSE 0 END) OVER earlier AS bytes_so_far
        FROM locked WINDOW earlier AS (ORDER BY claim_at, id)
      ), picked AS (
        SELECT at, place, count(*) OVER () < (SELECT count(*) FROM head) AS is_cut
        FROM sized WHERE place = 1 OR bytes_so_far <= $7
      )
      UPDATE jobs j SET state = 'leased', fence = j.fence + 1, attempt = j.attempt + 1,
        executor_id = ($2::text[])[taker], epoch = ($3::bigint[])[taker], poll_id = ($4::text[])[taker],
        offered = true, leased_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + $6 * interval '1 millisecond'
      -- by their places rather than by a join, which no plan that knows nothing of their number does well
      FROM picked CROSS JOIN LATERAL (SELECT ($8::integer[])[place::integer] AS taker) t
      WHERE j.ctid = picked.at AND ${isClaimable('j')}
      RETURNING ${assignmentColumns}, picked.is_cut`,
    values: [
      classIds,
      takers.map(({ executor_id }) => executor_id),
      takers.map(({ epoch }) => epoch),
      takers.map(({ poll_id }) => poll_id),
      looked,
      leaseTtlMs,
      maxBytes,
      slots.map((taker) => places.get(taker)),
      resting,
    ],
  })
  return rows
}

/** The job that a claim of one would give; undefined: none. */
export async function findEarliestClaimable(
  tx: Queryable,
  classIds: number[],
  resting: string[],
): Promise<string | undefined> {
  const { rows } = await tx.query<{ id: string }>({
    name: 'find_earliest_claimable',
    text: `SELECT f.id FROM unnest($1::integer[]) AS c(class_id)
      CROSS JOIN LATERAL (
        SELECT id, claim_at FROM jobs
        WHERE class_id = c.class_id AND state = 'available' AND NOT scheduled
          AND cancel_requested_at IS NULL AND id <> ALL ($2::uuid[])
        ORDER BY claim_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
      ) f
      ORDER BY f.claim_at, f.id LIMIT 1`,
    values: [classIds, resting],
  })
  return rows[0]?.id
}

/** What is still held under a poll whose answer was lost. */
export async function findHeldUnderPoll(
  db: Queryable,
  executorId: string,
  epoch: number,
  pollId: string,
): Promise<ClaimedRow[]> {
  const { rows } = await db.query<ClaimedRow>({
    name: 'find_held_under_poll',
    text: `SELECT ${assignmentColumns} FROM jobs j
      WHERE j.state = 'leased' AND j.executor_id = $1 AND j.epoch = $2 AND j.poll_id = $3
      ORDER BY j.id`,
    values: [executorId, epoch, pollId],
  })
  return rows
}

export interface OfferRow {
  job_id: string
  fence: number
  executor_id: string
  epoch: number
  poll_id: string | null
  offered: boolean
}

/** Leases that were given in answer to a poll: what a new leader must know of its predecessor's. */
export async function listPolledLeases(db: Queryable): Promise<OfferRow[]> {
  const { rows } = await db.query<OfferRow>({
    text: `SELECT id AS job_id, fence, executor_id, epoch, poll_id, offered FROM jobs
      WHERE state = 'leased' AND (offered OR poll_id IS NOT NULL) ORDER BY leased_at`,
  })
  return rows
}

export interface ClaimableProbe {
  /** How many classes there are: a number that is news to a replica means that it must load them. */
  classes: number
  claimable: number[]
}

/** Of these classes, those with something to claim: one index probe each. */
export async function probeClaimable(db: Queryable, classIds: number[]): Promise<ClaimableProbe> {
  const { rows } = await db.query<ClaimableProbe>({
    name: 'probe_claimable',
    text: `SELECT (SELECT count(*) FROM classes) AS classes,
      ARRAY(
        SELECT c.class_id FROM unnest($1::integer[]) AS c(class_id)
        CROSS JOIN LATERAL (
          SELECT FROM jobs
          WHERE class_id = c.class_id AND state = 'available' AND NOT scheduled LIMIT 1
        ) first) AS claimable`,
    values: [classIds],
  })
  return rows[0] ?? { classes: 0, claimable: [] }
}

export interface DueProbe {
  /** How long until the next scheduled job is due; null: none is scheduled. */
  next_due_ms: number | null
}

export async function probeDueJobs(db: Queryable): Promise<number | null> {
  const { rows } = await db.query<DueProbe>({
    name: 'probe_due_jobs',
    text: `SELECT ceil(extract(epoch FROM run_at - clock_timestamp()) * 1000)::float8 AS next_due_ms
      FROM jobs WHERE state = 'available' AND scheduled ORDER BY run_at, id LIMIT 1`,
  })
  return rows[0]?.next_due_ms ?? null
}

/** A place among the scheduled jobs, in the order of their index. */
export interface DueKey {
  /** As Postgres wrote it, microseconds included. */
  due_at: string
  id: string
}

export const beforeAllDue: DueKey = {
  due_at: '-infinity',
  id: '00000000-0000-0000-0000-000000000000',
}

export async function listDueJobs(db: Queryable, after: DueKey, limit: number): Promise<DueKey[]> {
  const { rows } = await db.query<DueKey>({
    name: 'list_due_jobs',
    text: `SELECT run_at::text AS due_at, id FROM jobs
      WHERE state = 'available' AND scheduled AND run_at <= statement_timestamp()
        AND (run_at, id) > ($1::timestamptz, $2::uuid)
      ORDER BY run_at, id LIMIT $3`,
    values: [after.due_at, after.id, limit],
  })
  return rows
}

/** Lets those of these jobs that are due into the claim index. Returns the class of each. */
export async function wakeDueJobs(tx: Queryable, ids: string[]): Promise<number[]> {
  const { rows } = await tx.query<{ class_id: number }>({
    name: 'wake_due_jobs',
    text: `
      WITH due AS MATERIALIZED (
        SELECT id FROM jobs
        WHERE id = ANY ($1::uuid[])
          AND ${checked("state = 'available' AND scheduled AND run_at <= statement_timestamp()")}
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
      )
      UPDATE jobs j SET scheduled = false, claim_at = j.run_at - j.priority * interval '10 minutes'
      FROM due WHERE j.id = due.id AND ${checked("j.state = 'available' AND j.scheduled")}
      RETURNING j.class_id`,
    values: [ids],
  })
  return rows.map((row) => row.class_id)
}
