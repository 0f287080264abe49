import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

test('a job goes from submit over poll and report to its end, under one fence', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
  const job = await api.submit({ queue, payload: { n: 1 }, run_timeout_ms: 5_000 })
  const [assignment] = await api.poll(executor, epoch)
  expect(assignment).toEqual({
    job_id: job.id,
    fence: 1,
    attempt: 1,
    queue,
    kind: 'test',
    stage: null,
    results: {},
    payload: { n: 1 },
    checkpoint: null,
    lease_ttl_ms: 30_000,
    run_timeout_ms: 5_000,
    on_silence: 'continue',
    traceparent: null,
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

test('a failed attempt is retried after its backoff, until max_attempts are spent', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, queue, executor, epoch } = await startWork(db)
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const error = { code: 'bad_input', message: 'no', retryable: false }
  const report = { job_id: job.id, fence: assignment?.fence, outcome: 'failed', error }
  expect(await api.report(executor, epoch, report)).toMatchObject([{ job_state: 'failed' }])
  expect(await api.job(job.id)).toMatchObject({ state: 'failed', attempt: 1, error })
})

test('released gives the job back at once, and spends neither attempt nor lost lease', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
  const job = await api.submit({ queue, max_attempts: 1 })
  const [first] = await api.poll(executor, epoch)
  const report = { job_id: job.id, fence: first?.fence, outcome: 'released' }
  expect(await api.report(executor, epoch, report)).toMatchObject([{ job_state: 'available' }])
  expect(await api.job(job.id)).toMatchObject({ attempt: 0, lost_leases: 0 })
  expect(await api.poll(executor, epoch)).toMatchObject([{ job_id: job.id, attempt: 1 }])
})

test('invariant 3: reports are judged in order, and a late one changes nothing but is kept', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, queue, executor, epoch } = await startWork(db)
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

test('waiting for a job returns as soon as it is final', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
