import type { Drill } from '../drill.ts'
import { killActive } from './kill-active.ts'

/** Jobs of a queue that nobody serves, and leases that run for an hour, of executors that are never heard. They are
 *  there before the history begins. */
const seed = `
  INSERT INTO classes (queue, kind, requires) VALUES ('ghosts', 'ghost', '{}');
  INSERT INTO executors SELECT 'ghost-' || n, 1, '{}', '{ghosts}', 100, now(), now() FROM generate_series(0, 999) n;
  INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at, claim_at, fence, attempt,
      max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, executor_id, epoch,
      poll_id, leased_at, lease_expires_at, labels, payload)
    SELECT gen_random_uuid(), 'ghosts', 'ghost', class_id,
      CASE WHEN is_leased THEN 'leased' ELSE 'available' END, false, 0, now(), now(),
      is_leased::integer, is_leased::integer, 5, 2000, 2, 600000, 'continue',
      CASE WHEN is_leased THEN 'ghost-' || n % 1000 END, CASE WHEN is_leased THEN 1 END,
      CASE WHEN is_leased THEN n::text END, CASE WHEN is_leased THEN now() END,
      CASE WHEN is_leased THEN now() + interval '1 hour' END, '{}', '{}'
    FROM classes, generate_series(1, 1050000) n, LATERAL (SELECT n <= 50000 AS is_leased) l
    WHERE queue = 'ghosts';
  ANALYZE jobs;`

export const largeTable: Drill = {
  promotes: killActive.promotes,
  run: killActive.run,
  name: 'large-table',
  title: 'kill -9 of the active replica, with 1,000,000 available and 50,000 leased jobs',
  figureRuns: 10,
  stage: { seed },
}
