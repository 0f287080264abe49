import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { waitForLocks } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

async function untilWaiting(session: pg.Client) {
  const waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'classes'::regclass"
  while ((await session.query(waiting)).rows.length === 0) await pause()
}

test('a poll that waits is answered as soon as work comes', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
  const waiting = api.poll(executor, epoch, { wait_ms: 20_000 })
  const job = await api.submit({ queue })
  expect((await waiting).map(({ job_id }) => job_id)).toEqual([job.id])
})

test('a poll takes no more than max, the highest priority and then the oldest first', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, app, queue } = await startWork(db)
  const { waitList } = app.wiring
  const jobs = Array.from({ length: 60 }, () => ({ kind: 'test', queue }))
  const executors = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const id = `${queue}-${n}`
      return { id, epoch: await api.register(id, { queues: [queue] }) }
    }),
  )
  const polls = executors.map(({ id, epoch }) => api.poll(id, epoch, { wait_ms: 20_000 }))
  while (waitList.count('poll') < 100) await pause()
  await api.must(200, api.post('/v1/jobs/batch', { jobs }))
  while (waitList.count('poll') > 40) await pause()
  waitList.end('poll')
  const given = (await Promise.all(polls)).flat().map(({ job_id }) => job_id)
  expect(given).toHaveLength(60)
  expect(new Set(given).size).toBe(60)
})

test('a few jobs go to many executors rather than all to the first', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db)
  const other = `${executor}-2`
  const otherEpoch = await api.register(other, { queues: [queue] })
  const polls = [
    api.poll(executor, epoch, { max: 10, wait_ms: 20_000 }),
    api.poll(other, otherEpoch, { max: 10, wait_ms: 20_000 }),
  ]
  while (app.wiring.waitList.count('poll') < 2) await pause()
  await api.post('/v1/jobs/batch', { jobs: [1, 2].map(() => ({ kind: 'test', queue })) })
  expect((await Promise.all(polls)).map(({ length }) => length)).toEqual([1, 1])
})

test('an executor gets only what its queues and labels can serve', async () => {
  const { api, queue } = await startWork(db)
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
  const { api, queue, executor, epoch } = await startWork(db)
  await api.submit({ queue, delay_ms: 3_600_000 })
  expect(await api.poll(executor, epoch)).toEqual([])
  const job = await api.submit({ queue, delay_ms: 300 })
  const [assignment] = await api.poll(executor, epoch, { wait_ms: 20_000 })
  expect(assignment?.job_id).toBe(job.id)
  const [row] = await db.sql('SELECT leased_at >= run_at AS in_time FROM jobs WHERE id = $1', [
    job.id,
  ])
  expect(row).toEqual({ in_time: true })
})

test('a newer poll of the same executor ends the one that waits, empty', async () => {
  const { api, executor, epoch } = await startWork(db)
  const older = api.poll(executor, epoch, { wait_ms: 20_000 })
  await api.poll(executor, epoch, { wait_ms: 1 })
  expect(await older).toEqual([])
})

test('the same poll_id gets again what is still held under it, and nothing new', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, app, queue, executor, epoch } = await startWork(db)
  const hangUp = new AbortController()
  const waiting = api
    .post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 20_000 }, { signal: hangUp.signal })
    .catch(() => 'hung up')
  while (app.wiring.waitList.size === 0) await pause()
  hangUp.abort()
  expect(await waiting).toBe('hung up')
  while (app.wiring.waitList.size > 0) await pause()
  const job = await api.submit({ queue })
  expect(await api.job(job.id)).toMatchObject({ state: 'available', fence: 0 })
})

test('a poll brings as many payloads as fit into an answer, and the next one brings the rest', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
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
  const { api, app, executor, epoch } = await startWork(db, {
    UNDERSTUDY_POOL_SIZE: '2',
    // One that looks at classes would wait for them, too, and heartbeats for that one.
    UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000',
  })
  waitForLocks(app)
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE classes IN ACCESS EXCLUSIVE MODE')
  let isRead = false
  const reads = [1, 2, 3].map(() =>
    api.get('/v1/jobs').then(({ status }) => {
      // Those that wait for a session are told to come back after a while.
      if (status === 200) isRead = true
    }),
  )
  await untilWaiting(blocker)
  expect(await api.heartbeat(executor, epoch, [])).toMatchObject({ held: [] })
  expect(isRead).toBe(false)
  await blocker.query('ROLLBACK')
  await Promise.all(reads)
})
