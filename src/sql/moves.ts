import type { Stage, Target } from '../domain/stage.ts'
import { enter } from '../domain/stage.ts'
import { build, rowsOf } from './build.ts'
import type { PlacedRow } from './jobs.ts'
import type { Queryable } from './pool.ts'
import type { PipelineRow } from './stages.ts'

/** Statements that move jobs by the word of an outside actor, and the history of all moves. */

export interface MoveRow {
  move: number
  from_stage: string
  to_stage: string
  by: 'report' | 'transition' | 'commit'
  fence: number | null
  token_id: string | null
  reason: string | null
  idempotency_key: string | null
  at: string
}

const columns = `move, from_stage, to_stage, by, fence, token_id, reason, idempotency_key, at`

/** Who moves it, and why; for the history. */
export interface NewMove {
  by: 'transition' | 'commit'
  token_id: string
  reason: string | null
  idempotency_key: string | null
  body_hash: Buffer | null
}

/** A cancel that waited for the owner of the move comes after it, unless the job succeeded by it. */
const endsAs = `CASE WHEN j.cancel_requested_at IS NULL OR $4 = 'succeeded' THEN $4 ELSE 'cancelled' END`
/** A time that was asked for holds for every stage; a backoff ends with the attempt's stage. */
const runsAt =
  'CASE WHEN j.attempt > 0 THEN least(j.run_at, statement_timestamp()) ELSE j.run_at END'

/** Moves a job that nobody works on and nobody owns, from the stage and the move that it was judged at, with budgets of
 *  its own for the stage that it enters. */
export async function moveJobIfThere(
  tx: Queryable,
  { id, stage, move }: Pick<PipelineRow, 'id' | 'stage' | 'move'>,
  target: Target,
): Promise<PlacedRow | undefined> {
  const to: Partial<Stage> = 'stage' in target ? target.stage : {}
  const { state, waitingFor } =
    'stage' in target ? enter(target.stage) : { state: target.end, waitingFor: null }
  const { rows } = await tx.query<PlacedRow>({
    name: 'move_job_if_there',
    text: `
      UPDATE jobs j SET state = ${endsAs}, stage = coalesce($5, j.stage), class_id = coalesce($6, j.class_id),
        move = j.move + 1, stage_fence = j.fence,
        waiting_for = CASE WHEN ${endsAs} = 'waiting' THEN $7 END, attempt = 0, lost_leases = 0,
        run_at = ${runsAt}, claim_at = least(j.claim_at, ${runsAt} - j.priority * interval '10 minutes'),
        scheduled = ${endsAs} = 'available' AND ${runsAt} > clock_timestamp(),
        finished_at = CASE WHEN ${endsAs} IN ('succeeded', 'failed', 'cancelled') THEN clock_timestamp() END,
        results_bytes = CASE WHEN $8::smallint IS NULL THEN j.results_bytes ELSE (
          SELECT coalesce(sum(octet_length(s.result::text)), 0)::integer FROM stages s
          WHERE s.job_id = $1 AND s.position < $8) END
      WHERE j.id = $1 AND j.stage = $2 AND j.move = $3 AND ((j.state = 'available' AND $4 <> 'failed')
        OR (j.state = 'waiting' AND j.waiting_for IN ('decision', 'transition')))
        AND (j.cancel_requested_at IS NULL OR j.waiting_for = 'transition')
        AND NOT EXISTS (SELECT FROM transitions WHERE job_id = $1 AND ended_at IS NULL)
      RETURNING j.id, j.state, j.scheduled, j.class_id`,
    values: [id, stage, move, state, to.name, to.class_id, waitingFor, to.position],
  })
  return rows[0]
}

/** Keeps the move that a job has just made. */
export async function recordMove(
  tx: Queryable,
  { id, stage, move }: Pick<PipelineRow, 'id' | 'stage' | 'move'>,
  toStage: string,
  { by, token_id, reason, idempotency_key, body_hash }: NewMove,
): Promise<MoveRow> {
  const { rows } = await tx.query<MoveRow>({
    name: 'record_move',
    text: `INSERT INTO moves
        (job_id, move, from_stage, to_stage, by, token_id, reason, idempotency_key, body_hash)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ${columns}`,
    values: [id, move + 1, stage, toStage, by, token_id, reason, idempotency_key, body_hash],
  })
  const [row] = rows
  if (!row) throw new Error('one move in, none out')
  return row
}

/** The move that has this key. */
export async function findMoveByKey(
  tx: Queryable,
  jobId: string,
  key: string,
): Promise<(MoveRow & { body_hash: Buffer }) | undefined> {
  const { rows } = await tx.query<MoveRow & { body_hash: Buffer }>({
    name: 'find_move_by_key',
    text: `SELECT ${columns}, body_hash FROM moves
      WHERE job_id = $1 AND idempotency_key = $2 AND idempotency_key IS NOT NULL`,
    values: [jobId, key],
  })
  return rows[0]
}

export async function findMove(
  tx: Queryable,
  jobId: string,
  move: number,
): Promise<MoveRow | undefined> {
  const [row] = await listMoves(tx, jobId, { after: move - 1, limit: 1 })
  return row?.move === move ? row : undefined
}

/** Oldest first, above `after`. */
export function listMoves(
  db: Queryable,
  jobId: string,
  { after, limit }: { after: number; limit: number },
): Promise<MoveRow[]> {
  return rowsOf(
    db,
    build
      .selectFrom('moves')
      .select(['move', 'from_stage', 'to_stage', 'by', 'fence', 'token_id', 'reason'])
      .select(['idempotency_key', 'at'])
      .where('job_id', '=', jobId)
      .where('move', '>', after)
      .orderBy('move')
      .limit(limit),
  )
}
