import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { patient, Worker } from '../support/health.ts'
import { pause } from '../support/pause.ts'
import { startWork } from '../support/work.ts'

/** Calls under another epoch than the one in memory, while a poll of the executor waits. */

const db = useDatabase()

const stale = { status: 409, body: { code: 'stale_epoch' } }

/** A poll that waits, of an executor that is alone in its profile. */
async function startWaiting(more: Record<string, unknown> = {}) {
  const { api, app, queue, executor, epoch } = await startWork(db, patient)
  const worker = new Worker(api, queue, executor, epoch)
  // Its class of jobs is known from here on.
  await worker.submit()
  expect(await worker.report('succeeded', ...(await worker.poll()))).toHaveLength(1)
  const waiting = worker.post('poll', { epoch, wait_ms: 20_000, ...more })
  while (app.wiring.waitList.count('poll') === 0) await pause()
  return { worker, waiting }
}

/** Nobody has that epoch: the executor makes it up, or mistakes somebody else’s for its own. */
async function callUnderWrongEpoch(worker: Worker) {
  for (const call of ['heartbeat', 'poll']) {
    expect(await worker.post(call, { epoch: 99 })).toMatchObject(stale)
  }
  const failed = { job_id: randomUUID(), fence: 1, outcome: 'failed', error: { code: 'x' } }
  const results = await worker.api.report(worker.executor, 99, failed)
  expect(results).toMatchObject([{ status: 'rejected' }])
}

test('after calls under an epoch that nobody has, a drain reaches the poll that waits', async () => {
  const { worker, waiting } = await startWaiting()
  await callUnderWrongEpoch(worker)
  await worker.post('drain')
  const [id] = await worker.submit()
  const other = await worker.api.register('other', { queues: [worker.queue] })
  expect(await worker.api.poll('other', other)).toMatchObject([{ job_id: id }])
  await worker.post('drain', { enabled: false })
  const [next] = await worker.submit()
  expect((await waiting).body.assignments).toMatchObject([{ job_id: next }])
})

test('after calls under an epoch that nobody has, the same poll_id gets again what it was given', async () => {
  const poll_id = randomUUID()
  const { worker, waiting } = await startWaiting({ poll_id })
  await callUnderWrongEpoch(worker)
  const [job_id] = await worker.submit()
  expect((await waiting).body.assignments).toMatchObject([{ job_id }])
  expect(await worker.poll({ poll_id })).toMatchObject([{ job_id }])
})

test('after calls under an epoch that nobody has, a registration ends the poll that waits', async () => {
  const { worker, waiting } = await startWaiting()
  await callUnderWrongEpoch(worker)
  await worker.api.register(worker.executor, { queues: [worker.queue] })
  expect(await waiting).toMatchObject(stale)
})

test('an epoch that memory had not heard of ends the poll that waits under the one before', async () => {
  const { worker, waiting } = await startWaiting()
  const { api, executor, epoch } = worker
  await db.sql('UPDATE executors SET epoch = epoch + 1 WHERE executor_id = $1', [executor])
  await api.heartbeat(executor, epoch + 1)
  expect(await waiting).toMatchObject(stale)
  const [job_id] = await worker.submit()
  expect(await api.poll(executor, epoch + 1)).toMatchObject([{ job_id }])
})
