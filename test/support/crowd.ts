import type { TestDatabase } from './database.ts'

/** A database as a fleet leaves it that has run for a while. Ids ascend with time, as those of ours do: most jobs are
 *  old and over; what is live is a small part at the end. */

const jobs = 200_000
/** The first of each kind, by number; up to the next one. */
const begins = { failed: 140_000, cancelled: 145_000, available: 150_000 }
const scheduled = 190_000
const leased = 195_000
const waiting = 199_000
const executors = 10_000
const classes = 40

/** So many at once. */
const slice = 20_000

const id = (n: string) => `('01980000-0000-7000-8000-' || lpad(to_hex(${n}), 12, '0'))::uuid`
const isLeased = `n >= ${leased} AND n < ${waiting}`
const state = `CASE WHEN n < ${begins.failed} THEN 'succeeded' WHEN n < ${begins.cancelled} THEN 'failed'
  WHEN n < ${begins.available} THEN 'cancelled' WHEN n < ${leased} THEN 'available'
  WHEN n < ${waiting} THEN 'leased' ELSE 'waiting' END`

const insertJobs = `INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at, claim_at, fence,
    attempt, max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, executor_id, epoch, poll_id,
    offered, leased_at, lease_expires_at, labels, payload, idempotency_key, body_hash, finished_at,
    cancel_requested_at, stage, waiting_for)
  SELECT ${id('n')}, 'queue ' || n % ${classes}, 'kind', 1 + n % ${classes}, ${state},
    n >= ${scheduled} AND n < ${leased}, 0, at, at, 1,
    1, 5, 2000, 2, 600000, 'continue', CASE WHEN ${isLeased} THEN 'executor ' || n % 1000 END,
    CASE WHEN ${isLeased} THEN 1 END, CASE WHEN ${isLeased} THEN 'poll ' || n END,
    ${isLeased} AND n % 10 = 0, CASE WHEN ${isLeased} THEN at END, CASE WHEN ${isLeased} THEN at END, '{}',
    '{"some": "payload"}', CASE WHEN n % 4 = 0 THEN 'key ' || n END, CASE WHEN n % 4 = 0 THEN '\\x00'::bytea END,
    CASE WHEN n < ${begins.available} THEN at END, CASE WHEN ${isLeased} AND n % 20 = 0 THEN at END,
    CASE WHEN n % 10 = 0 THEN 'a' END,
    CASE WHEN n >= ${waiting} THEN (ARRAY['effect', 'decision', 'transition'])[1 + n % 3] END
  FROM generate_series($1::integer, $2::integer - 1) AS n,
    LATERAL (SELECT now() + (n - ${scheduled}) * interval '1 second' AS at) t`

const insertAttempts = `INSERT INTO attempts
    (job_id, fence, attempt, executor_id, epoch, outcome, started_at, ended_at)
  SELECT ${id('n')}, 1, 1, 'executor ' || n % 1000, 1, 'succeeded', now(), now()
  FROM generate_series($1::integer, $2::integer - 1) AS n`

const insertEffects = `INSERT INTO effects
    (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch, settled_at)
  SELECT ${id('n')}, 'key', CASE WHEN ${isLeased} THEN 'begun' ELSE 'committed' END, 'hold', 'begin', 1,
    'executor 1', 1, CASE WHEN NOT (${isLeased}) THEN now() END
  FROM generate_series($1::integer, $2::integer - 1) AS n`

const insertTransitions = `INSERT INTO transitions
    (job_id, stage, move, owner, boot_id, token_id, expires_at, ended_at, outcome)
  SELECT ${id('n')}, 'a', 0, 'owner', 'boot', 'token', now(), CASE WHEN n < ${waiting} THEN now() END,
    CASE WHEN n < ${waiting} THEN CASE n % 20 WHEN 0 THEN 'taken_over' ELSE 'abandoned' END END
  FROM generate_series($1::integer, $2::integer - 1) AS n`

/** What stands round them. */
const beside = [
  `INSERT INTO terms (term, replica_id, active_lock_id, system_identifier, timeline, promoted_at, ticked_at)
    SELECT n, gen_random_uuid(), 1, '', 1, now(), now() FROM generate_series(1, 100) AS n`,
  `INSERT INTO classes (queue, kind, requires)
    SELECT 'queue ' || n % ${classes}, 'kind', '{}' FROM generate_series(1, ${classes}) AS n`,
  `INSERT INTO executors (executor_id, epoch, labels, queues, capacity, registered_at, heartbeat_at)
    SELECT 'executor ' || n, 1, '{}', ARRAY['queue ' || n % ${classes}], 10, now(), now()
    FROM generate_series(0, ${executors} - 1) AS n`,
  `INSERT INTO executor_events (executor_id, epoch, axis, was, became, reason)
    SELECT 'executor ' || n / 2, 1, 'state', 'healthy', 'suspect', 'silent' FROM generate_series(0, 19999) AS n`,
  `INSERT INTO late_effects (job_id, key, begin_id, executor_id, epoch, fence, outcome)
    SELECT ${id('n')}, 'key', 'begin', 'executor 1', 1, 1, 'committed' FROM generate_series(1, 5000) AS n`,
  `INSERT INTO late_reports (job_id, executor_id, epoch, fence, outcome, reason)
    SELECT ${id('n')}, 'executor 1', 1, 1, 'succeeded', 'stale_fence' FROM generate_series(1, 5000) AS n`,
  `INSERT INTO progress (job_id, fence, progress, updated_at)
    SELECT ${id('n * 10')}, 1, '{}', now() FROM generate_series(0, 19999) AS n`,
  `INSERT INTO stages (job_id, position, name, class_id)
    SELECT ${id('n * 10')}, p, chr(97 + p), 1 FROM generate_series(0, 9999) AS n, generate_series(0, 1) AS p`,
  `INSERT INTO moves (job_id, move, from_stage, to_stage, by, fence, idempotency_key, body_hash)
    SELECT ${id('n * 10')}, 1, 'a', 'b', 'report', 1, 'key', '\\x00' FROM generate_series(0, 19999) AS n`,
  `INSERT INTO locks (name, fence, owner, boot_id, holders, token_id, job_id, metadata, ttl_ms, acquired_at, renewed_at,
      expires_at, ends_at)
    SELECT 'lock ' || n, n, 'owner', 'boot', '{}', 'token', ${id('n')}, '{}', 1000, now(), now(), now(), now()
    FROM generate_series(1, 10000) AS n`,
  `INSERT INTO tokens (id, name, role, secret_hash, revoked_at)
    SELECT 'token ' || n, 'name', 'submit', '\\x00', CASE WHEN n % 50 = 0 THEN now() END
    FROM generate_series(1, 5000) AS n`,
]

const tables = `attempts, effects, executor_events, executors, jobs, late_effects, late_reports, locks, moves,
  progress, stages, terms, tokens, transitions`

async function insertSlices(db: TestDatabase, first: number, end: number) {
  for (let from = first; from < end; from += slice) {
    const bounds = [from, Math.min(from + slice, end)]
    await db.sql(insertJobs, bounds)
    await db.sql(insertAttempts, bounds)
  }
}

/** Most of it, while nothing is live: what has been analyzed then is what the planner believes for a while after. */
export async function seedQuiet(db: TestDatabase): Promise<void> {
  for (const table of tables.split(',')) {
    await db.sql(`ALTER TABLE ${table} SET UNLOGGED`)
    // Or its statistics would be of whatever moment it was cleaned in.
    await db.sql(`ALTER TABLE ${table} SET (autovacuum_enabled = false)`)
  }
  await insertSlices(db, 0, begins.available)
  for (const statement of beside) await db.sql(statement)
  for (const statement of [insertEffects, insertTransitions]) {
    await db.sql(statement, [begins.available - 20_000, begins.available])
  }
  await db.sql(`ANALYZE ${tables}`)
}

/** The rest, and all that is live. */
export async function seedBusy(db: TestDatabase): Promise<void> {
  await insertSlices(db, begins.available, jobs)
  await db.sql(insertEffects, [leased, leased + 1_000])
  await db.sql(insertTransitions, [waiting, waiting + 300])
  await db.sql('VACUUM (ANALYZE) jobs, attempts, effects, transitions')
}
