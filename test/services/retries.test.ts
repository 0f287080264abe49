import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { startRetries } from '../support/retries.ts'

const db = useDatabase()

const given = {
  kind: 'render',
  payload: { n: 1 },
  labels: { team: 'a' },
  requires: {},
  priority: 3,
  max_attempts: 1,
  backoff: { base_ms: 7, factor: 3, cap_ms: 9 },
  run_timeout_ms: 5_000,
  on_silence: 'abort',
  traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
}

test.each(['failed', 'cancelled'])(
  'a job that is %s is retried as a new one, with all that it was asked for and budgets of its own',
  async (outcome) => {
    const { api, queue, retry, ended } = await startRetries(db)
    const old = await ended(outcome, given)
    const { status, body } = await retry(old.id, { reason: 'disk is back' })
    expect(status).toBe(201)
    expect(body.job).toMatchObject({
      ...given,
      queue,
      state: 'available',
      attempt: 0,
      lost_leases: 0,
      fence: old.fence,
      retry_of: old.id,
      retried_as: null,
      error: null,
      finished_at: null,
    })
    expect(body.replayed).toBeUndefined()
    expect(await api.job(old.id)).toMatchObject({
      state: outcome,
      finished_at: old.finished_at,
      retried_as: body.job.id,
    })
    const { entries } = (await api.get('/v1/audit?limit=1')).body
    expect(entries[0]).toMatchObject({
      action: 'job.retry',
      subject: old.id,
      reason: 'disk is back',
      facts: { retried_as: body.job.id },
    })
    expect((await api.get(`/v1/jobs?queue=${queue}&state=failed`)).body.jobs).toMatchObject(
      outcome === 'failed' ? [{ id: old.id, error_code: 'failed' }] : [],
    )
  },
)

test('a retry wakes who waits for work, on whichever replica it was asked', async () => {
  const { api, queue, retry, ended, startOther } = await startRetries(db)
  const other = await startOther()
  for (const by of [api, other]) {
    const old = await ended('failed')
    const epoch = await api.register(queue, { queues: [queue] })
    const polled = api.poll(queue, epoch, { wait_ms: 20_000 })
    const { body } = await api.must(201, retry(old.id, undefined, by))
    expect(await polled).toMatchObject([{ job_id: body.job.id, attempt: 1 }])
    await api.report(queue, epoch, { job_id: body.job.id, fence: 2, outcome: 'succeeded' })
  }
})

test('a retry may be put off', async () => {
  const { retry, ended } = await startRetries(db)
  const old = await ended('failed')
  const { body } = await retry(old.id, { delay_ms: 3_600_000 })
  expect(body.job).toMatchObject({ state: 'available', scheduled: true })
  expect((await retry(old.id, { delay_ms: -1 })).body.errors).toMatchObject([{ path: 'delay_ms' }])
})

test('invariant 3: of 50 callers on both replicas one makes the new job, and all are told of it', async () => {
  const { api, retry, ended, startOther } = await startRetries(db)
  const other = await startOther()
  const old = await ended('failed', { idempotency_key: randomUUID() })
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      untilServed(() => retry(old.id, {}, n % 2 === 0 ? api : other)),
    ),
  )
  const statuses = answers.map(({ status }) => status).sort()
  expect(statuses).toEqual([...Array.from({ length: 49 }, () => 200), 201])
  expect(new Set(answers.map(({ body }) => body.job.id)).size).toBe(1)
  expect(answers.filter(({ body }) => body.replayed === true)).toHaveLength(49)
  expect(await db.sql('SELECT FROM jobs WHERE retry_of = $1', [old.id])).toHaveLength(1)
  expect(await db.sql('SELECT FROM audit WHERE subject = $1', [old.id])).toHaveLength(1)
})

test('what succeeded is not retried, nor what is not final; nothing changes', async () => {
  const { api, queue, hold, retry, ended } = await startRetries(db)
  const done = await ended('succeeded')
  expect(await retry(done.id)).toMatchObject({ status: 409, body: { code: 'not_retryable' } })
  const job = await api.submit({ queue })
  const refused = { status: 409, body: { code: 'job_not_final' } }
  expect(await retry(job.id)).toMatchObject(refused)
  await hold()
  expect(await retry(job.id)).toMatchObject(refused)
  expect(await retry(randomUUID())).toMatchObject({ status: 404 })
  expect(await retry('nothing')).toMatchObject({ status: 404 })
  expect(
    await db.sql('SELECT FROM jobs WHERE retry_of IS NOT NULL AND queue = $1', [queue]),
  ).toEqual([])
})

test('the new job takes over the key of a job that failed, which still shows it', async () => {
  const { api, queue, retry, ended } = await startRetries(db)
  const key = randomUUID()
  const old = await ended('failed', { idempotency_key: key })
  const { body } = await retry(old.id)
  expect(body.job.idempotency_key).toBe(key)
  expect((await api.job(old.id)).idempotency_key).toBe(key)
  const again = { kind: 'test', queue, max_attempts: 1, idempotency_key: key }
  expect(await api.post('/v1/jobs', again)).toMatchObject({
    status: 200,
    body: { replayed: true, job: { id: body.job.id } },
  })
  expect(await api.post('/v1/jobs', { ...again, priority: 1 })).toMatchObject({
    status: 409,
    body: { code: 'idempotency_mismatch' },
  })
})

test('a cancelled job whose key is taken by now is retried without it', async () => {
  const { api, queue, retry, ended } = await startRetries(db)
  const key = randomUUID()
  const old = await ended('cancelled', { idempotency_key: key })
  const taker = await api.submit({ queue, idempotency_key: key })
  const { body } = await api.must(201, retry(old.id))
  expect(body.job.idempotency_key).toBeNull()
  expect(await api.job(old.id)).toMatchObject({ idempotency_key: key, retried_as: body.job.id })
  expect((await api.job(taker.id)).idempotency_key).toBe(key)
})

test('the last progress is the checkpoint of the first attempt', async () => {
  const { api, queue, executorOf, retry } = await startProgress()
  const job = await api.submit({ queue, max_attempts: 1 })
  const { executor, epoch, assignment } = await executorOf()
  const lease = { job_id: job.id, fence: assignment?.fence }
  await api.heartbeat(executor, epoch, [{ ...lease, progress: { page: 7 } }])
  await api.report(executor, epoch, { ...lease, outcome: 'failed' })
  const { body } = await retry(job.id)
  expect(body.job.progress).toEqual({ page: 7 })
  const next = await executorOf()
  expect(next.assignment).toMatchObject({ job_id: body.job.id, checkpoint: { page: 7 } })
  const told = { job_id: body.job.id, fence: next.assignment?.fence, progress: { page: 8 } }
  await api.heartbeat(next.executor, next.epoch, [told])
  expect((await api.job(body.job.id)).progress).toEqual({ page: 8 })
  expect((await api.job(job.id)).progress).toEqual({ page: 7 })
})

async function startProgress() {
  const work = await startRetries(db)
  const executorOf = async () => {
    const { executor, epoch, job } = await work.hold()
    return { executor, epoch, assignment: job }
  }
  return { ...work, executorOf }
}
