import type { Stage } from './stage.ts'

/** Tables as long use leaves them, by SQL: a million jobs over HTTP take too long. */

/** Jobs that are alike. They are older than whatever is submitted from now on. */
export interface Heap {
  jobs: number
  /** How old the youngest of them is; they were submitted a millisecond apart. */
  minutesOld: number
  requires?: Record<string, string>
  priority?: number
}

/** Those that can be claimed, by executors with the labels that they require. */
export function fillWaiting(stage: Stage, database: string, heap: Heap): Promise<void> {
  return fill(stage, database, heap, { columns: 'scheduled', values: 'false' })
}

/** Those that cannot be claimed before tomorrow. */
export function fillDelayed(stage: Stage, database: string, heap: Heap): Promise<void> {
  return fill(stage, database, heap, { columns: 'scheduled', values: 'true', delay: '1 day' })
}

/** Those that succeeded, each with its one attempt. */
export function fillFinished(stage: Stage, database: string, heap: Heap): Promise<void> {
  return fill(stage, database, heap, {
    columns: 'scheduled, state, fence, attempt, finished_at',
    values: "false, 'succeeded', 1, 1, made.at",
    after: `INSERT INTO attempts
      (job_id, fence, attempt, executor_id, epoch, outcome, started_at, ended_at)
      SELECT id, 1, 1, 'filled', 1, 'succeeded', created_at, created_at FROM inserted`,
  })
}

/** Those that are held, ten by each executor, and for longer than any bench takes. */
export async function fillLeased(stage: Stage, database: string, heap: Heap): Promise<void> {
  await stage.sql(
    database,
    `INSERT INTO executors
      (executor_id, epoch, labels, queues, capacity, registered_at, heartbeat_at)
      SELECT 'filled-' || nth, 1, '{}', '{default}', 10, now(), now()
      FROM generate_series(0, $1 - 1) nth`,
    [Math.ceil(heap.jobs / 10)],
  )
  await fill(stage, database, heap, {
    columns:
      'scheduled, state, fence, attempt, executor_id, epoch, poll_id, leased_at, lease_expires_at',
    values: `false, 'leased', 1, 1, 'filled-' || (nth - 1) / 10, 1, 'filled', now(),
      now() + interval '1 day'`,
  })
}

interface Kind {
  /** What rows of this kind have besides what all have. */
  columns: string
  values: string
  delay?: string
  after?: string
}

const slice = 50_000

async function fill(stage: Stage, database: string, heap: Heap, kind: Kind): Promise<void> {
  const { jobs, minutesOld, requires = {}, priority = 0 } = heap
  const classId = await internClass(stage, database, requires)
  const insert = `INSERT INTO jobs (id, class_id, queue, kind, priority, run_at, claim_at,
      max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels, payload,
      created_at, ${kind.columns})
    SELECT uuidv7(made.at - now()), $4::integer, 'default', 'noop', $6::integer, made.due,
      made.due - $6::integer * interval '10 minutes', 5, 2000, 2, 600000, 'continue', '{}',
      json_build_object('nth', nth, 'note', 'a payload of some fifty bytes or so, as jobs have'),
      made.at, ${kind.values}
    FROM generate_series($1::integer, $2::integer) nth, LATERAL (
      SELECT at, at + interval '${kind.delay ?? '0'}' AS due FROM (
        SELECT now() - $5::integer * interval '1 minute' - ($3::integer - nth) * interval '1 millisecond' AS at) x
    ) made`
  const text = kind.after ? `WITH inserted AS (${insert} RETURNING *) ${kind.after}` : insert
  for (let done = 0; done < jobs; done += slice) {
    const last = Math.min(done + slice, jobs)
    await stage.sql(database, text, [done + 1, last, jobs, classId, minutesOld, priority])
  }
}

async function internClass(
  stage: Stage,
  database: string,
  requires: Record<string, string>,
): Promise<number | undefined> {
  const names = ['default', 'noop', JSON.stringify(requires)]
  await stage.sql(
    database,
    'INSERT INTO classes (queue, kind, requires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    names,
  )
  const [row] = await stage.sql<{ class_id: number }>(
    database,
    'SELECT class_id FROM classes WHERE (queue, kind, requires) = ($1, $2, $3)',
    names,
  )
  return row?.class_id
}

/** Takes away what was finished over HTTP: what a round leaves would make the next a little larger. */
export async function dropDone(stage: Stage, database: string): Promise<void> {
  await stage.sql(
    database,
    `WITH gone AS (DELETE FROM attempts WHERE executor_id <> 'filled' RETURNING job_id)
      DELETE FROM jobs USING gone WHERE jobs.id = gone.job_id`,
  )
}
