import { checked } from './checked.ts'
import { columns } from './columns.ts'
import type { HeldLease } from './leases.ts'
import type { Queryable } from './pool.ts'

/** Keeps what executors tell of their progress, if it is news and theirs. */
export async function recordProgressIfHeld(
  tx: Queryable,
  told: (HeldLease & { progress: string })[],
): Promise<void> {
  await tx.query({
    name: 'record_progress_if_held',
    text: `
      INSERT INTO progress (job_id, fence, progress, updated_at)
      SELECT t.job_id, t.fence, t.progress, clock_timestamp()
      FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::json[])
        AS t(job_id, fence, executor_id, epoch, progress)
      JOIN jobs j ON j.id = t.job_id AND j.fence = t.fence AND j.executor_id = t.executor_id
        AND j.epoch = t.epoch AND ${checked("j.state = 'leased'")}
      ORDER BY t.job_id
      ON CONFLICT (job_id) DO UPDATE
        SET fence = EXCLUDED.fence, progress = EXCLUDED.progress, updated_at = EXCLUDED.updated_at
        WHERE progress.fence <= EXCLUDED.fence
          AND progress.progress::text IS DISTINCT FROM EXCLUDED.progress::text`,
    values: columns(told, ['job_id', 'fence', 'executor_id', 'epoch', 'progress'], ['progress']),
  })
}
