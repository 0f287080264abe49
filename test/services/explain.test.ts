import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { codesOf, explainJob, reasonsOf, silence } from '../support/explain.ts'
import { patient, startWorker } from '../support/health.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica } from '../support/replica.ts'

const db = useDatabase()

const queueName = () => `q-${randomUUID().slice(0, 8)}`

test('invariant 10: without an active replica that is why, and any replica says so', async () => {
  const lone = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
  await lone.api.untilReady()
  const job = await lone.api.submit({ queue: queueName() })
  const [first, ...rest] = await reasonsOf(lone.api, job.id)
  expect(first).toMatchObject({ code: 'no_active_replica', facts: { term: 0, leader: null } })
  expect(rest).toMatchObject([{ code: 'no_executor_for_queue' }])

  const active = await startActive(db, patient)
  expect(await codesOf(active.api, job.id)).toEqual(['no_executor_for_queue'])
  while ((await codesOf(lone.api, job.id)).includes('no_active_replica')) await pause()
  await active.app.stop()
  const [again] = await reasonsOf(lone.api, job.id)
  expect(again).toMatchObject({ code: 'no_active_replica', facts: { term: 1, leader: null } })
  expect(again?.facts.last_served_at).not.toBe(null)
})

test('a leader that recovers, and does not serve yet, is none that is active', async () => {
  const recovering = Promise.withResolvers<void>()
  const opening = Promise.withResolvers<void>()
  const { api } = await startReplica(db, patient, {
    duties: (own) => ({
      ...own,
      recover: async (term, lost) => {
        recovering.resolve()
        await opening.promise
        return await own.recover(term, lost)
      },
    }),
  })
  await recovering.promise
  const job = await api.submit({ queue: queueName() })
  const [first] = await reasonsOf(api, job.id)
  expect(first).toMatchObject({
    code: 'no_active_replica',
    detail: expect.stringContaining('does not serve executors yet'),
    facts: { leader: expect.any(String), last_served_at: null },
  })
  opening.resolve()
  await api.untilActive()
  expect(await codesOf(api, job.id)).toEqual(['no_executor_for_queue'])
})

test('without an executor of its queue, or with its labels, what is missing is named', async () => {
  const { api, queue } = await startWorker(db)
  const nowhere = queueName()
  const [none] = await reasonsOf(api, (await api.submit({ queue: nowhere })).id)
  expect(none).toMatchObject({ code: 'no_executor_for_queue', facts: { queue: nowhere } })

  const requires = { gpu: 'a100', disk: 'ssd' }
  const job = await api.submit({ queue, requires })
  await api.register('ssd', { queues: [queue], labels: { disk: 'ssd', gpu: 't4' } })
  expect(await explainJob(api, job.id)).toMatchObject({
    job_id: job.id,
    state: 'available',
    reasons: [
      {
        code: 'no_executor_with_labels',
        detail: expect.stringContaining('no executor with label gpu=a100 is online'),
        facts: { queue, requires, missing: { gpu: 'a100' }, online: 2 },
      },
    ],
  })
  const epoch = await api.register('a100', { queues: [queue], labels: { gpu: 'a100' } })
  const [apart] = await reasonsOf(api, job.id)
  expect(apart).toMatchObject({ code: 'no_executor_with_labels', facts: { missing: requires } })
  // What claims do is what is told.
  expect(await api.poll('a100', epoch)).toEqual([])
  const both = await api.register('both', { queues: [queue], labels: { ...requires, more: 'x' } })
  expect(await codesOf(api, job.id)).toEqual(['waiting_its_turn'])
  expect(await api.poll('both', both)).toMatchObject([{ job_id: job.id }])
})

test('where all that match are full, that is why, and who they are is told', async () => {
  const worker = await startWorker(db)
  const { api, queue, executor } = worker
  const next = await api.register('another', { queues: [queue] })
  await worker.submit(2)
  expect(await worker.poll({ max: 1 })).toHaveLength(1)
  const [third] = await worker.submit()
  expect(await codesOf(api, third ?? '')).toEqual(['waiting_its_turn'])
  expect(await api.poll('another', next, { max: 1 })).toHaveLength(1)
  expect(await reasonsOf(api, third ?? '')).toMatchObject([
    {
      code: 'executors_full',
      detail: '2 executors match, all full',
      facts: {
        matching: 2,
        full: 2,
        executors: [{ executor_id: 'another' }, { executor_id: executor, leases: 1, capacity: 1 }],
      },
    },
  ])
  const [fourth] = await worker.submit()
  expect(await reasonsOf(api, fourth ?? '')).toMatchObject([
    { code: 'executors_full' },
    { code: 'waiting_its_turn', facts: { before: 1, is_more: false, free: 0 } },
  ])
})

test('drained, faulty, degraded and deregistered executors are told apart', async () => {
  const worker = await startWorker(db)
  const { api, executor, queue } = worker
  await worker.post('drain', { reason: 'new disk' })
  const [job = ''] = await worker.submit()
  expect(await reasonsOf(api, job)).toMatchObject([
    {
      code: 'executors_draining',
      detail: '1 executor matches, and is draining',
      facts: { draining: 1, executors: [{ executor_id: executor }] },
    },
  ])
  await worker.post('drain', { enabled: false })
  await api.must(200, api.post(`/v1/jobs/${job}/cancel`, {}))

  await worker.work('failed', 3)
  const [held = '', waits = ''] = await worker.submit(2)
  expect(await codesOf(api, held)).toEqual(['waiting_its_turn'])
  expect(await worker.poll()).toMatchObject([{ job_id: held }])
  const [busy] = await reasonsOf(api, waits)
  expect(busy).toMatchObject({ code: 'executors_degraded', facts: { degraded: 1 } })

  await db.sql("UPDATE executors SET health = 'faulty' WHERE executor_id = $1", [executor])
  expect(await codesOf(api, waits)).toEqual(['executors_faulty'])
  await worker.post('deregister')
  expect(await reasonsOf(api, waits)).toMatchObject([
    { code: 'no_executor_for_queue', facts: { queue } },
  ])
})

test('executors that are not heard are named, before that nobody is online', async () => {
  const worker = await startWorker(db)
  const { api, executor } = worker
  const [job = ''] = await worker.submit()
  // Again and again: a replica that stalls on a busy machine gives everybody time to be heard.
  while ((await worker.get()).state === 'healthy') {
    await silence(db, executor, 200_000)
    await pause()
  }
  expect(await reasonsOf(api, job)).toMatchObject([
    {
      code: 'executors_silent',
      facts: { silent: 1, executors: [{ executor_id: executor, state: 'suspect' }] },
    },
    { code: 'no_executor_for_queue' },
  ])
  await silence(db, executor, 2 * 24 * 3_600_000)
  expect(await codesOf(api, job)).toEqual(['no_executor_for_queue'])
})

test('jobs before it are those of its class with an earlier place, counted up to a thousand', async () => {
  const { api, queue } = await startWorker(db)
  const batch = (many: number, more = {}) => {
    const jobs = Array.from({ length: many }, () => ({ kind: 'test', queue, ...more }))
    return api.must(200, api.post('/v1/jobs/batch', { jobs }))
  }
  await batch(3)
  await batch(5, { kind: 'other' })
  await batch(5, { delay_ms: 3_600_000 })
  const job = await api.submit({ queue })
  await batch(2)
  const first = await api.submit({ queue, priority: 9 })
  expect(await reasonsOf(api, first.id)).toMatchObject([{ facts: { before: 0, free: 1 } }])
  const [turn] = await reasonsOf(api, job.id)
  expect(turn).toMatchObject({ code: 'waiting_its_turn', facts: { before: 4, is_more: false } })
  await batch(1_000, { priority: 5 })
  expect(await reasonsOf(api, job.id)).toMatchObject([
    {
      code: 'waiting_its_turn',
      detail: expect.stringContaining('more than 1000'),
      facts: { before: 1_000, is_more: true },
    },
  ])
})

test('a job with a time is scheduled until then; one that failed is backing off, and says why', async () => {
  const { api, queue, executor, epoch } = await startWorker(db)
  const later = await api.submit({ queue, delay_ms: 3_600_000 })
  expect(await reasonsOf(api, later.id)).toMatchObject([
    { code: 'scheduled', facts: { until: later.run_at, is_due: false } },
  ])
  const job = await api.submit({ queue, backoff: { base_ms: 86_400_000, cap_ms: 86_400_000 } })
  const [given] = await api.poll(executor, epoch)
  const error = { code: 'disk_full', message: 'no room' }
  const report = { job_id: job.id, fence: given?.fence, outcome: 'failed', error }
  await api.report(executor, epoch, report)
  expect(await reasonsOf(api, job.id)).toMatchObject([
    {
      code: 'backing_off',
      detail: expect.stringContaining('attempt 1 of 5 failed with disk_full'),
      facts: { until: (await api.job(job.id)).run_at, attempt: 1, max_attempts: 5, error },
    },
  ])
})

test('a job in which an effect is in doubt names it', async () => {
  const { api, queue } = await startWorker(db)
  const job = await api.submit({ queue })
  await db.sql(
    `INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch, holds)
      SELECT $1, k, 'in_doubt', 'hold', 'b', 1, 'e', 1, k = 'deploy' FROM unnest(ARRAY['deploy', 'mail']) k`,
    [job.id],
  )
  await db.sql("UPDATE jobs SET state = 'waiting' WHERE id = $1", [job.id])
  expect(await explainJob(api, job.id)).toMatchObject({
    state: 'waiting',
    reasons: [{ code: 'effect_in_doubt', facts: { keys: ['deploy'] } }],
  })
})

test('a job that does not exist, and one of a queue that is not the reader’s, are not found', async () => {
  const { api, queue } = await startWorker(db)
  const job = await api.submit({ queue })
  expect((await api.get('/v1/jobs/nope/explain')).status).toBe(404)
  expect((await api.get(`/v1/jobs/${randomUUID()}/explain`)).status).toBe(404)
  const body = { name: 'bound', role: 'submit', queues: ['other'] }
  const { token } = (await api.must(201, api.post('/v1/tokens', body))).body
  expect((await api.as(token).get(`/v1/jobs/${job.id}/explain`)).status).toBe(404)
  expect((await api.get(`/v1/jobs/${job.id.toUpperCase()}/explain`)).body.job_id).toBe(job.id)
})
