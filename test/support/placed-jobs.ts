import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { isFinal, type JobState } from '../../src/domain/job.ts'
import { connectionOptions } from '../../src/sql/session.ts'
import type { TestDatabase } from './database.ts'

/** A session of ours that may write past both doors. */
export async function connect(db: TestDatabase): Promise<pg.Client> {
  const client = new pg.Client(connectionOptions(db.url, 'ways'))
  await client.connect()
  onTestFinished(() => client.end())
  await client.query("SET understudy.door = 'test'")
  return client
}

/** A job with two stages, in the first: in this state, and if it waits, for that. */
export async function placeJob(
  db: TestDatabase,
  state: JobState,
  waitingFor: string,
  setUp = 'move = 0',
) {
  const id = randomUUID()
  const [row] = await db.sql<{ class_id: number }>(
    `INSERT INTO classes (queue, kind, requires) VALUES ($1, 'k', '{}') RETURNING class_id`,
    [id],
  )
  const classId = row?.class_id ?? 0
  const lease =
    state === 'leased' ? "'x', 1, clock_timestamp(), clock_timestamp()" : 'NULL, NULL, NULL, NULL'
  await db.sql(
    `INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at, claim_at, max_attempts,
        backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels, payload, fence, attempt, stage,
        waiting_for, finished_at, executor_id, epoch, leased_at, lease_expires_at)
      SELECT $1, $6, 'k', $2, $3, false, 0, clock_timestamp(), clock_timestamp(), 5, 1, 1, 1, 'continue', '{}',
        '{}', 1, 1, 'a', $4, $5::timestamptz, ${lease}`,
    [
      id,
      classId,
      state,
      state === 'waiting' ? waitingFor : null,
      isFinal(state) ? 'now' : null,
      id,
    ],
  )
  await db.sql(
    "INSERT INTO stages (job_id, position, name, class_id) VALUES ($1, 0, 'a', $2), ($1, 1, 'b', NULL)",
    [id, classId],
  )
  if (state === 'waiting' && waitingFor === 'transition') {
    await db.sql(
      `INSERT INTO transitions (job_id, stage, move, owner, boot_id, token_id, expires_at)
        VALUES ($1, 'a', 0, 'o', 'b', 't', 'infinity')`,
      [id],
    )
  }
  await db.sql(`UPDATE jobs SET ${setUp} WHERE id = $1`, [id])
  return { id, classId }
}
