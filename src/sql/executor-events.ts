import { columns } from './columns.ts'
import type { Queryable } from './pool.ts'

/** The history of executors: short, and one for each. */

export interface NewExecutorEvent {
  executor_id: string
  epoch: number
  axis: 'state' | 'health' | 'drain'
  was: string
  became: string
  reason: string
  facts?: Record<string, unknown>
}

/** How many are kept of each executor. */
const kept = 1_000

/** Callers hold the row locks of these executors, so that what is pruned is pruned once. */
export async function recordExecutorEvents(
  tx: Queryable,
  events: NewExecutorEvent[],
): Promise<void> {
  if (events.length === 0) return
  const rows = events.map((event) => ({ ...event, facts: JSON.stringify(event.facts ?? {}) }))
  await tx.query({
    name: 'record_executor_events',
    text: `
      WITH pruned AS (
        DELETE FROM executor_events e
        USING (SELECT DISTINCT id AS executor_id FROM unnest($1::text[]) AS x(id)) x
        WHERE e.executor_id = x.executor_id AND e.id <= (
          SELECT id FROM executor_events o WHERE o.executor_id = x.executor_id
          ORDER BY id DESC OFFSET ${kept} - 1 LIMIT 1)
      )
      INSERT INTO executor_events (executor_id, epoch, axis, was, became, reason, facts)
      SELECT executor_id, epoch, axis, was, became, reason, facts
      FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::jsonb[]) WITH ORDINALITY
        AS e(executor_id, epoch, axis, was, became, reason, facts, place)
      ORDER BY place`,
    values: columns(
      rows,
      ['executor_id', 'epoch', 'axis', 'was', 'became', 'reason', 'facts'],
      ['facts'],
    ),
  })
}

export interface ExecutorEventRow {
  id: number
  at: string
  epoch: number
  axis: NewExecutorEvent['axis']
  was: string
  became: string
  reason: string
  facts: Record<string, unknown>
}

/** Newest first, below `before`. */
export async function listExecutorEvents(
  db: Queryable,
  executorId: string,
  { before, limit }: { before: number | undefined; limit: number },
): Promise<ExecutorEventRow[]> {
  const { rows } = await db.query<ExecutorEventRow>({
    text: `SELECT id, at, epoch, axis, was, became, reason, facts FROM executor_events
      WHERE executor_id = $1 AND id < coalesce($2, 9223372036854775807) ORDER BY id DESC LIMIT $3`,
    values: [executorId, before ?? null, limit],
  })
  return rows
}
