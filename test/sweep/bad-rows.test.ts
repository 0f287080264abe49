import { randomUUID } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'

/** Rows that cannot be written, for whatever reason: here a trigger refuses those of kind `bad`. */

const db = useDatabase()

beforeEach(async () => {
  await db.sql('DROP TRIGGER IF EXISTS planted ON jobs')
  await db.sql('DELETE FROM jobs')
})

async function plantTrigger(first = '') {
  await db.sql(`${first};
    CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
    CREATE TRIGGER planted BEFORE UPDATE ON jobs FOR EACH ROW WHEN (OLD.kind = 'bad')
      EXECUTE FUNCTION refuse()`)
}

type What = { kind: 'bad' | 'good'; count: number; owner: string; lease?: string; due?: string }

/** Jobs of the past: leased until `lease`, or scheduled for `due`. */
async function insertJobs({ kind, count, owner, lease, due }: What) {
  await db.sql(
    `WITH c AS (
      INSERT INTO classes (queue, kind, requires) VALUES ('q', $1, '{}')
      ON CONFLICT (queue, kind, requires) DO UPDATE SET kind = $1 RETURNING class_id
    ) INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at, claim_at,
      max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels, payload,
      executor_id, epoch, leased_at, lease_expires_at, fence)
    SELECT gen_random_uuid(), 'q', $1, class_id,
      CASE WHEN $4::timestamptz IS NULL THEN 'available' ELSE 'leased' END, $4 IS NULL, 0,
      coalesce($5, now()), now(), 1, 1, 1, 1, 'continue', '{}', '{}', o.owner, o.epoch, $4, $4, 1
    FROM c, generate_series(1, $2), (SELECT CASE WHEN $4::timestamptz IS NOT NULL THEN $3 END AS owner,
      CASE WHEN $4::timestamptz IS NOT NULL THEN 1 END AS epoch) o`,
    [kind, count, owner, lease ?? null, due ?? null],
  )
}

const past = '2020-01-01T00:00:00Z'
const laterPast = '2021-01-01T00:00:00Z'
const future = '2100-01-01T00:00:00Z'

async function countJobs(where: string): Promise<number> {
  const [row] = await db.sql<{ count: number }>(`SELECT count(*) FROM jobs WHERE ${where}`)
  return row?.count ?? 0
}

async function sweepState(api: TestReplica['api'], wanted: string) {
  const { sweeps } = (await api.get('/v1/status')).body
  return sweeps.find(({ name }: { name: string }) => name === wanted)
}

/** A replica whose term holds no lease back any more. */
async function startPastFloor() {
  const replica = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  while ((await sweepState(replica.api, 'expire_leases')) === undefined) await pause()
  await db.sql("UPDATE terms SET deadline_floor_at = clock_timestamp() - interval '1 hour'")
  return replica
}

test.for([
  { bad: 1, good: 4, what: 'one' },
  { bad: 30, good: 2, what: 'more than one pass tries' },
  { bad: 500, good: 1, what: 'a whole batch' },
])(
  '$what that cannot be written: the other expired leases are taken back, and it is counted',
  async ({ bad, good }, { expect }) => {
    const { api } = await startPastFloor()
    await plantTrigger()
    await insertJobs({ kind: 'good', count: good - 1, owner: 'a', lease: past })
    await insertJobs({ kind: 'bad', count: bad, owner: 'b', lease: past })
    await insertJobs({ kind: 'good', count: 1, owner: 'c', lease: past })
    while ((await countJobs("kind = 'good' AND state = 'available'")) < good) await pause()
    expect(await countJobs("kind = 'bad' AND state = 'leased' AND fence = 1")).toBe(bad)
    while ((await sweepState(api, 'expire_leases')).last_counts.bad_rows === undefined)
      await pause()
    expect(await sweepState(api, 'expire_leases')).toMatchObject({ failures: 0 })
    await db.sql('DROP TRIGGER planted ON jobs')
    while ((await countJobs("state = 'available' AND lost_leases = 1")) < bad + good) await pause()
  },
)

test.for([
  { bad: 1, good: 4, what: 'one' },
  { bad: 30, good: 2, what: 'more than one pass tries' },
  { bad: 500, good: 1, what: 'a whole batch' },
])(
  '$what that cannot be written: the other due jobs are woken, and it is counted',
  async ({ bad, good }, { expect }) => {
    const { api } = await startActive(db)
    await plantTrigger()
    await insertJobs({ kind: 'good', count: good - 1, owner: '', due: past })
    await insertJobs({ kind: 'bad', count: bad, owner: '', due: past })
    await insertJobs({ kind: 'good', count: 1, owner: '', due: laterPast })
    while ((await countJobs("kind = 'good' AND NOT scheduled")) < good) await pause()
    expect(await countJobs("kind = 'bad' AND scheduled")).toBe(bad)
    while ((await sweepState(api, 'wake_due_jobs')).last_counts.bad_rows === undefined)
      await pause()
    expect(await sweepState(api, 'wake_due_jobs')).toMatchObject({ failures: 0 })
    await db.sql('DROP TRIGGER planted ON jobs')
    while ((await countJobs('NOT scheduled')) < bad + good) await pause()
  },
)

/** What makes all jobs due to each of these sweeps, and what it makes of them. */
const deadlines = [
  {
    sweep: 'end_unanswered_cancels',
    due: `UPDATE jobs SET cancel_requested_at = '${past}', cancel_told_at = '${past}'`,
    done: "state = 'cancelled'",
  },
  {
    sweep: 'enforce_run_timeouts',
    due: `UPDATE jobs SET attempt = 1, run_timeout_ms = 1, leased_at = '${past}'`,
    done: "state = 'failed'",
  },
  {
    sweep: 'expire_transitions',
    due: `UPDATE jobs SET state = 'waiting', waiting_for = 'transition', stage = 'a', move = 0,
        executor_id = NULL, epoch = NULL, leased_at = NULL, lease_expires_at = NULL;
      INSERT INTO stages (job_id, position, name, class_id) SELECT id, 0, 'a', NULL FROM jobs;
      INSERT INTO transitions (job_id, stage, move, owner, boot_id, token_id, expires_at)
        SELECT id, 'a', 0, 'o', 'b', 't', '${past}' FROM jobs`,
    done: "waiting_for = 'decision'",
  },
]

test.for(
  deadlines.flatMap((each) => [
    { ...each, bad: 1, good: 4, what: 'one' },
    { ...each, bad: 30, good: 2, what: 'more than one pass tries' },
  ]),
)(
  '$what that cannot be written: $sweep sees to the others, and counts it',
  async ({ sweep, due, done, bad, good }, { expect }) => {
    const { api } = await startPastFloor()
    await insertJobs({ kind: 'good', count: good, owner: 'c', lease: future })
    await insertJobs({ kind: 'bad', count: bad, owner: 'b', lease: future })
    // In whichever order it looks, the bad ones come first.
    await db.sql(
      `UPDATE jobs SET id = ('ffffffff' || substr(id::text, 9))::uuid WHERE kind = 'good'`,
    )
    await plantTrigger(due)
    while ((await countJobs(`kind = 'good' AND ${done}`)) < good) await pause()
    expect(await countJobs(`kind = 'bad' AND ${done}`)).toBe(0)
    while (!((await sweepState(api, sweep)).last_counts.bad_rows > 0)) await pause()
    expect(await sweepState(api, sweep)).toMatchObject({ failures: 0 })
    await db.sql('DROP TRIGGER planted ON jobs')
    while ((await countJobs(done)) < bad + good) await pause()
  },
)

test.for([
  { bad: 1, good: 4, what: 'one' },
  { bad: 500, good: 1, what: 'a whole batch' },
])(
  '$what that cannot be written: recovery takes the other leases back, and the gate opens',
  async ({ bad, good }, { expect }) => {
    const lockId = `${BigInt(`0x${randomUUID().slice(0, 8)}`)}`
    await db.sql('DELETE FROM terms')
    await db.sql(
      `INSERT INTO terms SELECT 0, gen_random_uuid(), $1, '', 1, now(), now(), now(),
        now() - interval '1 hour'`,
      [lockId],
    )
    await plantTrigger()
    await insertJobs({ kind: 'good', count: good - 1, owner: 'a', lease: past })
    await insertJobs({ kind: 'bad', count: bad, owner: 'b', lease: past })
    await insertJobs({ kind: 'good', count: 1, owner: 'c', lease: past })
    const { api } = await startReplica(db)
    await api.untilActive()
    expect(await countJobs("kind = 'bad' AND state = 'leased' AND fence = 1")).toBe(bad)
    // So many bad ones are not waited for: what comes after them is left to the sweep.
    const taken = bad < 20 ? good : 0
    expect(await countJobs("kind = 'good' AND state = 'available' AND lost_leases = 1")).toBe(taken)
    const { recovery } = (await api.get('/v1/leader')).body
    const settled = recovery.find(({ phase }: { phase: string }) => phase === 'settle_deadlines')
    expect(settled.counts).toEqual({ reclaimed: taken, bad_rows: Math.min(bad, 20) })
  },
)

test('a sweep that throws is named, repeated with backoff, and costs no leadership', async () => {
  const { api, events } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  const { term } = await events.wait('promoted')
  // The opening of the gate writes that column, too.
  while ((await sweepState(api, 'expire_leases')) === undefined) await pause()
  await db.sql('ALTER TABLE terms RENAME deadline_floor_at TO hidden')
  while (((await sweepState(api, 'expire_leases'))?.failures ?? 0) < 3) await pause()
  expect((await sweepState(api, 'expire_leases')).last_error).toContain('deadline_floor_at')
  const { runs } = await sweepState(api, 'scan_claimable')
  while ((await sweepState(api, 'scan_claimable')).runs === runs) await pause()
  await db.sql('ALTER TABLE terms RENAME hidden TO deadline_floor_at')
  while ((await sweepState(api, 'expire_leases')).last_error !== null) await pause()
  expect(term.lost.aborted).toBe(false)
  expect((await api.get('/health/active')).body).toMatchObject({ term: term.number })
})
