import { type RawBuilder, type SqlBool, sql } from 'kysely'
import { jsonBuildObject } from 'kysely/helpers/postgres'
import type { JobState } from '../domain/job.ts'
import type { WaitingFor } from '../domain/stage.ts'
import { build, rowsOf } from './build.ts'
import type { Queryable } from './pool.ts'
import {
  type LiveTransition,
  liveTransition,
  rejection,
  resultOfStage,
  type StageRow,
  stagesOfJob,
} from './stages.ts'

/** Where a job stands once it was submitted, moved or let go. */
export interface PlacedRow {
  id: string
  class_id: number
  state: Exclude<JobState, 'leased'>
  scheduled: boolean
}

const summaryColumns = [
  'j.id',
  'j.kind',
  'j.queue',
  'j.state',
  'j.stage',
  'j.move',
  'j.scheduled',
  'j.labels',
  'c.requires',
  'j.priority',
  'j.run_at',
  'j.fence',
  'j.attempt',
  'j.max_attempts',
  'j.lost_leases',
  'j.run_timeout_ms',
  'j.on_silence',
  'j.executor_id',
  'j.epoch',
  'j.lease_expires_at',
  'j.traceparent',
  'j.retry_of',
  'j.retried_as',
  'j.created_at',
  'j.finished_at',
  'j.cancel_requested_at',
  'j.cancel_reason',
] as const

/** A build that knew no other reason left it null. */
export const waitingFor = "CASE WHEN j.state = 'waiting' THEN coalesce(j.waiting_for, 'effect') END"

export interface JobSummaryRow {
  id: string
  kind: string
  queue: string
  state: 'available' | 'leased' | 'waiting' | 'succeeded' | 'failed' | 'cancelled'
  stage: string | null
  move: number
  waiting_for: WaitingFor | null
  scheduled: boolean
  labels: Record<string, string>
  requires: Record<string, string>
  priority: number
  run_at: string
  fence: number
  attempt: number
  max_attempts: number
  lost_leases: number
  backoff: { base_ms: number; factor: number; cap_ms: number }
  run_timeout_ms: number | null
  on_silence: 'continue' | 'abort'
  executor_id: string | null
  epoch: number | null
  lease_expires_at: string | null
  traceparent: string | null
  idempotency_key: string | null
  retry_of: string | null
  retried_as: string | null
  created_at: string
  finished_at: string | null
  cancel_requested_at: string | null
  cancel_reason: string | null
}

/** Also where it is no longer the job's own. */
const shownKey = 'coalesce(j.idempotency_key, j.former_key)'

export interface ListedJobRow extends JobSummaryRow {
  error_code: string | null
}

export interface JobRow extends JobSummaryRow {
  payload: unknown
  result: unknown
  error: { code: string; message: string; retryable: boolean } | null
  progress: unknown
  critical_until: string | null
  stages: StageRow[]
  transition: LiveTransition | null
}

/** When a critical section is past its ceiling, which starts over with the gate, at `openedAt`. */
export function sectionEndFrom(openedAt: string): string {
  return `greatest(j.critical_entered_at, ${openedAt}) + j.critical_ceiling_ms * interval '1 millisecond'`
}

const latestOpening = `(SELECT deadline_floor_at - $2 * interval '1 millisecond'
  FROM terms ORDER BY term DESC LIMIT 1)`

/** Whole jobs, in the order of their ids. */
export async function findJobs(
  db: Queryable,
  ids: string[],
  leaseTtlMs: number,
): Promise<JobRow[]> {
  const { rows } = await db.query<JobRow>({
    name: 'find_jobs',
    text: `SELECT ${summaryColumns.join(', ')}, ${shownKey} AS idempotency_key, ${waitingFor} AS waiting_for, j.payload, p.progress,
        json_build_object('base_ms', j.backoff_base_ms, 'factor', j.backoff_factor,
          'cap_ms', j.backoff_cap_ms) AS backoff,
        CASE WHEN j.state <> 'succeeded' THEN NULL WHEN j.stage IS NULL THEN a.result
          ELSE (${resultOfStage}) END AS result,
        coalesce(${rejection}, a.error) AS error,
        CASE WHEN j.stage IS NULL THEN '[]' ELSE (${stagesOfJob}) END AS stages,
        CASE WHEN j.waiting_for = 'transition' THEN (${liveTransition}) END AS transition,
        s.critical_until
      FROM jobs j
      JOIN classes c USING (class_id)
      LEFT JOIN progress p ON p.job_id = j.id AND p.fence > j.stage_fence
      LEFT JOIN LATERAL (
        SELECT result, error FROM attempts WHERE job_id = j.id ORDER BY fence DESC LIMIT 1
      ) a ON true
      LEFT JOIN LATERAL (SELECT ${sectionEndFrom(latestOpening)} AS critical_until) s
        ON j.state = 'leased' AND j.critical_fence = j.fence AND j.cancel_told_at IS NULL
          AND s.critical_until > statement_timestamp()
      WHERE j.id = ANY ($1::uuid[]) ORDER BY j.id`,
    values: [ids, leaseTtlMs],
  })
  return rows
}

/** Which of these jobs are final, or do not exist (any more). */
export async function findSettledJobs(db: Queryable, ids: string[]): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>({
    name: 'find_settled_jobs',
    text: `SELECT w.id FROM unnest($1::uuid[]) AS w(id) LEFT JOIN jobs j USING (id)
      WHERE j.id IS NULL OR j.finished_at IS NOT NULL`,
    values: [ids],
  })
  return rows.map((row) => row.id)
}

export interface JobFilter {
  queue?: string | undefined
  /** The queues that the reader is bound to; null: any. */
  readable: string[] | null
  state?: JobSummaryRow['state'] | undefined
  kind?: string | undefined
  labels: Record<string, string>
  beforeId?: string | undefined
  limit: number
}

/** Newest first: ids are UUIDv7, so their order is that of submission. */
export function listJobs(db: Queryable, filter: JobFilter): Promise<ListedJobRow[]> {
  const { state, limit, ...rest } = filter
  const query = build
    .selectFrom('jobs as j')
    .innerJoin('classes as c', 'c.class_id', 'j.class_id')
    .select(summaryColumns)
    .select(({ ref }) =>
      jsonBuildObject({
        base_ms: ref('j.backoff_base_ms'),
        factor: ref('j.backoff_factor'),
        cap_ms: ref('j.backoff_cap_ms'),
      }).as('backoff'),
    )
    .select(sql<JobSummaryRow['waiting_for']>`${sql.raw(waitingFor)}`.as('waiting_for'))
    .select(sql<string | null>`${sql.raw(shownKey)}`.as('idempotency_key'))
    .select(
      sql<string | null>`CASE WHEN j.state = 'failed' THEN coalesce(${sql.raw(rejection)}, (
        SELECT error FROM attempts WHERE job_id = j.id ORDER BY fence DESC LIMIT 1))->>'code' END`.as(
        'error_code',
      ),
    )
    .where(({ and }) => and(fitting(rest)))
    .orderBy('j.id', 'desc')
    .limit(limit)
  return rowsOf(db, state === undefined ? query : query.where('j.state', '=', state))
}

/** Only the conditions that were asked for, so that each list can use the index that fits it. */
export function fitting({
  queue,
  readable,
  kind,
  labels,
  beforeId,
}: Omit<JobFilter, 'state' | 'limit'>): RawBuilder<SqlBool>[] {
  const wanted: [boolean, RawBuilder<SqlBool>][] = [
    [queue !== undefined, sql`j.queue = ${queue}`],
    [readable !== null, sql`j.queue = ANY (${readable})`],
    [kind !== undefined, sql`j.kind = ${kind}`],
    [beforeId !== undefined, sql`j.id < ${beforeId}`],
    [Object.keys(labels).length > 0, sql`j.labels @> ${JSON.stringify(labels)}::jsonb`],
  ]
  return wanted.filter(([isWanted]) => isWanted).map(([, condition]) => condition)
}
