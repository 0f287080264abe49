import { columns } from './columns.ts'
import type { Queryable } from './pool.ts'

export interface Registration {
  executor_id: string
  labels: Record<string, string>
  queues: string[]
  capacity: number
}

export interface RegisteredExecutor extends Registration {
  epoch: number
}

/** Raises the epoch of each executor: whoever acts under an older one is cut off from here on. */
export async function registerExecutors(
  tx: Queryable,
  registrations: Registration[],
): Promise<RegisteredExecutor[]> {
  const { rows } = await tx.query<RegisteredExecutor>({
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
      RETURNING executor_id, epoch, labels, queues, capacity`,
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

/** Notes that these executors were heard, each under its current epoch; the others are left out. */
export async function touchExecutorsIfCurrent(
  tx: Queryable,
  heard: { executor_id: string; epoch: number }[],
): Promise<{ executor_id: string; epoch: number }[]> {
  const { rows } = await tx.query<{ executor_id: string; epoch: number }>({
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
      RETURNING x.executor_id, x.epoch`,
    values: columns(heard, ['executor_id', 'epoch']),
  })
  return rows
}

const registeredColumns = 'executor_id, epoch, labels, queues, capacity'

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

export interface ExecutorRow extends RegisteredExecutor {
  leases: number
  state: 'online' | 'silent'
  registered_at: string
  heartbeat_at: string
}

/** Executors as people see them, or one of them. */
export async function listExecutors(
  db: Queryable,
  heartbeatMs: number,
  executorId?: string,
): Promise<ExecutorRow[]> {
  const { rows } = await db.query<ExecutorRow>({
    text: `SELECT x.*,
        (SELECT count(*) FROM jobs j WHERE j.state = 'leased' AND j.executor_id = x.executor_id)
          AS leases,
        CASE WHEN x.heartbeat_at > clock_timestamp() - 3 * $1 * interval '1 millisecond'
          THEN 'online' ELSE 'silent' END AS state
      FROM executors x WHERE $2::text IS NULL OR x.executor_id = $2
      ORDER BY x.executor_id LIMIT 10000`,
    values: [heartbeatMs, executorId ?? null],
  })
  return rows
}
