import type { Stage, Standing } from '../domain/stage.ts'
import { columns } from './columns.ts'
import type { Queryable } from './pool.ts'

/** Statements on the stages of jobs. What is fixed at submit may be read at any time; what came of a stage changes
 *  only under the row lock of its job. */

export interface NewStage {
  job_id: string
  position: number
  name: string
  class_id: number | null
}

/** In the transaction that inserts their jobs. */
export async function insertStages(tx: Queryable, stages: NewStage[]): Promise<void> {
  await tx.query({
    name: 'insert_stages',
    text: `INSERT INTO stages (job_id, position, name, class_id)
      SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::integer[])`,
    values: columns(stages, ['job_id', 'position', 'name', 'class_id']),
  })
}

/** A stage as a job shows it. */
export interface StageRow {
  name: string
  kind: string | null
  requires: Record<string, string> | null
  manual: boolean
  state: 'pending' | 'current' | 'succeeded' | 'skipped' | 'failed' | 'cancelled'
  result: unknown
  done_at: string | null
}

/** As the wire has instants: inside JSON, the driver does not see them. */
export const instant = (column: string) =>
  `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** Of the job `j`, which has stages. One that was left behind without success was skipped; one ahead that has
 *  no say any more stays pending. */
export const stagesOfJob = `
  SELECT json_agg(json_build_object('name', s.name, 'kind', x.kind, 'requires', x.requires,
    'manual', s.class_id IS NULL, 'result', s.result, 'done_at', ${instant('s.done_at')},
    'state', CASE
      WHEN s.done_at IS NOT NULL THEN 'succeeded'
      WHEN s.position > here.position THEN 'pending'
      WHEN s.position < here.position THEN 'skipped'
      WHEN j.state IN ('failed', 'cancelled') THEN j.state
      WHEN j.state = 'succeeded' THEN 'skipped'
      ELSE 'current' END) ORDER BY s.position)
  FROM stages here JOIN stages s ON s.job_id = here.job_id
  LEFT JOIN classes x ON x.class_id = s.class_id
  WHERE here.job_id = j.id AND here.name = j.stage`

/** What the stage came to in which the job `j` ended. */
export const resultOfStage = `
  SELECT s.result FROM stages s WHERE s.job_id = j.id AND s.name = j.stage`

/** Why the job `j` failed whose last move was a rejection; null: it was none. */
export const rejection = `CASE WHEN j.stage IS NOT NULL THEN (
  SELECT json_build_object('code', 'rejected', 'message', coalesce(m.reason, ''), 'retryable', false)
  FROM moves m WHERE m.job_id = j.id AND m.move = j.move AND m.to_stage = 'failed') END`

/** Who owns the next move of a job. */
export interface LiveTransition {
  owner: string
  boot_id: string
  begun_at: string
  expires_at: string
}

/** Of the job `j`. The token is nobody's to see but its owner's. */
export const liveTransition = `
  SELECT json_build_object('owner', t.owner, 'boot_id', t.boot_id,
    'begun_at', ${instant('t.begun_at')}, 'expires_at', ${instant('t.expires_at')})
  FROM transitions t WHERE t.job_id = j.id AND t.ended_at IS NULL`

export type PipelineRow = Omit<Standing, 'stage'> & {
  id: string
  /** null: it has no stages. */
  stage: string | null
  cancel_requested_at: string | null
}

/** Locks a job that somebody means to move. */
export async function lockPipeline(tx: Queryable, id: string): Promise<PipelineRow | undefined> {
  const { rows } = await tx.query<PipelineRow>({
    name: 'lock_pipeline',
    text: `SELECT id, state, stage, move, waiting_for, cancel_requested_at FROM jobs WHERE id = $1
      FOR NO KEY UPDATE`,
    values: [id],
  })
  return rows[0]
}

/** In order. */
export async function listStages(tx: Queryable, jobId: string): Promise<Stage[]> {
  const { rows } = await tx.query<Stage>({
    name: 'list_stages',
    text: 'SELECT name, position, class_id FROM stages WHERE job_id = $1 ORDER BY position',
    values: [jobId],
  })
  return rows
}

/** Stages from here on are to be gone through again: what they came to is no longer handed on. */
export async function undoStagesFrom(
  tx: Queryable,
  jobId: string,
  position: number,
): Promise<void> {
  await tx.query({
    name: 'undo_stages_from',
    text: `UPDATE stages SET done_at = NULL, result = NULL WHERE job_id = $1 AND position >= $2`,
    values: [jobId, position],
  })
}

/** Somebody has decided that it goes on. */
export async function approveStage(tx: Queryable, jobId: string, position: number): Promise<void> {
  await tx.query({
    name: 'approve_stage',
    text: `UPDATE stages SET done_at = clock_timestamp()
      WHERE job_id = $1 AND position = $2 AND class_id IS NULL`,
    values: [jobId, position],
  })
}
