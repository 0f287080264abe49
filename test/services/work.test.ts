import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

const db = useDatabase()

async function untilWaiting(session: pg.Client) {
  const waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'classes'::regclass"
  while ((await session.query(waiting)).rows.length === 0);
}

/** Each test has an executor and a queue of its own. */
async function start(env: Record<string, string> = {}) {
  const { api, app } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50', ...env })
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(executor, { queues: [queue] })
  return { api, app, queue, executor, epoch }
}

test('a job goes from submit over poll and report to its end, under one fence', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue, payload: { n: 1 }, run_timeout_ms: 5_000 })
  const [assignment] = await api.poll(executor, epoch)
  expect(assignment).toEqual({
    job_id: job.id,
    fence: 1,
    attempt: 1,
    queue,
    kind: 'test',
    stage: null,
    payload: { n: 1 },
    checkpoint: null,
    lease_ttl_ms: 30_000,
    run_timeout_ms: 5_000,
    on_silence: 'continue',
  })
  expect(await api.job(job.id)).toMatchObject({
    state: 'leased',
    executor_id: executor,
    epoch,
    fence: 1,
  })
  const report = { job_id: job.id, fence: 1, outcome: 'succeeded', result: { ok: [1] } }
  expect(await api.report(executor, epoch, report)).toEqual([
    { job_id: job.id, status: 'accepted', job_state: 'succeeded' },
  ])
  expect(await api.job(job.id)).toMatchObject({
    state: 'succeeded',
    result: { ok: [1] },
    error: null,
    executor_id: null,
    fence: 1,
  })
  expect(await api.poll(executor, epoch)).toEqual([])
})

test('a poll that waits is answered as soon as work comes', async () => {
  const { api, queue, executor, epoch } = await start()
  const waiting = api.poll(executor, epoch, { wait_ms: 20_000 })
  const job = await api.submit({ queue })
  expect((await waiting).map(({ job_id }) => job_id)).toEqual([job.id])
})

test('a poll takes no more than max, the highest priority and then the oldest first', async () => {
  const { api, queue, executor, epoch } = await start()
  const low = await api.submit({ queue })
  const later = await api.submit({ queue })
  const high = await api.submit({ queue, priority: 9 })
  const first = await api.poll(executor, epoch, { max: 2 })
  expect(new Set(first.map(({ job_id }) => job_id))).toEqual(new Set([high.id, low.id]))
  expect((await api.poll(executor, epoch, { max: 2 })).map(({ job_id }) => job_id)).toEqual([
    later.id,
  ])
})

test('100 polls at once never share a job', async () => {
  const { api, queue } = await start()
  const jobs = Array.from({ length: 60 }, () => ({ kind: 'test', queue }))
  const executors = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const id = `${queue}-${n}`
      return { id, epoch: await api.register(id, { queues: [queue] }) }
    }),
  )
  const polls = executors.map(({ id, epoch }) => api.poll(id, epoch, { wait_ms: 1_500 }))
  await api.must(200, api.post('/v1/jobs/batch', { jobs }))
  const given = (await Promise.all(polls)).flat().map(({ job_id }) => job_id)
  expect(given).toHaveLength(60)
  expect(new Set(given).size).toBe(60)
})

test('a few jobs go to many executors rather than all to the first', async () => {
  const { api, queue, executor, epoch } = await start()
  const other = `${executor}-2`
  const otherEpoch = await api.register(other, { queues: [queue] })
  const polls = [
    api.poll(executor, epoch, { max: 10, wait_ms: 5_000 }),
    api.poll(other, otherEpoch, { max: 10, wait_ms: 5_000 }),
  ]
  await db.sql('SELECT 1')
  await api.post('/v1/jobs/batch', { jobs: [1, 2].map(() => ({ kind: 'test', queue })) })
  expect((await Promise.all(polls)).map(({ length }) => length)).toEqual([1, 1])
})

test('an executor gets only what its queues and labels can serve', async () => {
  const { api, queue } = await start()
  const gpu = await api.submit({ queue, requires: { gpu: 'a100' } })
  await api.submit({ queue, requires: { gpu: 'h100' } })
  await api.submit({ queue: `${queue}-other` })
  const epoch = await api.register(`${queue}-gpu`, {
    queues: [queue],
    labels: { gpu: 'a100', zone: 'x' },
  })
  const given = await api.poll(`${queue}-gpu`, epoch, { max: 10 })
  expect(given.map(({ job_id }) => job_id)).toEqual([gpu.id])
  const plain = await api.register(`${queue}-plain`, { queues: [queue] })
  expect(await api.poll(`${queue}-plain`, plain, { max: 10 })).toEqual([])
})

test('a delayed job is given when it is due, not before', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue, delay_ms: 300 })
  expect(await api.poll(executor, epoch)).toEqual([])
  const [assignment] = await api.poll(executor, epoch, { wait_ms: 20_000 })
  expect(assignment?.job_id).toBe(job.id)
  const [row] = await db.sql('SELECT leased_at >= run_at AS in_time FROM jobs WHERE id = $1', [
    job.id,
  ])
  expect(row).toEqual({ in_time: true })
})

test('a newer poll of the same executor ends the one that waits, empty', async () => {
  const { api, executor, epoch } = await start()
  const older = api.poll(executor, epoch, { wait_ms: 20_000 })
  await api.poll(executor, epoch, { wait_ms: 1 })
  expect(await older).toEqual([])
})

test('the same poll_id gets again what is still held under it, and nothing new', async () => {
  const { api, queue, executor, epoch } = await start()
  for (let n = 0; n < 3; n += 1) await api.submit({ queue })
  const poll_id = randomUUID()
  const first = await api.poll(executor, epoch, { max: 2, poll_id })
  const again = await api.poll(executor, epoch, { max: 2, poll_id })
  expect(again.map(({ job_id, fence }) => [job_id, fence]).sort()).toEqual(
    first.map(({ job_id, fence }) => [job_id, fence]).sort(),
  )
  const [done] = first
  await api.report(executor, epoch, {
    job_id: done?.job_id,
    fence: done?.fence,
    outcome: 'succeeded',
  })
  expect(await api.poll(executor, epoch, { max: 2, poll_id })).toHaveLength(1)
})

test('a client that hung up while it waited is given nothing', async () => {
  const { api, app, queue, executor, epoch } = await start()
  const hangUp = new AbortController()
  const waiting = api
    .post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 20_000 }, { signal: hangUp.signal })
    .catch(() => 'hung up')
  while (app.wiring.waitList.size === 0) await db.sql('SELECT 1')
  hangUp.abort()
  expect(await waiting).toBe('hung up')
  while (app.wiring.waitList.size > 0) await db.sql('SELECT 1')
  const job = await api.submit({ queue })
  expect(await api.job(job.id)).toMatchObject({ state: 'available', fence: 0 })
})

test('a heartbeat renews what it lists and names what is no longer held', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  await db.sql(
    `UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '1 second' WHERE id = $1`,
    [job.id],
  )
  const held = { job_id: job.id, fence: assignment?.fence ?? 0 }
  const unknown = { job_id: randomUUID(), fence: 1 }
  const nonsense = { job_id: 'nonsense', fence: 1 }
  const stale = { job_id: job.id, fence: 0 }
  const answer = await api.heartbeat(executor, epoch, [held, unknown, nonsense, stale])
  expect(answer.held).toEqual([held])
  expect(answer.revoked).toEqual([
    { ...unknown, reason: 'not_found' },
    { ...nonsense, reason: 'not_found' },
    { ...stale, reason: 'stale_fence' },
  ])
  expect(answer).toMatchObject({ cancel: [], drain: false, switches: {} })
  expect(answer.heartbeat_ms).toBeGreaterThanOrEqual(4_500)
  expect(answer.heartbeat_ms).toBeLessThanOrEqual(5_500)
  const [row] = await db.sql(
    `SELECT lease_expires_at > clock_timestamp() + interval '25 seconds' AS renewed
      FROM jobs WHERE id = $1`,
    [job.id],
  )
  expect(row).toEqual({ renewed: true })
})

test("another executor's listing renews nothing and is told so", async () => {
  const { api, queue, executor, epoch } = await start()
  await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const held = { job_id: assignment?.job_id, fence: assignment?.fence }
  const thief = await api.register(`${executor}-thief`, { queues: [queue] })
  const [own, other] = await Promise.all([
    api.heartbeat(executor, epoch, [held]),
    api.heartbeat(`${executor}-thief`, thief, [held]),
  ])
  expect(own.held).toEqual([held])
  expect(other).toMatchObject({ held: [], revoked: [{ ...held, reason: 'stale_fence' }] })
})

test('progress survives the attempt and is the next one’s checkpoint', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue, backoff: { base_ms: 1 } })
  const [first] = await api.poll(executor, epoch)
  const lease = { job_id: job.id, fence: first?.fence }
  await api.heartbeat(executor, epoch, [{ ...lease, progress: { step: 3 } }])
  expect((await api.job(job.id)).progress).toEqual({ step: 3 })
  await api.report(executor, epoch, { ...lease, outcome: 'failed' })
  const [second] = await api.poll(executor, epoch, { wait_ms: 10_000 })
  expect(second).toMatchObject({ job_id: job.id, attempt: 2, checkpoint: { step: 3 } })
  await api.heartbeat(executor, epoch, [{ ...lease, progress: { step: 'stale' } }])
  expect((await api.job(job.id)).progress).toEqual({ step: 3 })
})

test('an offer that two heartbeats far enough apart do not list goes back and spends nothing', async () => {
  const { api, queue, executor, epoch } = await start({ UNDERSTUDY_HEARTBEAT_MS: '100' })
  const job = await api.submit({ queue })
  await api.poll(executor, epoch)
  await api.heartbeat(executor, epoch)
  await api.heartbeat(executor, epoch)
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
  while ((await api.job(job.id)).state === 'leased') await api.heartbeat(executor, epoch)
  expect(await api.job(job.id)).toMatchObject({
    state: 'available',
    scheduled: false,
    attempt: 0,
    lost_leases: 0,
    fence: 2,
  })
  const { body } = await api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.attempts).toMatchObject([{ fence: 1, outcome: 'undelivered' }])
  const [again] = await api.poll(executor, epoch)
  expect(again).toMatchObject({ job_id: job.id, attempt: 1, fence: 3 })
})

test('an offer that was listed once is held: later heartbeats without it do not give it back', async () => {
  const { api, queue, executor, epoch } = await start({ UNDERSTUDY_HEARTBEAT_MS: '20' })
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  await api.heartbeat(executor, epoch, [{ job_id: job.id, fence: assignment?.fence }])
  for (let n = 0; n < 30; n += 1) await api.heartbeat(executor, epoch)
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
})

test('a failed attempt is retried after its backoff, until max_attempts are spent', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue, max_attempts: 2, backoff: { base_ms: 1, cap_ms: 1 } })
  const fail = async (fence: number | undefined) =>
    api.report(executor, epoch, {
      job_id: job.id,
      fence,
      outcome: 'failed',
      error: { code: 'boom', message: 'it broke' },
    })
  const [first] = await api.poll(executor, epoch)
  expect(await fail(first?.fence)).toMatchObject([{ status: 'accepted', job_state: 'available' }])
  const [second] = await api.poll(executor, epoch, { wait_ms: 10_000 })
  expect(second).toMatchObject({ job_id: job.id, attempt: 2 })
  expect(await fail(second?.fence)).toMatchObject([{ status: 'accepted', job_state: 'failed' }])
  expect(await api.job(job.id)).toMatchObject({
    state: 'failed',
    attempt: 2,
    error: { code: 'boom', message: 'it broke', retryable: true },
  })
  expect(await api.poll(executor, epoch)).toEqual([])
})

test('an error that is not retryable ends the job at its first attempt', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const error = { code: 'bad_input', message: 'no', retryable: false }
  const report = { job_id: job.id, fence: assignment?.fence, outcome: 'failed', error }
  expect(await api.report(executor, epoch, report)).toMatchObject([{ job_state: 'failed' }])
  expect(await api.job(job.id)).toMatchObject({ state: 'failed', attempt: 1, error })
})

test('released gives the job back at once, and spends neither attempt nor lost lease', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue, max_attempts: 1 })
  const [first] = await api.poll(executor, epoch)
  const report = { job_id: job.id, fence: first?.fence, outcome: 'released' }
  expect(await api.report(executor, epoch, report)).toMatchObject([{ job_state: 'available' }])
  expect(await api.job(job.id)).toMatchObject({ attempt: 0, lost_leases: 0 })
  expect(await api.poll(executor, epoch)).toMatchObject([{ job_id: job.id, attempt: 1 }])
})

test('invariant 3: reports are judged in order, and a late one changes nothing but is kept', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const success = { job_id: job.id, fence: assignment?.fence, outcome: 'succeeded', result: 1 }
  const failure = { ...success, outcome: 'failed', result: undefined }
  const results = await api.report(executor, epoch, success, success, failure, {
    job_id: randomUUID(),
    fence: 1,
    outcome: 'succeeded',
  })
  expect(results).toMatchObject([
    { status: 'accepted', job_state: 'succeeded' },
    { status: 'duplicate', job_state: 'succeeded' },
    { status: 'rejected', reason: 'already_final', job_state: 'succeeded' },
    { status: 'rejected', reason: 'not_found', job_state: null },
  ])
  expect(await api.report(executor, epoch, success)).toMatchObject([{ status: 'duplicate' }])
  expect(await api.job(job.id)).toMatchObject({ state: 'succeeded', result: 1 })
  const { body } = await api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.attempts).toMatchObject([{ outcome: 'succeeded' }])
  expect(body.late_reports).toMatchObject([{ outcome: 'failed', reason: 'already_final' }])
})

test('a report under an old fence is rejected while the job is somebody else’s', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [old] = await api.poll(executor, epoch)
  await api.report(executor, epoch, { job_id: job.id, fence: old?.fence, outcome: 'released' })
  const other = await api.register(`${executor}-2`, { queues: [queue] })
  const [current] = await api.poll(`${executor}-2`, other)
  const late = { job_id: job.id, fence: old?.fence, outcome: 'succeeded' }
  expect(await api.report(executor, epoch, late)).toMatchObject([
    { status: 'rejected', reason: 'stale_fence', job_state: 'leased' },
  ])
  const guessed = { job_id: job.id, fence: current?.fence, outcome: 'succeeded' }
  expect(await api.report(executor, epoch, guessed)).toMatchObject([
    { status: 'rejected', reason: 'stale_fence', job_state: 'leased' },
  ])
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', executor_id: `${executor}-2` })
})

test('a new registration cuts the older process off and takes back what it held', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const waiting = api.post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 20_000 })
  const newer = await api.register(executor, { queues: [`${queue}-elsewhere`] })
  expect(newer).toBe(epoch + 1)
  expect(await waiting).toMatchObject({ status: 409, body: { code: 'stale_epoch' } })
  expect(await api.job(job.id)).toMatchObject({ state: 'available', attempt: 0, lost_leases: 1 })
  for (const call of ['poll', 'heartbeat']) {
    expect(await api.post(`/v1/executors/${executor}/${call}`, { epoch })).toMatchObject({
      status: 409,
      body: { code: 'stale_epoch' },
    })
  }
  const report = { job_id: job.id, fence: assignment?.fence, outcome: 'succeeded' }
  expect(await api.report(executor, epoch, report)).toMatchObject([
    { status: 'rejected', reason: 'stale_epoch', job_state: 'available' },
  ])
})

test('an executor that nobody registered is not_found', async () => {
  const { api } = await start()
  for (const call of ['poll', 'heartbeat']) {
    expect(await api.post(`/v1/executors/nobody/${call}`, { epoch: 1 })).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
  }
})

test('a poll brings as many payloads as fit into an answer, and the next one brings the rest', async () => {
  const { api, queue, executor, epoch } = await start()
  const jobs = Array.from({ length: 30 }, () => ({
    kind: 'x',
    queue,
    payload: 'x'.repeat(260_000),
  }))
  await api.post('/v1/jobs/batch', { jobs })
  await api.must(200, api.post('/v1/jobs/batch', { jobs: jobs.slice(0, 10) }))
  const path = `/v1/executors/${executor}/poll`
  const given: number[] = []
  for (let poll = 0; poll < 3; poll += 1) {
    const { body } = await api.post(path, { epoch, max: 500, wait_ms: 0 })
    expect(JSON.stringify(body).length).toBeLessThan(8 * 1024 * 1024)
    given.push(body.assignments.length)
  }
  expect(given).toEqual([30, 10, 0])
})

test('clients that wait for Postgres keep no executor waiting', async () => {
  const { api, executor, epoch } = await start({ UNDERSTUDY_POOL_SIZE: '2' })
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE classes IN ACCESS EXCLUSIVE MODE')
  let isRead = false
  const reads = [1, 2, 3].map(() =>
    api.get('/v1/jobs').then(() => {
      isRead = true
    }),
  )
  await untilWaiting(blocker)
  expect(await api.heartbeat(executor, epoch, [])).toMatchObject({ held: [] })
  expect(isRead).toBe(false)
  await blocker.query('ROLLBACK')
  await Promise.all(reads)
})

test('waiting for a job returns as soon as it is final', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const waiting = api.get(`/v1/jobs/${job.id}?wait_ms=20000`)
  await api.report(executor, epoch, {
    job_id: job.id,
    fence: assignment?.fence,
    outcome: 'succeeded',
  })
  expect((await waiting).body.job.state).toBe('succeeded')
  const unfinished = await api.submit({ queue })
  expect((await api.get(`/v1/jobs/${unfinished.id}?wait_ms=50`)).body.job.state).toBe('available')
})
