import type { ExecutorState, Standing, Trouble } from '../domain/executor-health.ts'
import { columns } from './columns.ts'
import { type StandingRow, standingColumns } from './executor-health.ts'
import type { Queryable } from './pool.ts'

export interface Registration {
  executor_id: string
  labels: Record<string, string>
  queues: string[]
  capacity: number
}

export interface RegisteredExecutor extends Registration, Standing {
  epoch: number
}

/** One that has just come, with what is still said of the process before. */
export interface ArrivedExecutor extends RegisteredExecutor {
  state: ExecutorState
  drained: boolean
  drained_epoch: number | null
}

const registeredColumns = `executor_id, epoch, labels, queues, capacity, ${standingColumns}`

/** Raises the epoch of each executor: whoever acts under an older one is cut off from here on. */
export async function registerExecutors(
  tx: Queryable,
  registrations: Registration[],
): Promise<ArrivedExecutor[]> {
  const { rows } = await tx.query<ArrivedExecutor>({
    name: 'register_executors',
    text: `
      INSERT INTO executors (executor_id, epoch, labels, queues, capacity, registered_at, heartbeat_at)
      SELECT executor_id, 1, labels, ARRAY(SELECT jsonb_array_elements_text(queues)), capacity,
        clock_timestamp(), clock_timestamp()
      FROM unnest($1::text[], $2::jsonb[], $3::jsonb[], $4::integer[])
        AS r(executor_id, labels, queues, capacity)
      ORDER BY executor_id
      ON CONFLICT (executor_id) DO UPDATE SET
        epoch = executors.epoch + 1, labels = EXCLUDED.labels, queues = EXCLUDED.queues,
        capacity = EXCLUDED.capacity, registered_at = EXCLUDED.registered_at,
        heartbeat_at = EXCLUDED.heartbeat_at
      RETURNING state, drained, drained_epoch, ${registeredColumns}`,
    values: columns(
      registrations.map((registration) => ({
        ...registration,
        labels: JSON.stringify(registration.labels),
        queues: JSON.stringify(registration.queues),
      })),
      ['executor_id', 'labels', 'queues', 'capacity'],
      ['labels', 'queues'],
    ),
  })
  return rows
}

export interface HeardExecutor extends StandingRow {
  epoch: number
  /** As recorded: what is not healthy is, from now on. */
  state: ExecutorState
}

/** Notes that these executors were heard, each under its current epoch; the others are left out. */
export async function touchExecutorsIfCurrent(
  tx: Queryable,
  heard: { executor_id: string; epoch: number }[],
): Promise<HeardExecutor[]> {
  const { rows } = await tx.query<HeardExecutor>({
    name: 'touch_executors_if_current',
    text: `
      WITH heard AS MATERIALIZED (
        SELECT x.executor_id FROM executors x
        JOIN unnest($1::text[], $2::bigint[]) AS h(executor_id, epoch)
          ON x.executor_id = h.executor_id AND x.epoch = h.epoch
        ORDER BY x.executor_id FOR NO KEY UPDATE OF x
      )
      UPDATE executors x SET heartbeat_at = clock_timestamp()
      FROM heard WHERE x.executor_id = heard.executor_id
      RETURNING x.executor_id, x.epoch, x.state, ${standingColumns}`,
    values: columns(heard, ['executor_id', 'epoch']),
  })
  return rows
}

/** Executors heard of late, and all that hold leases: whoever may call soon. */
export async function listRegistered(db: Queryable): Promise<RegisteredExecutor[]> {
  const { rows } = await db.query<RegisteredExecutor>({
    text: `SELECT ${registeredColumns} FROM executors
      WHERE heartbeat_at > clock_timestamp() - interval '10 minutes'
        OR executor_id IN (SELECT executor_id FROM jobs WHERE state = 'leased')`,
  })
  return rows
}

export async function findRegistered(
  db: Queryable,
  executorIds: string[],
): Promise<RegisteredExecutor[]> {
  const { rows } = await db.query<RegisteredExecutor>({
    name: 'find_registered',
    text: `SELECT ${registeredColumns} FROM executors WHERE executor_id = ANY ($1::text[])`,
    values: [executorIds],
  })
  return rows
}

/** The current epochs of these executors. */
export async function findEpochs(tx: Queryable, ids: string[]): Promise<Map<string, number>> {
  const { rows } = await tx.query<{ executor_id: string; epoch: number }>({
    name: 'find_epochs',
    text: 'SELECT executor_id, epoch FROM executors WHERE executor_id = ANY ($1::text[])',
    values: [ids],
  })
  return new Map(rows.map((row) => [row.executor_id, row.epoch]))
}

/** Raises the epoch of an executor that is gone, so that nobody acts under it any more; undefined: that epoch is
 *  not current. */
export async function deregisterIfCurrent(
  tx: Queryable,
  executorId: string,
  epoch: number,
): Promise<RegisteredExecutor | undefined> {
  const { rows } = await tx.query<RegisteredExecutor>({
    name: 'deregister_if_current',
    text: `UPDATE executors SET epoch = epoch + 1, deregistered_epoch = epoch,
        state = 'deregistered', changes = changes + 1
      WHERE executor_id = $1 AND epoch = $2 AND deregistered_epoch IS DISTINCT FROM epoch - 1
      RETURNING ${registeredColumns}`,
    values: [executorId, epoch],
  })
  return rows[0]
}

export interface ExecutorRow extends Registration, Trouble {
  epoch: number
  leases: number
  state: ExecutorState
  draining: boolean
  drained_by: 'operator' | 'executor' | null
  registered_at: string
  heartbeat_at: string
}

/** Executors as people see them, or one of them. */
export async function listExecutors(db: Queryable, executorId?: string): Promise<ExecutorRow[]> {
  const { rows } = await db.query<ExecutorRow>({
    text: `SELECT x.executor_id, x.epoch, x.labels, x.queues, x.capacity,
        (SELECT count(*) FROM jobs j WHERE j.state = 'leased' AND j.executor_id = x.executor_id)
          AS leases,
        x.state, x.health, x.failures, x.successes, d.drained_by IS NOT NULL AS draining,
        d.drained_by, x.registered_at, x.heartbeat_at
      FROM executors x CROSS JOIN LATERAL (SELECT CASE WHEN x.drained THEN 'operator'
        WHEN x.drained_epoch = x.epoch THEN 'executor' END AS drained_by) d
      WHERE $1::text IS NULL OR x.executor_id = $1
      ORDER BY x.executor_id LIMIT 10000`,
    values: [executorId ?? null],
  })
  return rows
}
