import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createLog } from '../../src/log.ts'
import { createDoors } from '../../src/sql/doors.ts'
import { beforeAllLeases } from '../../src/sql/leases.ts'
import { createReader } from '../../src/sql/pool.ts'
import { listOverrunLeases, lockOverrunLeases } from '../../src/sql/run-timeouts.ts'
import { enforceRunTimeouts } from '../../src/sweep/enforce-run-timeouts.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { stillClock } from '../support/still-clock.ts'

const db = useDatabase()

const graceMs = 60_000

/** As if this job had been given out so long ago, and the term's floor had passed. */
async function age(jobId: string, ms: number) {
  await db.sql(
    "UPDATE jobs SET leased_at = clock_timestamp() - $2 * interval '1 millisecond' WHERE id = $1",
    [jobId, ms],
  )
}

const passFloor = () =>
  db.sql("UPDATE terms SET deadline_floor_at = clock_timestamp() - interval '1 hour'")

/** A job that an executor holds, and goes on to be heard of. */
async function startRunning(more: Record<string, unknown> = {}, env: Record<string, string> = {}) {
  const { api, app } = await startActive(
    db,
    { UNDERSTUDY_SWEEP_INTERVAL_MS: '50', ...env },
    { clock: stillClock },
  )
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(executor, { queues: [queue] })
  // The floor is set, and nothing else will move it.
  while (!((await api.get('/v1/status')).body.reaper?.deferrals.promotion > 0)) await pause()
  const job = await api.submit({ queue, run_timeout_ms: 1_000, ...more })
  const [given] = await api.poll(executor, epoch)
  const lease = { job_id: job.id, fence: given?.fence }
  const beat = () => api.heartbeat(executor, epoch, [lease])
  await beat()
  return { api, app, executor, epoch, job, lease, beat }
}

test('a job that runs on past its timeout and the grace is taken from an executor that is heard', async () => {
  const { api, executor, epoch, job, lease, beat } = await startRunning({
    backoff: { base_ms: 3_600_000 },
  })
  await age(job.id, 1_000 + graceMs)
  await passFloor()
  while ((await api.job(job.id)).state === 'leased') await beat()
  expect(await api.job(job.id)).toMatchObject({
    state: 'available',
    scheduled: true,
    attempt: 1,
    lost_leases: 0,
    fence: 2,
    error: { code: 'run_timeout', retryable: true },
  })
  expect((await beat()).revoked).toEqual([{ ...lease, reason: 'stale_fence' }])
  const late = { ...lease, outcome: 'succeeded', result: 1 }
  expect(await api.report(executor, epoch, late)).toMatchObject([{ status: 'rejected' }])
  expect((await api.get(`/v1/jobs/${job.id}/attempts`)).body).toMatchObject({
    attempts: [{ outcome: 'failed', error: { code: 'run_timeout' } }],
    late_reports: [{ outcome: 'succeeded', reason: 'stale_fence' }],
  })
  expect((await api.get('/v1/status')).body.reaper).toMatchObject({
    tiers: { run_timeout: 1, expired: 0 },
    forced: 1,
    stale: 0,
  })
  const metrics = (await api.get('/metrics')).body
  expect(metrics).toContain('leases_ended_total{tier="run_timeout",outcome="failed"} 1')
})

test('a poison job stops: a timeout spends an attempt, and the last one ends the job', async () => {
  const { api, job } = await startRunning({ max_attempts: 1 })
  await age(job.id, 1_000 + graceMs)
  await passFloor()
  const { body } = await api.get(`/v1/jobs/${job.id}?wait_ms=20000`)
  expect(body.job).toMatchObject({ state: 'failed', error: { code: 'run_timeout' } })
})

test('nothing is taken before the grace is over, nor a job without a timeout', async () => {
  const { app, job } = await startRunning({}, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const term = app.gate.serving?.number ?? 0
  const session = await openSession(db.url)
  const overrun = async () =>
    (await listOverrunLeases(session, term, beforeAllLeases, 10, graceMs)).map(({ id }) => id)
  await passFloor()
  await age(job.id, 1_000 + graceMs - 30_000)
  expect(await overrun()).not.toContain(job.id)
  await age(job.id, 1_000 + graceMs)
  expect(await overrun()).toContain(job.id)
  await db.sql('UPDATE jobs SET run_timeout_ms = NULL WHERE id = $1', [job.id])
  expect(await overrun()).not.toContain(job.id)
})

test('invariant 7: before the deadline floor no timeout is enforced, however old', async () => {
  const { app, job } = await startRunning({}, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const term = app.gate.serving?.number ?? 0
  const session = await openSession(db.url)
  await age(job.id, 3_600_000)
  const found = () => listOverrunLeases(session, term, beforeAllLeases, 10, graceMs)
  const locked = () => lockOverrunLeases(session, term, [job.id], graceMs)
  expect([await found(), await locked()]).toEqual([[], []])
  await passFloor()
  expect(await found()).toMatchObject([{ id: job.id }])
  expect(await locked()).toMatchObject([{ id: job.id }])
  await db.sql('UPDATE terms SET deadline_floor_at = NULL')
  expect([await found(), await locked()]).toEqual([[], []])
})

test('invariant 7: while a stall is not settled no timeout is enforced', async () => {
  const { api, app, job } = await startRunning({}, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const { leaseEnds, stalls } = app.wiring
  const term = app.gate.serving
  if (!term) throw new Error('it does not serve')
  const sweep = enforceRunTimeouts({
    db: createReader(app.pools.leader),
    doors: createDoors(app.pools),
    log: createLog('silent'),
    leaseEnds,
    stalls,
    intervalMs: 1,
    graceMs,
  })
  await age(job.id, 3_600_000)
  await passFloor()
  stalls.note()
  await sweep.runOnce(term)
  expect((await api.job(job.id)).state).toBe('leased')
  do stalls.settle(stalls.unsettled)
  while ((await sweep.runOnce(term)).counts.timed_out === 0)
  expect((await api.job(job.id)).state).toBe('available')
})

test('a lease that ended since it was found is not ended again', async () => {
  const { api, app, executor, epoch, job, lease } = await startRunning(
    {},
    { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' },
  )
  const session = await openSession(db.url)
  await age(job.id, 3_600_000)
  await passFloor()
  await api.report(executor, epoch, { ...lease, outcome: 'succeeded' })
  const term = app.gate.serving?.number ?? 0
  expect(await lockOverrunLeases(session, term, [job.id], graceMs)).toEqual([])
})
