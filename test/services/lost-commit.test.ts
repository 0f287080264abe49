import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startActive } from '../support/replica.ts'

/** The commit succeeded and its answer was lost: the caller is told 503, and asking again settles it. */

const db = useDatabase()

async function start() {
  const proxy = await startPgProxy(db.url)
  // Leadership goes straight to Postgres, so that only the pool's sessions meet the proxy.
  const { api } = await startActive(db, {
    DATABASE_URL: proxy.url,
    UNDERSTUDY_LEADER_DATABASE_URL: db.url,
    UNDERSTUDY_HEARTBEAT_MS: '100',
  })
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(executor, { queues: [queue] })
  return { proxy, api, queue, executor, epoch }
}

test('a submit: the same key finds the job that was made', async () => {
  const { proxy, api, queue } = await start()
  const job = { kind: 'x', queue, idempotency_key: randomUUID() }
  const lost = proxy.loseCommitOf('insert_jobs')
  const [answer] = await Promise.all([api.post('/v1/jobs', job), lost])
  expect(answer).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
  expect(await api.post('/v1/jobs', job)).toMatchObject({ status: 200, body: { replayed: true } })
  expect((await api.get(`/v1/jobs?queue=${queue}`)).body.jobs).toHaveLength(1)
})

test('a report: sent again it is a duplicate, and the job ended once', async () => {
  const { proxy, api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const [assignment] = await api.poll(executor, epoch)
  const report = { job_id: job.id, fence: assignment?.fence, outcome: 'succeeded', result: 1 }
  const lost = proxy.loseCommitOf('end_leases_if_fenced')
  const path = `/v1/executors/${executor}/report`
  const [answer] = await Promise.all([api.post(path, { epoch, reports: [report] }), lost])
  expect(answer.status).toBe(503)
  expect(await api.report(executor, epoch, report)).toMatchObject([{ status: 'duplicate' }])
  const { body } = await api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.attempts).toHaveLength(1)
})

test('a claim: the same poll_id gets what was claimed, under the same fence', async () => {
  const { proxy, api, queue, executor, epoch } = await start()
  const poll_id = randomUUID()
  const path = `/v1/executors/${executor}/poll`
  const job = await api.submit({ queue })
  const lost = proxy.loseCommitOf('claim_jobs')
  const waiting = api.post(path, { epoch, wait_ms: 300, poll_id })
  await lost
  await waiting
  let given = await api.poll(executor, epoch, { poll_id })
  while (given.length === 0) given = await api.poll(executor, epoch, { poll_id })
  expect(given).toMatchObject([{ job_id: job.id, fence: 1, attempt: 1 }])
})

test('a claim that nobody asks for again: inventory finds it, and nothing is spent', async () => {
  const { proxy, api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  const lost = proxy.loseCommitOf('claim_jobs')
  const waiting = api.poll(executor, epoch, { wait_ms: 300 })
  await lost
  await waiting
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
  while ((await api.job(job.id)).state === 'leased') await api.heartbeat(executor, epoch)
  expect(await api.job(job.id)).toMatchObject({
    state: 'available',
    attempt: 0,
    lost_leases: 0,
    fence: 2,
  })
})

test('a registration: until it is asked again, the epoch before gets no work', async () => {
  const { proxy, api, queue, executor, epoch } = await start()
  const path = `/v1/executors/${executor}/poll`
  const waiting = api.post(path, { epoch, wait_ms: 20_000 })
  const lost = proxy.loseCommitOf('register_executors')
  const register = api.post('/v1/executors/register', { executor_id: executor })
  const [answer] = await Promise.all([register, lost])
  expect(answer.status).toBe(503)
  expect((await waiting).status).toBe(503)
  const job = await api.submit({ queue })
  expect(await api.post(path, { epoch, wait_ms: 0 })).toMatchObject({
    status: 409,
    body: { code: 'stale_epoch' },
  })
  expect(await api.job(job.id)).toMatchObject({ state: 'available', fence: 0 })
})

test('a registration: asked again, the executor has an epoch above all others', async () => {
  const { proxy, api, executor, epoch } = await start()
  const lost = proxy.loseCommitOf('register_executors')
  const register = () => api.post('/v1/executors/register', { executor_id: executor })
  const [answer] = await Promise.all([register(), lost])
  expect(answer.status).toBe(503)
  const { body } = await register()
  expect(body.epoch).toBe(epoch + 2)
  expect(await api.post(`/v1/executors/${executor}/heartbeat`, { epoch: epoch + 1 })).toMatchObject(
    {
      status: 409,
    },
  )
})
