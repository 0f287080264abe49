import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startWorker } from '../support/health.ts'

const db = useDatabase()

test('an operator’s drain gives nothing new, is told by heartbeats, and outlives the process', async () => {
  const worker = await startWorker(db)
  await worker.submit(2)
  const [held] = await worker.poll({ max: 1 })
  const drained = await worker.post('drain', { reason: 'new kernel' })
  expect(drained).toMatchObject({ status: 200, body: { draining: true, drained_by: 'operator' } })
  expect(await worker.api.heartbeat(worker.executor, worker.epoch, [])).toMatchObject({
    drain: true,
  })
  expect(await worker.poll()).toEqual([])
  expect(await worker.report('succeeded', held)).toMatchObject([{ status: 'accepted' }])
  worker.epoch = await worker.api.register(worker.executor, { queues: [worker.queue] })
  expect(await worker.get()).toMatchObject({ draining: true })
  const waiting = worker.poll({ wait_ms: 20_000 })
  expect((await worker.post('drain', { enabled: false })).body).toMatchObject({
    draining: false,
    drained_by: null,
  })
  expect(await waiting).toHaveLength(1)
  expect((await worker.api.heartbeat(worker.executor, worker.epoch)).drain).toBe(false)
  expect(await worker.history()).toEqual([
    'drain accepting → draining, drained',
    'drain draining → accepting, undrained',
  ])
  const { entries } = (await worker.api.get('/v1/audit')).body
  expect(entries.slice(0, 2)).toMatchObject([
    { action: 'executor.undrain', subject: worker.executor },
    { action: 'executor.drain', reason: 'new kernel' },
  ])
})

test('an executor’s own drain ends with its process; an old epoch drains nothing', async () => {
  const worker = await startWorker(db)
  const { executor, epoch } = worker
  expect((await worker.post('drain', { epoch })).body).toMatchObject({
    draining: true,
    drained_by: 'executor',
  })
  expect((await worker.api.heartbeat(executor, epoch)).drain).toBe(true)
  expect((await worker.post('drain', { epoch, enabled: false })).body.draining).toBe(false)
  await worker.post('drain', { epoch })
  worker.epoch = await worker.api.register(executor, { queues: [worker.queue] })
  expect(await worker.get()).toMatchObject({ draining: false })
  for (const enabled of [true, false]) {
    expect(await worker.post('drain', { epoch, enabled })).toMatchObject({
      status: 409,
      body: { code: 'stale_epoch' },
    })
  }
  await worker.submit()
  expect(await worker.poll()).toHaveLength(1)
  expect((await worker.history()).at(-1)).toBe('drain draining → accepting, registered')
})

test('neither ends the other’s drain, but for an operator who ends any', async () => {
  const worker = await startWorker(db)
  const { epoch } = worker
  await worker.post('drain', { epoch })
  await worker.post('drain')
  expect((await worker.post('drain', { epoch, enabled: false })).body).toMatchObject({
    draining: true,
    drained_by: 'operator',
  })
  await worker.post('drain', { epoch })
  expect((await worker.post('drain', { enabled: false })).body.draining).toBe(false)
  expect(await worker.history()).toHaveLength(2)
})

test('an executor’s token names its epoch, and leaves no audit; an operator’s need not', async () => {
  const worker = await startWorker(db)
  const token = async (body: object) => {
    const created = worker.api.post('/v1/tokens', { name: 'test', ...body })
    return worker.api.as((await worker.api.must(201, created)).body.token)
  }
  const own = await token({ role: 'executor', executor_id: worker.executor })
  const operator = await token({ role: 'operator' })
  const path = (verb: string) => `/v1/executors/${worker.executor}/${verb}`
  const before = (await worker.api.get('/v1/audit')).body.entries.length
  for (const verb of ['drain', 'deregister']) {
    const { status, body } = await own.post(path(verb), {})
    expect({ status, path: body.errors[0].path }).toEqual({ status: 400, path: 'epoch' })
  }
  expect((await own.post(path('drain'), { epoch: worker.epoch })).status).toBe(200)
  expect((await worker.api.get('/v1/audit')).body.entries).toHaveLength(before)
  expect((await operator.post(path('drain'), undefined)).status).toBe(200)
  expect((await operator.post(path('drain'), { epoch: 0 })).status).toBe(400)
  expect((await operator.post('/v1/executors/nobody/drain', {})).status).toBe(404)
  expect((await operator.post('/v1/executors/nobody/clear', {})).status).toBe(404)
  expect((await operator.post('/v1/executors/nobody/deregister', {})).status).toBe(404)
})
