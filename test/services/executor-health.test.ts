import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { patient, startWorker, Worker } from '../support/health.ts'
import { waitForLocks } from '../support/replica.ts'
import { openSession, untilAnyWaiting } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

test('three failures in a row degrade an executor: one job at a time, until five succeed', async () => {
  const worker = await startWorker(db)
  await worker.work('failed', 2)
  await worker.work('succeeded', 1)
  await worker.work('failed', 2)
  expect(await worker.get()).toMatchObject({ health: 'healthy', failures: 2, successes: 0 })
  await worker.work('failed', 1)
  expect(await worker.get()).toMatchObject({ health: 'degraded', failures: 0, successes: 0 })
  await worker.submit(6)
  for (let done = 0; done < 5; done += 1) {
    const [only, ...more] = await worker.poll()
    expect(more).toEqual([])
    expect(await worker.poll()).toEqual([])
    await worker.report('succeeded', only)
  }
  expect(await worker.get()).toMatchObject({ health: 'healthy', failures: 0, successes: 0 })
  await worker.submit(2)
  expect(await worker.poll()).toHaveLength(3)
  expect(await worker.history()).toEqual([
    'health healthy → degraded, failures',
    'health degraded → healthy, successes',
  ])
})

test('a degraded executor finishes what it holds before it is given one; a poll that waits is then served', async () => {
  const worker = await startWorker(db)
  await worker.submit(6)
  const held = await worker.poll({ max: 5 })
  await worker.report('failed', ...held.slice(0, 3))
  expect(await worker.get()).toMatchObject({ health: 'degraded', leases: 2 })
  const waiting = worker.poll({ wait_ms: 20_000 })
  await worker.report('released', held[3])
  expect(await worker.get()).toMatchObject({ leases: 1 })
  await worker.report('released', held[4])
  expect(await waiting).toHaveLength(1)
})

test('others are given what a degraded one may not take', async () => {
  const worker = await startWorker(db)
  await worker.work('failed', 3)
  await worker.submit(4)
  const waiting = worker.poll({ wait_ms: 20_000 })
  expect(await waiting).toHaveLength(1)
  const again = worker.poll({ wait_ms: 20_000 })
  const other = `${worker.executor}-other`
  const epoch = await worker.api.register(other, { queues: [worker.queue] })
  expect(await worker.api.poll(other, epoch, { max: 10 })).toHaveLength(3)
  await worker.api.post(`/v1/executors/${worker.executor}/poll`, {
    epoch: worker.epoch,
    wait_ms: 0,
  })
  expect(await again).toEqual([])
})

test('ten failures while degraded make it faulty: nothing until an operator clears it', async () => {
  const worker = await startWorker(db)
  await worker.work('failed', 3)
  await worker.work('succeeded', 4)
  await worker.work('failed', 10)
  expect(await worker.get()).toMatchObject({ health: 'faulty', failures: 10, successes: 4 })
  await worker.submit(2)
  expect(await worker.poll()).toEqual([])
  expect(await worker.api.heartbeat(worker.executor, worker.epoch)).toMatchObject({ drain: false })
  // A process that is started again does not cure it.
  worker.epoch = await worker.api.register(worker.executor, { queues: [worker.queue] })
  const waiting = worker.poll({ wait_ms: 20_000 })
  const cleared = await worker.post('clear', { reason: 'new disk' })
  expect(cleared).toMatchObject({
    status: 200,
    body: { health: 'healthy', failures: 0, successes: 0 },
  })
  expect(await waiting).toHaveLength(2)
  expect((await worker.post('clear')).status).toBe(200)
  expect(await worker.history()).toEqual([
    'health healthy → degraded, failures',
    'health degraded → faulty, failures',
    'health faulty → healthy, cleared',
  ])
  const { entries } = (await worker.api.get('/v1/audit')).body
  expect(entries[1]).toMatchObject({
    action: 'executor.clear',
    subject: worker.executor,
    reason: 'new disk',
    facts: { health: 'faulty', failures: 10, successes: 4 },
  })
})

test('what was given back, cancelled, lost or said twice counts for neither side', async () => {
  const worker = await startWorker(db)
  await worker.work('failed', 2)
  await worker.submit(4)
  const [released, cancelled, failed, lost] = await worker.poll()
  await worker.report('released', released)
  await worker.report('cancelled', cancelled)
  expect(await worker.get()).toMatchObject({ failures: 2 })
  await worker.report('failed', failed)
  expect(await worker.report('failed', failed)).toMatchObject([{ status: 'duplicate' }])
  const stranger = { ...lost, job_id: lost?.job_id as string, fence: 99 }
  expect(await worker.report('failed', stranger as never)).toMatchObject([{ status: 'rejected' }])
  worker.epoch = await worker.api.register(worker.executor, { queues: [worker.queue] })
  expect(await worker.get()).toMatchObject({ health: 'degraded', failures: 0, successes: 0 })
  // Told to stop, it may well fail.
  const [id] = await worker.submit()
  const [stopped] = await worker.poll()
  await worker.api.must(200, worker.api.post(`/v1/jobs/${stopped?.job_id ?? id}/cancel`, {}))
  await worker.report('failed', stopped)
  expect(await worker.get()).toMatchObject({ health: 'degraded', failures: 0, successes: 0 })
})

test('reports of one batch count in order, and each change is told', async () => {
  const worker = await startWorker(db)
  await worker.submit(10)
  const jobs = await worker.poll()
  const [a, b, c, ...rest] = jobs
  const item = (outcome: string) => (job: (typeof jobs)[number] | undefined) => ({
    job_id: job?.job_id,
    fence: job?.fence,
    outcome,
  })
  await worker.api.report(
    worker.executor,
    worker.epoch,
    ...[a, b, c].map(item('failed')),
    ...rest.slice(0, 5).map(item('succeeded')),
    ...rest.slice(5).map(item('failed')),
  )
  expect(await worker.get()).toMatchObject({ health: 'healthy', failures: 2 })
  expect(await worker.history()).toHaveLength(2)
})

test('no claim goes by a health that a report is just changing', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db, patient)
  waitForLocks(app)
  const worker = new Worker(api, queue, executor, epoch)
  await worker.work('failed', 2)
  await worker.submit(6)
  const [last] = await worker.poll({ max: 1 })
  const [session, observer] = [await openSession(db.url), await openSession(db.url)]
  await session.query('BEGIN')
  await session.query('LOCK TABLE executors IN EXCLUSIVE MODE')
  const reported = worker.report('failed', last)
  await untilAnyWaiting(observer)
  const polled = worker.poll()
  // Answered after the poll was heard: without a report under way it would have been given all by now.
  await worker.get()
  await session.query('ROLLBACK')
  await reported
  expect(await polled).toHaveLength(1)
  expect(await worker.get()).toMatchObject({ health: 'degraded', leases: 1 })
})

test('a healthy executor’s successes write nothing to its row', async () => {
  const worker = await startWorker(db)
  const version = 'SELECT xmin, changes FROM executors WHERE executor_id = $1'
  const before = await db.sql(version, [worker.executor])
  await worker.work('succeeded', 3)
  expect(await db.sql(version, [worker.executor])).toEqual(before)
})

test('the history of an executor is listed in pages, newest first, and keeps its last thousand', async () => {
  const worker = await startWorker(db)
  await db.sql(
    `INSERT INTO executor_events (executor_id, epoch, axis, was, became, reason)
      SELECT x, 1, 'state', 'healthy', 'suspect', 'n' || n
      FROM generate_series(1, 1200) n, unnest($1::text[]) x`,
    [[worker.executor, `${worker.executor}-other`]],
  )
  await worker.post('drain')
  const kept = 'SELECT count(*)::int AS n FROM executor_events WHERE executor_id = $1'
  expect(await db.sql(kept, [worker.executor])).toEqual([{ n: 1_000 }])
  expect(await db.sql(kept, [`${worker.executor}-other`])).toEqual([{ n: 1_200 }])
  const reasons: string[] = []
  for (let cursor = 0; cursor !== null; ) {
    const query = cursor === 0 ? '' : `&cursor=${cursor}`
    const path = `/v1/executors/${worker.executor}/history?limit=400${query}`
    const { body } = await worker.api.must(200, worker.api.get(path))
    reasons.push(...body.changes.map(({ reason }: { reason: string }) => reason))
    cursor = body.next_cursor
  }
  expect(reasons).toHaveLength(1_000)
  expect([reasons[0], reasons[1], reasons.at(-1)]).toEqual(['drained', 'n1200', 'n202'])
  expect((await worker.api.get('/v1/executors/nobody/history')).status).toBe(404)
})
