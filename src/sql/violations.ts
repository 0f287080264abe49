import type { Queryable } from './pool.ts'

/** What must never be, and no constraint can forbid. `jobs` are examples. */
export interface Violation {
  violation: string
  count: number
  jobs: string[]
}

/** Reads leased rows by their index alone, so that its cost follows what is leased, not the table. */
export async function findViolations(db: Queryable): Promise<Violation[]> {
  const { rows } = await db.query<Violation>({
    name: 'find_violations',
    text: `
      WITH found(violation, job_id) AS (
        SELECT v.violation, j.id
        FROM jobs j LEFT JOIN executors x USING (executor_id)
        LEFT JOIN classes c USING (class_id)
        CROSS JOIN LATERAL (VALUES
          ('lease_of_no_executor', x.executor_id IS NULL OR j.epoch > x.epoch),
          ('lease_of_an_older_epoch', j.epoch < x.epoch),
          ('lease_in_the_wrong_class', (c.queue, c.kind) IS DISTINCT FROM (j.queue, j.kind)),
          ('fence_used_before',
            EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.fence >= j.fence))
        ) AS v(violation, holds)
        WHERE j.state = 'leased' AND v.holds
        UNION ALL
        SELECT 'fence_that_looks_at_old_snapshots', NULL FROM pg_proc
        WHERE oid = to_regproc('fence_term') AND provolatile <> 'v'
      )
      SELECT violation, count(*)::integer AS count,
        coalesce((array_agg(job_id::text) FILTER (WHERE job_id IS NOT NULL))[:10], '{}') AS jobs
      FROM found GROUP BY violation ORDER BY violation`,
  })
  return rows
}
