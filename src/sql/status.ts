import type { Queryable } from './pool.ts'

export interface QueueRow {
  queue: string
  available: number
  scheduled: number
  leased: number
  failed: number
  oldest_available_at: string | null
}

/** Live jobs by queue, each state counted from its own partial index. */
export async function countQueues(db: Queryable): Promise<QueueRow[]> {
  const { rows } = await db.query<QueueRow>({
    text: `
      WITH live AS (
        SELECT class_id, 'available' AS state, count(*) AS jobs, min(run_at) AS oldest_at
          FROM jobs WHERE state = 'available' AND NOT scheduled GROUP BY class_id
        UNION ALL
        SELECT class_id, 'scheduled', count(*), NULL
          FROM jobs WHERE state = 'available' AND scheduled GROUP BY class_id
        UNION ALL
        SELECT class_id, 'leased', count(*), NULL
          FROM jobs WHERE state = 'leased' GROUP BY class_id
        UNION ALL
        SELECT class_id, 'failed', count(*), NULL
          FROM jobs WHERE state = 'failed' GROUP BY class_id
      )
      SELECT c.queue,
        coalesce(sum(jobs) FILTER (WHERE state = 'available'), 0)::bigint AS available,
        coalesce(sum(jobs) FILTER (WHERE state = 'scheduled'), 0)::bigint AS scheduled,
        coalesce(sum(jobs) FILTER (WHERE state = 'leased'), 0)::bigint AS leased,
        coalesce(sum(jobs) FILTER (WHERE state = 'failed'), 0)::bigint AS failed,
        min(oldest_at) AS oldest_available_at
      FROM classes c LEFT JOIN live USING (class_id) GROUP BY c.queue ORDER BY c.queue`,
  })
  return rows
}

export interface LeaseRow {
  job_id: string
  queue: string
  kind: string
  executor_id: string
  fence: number
  attempt: number
  leased_at: string
  heartbeat_at: string
  lease_expires_at: string
}

export async function listLeases(db: Queryable, limit: number): Promise<LeaseRow[]> {
  const { rows } = await db.query<LeaseRow>({
    text: `SELECT j.id AS job_id, j.queue, j.kind, j.executor_id, j.fence, j.attempt, j.leased_at,
        x.heartbeat_at, j.lease_expires_at
      FROM jobs j JOIN executors x USING (executor_id)
      WHERE j.state = 'leased' ORDER BY j.lease_expires_at, j.id LIMIT $1`,
    values: [limit],
  })
  return rows
}
