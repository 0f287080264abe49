import { checked } from './checked.ts'
import type { PlacedRow } from './jobs.ts'
import type { Queryable } from './pool.ts'

/** Statements on moves that an outside actor owns before it makes them. Their rows change only under the row lock of
 *  their job, and only once: whoever ends one does so by compare-and-set on `ended_at`, and acts after that. */

export type TransitionOutcome = 'committed' | 'abandoned' | 'taken_over' | 'forced' | 'expired'

export interface TransitionRow {
  token: string
  job_id: string
  stage: string
  move: number
  owner: string
  boot_id: string
  token_id: string
  begun_at: string
  expires_at: string
  outcome: TransitionOutcome | null
  committed_move: number | null
}

const columns = `t.token, t.job_id, t.stage, t.move, t.owner, t.boot_id, t.token_id, t.begun_at,
  t.expires_at, t.outcome, t.committed_move`

/** Past its ceiling, by the clock of the database (invariant 8), and past the deadline floor of the latest term: time in
 *  which nobody could be heard is given back (invariant 7). A null floor holds everything. */
const isExpired = `t.expires_at < statement_timestamp() AND NOT EXISTS (
    SELECT FROM terms WHERE term = (SELECT max(term) FROM terms)
      AND (deadline_floor_at IS NULL OR deadline_floor_at >= statement_timestamp()))`

/** The one that owns the next move of a job, if any does. */
export async function findLiveTransition(
  tx: Queryable,
  jobId: string,
): Promise<(TransitionRow & { is_expired: boolean }) | undefined> {
  const { rows } = await tx.query<TransitionRow & { is_expired: boolean }>({
    name: 'find_live_transition',
    text: `SELECT ${columns}, ${isExpired} AS is_expired FROM transitions t
      WHERE t.job_id = $1 AND t.ended_at IS NULL`,
    values: [jobId],
  })
  return rows[0]
}

/** By its token, live or ended. */
export async function findTransition(
  tx: Queryable,
  jobId: string,
  token: string,
): Promise<TransitionRow | undefined> {
  const { rows } = await tx.query<TransitionRow>({
    name: 'find_transition',
    text: `SELECT ${columns} FROM transitions t WHERE t.token = $1 AND t.job_id = $2`,
    values: [token, jobId],
  })
  return rows[0]
}

/** A new boot of its owner has ended what this one had begun: it is an earlier process, however late it asks. */
export async function wasTakenOver(
  tx: Queryable,
  jobId: string,
  { owner, boot_id, token_id }: Pick<TransitionRow, 'owner' | 'boot_id' | 'token_id'>,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'was_transition_taken_over',
    text: `SELECT FROM transitions WHERE job_id = $1 AND owner = $2 AND boot_id = $3 AND token_id = $4
      AND outcome = 'taken_over' LIMIT 1`,
    values: [jobId, owner, boot_id, token_id],
  })
  return rowCount === 1
}

export interface NewTransition
  extends Pick<TransitionRow, 'job_id' | 'stage' | 'move' | 'owner' | 'boot_id' | 'token_id'> {
  ceiling_ms: number
}

export async function insertTransition(tx: Queryable, t: NewTransition): Promise<TransitionRow> {
  const { rows } = await tx.query<TransitionRow>({
    name: 'insert_transition',
    text: `INSERT INTO transitions AS t (job_id, stage, move, owner, boot_id, token_id, expires_at)
      VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7 * interval '1 millisecond')
      RETURNING ${columns}`,
    values: [t.job_id, t.stage, t.move, t.owner, t.boot_id, t.token_id, t.ceiling_ms],
  })
  const [row] = rows
  if (!row) throw new Error('one transition in, none out')
  return row
}

/** Takes the claim: false, if somebody else has ended it. */
export async function endTransitionIfLive(
  tx: Queryable,
  token: string,
  outcome: TransitionOutcome,
  committedMove: number | null = null,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'end_transition_if_live',
    text: `UPDATE transitions SET ended_at = clock_timestamp(), outcome = $2, committed_move = $3
      WHERE token = $1 AND ${checked('ended_at IS NULL')}`,
    values: [token, outcome, committedMove],
  })
  return rowCount === 1
}

/** The job waits for its owner: nobody claims it, and nobody else moves it. */
export async function holdForTransition(
  tx: Queryable,
  { job_id, stage, move }: Pick<NewTransition, 'job_id' | 'stage' | 'move'>,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'hold_for_transition',
    text: `UPDATE jobs SET state = 'waiting', waiting_for = 'transition', scheduled = false
      WHERE id = $1 AND stage = $2 AND move = $3
        AND (state = 'available' OR (state = 'waiting' AND waiting_for = 'decision'))
        AND cancel_requested_at IS NULL`,
    values: [job_id, stage, move],
  })
  return rowCount === 1
}

const isAgain = `CASE WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelled'
  WHEN s.class_id IS NULL THEN 'waiting' ELSE 'available' END`

/** Jobs that no transition owns any more are what they were: at a manual stage they wait for a decision, at another
 *  they are available, or scheduled if their time has not come. Where a cancel waited for that, they are cancelled. */
export async function releaseFromTransition(tx: Queryable, jobIds: string[]): Promise<PlacedRow[]> {
  const { rows } = await tx.query<PlacedRow>({
    name: 'release_from_transition',
    text: `UPDATE jobs j SET
        state = ${isAgain}, waiting_for = CASE ${isAgain} WHEN 'waiting' THEN 'decision' END,
        scheduled = ${isAgain} = 'available' AND j.run_at > clock_timestamp(),
        finished_at = CASE ${isAgain} WHEN 'cancelled' THEN clock_timestamp() END
      FROM stages s
      WHERE j.id = ANY ($1::uuid[]) AND s.job_id = j.id AND s.name = j.stage
        AND j.state = 'waiting' AND j.waiting_for = 'transition' AND NOT EXISTS (
          SELECT FROM transitions t WHERE t.job_id = j.id AND t.ended_at IS NULL)
      RETURNING j.id, j.state, j.scheduled, j.class_id`,
    values: [jobIds],
  })
  return rows
}

/** A place among the live ones, in the order of their index. */
export interface ExpiryKey {
  /** As Postgres wrote it, microseconds included. */
  due_at: string
  job_id: string
}

export const beforeAllExpiries: ExpiryKey = {
  due_at: '-infinity',
  job_id: '00000000-0000-0000-0000-000000000000',
}

/** Jobs whose owners have let their ceiling pass. */
export async function listExpiredTransitions(
  db: Queryable,
  after: ExpiryKey,
  limit: number,
): Promise<ExpiryKey[]> {
  const { rows } = await db.query<ExpiryKey>({
    name: 'list_expired_transitions',
    text: `SELECT t.expires_at::text AS due_at, t.job_id FROM transitions t
      WHERE t.ended_at IS NULL AND ${isExpired} AND (t.expires_at, t.job_id) > ($1::timestamptz, $2::uuid)
      ORDER BY t.expires_at, t.job_id LIMIT $3`,
    values: [after.due_at, after.job_id, limit],
  })
  return rows
}

/** Ends those of these jobs that are still expired; the jobs are locked. Returns whose they were. */
export async function expireTransitions(tx: Queryable, jobIds: string[]): Promise<string[]> {
  const { rows } = await tx.query<{ job_id: string }>({
    name: 'expire_transitions',
    text: `UPDATE transitions t SET ended_at = clock_timestamp(), outcome = 'expired'
      WHERE t.ended_at IS NULL AND t.job_id = ANY ($1::uuid[]) AND ${isExpired}
      RETURNING t.job_id`,
    values: [jobIds],
  })
  return rows.map(({ job_id }) => job_id)
}
