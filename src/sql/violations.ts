import type { Queryable } from './pool.ts'

/** What must never be, and no constraint can forbid. `jobs` are examples. */
export interface Violation {
  violation: string
  count: number
  jobs: string[]
}

/** Their names. */
export const violations = [
  'lease_of_no_executor',
  'lease_in_the_wrong_class',
  'fence_used_before',
  'effect_of_no_lease',
  'transition_of_no_wait',
]

/** Reads leased rows by their index alone, so that its cost follows what is leased, not the table. */
export async function findViolations(db: Queryable): Promise<Violation[]> {
  const { rows } = await db.query<Violation>({
    name: 'find_violations',
    text: `
      SELECT v.violation, count(*)::integer AS count, (array_agg(j.id::text))[:10] AS jobs
      FROM jobs j LEFT JOIN executors x USING (executor_id)
      LEFT JOIN classes c USING (class_id)
      CROSS JOIN LATERAL (VALUES
        ('lease_of_no_executor', x.executor_id IS NULL OR j.epoch > x.epoch),
        ('lease_in_the_wrong_class', CASE
          WHEN j.stage IS NULL THEN (c.queue, c.kind) IS DISTINCT FROM (j.queue, j.kind)
          ELSE c.queue IS DISTINCT FROM j.queue OR j.class_id IS DISTINCT FROM (
            SELECT s.class_id FROM stages s WHERE s.job_id = j.id AND s.name = j.stage) END),
        ('fence_used_before',
          EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.fence >= j.fence))
      ) AS v(violation, holds)
      WHERE j.state = 'leased' AND v.holds
      GROUP BY v.violation
      UNION ALL
      SELECT 'effect_of_no_lease', count(*)::integer, (array_agg(e.job_id::text))[:10]
      FROM effects e LEFT JOIN jobs j ON j.id = e.job_id
      WHERE e.state = 'begun' AND (j.state, j.fence) IS DISTINCT FROM ('leased', e.fence)
      HAVING count(*) > 0
      UNION ALL
      SELECT 'transition_of_no_wait', count(*)::integer, (array_agg(t.job_id::text))[:10]
      FROM transitions t LEFT JOIN jobs j ON j.id = t.job_id
      WHERE t.ended_at IS NULL AND (j.state, j.waiting_for) IS DISTINCT FROM ('waiting', 'transition')
      HAVING count(*) > 0
      ORDER BY 1`,
  })
  return rows
}

/** Whether what invariant 1 rests on is as it was migrated: one fence, which looks at a snapshot of its own. */
export async function isFenceSound(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ volatility: string }>({
    text: `SELECT provolatile AS volatility FROM pg_proc
      WHERE proname = 'fence_term' AND pronamespace = to_regnamespace(current_schema())`,
  })
  return rows.length === 1 && rows[0]?.volatility === 'v'
}
