import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import {
  Client,
  Executor,
  type ExecutorEvent,
  type ExecutorOptions,
  JobFailure,
  JobRelease,
} from '../../src/sdk/index.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { adminToken, startActive, startReplica, type TestReplica } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'

const db = useDatabase()

function startExecutor(
  replicas: TestReplica[],
  options: Partial<ExecutorOptions> & Pick<ExecutorOptions, 'handler'>,
) {
  const events = new Signals<ExecutorEvent>()
  const draining = new AbortController()
  const stopping = new AbortController()
  const executor = new Executor({
    urls: replicas.map(({ api }) => api.url),
    token: adminToken,
    executorId: `e-${randomUUID().slice(0, 8)}`,
    onEvent: (event) => events.fire(event),
    ...options,
  })
  const ended = executor.run(draining.signal, stopping.signal)
  ended.catch(() => undefined)
  onTestFinished(async () => {
    stopping.abort()
    draining.abort()
    await ended.catch(() => undefined)
  })
  return { events, draining, stopping, ended }
}

function startClient(replicas: TestReplica[]) {
  const client = new Client({ urls: replicas.map(({ api }) => api.url), token: adminToken })
  onTestFinished(() => client.close())
  return client
}

const newQueue = () => `q-${randomUUID().slice(0, 8)}`

test('a handler’s value is the result; its error fails the attempt, as it says', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  startExecutor([active], {
    queues: [queue],
    capacity: 4,
    handler: async ({ job }) => {
      if (job.kind === 'fails') throw new JobFailure('no_luck', 'today', { retryable: false })
      if (job.kind === 'throws') throw new TypeError('a bug')
      return { doubled: (job.payload as number) * 2 }
    },
  })
  const client = startClient([active])
  const submit = (kind: string) =>
    client.submit({ kind, queue, payload: 21, max_attempts: 1 }).then(({ job }) => job.id)
  const ids = await Promise.all(['works', 'fails', 'throws'].map(submit))
  const jobs = await Promise.all(ids.map((id) => client.waitForJob(id, 20_000)))
  expect(jobs).toMatchObject([
    { state: 'succeeded', result: { doubled: 42 } },
    { state: 'failed', error: { code: 'no_luck', message: 'today', retryable: false } },
    { state: 'failed', error: { code: 'exception', message: 'a bug', retryable: true } },
  ])
})

test('a released job is given back and spends nothing', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  let runs = 0
  startExecutor([active], {
    queues: [queue],
    handler: async () => {
      runs += 1
      if (runs === 1) throw new JobRelease()
      return 'second time'
    },
  })
  const client = startClient([active])
  const { job } = await client.submit({ kind: 'x', queue, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'succeeded',
    result: 'second time',
    attempt: 1,
  })
})

test('work goes on through a failover, under the same fence, and is reported to the successor', async () => {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  const queue = newQueue()
  const mayEnd = Promise.withResolvers<void>()
  let runs = 0
  const { events } = startExecutor([first, second], {
    queues: [queue],
    handler: async ({ signal }) => {
      runs += 1
      await mayEnd.promise
      expect(signal.aborted).toBe(false)
      return 'done'
    },
  })
  const client = startClient([first, second])
  const { job } = await client.submit({ kind: 'x', queue })
  await events.wait('started')
  await first.app.stop()
  await second.api.untilActive()
  mayEnd.resolve()
  const ended = await client.waitForJob(job.id, 20_000)
  expect(ended).toMatchObject({ state: 'succeeded', fence: 1, attempt: 1, lost_leases: 0 })
  expect(runs).toBe(1)
  const { attempts } = await client.listAttempts(job.id)
  expect(attempts).toMatchObject([{ outcome: 'succeeded', fence: 1 }])
})

test('a second process of the same executor id cuts the first one off, which never comes back', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  const executorId = `twin-${queue}`
  const stopped = Promise.withResolvers<unknown>()
  const first = startExecutor([active], {
    executorId,
    queues: [queue],
    handler: ({ signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          stopped.resolve(signal.reason)
          reject(new Error('stopped'))
        })
      }),
  })
  const client = startClient([active])
  const { job } = await client.submit({ kind: 'x', queue })
  await first.events.wait('started')
  startExecutor([active], { executorId, queues: [queue], handler: async () => 'by the second' })
  await expect(first.ended).rejects.toMatchObject({ code: 'stale_epoch' })
  expect(await stopped.promise).toBe('revoked')
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ result: 'by the second' })
  expect(first.events.fired.filter(({ type }) => type === 'registered')).toHaveLength(1)
})

test('a lease that was taken away stops the job, and its late result changes nothing', async () => {
  const active = await startActive(db, { UNDERSTUDY_HEARTBEAT_MS: '100' })
  const queue = newQueue()
  const { events } = startExecutor([active], {
    queues: [queue],
    handler: ({ signal }) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve('too late'))),
  })
  const client = startClient([active])
  const { job } = await client.submit({ kind: 'x', queue })
  await events.wait('started')
  await db.sql(
    `UPDATE jobs SET state = 'available', fence = fence + 1, executor_id = NULL, epoch = NULL,
        leased_at = NULL, lease_expires_at = NULL, offered = false, scheduled = true,
        run_at = clock_timestamp() + interval '1 hour' WHERE id = $1`,
    [job.id],
  )
  const told = await events.wait('told_to_stop')
  expect(told.reason).toBe('revoked')
  const { result } = await events.wait('reported')
  expect(result).toMatchObject({ status: 'rejected', reason: 'stale_fence' })
  expect(await client.getJob(job.id)).toMatchObject({ state: 'available', result: null })
})

test('draining takes no new work and finishes what is held', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  const mayEnd = Promise.withResolvers<void>()
  const { events, draining, ended } = startExecutor([active], {
    queues: [queue],
    handler: async () => {
      await mayEnd.promise
      return 'finished'
    },
  })
  const client = startClient([active])
  const held = await client.submit({ kind: 'held', queue })
  await events.wait('started')
  draining.abort()
  const later = await client.submit({ kind: 'later', queue })
  mayEnd.resolve()
  await ended
  expect(await client.getJob(held.job.id)).toMatchObject({ state: 'succeeded', result: 'finished' })
  expect(await client.getJob(later.job.id)).toMatchObject({ state: 'available', fence: 0 })
})

test('stopping gives back what cannot be finished, and spends nothing', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  const { events, stopping, ended } = startExecutor([active], {
    queues: [queue],
    handler: ({ signal }) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('told to stop'))),
      ),
  })
  const client = startClient([active])
  const { job } = await client.submit({ kind: 'x', queue })
  await events.wait('started')
  stopping.abort()
  await ended
  expect(await client.getJob(job.id)).toMatchObject({
    state: 'available',
    attempt: 0,
    lost_leases: 0,
  })
})

test('run_timeout_ms stops the handler and fails the attempt', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  startExecutor([active], {
    queues: [queue],
    handler: ({ signal }) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('stopped'))),
      ),
  })
  const client = startClient([active])
  const { job } = await client.submit({ kind: 'x', queue, run_timeout_ms: 50, max_attempts: 1 })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'run_timeout' },
  })
})

test('progress is sent with the heartbeat and is there for the next attempt', async () => {
  const active = await startActive(db, { UNDERSTUDY_HEARTBEAT_MS: '50' })
  const queue = newQueue()
  const client = startClient([active])
  const seen: unknown[] = []
  startExecutor([active], {
    queues: [queue],
    handler: async (context) => {
      seen.push(context.job.checkpoint)
      if (seen.length > 1) return 'resumed'
      context.progress({ at: 7 })
      while ((await client.getJob(context.job.job_id)).progress === null) await pause()
      throw new JobFailure('interrupted', '')
    },
  })
  const { job } = await client.submit({ kind: 'x', queue, backoff: { base_ms: 1 } })
  expect(await client.waitForJob(job.id, 20_000)).toMatchObject({ result: 'resumed', attempt: 2 })
  expect(seen).toEqual([null, { at: 7 }])
})

test('a result that is too large fails the job with a reason, and blocks no other report', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  startExecutor([active], {
    queues: [queue],
    capacity: 2,
    handler: async ({ job }) => (job.kind === 'big' ? 'x'.repeat(300_000) : 'small'),
  })
  const client = startClient([active])
  const [big, small] = await Promise.all(
    ['big', 'small'].map(async (kind) => (await client.submit({ kind, queue })).job.id),
  )
  expect(await client.waitForJob(big as string, 20_000)).toMatchObject({
    state: 'failed',
    error: { code: 'result_too_large' },
  })
  expect((await client.waitForJob(small as string, 20_000)).state).toBe('succeeded')
})

test('a token that is not good ends the executor with the reason', async () => {
  const active = await startActive(db)
  const { ended } = startExecutor([active], { token: 'nonsense', handler: async () => 1 })
  await expect(ended).rejects.toMatchObject({ status: 401, code: 'unauthenticated' })
})

test('submits without a key may be repeated: a lost answer makes no second job', async () => {
  const active = await startActive(db)
  const queue = newQueue()
  const client = startClient([active])
  const { job } = await client.submit({ kind: 'x', queue })
  expect(job.idempotency_key).toMatch(/^[0-9a-f-]{36}$/)
  const answers = await client.submitBatch([
    { kind: 'x', queue },
    { kind: 'x', queue, idempotency_key: job.idempotency_key ?? '' },
  ])
  expect(answers.results.map(({ created }) => created)).toEqual([true, false])
})
