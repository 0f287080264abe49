import type { ExecutorState, Standing } from '../domain/executor-health.ts'
import type { JobState } from '../domain/job.ts'
import type { Failure } from '../domain/lease.ts'
import type { WaitingFor } from '../domain/stage.ts'
import { isInSection, sectionEnd } from './cancels.ts'
import { standingColumns } from './executor-health.ts'
import { waitingFor } from './jobs.ts'
import { isLed, isServed } from './leader.ts'
import type { Queryable } from './pool.ts'
import { instant, type LiveTransition, rejection } from './stages.ts'

/** What explaining a job rests on. Reads alone, each bounded; what has to be judged against the time is judged here,
 *  by the database's clock (invariant 8). */

export interface ExplainedRow {
  state: JobState
  queue: string
  requires: Record<string, string>
  class_id: number
  scheduled: boolean
  run_at: string
  is_due: boolean
  /** As Postgres wrote it, microseconds included. */
  claim_at: string
  fence: number
  attempt: number
  max_attempts: number
  lost_leases: number
  last_outcome: string | null
  error: Failure | null
  cancel_requested_at: string | null
  cancel_reason: string | null
  cancel_told_at: string | null
  cancel_ends_at: string | null
  critical_until: string | null
  stage: string | null
  move: number
  waiting_for: WaitingFor | null
  transition: ExplainedTransition | null
  held_by: string[]
  retried_as: string | null
  finished_at: string | null
  executor_id: string | null
  executor_state: ExecutorState | null
  offered: boolean
  leased_at: string | null
  lease_expires_at: string | null
  reclaim_at: string | null
  heartbeat_at: string | null
  silent_ms: number | null
  run_timeout_ms: number | null
  is_past_run_timeout: boolean | null
  run_ends_at: string | null
  term: number
  leader_name: string | null
  is_led: boolean
  is_served: boolean
  served_at: string | null
}

export interface ExplainedTransition extends Omit<LiveTransition, 'expires_at'> {
  ends_at: string | null
}

export interface Deadlines {
  leaseTtlMs: number
  cancelGraceMs: number
  runTimeoutGraceMs: number
}

const afterMs = (ms: string) => `(${ms}) * interval '1 millisecond'`
/** No deadline of a lease ends before the floor of the term, and none is known before that is set (invariant 7). */
const heedingFloor = (deadline: string) =>
  `CASE WHEN t.deadline_floor_at IS NOT NULL THEN greatest(${deadline}, t.deadline_floor_at) END`

/** A job, its lease, its latest attempt that has ended, and who leads: one statement, so that they fit together. */
export async function findExplained(
  db: Queryable,
  id: string,
  { leaseTtlMs, cancelGraceMs, runTimeoutGraceMs }: Deadlines,
): Promise<ExplainedRow | undefined> {
  const { rows } = await db.query<ExplainedRow>({
    name: 'find_explained',
    text: `
      SELECT j.state, j.queue, c.requires, j.class_id, j.scheduled, j.run_at,
        j.run_at <= statement_timestamp() AS is_due, j.claim_at::text AS claim_at,
        j.fence, j.attempt, j.max_attempts, j.lost_leases, a.outcome AS last_outcome,
        coalesce(${rejection}, a.error) AS error,
        j.cancel_requested_at, j.cancel_reason, j.cancel_told_at,
        CASE WHEN j.cancel_told_at IS NOT NULL
          THEN greatest(j.cancel_told_at, o.at) + ${afterMs('$3')} END AS cancel_ends_at,
        CASE WHEN ${isInSection} THEN ${sectionEnd} END AS critical_until,
        ARRAY(SELECT e.key FROM effects e WHERE e.job_id = j.id AND j.state = 'waiting' AND e.holds
          ORDER BY e.key LIMIT 100) AS held_by,
        j.stage, j.move, ${waitingFor} AS waiting_for, m.transition,
        j.retried_as, j.finished_at, j.executor_id, x.state AS executor_state, j.offered,
        j.leased_at, j.lease_expires_at, ${heedingFloor('j.lease_expires_at')} AS reclaim_at,
        x.heartbeat_at, extract(epoch FROM
          statement_timestamp() - greatest(x.heartbeat_at, o.at))::float8 * 1000 AS silent_ms,
        j.run_timeout_ms,
        j.leased_at + ${afterMs('j.run_timeout_ms')} < statement_timestamp() AS is_past_run_timeout,
        ${heedingFloor(`j.leased_at + ${afterMs('j.run_timeout_ms + $4::bigint')}`)} AS run_ends_at,
        l.term, r.name AS leader_name, ${isLed} AS is_led, ${isServed} AS is_served, t.served_at
      FROM jobs j
      JOIN classes c USING (class_id)
      CROSS JOIN (SELECT term, replica_id FROM leader LIMIT 1) l
      LEFT JOIN replicas r USING (replica_id)
      LEFT JOIN terms t ON t.term = l.term AND t.replica_id = l.replica_id
      CROSS JOIN LATERAL (SELECT t.deadline_floor_at - ${afterMs('$2')} AS at) o
      LEFT JOIN LATERAL (
        SELECT json_build_object('owner', m.owner, 'boot_id', m.boot_id, 'begun_at', ${instant('m.begun_at')},
          'ends_at', ${instant(`(${heedingFloor('m.expires_at')})`)}) AS transition
        FROM transitions m WHERE m.job_id = j.id AND m.ended_at IS NULL) m ON true
      LEFT JOIN executors x ON x.executor_id = j.executor_id
      LEFT JOIN LATERAL (
        SELECT outcome, error FROM attempts WHERE job_id = j.id ORDER BY fence DESC LIMIT 1
      ) a ON true
      WHERE j.id = $1`,
    values: [id, leaseTtlMs, cancelGraceMs, runTimeoutGraceMs],
  })
  return rows[0]
}

export interface CandidateRow extends Standing {
  executor_id: string
  queues: string[]
  labels: Record<string, string>
  state: ExecutorState
  capacity: number
  leases: number
  heartbeat_at: string
}

/** Executors of a queue that were heard within a day, with those of their labels that are asked for, and how much they
 *  hold: as much as the rule of claims needs to judge them, which is not repeated here. */
export async function listCandidates(
  db: Queryable,
  queue: string,
  labelNames: string[],
): Promise<CandidateRow[]> {
  const { rows } = await db.query<CandidateRow>({
    name: 'list_candidates',
    text: `
      SELECT x.executor_id, ARRAY[$1::text] AS queues, x.state, x.capacity, x.heartbeat_at,
        (SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}') FROM jsonb_each(x.labels) l
          WHERE l.key = ANY ($2::text[])) AS labels,
        (SELECT count(*) FROM (
          SELECT FROM jobs j WHERE j.state = 'leased' AND j.executor_id = x.executor_id
            LIMIT x.capacity) held)::integer AS leases,
        ${standingColumns}
      FROM executors x
      WHERE $1::text = ANY (x.queues) AND x.heartbeat_at > statement_timestamp() - interval '1 day'
        AND x.state <> 'deregistered'
      ORDER BY x.state <> 'healthy', x.heartbeat_at DESC LIMIT 10000`,
    values: [queue, labelNames],
  })
  return rows
}

/** How many claimable jobs of a class come before this place; counted no further than one beyond `most`. From the
 *  index of claims alone. */
export async function countBefore(
  db: Queryable,
  { class_id, claim_at }: Pick<ExplainedRow, 'class_id' | 'claim_at'>,
  id: string,
  most: number,
): Promise<number> {
  const { rows } = await db.query<{ n: number }>({
    name: 'count_before',
    text: `SELECT count(*)::integer AS n FROM (
        SELECT FROM jobs
        WHERE class_id = $1 AND state = 'available' AND NOT scheduled
          AND (claim_at, id) < ($2::timestamptz, $3::uuid)
        ORDER BY claim_at, id LIMIT $4 + 1) earlier`,
    values: [class_id, claim_at, id, most],
  })
  return rows[0]?.n ?? 0
}
