import type { Effect } from '../domain/effect.ts'
import { checked } from './checked.ts'
import type { HeldLease } from './leases.ts'
import type { Queryable } from './pool.ts'

/** Statements on the ledger of effects. Callers hold the row lock of the job, as does the statement that ends
 *  its lease: nothing here changes under them. */

export interface EffectKey {
  job_id: string
  key: string
}

/** Who begins or settles, with which lease. */
export type Begun = HeldLease & { begin_id: string }

export interface EffectRow extends Effect {
  key: string
  effect_token: string
  /** Parsed JSON. */
  result: unknown
  holds: boolean
  executor_id: string
  epoch: number
  begun_at: string
  settled_at: string | null
}

const columns = `key, state, on_doubt, effect_token, result, holds, begin_id, fence, executor_id, epoch,
  begun_at, settled_at, doubt_begin_id, doubt_fence, settled_begin_id, settled_fence`

export async function findEffect(
  db: Queryable,
  { job_id, key }: EffectKey,
): Promise<EffectRow | undefined> {
  const { rows } = await db.query<EffectRow>({
    name: 'find_effect',
    text: `SELECT ${columns} FROM effects WHERE job_id = $1 AND key = $2`,
    values: [job_id, key],
  })
  return rows[0]
}

/** Begins it, or begins it again; never one that was committed. Undefined: it is not to be begun. */
export async function beginEffectUnlessCommitted(
  tx: Queryable,
  key: string,
  { job_id, begin_id, fence, executor_id, epoch }: Begun,
  onDoubt: string,
): Promise<EffectRow | undefined> {
  const { rows } = await tx.query<EffectRow>({
    name: 'begin_effect_unless_committed',
    text: `
      INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch)
      VALUES ($1, $2, 'begun', $3, $4, $5, $6, $7)
      ON CONFLICT (job_id, key) DO UPDATE SET
        state = 'begun', begin_id = EXCLUDED.begin_id, fence = EXCLUDED.fence,
        executor_id = EXCLUDED.executor_id, epoch = EXCLUDED.epoch, begun_at = clock_timestamp(),
        result = NULL, settled_at = NULL, settled_begin_id = NULL, settled_fence = NULL
      WHERE effects.state = 'aborted'
        OR (effects.state IN ('begun', 'in_doubt') AND effects.on_doubt = 'retry'
          AND effects.fence < EXCLUDED.fence)
      RETURNING ${columns}`,
    values: [job_id, key, onDoubt, begin_id, fence, executor_id, epoch],
  })
  return rows[0]
}

/** Writes down who was told that it is in doubt, and whether the job waits for an operator now. */
export async function recordDoubtIfUnsettled(
  tx: Queryable,
  key: string,
  { job_id, begin_id, fence }: Begun,
  holds: boolean,
): Promise<EffectRow | undefined> {
  const { rows } = await tx.query<EffectRow>({
    name: 'record_doubt_if_unsettled',
    text: `UPDATE effects SET state = 'in_doubt', doubt_begin_id = $3, doubt_fence = $4, holds = $5
      WHERE job_id = $1 AND key = $2 AND fence < $4 AND state IN ('begun', 'in_doubt')
      RETURNING ${columns}`,
    values: [job_id, key, begin_id, fence, holds],
  })
  return rows[0]
}

export interface Settlement {
  state: 'committed' | 'aborted'
  /** JSON as text. */
  result: string | null
}

/** Commits or aborts what this begin began, or was told to reconcile. */
export async function settleEffectIfBegun(
  tx: Queryable,
  key: string,
  { job_id, begin_id, fence }: Begun,
  { state, result }: Settlement,
): Promise<EffectRow | undefined> {
  const { rows } = await tx.query<EffectRow>({
    name: 'settle_effect_if_begun',
    text: `UPDATE effects SET state = $3, result = $4, settled_at = clock_timestamp(),
        settled_begin_id = $5, settled_fence = $6
      WHERE job_id = $1 AND key = $2 AND (
        (state = 'begun' AND begin_id = $5 AND fence = $6)
        OR (state = 'in_doubt' AND on_doubt = 'reconcile' AND doubt_begin_id = $5 AND doubt_fence = $6))
      RETURNING ${columns}`,
    values: [job_id, key, state, result, begin_id, fence],
  })
  return rows[0]
}

/** An operator's word. */
export async function resolveEffectIfOpen(
  tx: Queryable,
  { job_id, key }: EffectKey,
  { state, result }: Settlement,
): Promise<EffectRow | undefined> {
  const { rows } = await tx.query<EffectRow>({
    name: 'resolve_effect_if_open',
    text: `UPDATE effects SET state = $3, result = $4, settled_at = clock_timestamp(), holds = false,
        settled_begin_id = NULL, settled_fence = NULL
      WHERE job_id = $1 AND key = $2 AND state IN ('begun', 'in_doubt')
      RETURNING ${columns}`,
    values: [job_id, key, state, result],
  })
  return rows[0]
}

/** Jobs that were cancelled wait for no operator any more; what is in doubt stays in doubt. */
export async function letGoOfHolds(tx: Queryable, jobIds: string[]): Promise<void> {
  await tx.query({
    name: 'let_go_of_holds',
    text: 'UPDATE effects SET holds = false WHERE job_id = ANY ($1::uuid[]) AND holds',
    values: [jobIds],
  })
}

/** Gives a job back to the queue that waited for its effects, at its old place, once none of them holds it; never one
 *  that waits for anything else. Without a reason it waits for an effect, too: an older build has written that. */
export async function resumeIfWaiting(
  tx: Queryable,
  jobId: string,
): Promise<{ class_id: number } | undefined> {
  const { rows } = await tx.query<{ class_id: number }>({
    name: 'resume_if_waiting',
    text: `UPDATE jobs SET state = 'available', waiting_for = NULL
      WHERE id = $1 AND state = 'waiting' AND coalesce(waiting_for, 'effect') = 'effect'
        AND cancel_requested_at IS NULL
        AND NOT EXISTS (SELECT FROM effects WHERE job_id = $1 AND holds)
      RETURNING class_id`,
    values: [jobId],
  })
  return rows[0]
}

/** Whether this lease was theirs once, and has ended. */
export async function hasHeldOnce(
  tx: Queryable,
  { job_id, executor_id, epoch, fence }: HeldLease,
): Promise<boolean> {
  const { rowCount } = await tx.query({
    name: 'has_held_once',
    text: `SELECT FROM attempts
      WHERE job_id = $1 AND executor_id = $2 AND epoch = $3 AND fence = $4`,
    values: [job_id, executor_id, epoch, fence],
  })
  return rowCount === 1
}

/** Keeps what was said too late, once, if who says it once held the job with that fence. */
export async function recordLateWordIfHeldOnce(
  tx: Queryable,
  key: string,
  { job_id, begin_id, executor_id, epoch, fence }: Begun,
  { state, result }: Settlement,
): Promise<void> {
  await tx.query({
    name: 'record_late_word_if_held_once',
    text: `
      INSERT INTO late_effects (job_id, key, begin_id, executor_id, epoch, fence, outcome, result)
      SELECT job_id, $2, $3, executor_id, epoch, fence, $7, $8 FROM attempts
      WHERE job_id = $1 AND executor_id = $4 AND epoch = $5 AND fence = $6
      ON CONFLICT DO NOTHING`,
    values: [job_id, key, begin_id, executor_id, epoch, fence, state, result],
  })
}

export interface LateEffectRow {
  key: string
  begin_id: string
  executor_id: string
  epoch: number
  fence: number
  outcome: 'committed' | 'aborted'
  result: unknown
  received_at: string
}

/** What was said too late of these, oldest first, as much as an answer may carry. */
export async function listLateEffects(
  db: Queryable,
  jobId: string,
  keys: string[],
): Promise<LateEffectRow[]> {
  const { rows } = await db.query<LateEffectRow>({
    text: `SELECT key, begin_id, executor_id, epoch, fence, outcome, result, received_at FROM (
        SELECT *, sum(octet_length(coalesce(result::text, ''))) OVER (ORDER BY received_at, fence) AS bytes
        FROM late_effects WHERE job_id = $1 AND key = ANY ($2::text[])) l
      WHERE bytes < 2000000 ORDER BY received_at, fence LIMIT 1000`,
    values: [jobId, keys],
  })
  return rows
}

/** The ledger of a job, by key, as much as an answer may carry: at least one, if there is one. */
export async function listEffects(
  db: Queryable,
  jobId: string,
  { after, limit }: { after: string; limit: number },
): Promise<EffectRow[]> {
  const { rows } = await db.query<EffectRow>({
    text: `SELECT ${columns} FROM (
        SELECT *, sum(octet_length(coalesce(result::text, ''))) OVER (ORDER BY key) AS bytes
        FROM effects WHERE job_id = $1 AND key > $2) e
      WHERE bytes - octet_length(coalesce(result::text, '')) < 2000000 ORDER BY key LIMIT $3`,
    values: [jobId, after, limit],
  })
  return rows
}

/** How many a job has. */
export async function countEffects(tx: Queryable, jobId: string): Promise<number> {
  const { rows } = await tx.query<{ n: number }>({
    name: 'count_effects',
    text: 'SELECT count(*)::int AS n FROM effects WHERE job_id = $1',
    values: [jobId],
  })
  return rows[0]?.n ?? 0
}

/** Jobs with an effect that is begun though nobody holds them under its fence: a replica of a build that knows no
 *  effects has ended the lease. */
export async function listJobsOfOrphanedEffects(
  db: Queryable,
  after: string,
  limit: number,
): Promise<string[]> {
  const { rows } = await db.query<{ job_id: string }>({
    name: 'list_jobs_of_orphaned_effects',
    text: `SELECT DISTINCT e.job_id FROM effects e LEFT JOIN jobs j ON j.id = e.job_id
      WHERE e.state = 'begun' AND (j.state, j.fence) IS DISTINCT FROM ('leased', e.fence)
        AND e.job_id > $1::uuid
      ORDER BY e.job_id LIMIT $2`,
    values: [after, limit],
  })
  return rows.map(({ job_id }) => job_id)
}

/** Puts those effects in doubt. */
export async function doubtOrphanedEffects(tx: Queryable, jobIds: string[]): Promise<number> {
  const { rowCount } = await tx.query({
    name: 'doubt_orphaned_effects',
    text: `UPDATE effects e SET state = 'in_doubt' WHERE e.state = 'begun' AND e.job_id = ANY ($1::uuid[])
      AND NOT EXISTS (
        SELECT FROM jobs j
        WHERE j.id = e.job_id AND ${checked("j.state = 'leased' AND j.fence = e.fence")})`,
    values: [jobIds],
  })
  return rowCount ?? 0
}
