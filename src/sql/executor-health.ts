import type { ExecutorState, Standing, Trouble } from '../domain/executor-health.ts'
import { columns } from './columns.ts'
import type { Queryable } from './pool.ts'

/** Statements on how executors are. Rows are locked in the order of their ids, after the jobs of the same
 *  transaction; what is judged of a locked row is written by the one who locked it. */

/** What decides what an executor may be given; of a row of `executors`. */
export const standingColumns = `health, changes,
  drained OR coalesce(drained_epoch = epoch, false) AS is_draining,
  coalesce(deregistered_epoch = epoch - 1, false) AS is_deregistered`

export interface StandingRow extends Standing {
  executor_id: string
}

export interface HealthRow extends StandingRow, Trouble {
  epoch: number
  state: ExecutorState
  drained: boolean
  drained_epoch: number | null
  deregistered_epoch: number | null
}

const healthColumns = `executor_id, epoch, state, failures, successes, drained, drained_epoch,
  deregistered_epoch, ${standingColumns}`

/** How they are now, unlocked. */
export async function findHealth(db: Queryable, executorIds: string[]): Promise<HealthRow[]> {
  const { rows } = await db.query<HealthRow>({
    name: 'find_health',
    text: `SELECT ${healthColumns} FROM executors WHERE executor_id = ANY ($1::text[])`,
    values: [executorIds],
  })
  return rows
}

export async function lockHealth(tx: Queryable, executorIds: string[]): Promise<HealthRow[]> {
  const { rows } = await tx.query<HealthRow>({
    name: 'lock_health',
    text: `SELECT ${healthColumns} FROM executors WHERE executor_id = ANY ($1::text[])
      ORDER BY executor_id FOR NO KEY UPDATE`,
    values: [executorIds],
  })
  return rows
}

/** Writes what reports, or an operator, have come to for locked rows. Returns how they stand now. */
export async function writeTrouble(
  tx: Queryable,
  troubles: (Trouble & { executor_id: string })[],
): Promise<StandingRow[]> {
  const { rows } = await tx.query<StandingRow>({
    name: 'write_trouble',
    text: `UPDATE executors x SET health = t.new_health, failures = t.new_failures,
        successes = t.new_successes,
        changes = x.changes + CASE WHEN x.health = t.new_health THEN 0 ELSE 1 END
      FROM unnest($1::text[], $2::text[], $3::integer[], $4::integer[])
        AS t(id, new_health, new_failures, new_successes)
      WHERE x.executor_id = t.id RETURNING executor_id, ${standingColumns}`,
    values: columns(troubles, ['executor_id', 'health', 'failures', 'successes']),
  })
  return rows
}

/** Who, and for how long silent: since it was heard, or since everybody could be heard (invariant 7). A null floor
 *  judges nobody. */
const silence = `FROM executors x JOIN terms t ON t.term = $1 AND t.deadline_floor_at IS NOT NULL
  CROSS JOIN LATERAL (SELECT extract(epoch FROM statement_timestamp() - greatest(x.heartbeat_at,
    t.deadline_floor_at - $3 * interval '1 millisecond'))::float8 * 1000 AS silent_ms) s
  WHERE ((x.state = 'healthy' AND s.silent_ms > $2)
    OR (x.state IN ('healthy', 'suspect') AND s.silent_ms > $3))`

export interface Patience {
  suspectMs: number
  lostMs: number
}

/** Executors whose silence is worth a change, after this one in the order of ids. */
export async function listSilent(
  db: Queryable,
  term: number,
  { suspectMs, lostMs }: Patience,
  after: string,
  limit: number,
): Promise<{ executor_id: string; silent_ms: number }[]> {
  const { rows } = await db.query<{ executor_id: string; silent_ms: number }>({
    name: 'list_silent',
    text: `SELECT x.executor_id, s.silent_ms ${silence} AND x.executor_id > $4
      ORDER BY x.executor_id LIMIT $5`,
    values: [term, suspectMs, lostMs, after, limit],
  })
  return rows
}

export interface SilentRow {
  executor_id: string
  epoch: number
  state: ExecutorState
  silent_ms: number
}

/** Those of them that are silent still. One that is locked is being heard just now. */
export async function lockSilent(
  tx: Queryable,
  term: number,
  { suspectMs, lostMs }: Patience,
  executorIds: string[],
): Promise<SilentRow[]> {
  const { rows } = await tx.query<SilentRow>({
    name: 'lock_silent',
    text: `SELECT x.executor_id, x.epoch, x.state, s.silent_ms ${silence}
      AND x.executor_id = ANY ($4::text[])
      ORDER BY x.executor_id FOR NO KEY UPDATE OF x SKIP LOCKED`,
    values: [term, suspectMs, lostMs, executorIds],
  })
  return rows
}

/** Writes the states of locked rows. */
export async function writeStates(
  tx: Queryable,
  states: { executor_id: string; state: ExecutorState }[],
): Promise<void> {
  await tx.query({
    name: 'write_states',
    text: `UPDATE executors x SET state = s.state FROM unnest($1::text[], $2::text[]) AS s(id, state)
      WHERE x.executor_id = s.id`,
    values: columns(states, ['executor_id', 'state']),
  })
}

export interface Drains {
  drained: boolean
  drained_epoch: number | null
}

/** Writes the drains of a locked row. Returns how it stands now. */
export async function writeDrains(
  tx: Queryable,
  executorId: string,
  { drained, drained_epoch }: Drains,
): Promise<StandingRow[]> {
  const { rows } = await tx.query<StandingRow>({
    name: 'write_drains',
    text: `UPDATE executors SET drained = $2, drained_epoch = $3, changes = changes + 1
      WHERE executor_id = $1 RETURNING executor_id, ${standingColumns}`,
    values: [executorId, drained, drained_epoch],
  })
  return rows
}

/** Of processes that are gone: it changes nothing about what these executors may be given. */
export async function forgetOwnDrains(tx: Queryable, executorIds: string[]): Promise<void> {
  await tx.query({
    name: 'forget_own_drains',
    text: 'UPDATE executors SET drained_epoch = NULL WHERE executor_id = ANY ($1::text[])',
    values: [executorIds],
  })
}

/** Who of these holds a job. */
export async function listHolders(tx: Queryable, executorIds: string[]): Promise<string[]> {
  const { rows } = await tx.query<{ executor_id: string }>({
    name: 'list_holders',
    text: `SELECT e.executor_id FROM unnest($1::text[]) AS e(executor_id)
      CROSS JOIN LATERAL (
        SELECT FROM jobs j WHERE j.state = 'leased' AND j.executor_id = e.executor_id LIMIT 1) held`,
    values: [executorIds],
  })
  return rows.map((row) => row.executor_id)
}
