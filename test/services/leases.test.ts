import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { patient } from '../support/health.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

test('a heartbeat renews what it lists and names what is no longer held', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
    `SELECT lease_expires_at > clock_timestamp() + interval '5 seconds' AS renewed
      FROM jobs WHERE id = $1`,
    [job.id],
  )
  expect(row).toEqual({ renewed: true })
})

test("another executor's listing renews nothing and is told so", async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, queue, executor, epoch } = await startWork(db, { UNDERSTUDY_HEARTBEAT_MS: '100' })
  const job = await api.submit({ queue })
  await api.poll(executor, epoch)
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
  const [again] = await api.poll(executor, epoch, { wait_ms: 20_000 })
  expect(again).toMatchObject({ job_id: job.id, attempt: 1, fence: 3 })
})

test('heartbeats in a row that do not list an offer give nothing back: they may have been on their way', async () => {
  const { api, queue, executor, epoch } = await startWork(db, patient)
  const job = await api.submit({ queue })
  await api.poll(executor, epoch)
  for (let n = 0; n < 5; n += 1) await api.heartbeat(executor, epoch)
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
})

test('an offer that was listed once is held: later heartbeats without it do not give it back', async () => {
  const { api, queue, executor, epoch } = await startWork(db, { UNDERSTUDY_HEARTBEAT_MS: '20' })
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  await api.heartbeat(executor, epoch, [{ job_id: job.id, fence: assignment?.fence }])
  for (let n = 0; n < 30; n += 1) await api.heartbeat(executor, epoch)
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
})

test('a new registration cuts the older process off and takes back what it held', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api } = await startWork(db)
  for (const call of ['poll', 'heartbeat']) {
    expect(await api.post(`/v1/executors/nobody/${call}`, { epoch: 1 })).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
  }
})
