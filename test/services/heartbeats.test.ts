import { expect, test } from 'vitest'
import type { Assignment } from '../../src/contract/executors.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { waitForLocks } from '../support/replica.ts'
import { openSession, untilAnyWaiting } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()
const heartbeatMs = 50

/** An executor with a job, whose heartbeats arrive in any order. */
async function start() {
  const work = await startWork(db, { UNDERSTUDY_HEARTBEAT_MS: String(heartbeatMs) })
  const { api, app, queue, executor, epoch } = work
  waitForLocks(app)
  const { id } = await api.submit({ queue })
  const [job] = (await api.poll(executor, epoch)) as [Assignment]
  const lease = { job_id: id, fence: job.fence }
  const path = `/v1/executors/${executor}/heartbeat`
  const beat = (seq: number, assignments: unknown[] = []) =>
    api.post(path, { epoch, seq, assignments })
  return { ...work, id, lease, beat }
}

test('invariant 7: heartbeats that were overtaken, or are repeated, cost no offer', async () => {
  const { api, id, beat } = await start()
  await beat(7)
  const from = performance.now()
  while (performance.now() - from < 3 * heartbeatMs) {
    for (const seq of [6, 7, 0]) expect((await beat(seq)).status).toBe(200)
  }
  expect(await api.job(id)).toMatchObject({ state: 'leased', fence: 1 })
  await beat(8)
  while ((await api.job(id)).state === 'leased') await pause()
  expect(await api.job(id)).toMatchObject({ state: 'available', attempt: 0, fence: 2 })
})

test('a heartbeat that was overtaken shows and renews what it lists, and its progress is old', async () => {
  const { api, id, lease, beat } = await start()
  await beat(3, [{ ...lease, progress: 'newer' }])
  await db.sql(
    "UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '1 s' WHERE id = $1",
    [id],
  )
  const { body } = await beat(2, [{ ...lease, progress: 'older' }])
  expect(body).toMatchObject({ held: [lease], revoked: [] })
  expect((await api.job(id)).progress).toBe('newer')
  const renewed =
    "SELECT lease_expires_at > clock_timestamp() + interval '5 s' AS is_renewed FROM jobs WHERE id = $1"
  expect(await db.sql(renewed, [id])).toEqual([{ is_renewed: true }])
})

test('invariant 2: a delayed heartbeat under an older fence neither renews nor shows the newer lease', async () => {
  const { api, executor, epoch, id, lease, beat } = await start()
  await api.report(executor, epoch, { ...lease, outcome: 'released' })
  expect(await api.poll(executor, epoch)).toMatchObject([{ job_id: id, fence: 2 }])
  const staged =
    "UPDATE jobs SET lease_expires_at = now() + interval '1 s' WHERE id = $1 RETURNING *"
  const before = await db.sql(staged, [id])
  const { body } = await beat(1, [{ ...lease, progress: 'of the first' }])
  expect(body).toMatchObject({ held: [], revoked: [{ ...lease, reason: 'stale_fence' }] })
  expect(await db.sql('SELECT * FROM jobs WHERE id = $1', [id])).toEqual(before)
  expect((await api.job(id)).progress).toBeNull()
})

test('heartbeats that arrive together are told apart, too', async () => {
  const { api, id, lease, beat } = await start()
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE progress IN EXCLUSIVE MODE')
  const first = beat(1, [{ ...lease, progress: 'first' }])
  await untilAnyWaiting(blocker)
  const together = ['newer', 'older'].map((progress, n) => beat(9 - n, [{ ...lease, progress }]))
  await api.get('/health/live')
  await blocker.query('ROLLBACK')
  for (const { status } of await Promise.all([first, ...together])) expect(status).toBe(200)
  expect((await api.job(id)).progress).toBe('newer')
})

test('what another executor tells of a job at the same moment takes nothing from its holder', async () => {
  const { api, queue, executor, id, lease, beat } = await start()
  const thief = await api.register(`${executor}-thief`, { queues: [queue] })
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE progress IN EXCLUSIVE MODE')
  const first = beat(1, [{ ...lease, progress: 'first' }])
  await untilAnyWaiting(blocker)
  const own = beat(2, [{ ...lease, progress: 'own' }])
  await api.get('/health/live')
  const other = api.heartbeat(`${executor}-thief`, thief, [{ ...lease, progress: 'stolen' }])
  await api.get('/health/live')
  await blocker.query('ROLLBACK')
  await Promise.all([first, own])
  expect(await other).toMatchObject({ held: [], revoked: [lease] })
  expect((await api.job(id)).progress).toBe('own')
})

test('a heartbeat that was not served has not been heard: sent again it counts', async () => {
  const { api, id, lease, beat } = await start()
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE progress IN EXCLUSIVE MODE')
  const listed = [{ ...lease, progress: 'told' }]
  const unserved = beat(1, listed)
  await blocker.query('SELECT pg_terminate_backend($1)', [await untilAnyWaiting(blocker)])
  expect((await unserved).status).toBe(503)
  await blocker.query('ROLLBACK')
  expect((await beat(1, listed)).status).toBe(200)
  expect((await api.job(id)).progress).toBe('told')
})

/** A heartbeat of another executor that is not yet written: those that come now are written together, after. */
async function holdUp({ api, queue, executor }: Awaited<ReturnType<typeof start>>) {
  const [name, queues] = [`${executor}-other`, [`${queue}-other`]]
  const { id } = await api.submit({ queue: queues[0] })
  const epoch = await api.register(name, { queues })
  const [held] = (await api.poll(name, epoch)) as [Assignment]
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE progress IN EXCLUSIVE MODE')
  const first = api.heartbeat(name, epoch, [{ job_id: id, fence: held.fence, progress: 'first' }])
  await untilAnyWaiting(blocker)
  return async () => {
    await blocker.query('ROLLBACK')
    await first
  }
}

test('a heartbeat of the process before, written after a new one registered, overtakes none of its own', async () => {
  const work = await start()
  const { api, queue, executor, lease, beat } = work
  const goOn = await holdUp(work)
  const old = beat(1_000)
  await api.get('/health/live')
  const epoch = await api.register(executor, { queues: [queue] })
  await goOn()
  await old
  const [job] = (await api.poll(executor, epoch, { wait_ms: 10_000 })) as [Assignment]
  const listed = [{ job_id: job.job_id, fence: job.fence, progress: 'of the second' }]
  await api.post(`/v1/executors/${executor}/heartbeat`, { epoch, seq: 0, assignments: listed })
  expect(job.job_id).toBe(lease.job_id)
  expect((await api.job(job.job_id)).progress).toBe('of the second')
})

test('a new process counts its heartbeats anew', async () => {
  const { api, queue, executor, beat } = await start()
  await beat(1_000)
  const epoch = await api.register(executor, { queues: [queue] })
  const [job] = (await api.poll(executor, epoch, { wait_ms: 10_000 })) as [Assignment]
  const listed = [{ job_id: job.job_id, fence: job.fence, progress: 'of the second' }]
  await api.post(`/v1/executors/${executor}/heartbeat`, { epoch, seq: 0, assignments: listed })
  expect((await api.job(job.job_id)).progress).toBe('of the second')
})

test('heartbeats of the process before and of the new one, written together, are counted apart', async () => {
  const work = await start()
  const { api, queue, executor, beat } = work
  const goOn = await holdUp(work)
  const old = beat(1_000)
  await api.get('/health/live')
  const epoch = await api.register(executor, { queues: [queue] })
  await api.submit({ queue })
  const [job] = (await api.poll(executor, epoch, { wait_ms: 10_000 })) as [Assignment]
  const lease = { job_id: job.job_id, fence: job.fence }
  const assignments = [{ ...lease, progress: 'of the second' }]
  const own = api.post(`/v1/executors/${executor}/heartbeat`, { epoch, seq: 0, assignments })
  await api.get('/health/live')
  await goOn()
  expect(await old).toMatchObject({ status: 409, body: { code: 'stale_epoch' } })
  expect((await own).body).toMatchObject({ held: [lease] })
  expect((await api.job(job.job_id)).progress).toBe('of the second')
})
