import type { Sql } from './sql.ts'

/** What is durable, in the words of the model; and what a sequence does to the database behind the system's back. */

export interface JobView {
  id: string
  state: string
  isScheduled: boolean
  fence: number
  attempt: number
  lostLeases: number
  executor: string | null
  epoch: number | null
  /** Begun minutes. */
  leaseLeft: number | null
  isOffered: boolean
  isCancelRequested: boolean
  isCancelTold: boolean
  stage: string | null
  move: number
  waitingFor: string | null
  key: string | null
  retryOf: string | null
  retriedAs: string | null
}

export interface EffectView {
  job: string
  key: string
  state: string
  onDoubt: string
  token: string
  fence: number
  beginId: string
  holds: boolean
}

export interface View {
  term: number
  executors: { executor: string; epoch: number }[]
  jobs: JobView[]
  /** In the order of fences. */
  attempts: {
    job: string
    fence: number
    attempt: number
    executor: string
    epoch: number
    ending: string
    stage: string | null
  }[]
  effects: EffectView[]
  stages: { job: string; name: string; isDone: boolean }[]
  transitions: { job: string; token: string; outcome: string | null; move: number | null }[]
  moves: { job: string; move: number; from: string; to: string; by: string }[]
  late: { job: string; evidence: string }[]
}

const list = (select: string) => `(SELECT coalesce(json_agg(x), '[]') FROM (${select}) x)`

const jobs = `SELECT id, state, scheduled AS "isScheduled", fence, attempt, lost_leases AS "lostLeases",
    executor_id AS executor, epoch,
    ceil(extract(epoch FROM lease_expires_at - clock_timestamp()) / 60)::int AS "leaseLeft",
    offered AS "isOffered", cancel_requested_at IS NOT NULL AS "isCancelRequested",
    cancel_told_at IS NOT NULL AS "isCancelTold", stage, move, waiting_for AS "waitingFor",
    idempotency_key AS key, retry_of AS "retryOf", retried_as AS "retriedAs"
  FROM jobs ORDER BY id`

const viewQuery = `SELECT json_build_object(
    'term', (SELECT term FROM leader),
    'executors', ${list('SELECT executor_id AS executor, epoch FROM executors ORDER BY 1')},
    'jobs', ${list(jobs)},
    'attempts', ${list(`SELECT job_id AS job, fence, attempt, executor_id AS executor, epoch,
      outcome AS ending, stage FROM attempts ORDER BY 1, 2`)},
    'effects', ${list(`SELECT job_id AS job, key, state, on_doubt AS "onDoubt", effect_token AS token,
      fence, begin_id AS "beginId", holds FROM effects ORDER BY 1, 2`)},
    'stages', ${list(`SELECT job_id AS job, name, done_at IS NOT NULL AS "isDone" FROM stages
      ORDER BY job_id, position`)},
    'transitions', ${list(`SELECT job_id AS job, token, outcome, committed_move AS move
      FROM transitions ORDER BY 1, 2`)},
    'moves', ${list(`SELECT job_id AS job, move, from_stage AS "from", to_stage AS "to", by
      FROM moves ORDER BY 1, 2`)},
    'late', ${list(`SELECT job_id AS job, concat_ws(' ', executor_id, epoch, fence, outcome) COLLATE "C" AS evidence
      FROM late_reports ORDER BY 1, 2`)}
  ) AS view, EXISTS (
    SELECT FROM jobs WHERE scheduled AND run_at > clock_timestamp()
      AND run_at < clock_timestamp() + interval '1 s'
  ) AS "isSoonDue"`

/** A backoff is a millisecond here: it is waited for, so that no step depends on it. */
export async function look(sql: Sql): Promise<View> {
  for (;;) {
    const [row] = await sql<{ view: View; isSoonDue: boolean }>(viewQuery)
    if (row && !row.isSoonDue) return row.view
  }
}

/** Time passes by moving everything else into the past: every deadline, and everything that one is counted from. */
export async function passTime(sql: Sql, minutes: number): Promise<void> {
  const back = (...columns: string[]) =>
    columns.map((column) => `${column} = ${column} - interval '${minutes} min'`).join(', ')
  await sql(`
    UPDATE jobs SET ${back('run_at', 'claim_at', 'leased_at', 'lease_expires_at')},
      ${back('cancel_requested_at', 'cancel_told_at', 'critical_entered_at')};
    UPDATE transitions SET ${back('begun_at', 'expires_at')};
    UPDATE executors SET ${back('registered_at', 'heartbeat_at')};
    UPDATE terms SET ${back('promoted_at', 'ticked_at', 'served_at', 'deadline_floor_at')}`)
}

const tables = [
  'jobs',
  'attempts',
  'progress',
  'late_reports',
  'effects',
  'late_effects',
  'stages',
  'moves',
  'transitions',
  'executors',
  'executor_events',
  'audit',
]

/** All but the latest term goes, and that has served nobody yet. */
export async function wipe(sql: Sql): Promise<number> {
  await sql(`${tables.map((table) => `DELETE FROM ${table}`).join(';')};
    DELETE FROM terms WHERE term < (SELECT term FROM leader);
    UPDATE terms SET served_at = NULL, deadline_floor_at = NULL`)
  const [row] = await sql<{ term: number }>('SELECT term::int FROM leader')
  return row?.term ?? 0
}
