import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { startRetries } from '../support/retries.ts'

const db = useDatabase()

/** Jobs that failed, without anybody who ran them. */
async function fail(queue: string, jobs: number, more: { kind?: string; state?: string } = {}) {
  const { kind = 'test', state = 'failed' } = more
  await db.sql(
    `INSERT INTO classes (queue, kind, requires) VALUES ($1, $2, '{}') ON CONFLICT DO NOTHING`,
    [queue, kind],
  )
  await db.sql(
    `INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at, claim_at,
        max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels, payload,
        finished_at)
      SELECT ('01890a5d-ac96-774b-bcce-' || substr(md5($1 || $2 || $3 || n), 1, 12))::uuid, $1, $2,
        class_id, $3, false, 0, now(), now(), 1, 1, 1, 1, 'continue',
        jsonb_build_object('odd', (n % 2)::text), '{}', now()
      FROM classes, generate_series(1, $4) n WHERE queue = $1 AND kind = $2`,
    [queue, kind, state, jobs],
  )
}

const retriesOf = async (queue: string) =>
  (await db.sql('SELECT FROM jobs WHERE queue = $1 AND retry_of IS NOT NULL', [queue])).length

test('a dry run counts what a filter matches, and changes nothing', async () => {
  const { queue, bulk } = await startRetries(db)
  await fail(queue, 5)
  await fail(queue, 3, { kind: 'other' })
  await fail(queue, 2, { state: 'cancelled' })
  const count = async (filter: object) => (await bulk({ filter, dry_run: true })).body
  expect(await count({ queue })).toEqual({ dry_run: true, matched: 8 })
  expect((await count({ queue, state: 'failed', kind: 'other' })).matched).toBe(3)
  expect((await count({ queue, state: 'cancelled' })).matched).toBe(2)
  expect((await count({ queue, kind: 'test', label: 'odd=1' })).matched).toBe(3)
  expect((await count({ queue, label: ['odd=1', 'x=y'] })).matched).toBe(0)
  expect((await count({})).matched).toBeGreaterThanOrEqual(8)
  expect(await retriesOf(queue)).toBe(0)
})

test('what a filter matches is retried, once, and told in the audit', async () => {
  const { api, queue, bulk } = await startRetries(db)
  await fail(queue, 5)
  await fail(queue, 2, { state: 'cancelled' })
  const filter = { queue, state: 'failed' }
  expect((await bulk({ filter, reason: 'fixed' })).body).toEqual({
    dry_run: false,
    matched: 5,
    changed: 5,
    skipped: 0,
    remaining: 0,
    next_cursor: null,
  })
  const { entries } = (await api.get('/v1/audit?limit=1')).body
  expect(entries).toMatchObject([
    {
      action: 'job.bulk',
      subject: 'retry',
      reason: 'fixed',
      facts: { filter, matched: 5, changed: 5 },
    },
  ])
  expect((await bulk({ filter })).body).toMatchObject({ matched: 0, changed: 0 })
  expect(await retriesOf(queue)).toBe(5)
})

test('a call does at most 500, newest first; with its cursor the next goes on, past what failed again', async () => {
  const { queue, bulk } = await startRetries(db)
  await fail(queue, 1_100)
  const counts: number[] = []
  let matched = 0
  for (let cursor: string | undefined; ; ) {
    const { body } = await bulk({ filter: { queue }, cursor })
    counts.push(body.changed)
    matched = Math.max(matched, body.matched)
    expect(body.remaining).toBe(1_100 - counts.reduce((sum, each) => sum + each, 0))
    // The new jobs fail at once: they are no part of what was asked for.
    await db.sql(
      `UPDATE jobs SET state = 'failed', finished_at = now() WHERE queue = $1 AND state = 'available'`,
      [queue],
    )
    if (body.next_cursor === null) break
    cursor = body.next_cursor
  }
  expect(counts).toEqual([500, 500, 100])
  expect(matched).toBe(1_100)
  expect(await retriesOf(queue)).toBe(1_100)
})

test('two bulk calls at once, and retries beside them, make one new job of each', async () => {
  const { queue, bulk, retry, startOther } = await startRetries(db)
  const other = await startOther()
  await fail(queue, 200)
  const [one] = await db.sql<{ id: string }>('SELECT id FROM jobs WHERE queue = $1 LIMIT 1', [
    queue,
  ])
  await Promise.all([
    untilServed(() => bulk({ filter: { queue } })),
    untilServed(() => bulk({ filter: { queue } }, other)),
    untilServed(() => retry(one?.id ?? '')),
  ])
  expect(
    await db.sql(
      `SELECT count(*) AS jobs, count(DISTINCT retry_of) AS retried FROM jobs
        WHERE queue = $1 AND retry_of IS NOT NULL`,
      [queue],
    ),
  ).toEqual([{ jobs: 200, retried: 200 }])
})

test('a filter that matches everything takes confirm, and other faults are named', async () => {
  const { queue, bulk } = await startRetries(db)
  await fail(queue, 1)
  for (const filter of [{}, { label: [] }]) {
    expect(await bulk({ filter })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ path: 'confirm' }] },
    })
  }
  const faults: [object, string][] = [
    [{}, 'filter'],
    [{ filter: { queue, state: 'succeeded' } }, 'filter.state'],
    [{ filter: { queue, state: 'leased' } }, 'filter.state'],
    [{ filter: { queues: [queue] } }, 'filter.queues'],
    [{ filter: { queue, label: 'x' } }, 'filter.label.0'],
    [{ filter: { queue }, action: 'delete' }, 'action'],
    [{ filter: { queue }, cursor: 'x' }, 'cursor'],
  ]
  for (const [body, path] of faults) {
    expect((await bulk(body)).body).toMatchObject({ code: 'invalid_request', errors: [{ path }] })
  }
  expect(await retriesOf(queue)).toBe(0)
  const { status, body } = await bulk({ filter: {}, confirm: true })
  expect([status, body.changed]).toEqual([200, Math.min(500, body.matched)])
})

test('two cancelled jobs of one key, retried together: one of the new ones has it', async () => {
  const { api, queue, bulk, ended } = await startRetries(db)
  const key = randomUUID()
  await ended('cancelled', { idempotency_key: key })
  await ended('cancelled', { idempotency_key: key })
  const { body } = await bulk({ filter: { queue, state: 'cancelled' } })
  expect(body).toMatchObject({ changed: 2 })
  const { jobs } = (await api.get(`/v1/jobs?queue=${queue}&state=available`)).body
  const keys = jobs.map((job: { idempotency_key: string | null }) => job.idempotency_key)
  expect(new Set(keys)).toEqual(new Set([key, null]))
})

test('invariant 6: whatever a filter matches that is not final is cancelled, or told to stop', async () => {
  const { api, queue, bulk, hold, submit } = await startRetries(db)
  const held = await submit()
  const holder = await hold()
  const waiting = await api.submit({ queue })
  const delayed = await api.submit({ queue, delay_ms: 3_600_000 })
  await fail(queue, 3)
  const cancel = { action: 'cancel', filter: { queue } }
  expect((await bulk({ ...cancel, dry_run: true })).body).toEqual({ dry_run: true, matched: 3 })
  expect((await api.job(waiting.id)).state).toBe('available')
  expect((await bulk({ ...cancel, filter: { queue, state: 'failed' } })).status).toBe(400)
  expect((await bulk({ ...cancel, filter: {} })).status).toBe(400)
  const end = api.get(`/v1/jobs/${waiting.id}?wait_ms=20000`)
  expect((await bulk({ ...cancel, reason: 'all off' })).body).toMatchObject({ changed: 3 })
  expect((await end).body.job).toMatchObject({ state: 'cancelled', cancel_reason: 'all off' })
  expect((await api.job(delayed.id)).state).toBe('cancelled')
  expect(await api.job(held.id)).toMatchObject({ state: 'leased', cancel_reason: 'all off' })
  // Asked once.
  expect((await bulk(cancel)).body).toMatchObject({ matched: 0, changed: 0 })
  const { executor, epoch, job } = holder
  const listed = [{ job_id: job.job_id, fence: job.fence }]
  expect((await api.heartbeat(executor, epoch, listed)).cancel).toHaveLength(1)
})

test('a call takes no more than 16 MB of what its jobs were handed by their stages', async () => {
  const { queue, bulk } = await startRetries(db)
  await fail(queue, 20)
  await db.sql('UPDATE jobs SET results_bytes = 1000000 WHERE queue = $1', [queue])
  const filter = { queue, state: 'failed' }
  expect((await bulk({ filter })).body).toMatchObject({ matched: 20, changed: 15, remaining: 5 })
})
