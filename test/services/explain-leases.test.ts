import { expect, test } from 'vitest'
import type { Reason } from '../../src/contract/explain.ts'
import { useDatabase } from '../support/database.ts'
import { codesOf, reasonsOf, silence } from '../support/explain.ts'
import { patient } from '../support/health.ts'
import { pause } from '../support/pause.ts'
import { startReplica } from '../support/replica.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

/** Moves the floor of the term, and returns it. */
async function setFloor(ahead: string): Promise<string> {
  const [row] = await db.sql<{ floor: Date }>(
    `UPDATE terms SET deadline_floor_at = clock_timestamp() + $1::interval
      WHERE term = (SELECT term FROM leader) RETURNING deadline_floor_at AS floor`,
    [ahead],
  )
  return new Date(row?.floor ?? '').toISOString()
}

/** A job that an executor was given. */
async function startLeased(env: Record<string, string> = {}, more: Record<string, unknown> = {}) {
  const { api, queue, executor, epoch } = await startWork(db, { ...patient, ...env })
  while (!((await api.get('/v1/status')).body.reaper?.deferrals.promotion > 0)) await pause()
  const job = await api.submit({ queue, ...more })
  const [{ fence } = { fence: 0 }] = await api.poll(executor, epoch)
  const beat = () => api.heartbeat(executor, epoch, [{ job_id: job.id, fence }])
  const reasons = () => reasonsOf(api, job.id)
  const codes = () => codesOf(api, job.id)
  const report = (outcome: string, rest = {}) =>
    api.report(executor, epoch, { job_id: job.id, fence, outcome, ...rest })
  return { api, executor, epoch, job, fence, beat, reasons, codes, report }
}

test('an offer is on its way until it is shown; then the job runs', async () => {
  const { executor, fence, beat, reasons, codes } = await startLeased()
  expect(await codes()).toEqual(['offer_on_its_way', 'running'])
  await beat()
  expect(await reasons()).toMatchObject([
    { code: 'running', facts: { executor_id: executor, executor_state: 'healthy', fence } },
  ])
})

test('a cancel waits for a critical section, then to be told, then for the answer', async () => {
  const { api, executor, epoch, job, fence, beat, reasons } = await startLeased()
  await beat()
  // So far ahead that no stall on a busy machine moves it meanwhile, and the ceiling with it.
  await setFloor('1 hour')
  const critical = (enter: object) =>
    api.must(
      200,
      api.post(`/v1/jobs/${job.id}/critical`, { executor_id: executor, epoch, fence, ...enter }),
    )
  const { critical_until } = (await critical({ enter: true, ceiling_ms: 60_000 })).body
  expect(await reasons()).toMatchObject([{ code: 'running' }])
  await api.post(`/v1/jobs/${job.id}/cancel`, { reason: 'wrong branch' })
  expect(await reasons()).toMatchObject([
    { code: 'cancel_deferred', facts: { until: critical_until, reason: 'wrong branch' } },
    { code: 'running' },
  ])
  await critical({ enter: false })
  await beat()
  expect(await reasons()).toMatchObject([
    {
      code: 'cancel_requested',
      facts: {
        reason: 'wrong branch',
        told_at: expect.stringMatching(/Z$/),
        ends_at: expect.stringMatching(/Z$/),
      },
    },
    { code: 'running' },
  ])
})

/** The reasons that say that its executor is silent. A replica that stalls on a busy machine gives everybody time to be
 *  heard: then it is made silent again. */
async function untilSilent(reasons: () => Promise<Reason[]>, make: () => Promise<void>) {
  for (;;) {
    await make()
    const found = await reasons()
    if (found[0]?.code === 'executor_silent') return found
    await pause()
  }
}

test('invariant 7: a silent executor keeps its lease until the floor of the term at the earliest', async () => {
  const { executor, job, beat, reasons, codes } = await startLeased()
  await beat()
  await silence(db, executor, 120_000)
  expect(await codes()).toEqual(['running'])
  const first = await untilSilent(reasons, () => silence(db, executor, 200_000))
  const { lease_expires_at } = first.at(-1)?.facts ?? {}
  expect(first[0]?.facts).toMatchObject({ executor_id: executor, reclaim_at: lease_expires_at })
  let floor: string | undefined
  const [silent] = await untilSilent(reasons, async () => {
    floor = await setFloor('90 seconds')
    await db.sql('UPDATE jobs SET lease_expires_at = clock_timestamp() WHERE id = $1', [job.id])
  })
  expect(silent?.facts).toMatchObject({ reclaim_at: floor })
})

test('a job that runs on past its timeout says until when', async () => {
  const { job, beat, reasons } = await startLeased({}, { run_timeout_ms: 1_000 })
  await beat()
  await db.sql(
    "UPDATE jobs SET leased_at = clock_timestamp() - interval '2 seconds' WHERE id = $1",
    [job.id],
  )
  // No stall moves that one.
  const floor = await setFloor('1 hour')
  expect(await reasons()).toMatchObject([
    {
      code: 'past_run_timeout',
      facts: { run_timeout_ms: 1_000, ends_at: floor },
    },
    { code: 'running' },
  ])
})

test('without an active replica nobody is called silent, and nothing is taken back at a time', async () => {
  const { api } = await startReplica(db, { UNDERSTUDY_ROLE: 'api', ...patient })
  await api.untilReady()
  const leased = await startLeased()
  await leased.beat()
  await leased.api.post(`/v1/jobs/${leased.job.id}/cancel`, {})
  await leased.beat()
  await silence(db, leased.executor, 200_000)
  await db.sql("UPDATE terms SET ended_at = clock_timestamp(), end_reason = 'test'")
  expect(await reasonsOf(api, leased.job.id)).toMatchObject([
    { code: 'cancel_requested', facts: { ends_at: null } },
    { code: 'running' },
    { code: 'no_active_replica' },
  ])
})

test('what has succeeded says so', async () => {
  const { report, reasons } = await startLeased()
  await report('succeeded')
  expect(await reasons()).toMatchObject([{ code: 'succeeded', facts: { attempt: 1 } }])
})

test('what has failed, or was cancelled, says why, and as what it is retried', async () => {
  const { api, job, report, reasons } = await startLeased()
  await report('failed', { error: { code: 'bad_input', message: 'm', retryable: false } })
  const retried = (await api.must(201, api.post(`/v1/jobs/${job.id}/retry`, {}))).body.job
  expect(await reasons()).toMatchObject([
    {
      code: 'failed',
      detail: expect.stringContaining('bad_input'),
      facts: {
        error: { code: 'bad_input' },
        attempt: 1,
        max_attempts: 5,
        lost_leases: 0,
        retried_as: retried.id,
      },
    },
  ])
  await api.post(`/v1/jobs/${retried.id}/cancel`, { reason: 'enough' })
  expect(await reasonsOf(api, retried.id)).toMatchObject([
    { code: 'cancelled', facts: { reason: 'enough', retried_as: null } },
  ])
})
