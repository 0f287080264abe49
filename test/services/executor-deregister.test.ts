import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { patient, startWorker, type Worker } from '../support/health.ts'
import { holdLane } from '../support/held-lane.ts'
import { pause } from '../support/pause.ts'
import { waitForLocks } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

const operator = { tokenId: randomUUID(), role: 'operator', requestId: 'test' } as const
const itself = { ...operator, role: 'executor' } as const
const registration = { labels: {}, queues: ['default'], capacity: 1 }

/** What its process is told from now on. */
async function expectGone(worker: Worker, epoch: number, held: { job_id: string; fence: number }) {
  for (const [verb, body] of [
    ['poll', { epoch, wait_ms: 0 }],
    ['heartbeat', { epoch }],
    ['drain', { epoch }],
  ] as const) {
    expect(await worker.post(verb, body)).toMatchObject({
      status: 409,
      body: { code: 'stale_epoch' },
    })
  }
  const { job_id, fence } = held
  const report = { job_id, fence, outcome: 'succeeded' }
  expect(await worker.api.report(worker.executor, epoch, report)).toMatchObject([
    { status: 'rejected', reason: 'stale_epoch' },
  ])
}

test('an executor that goes gives back what it holds, and spends nothing', async () => {
  const worker = await startWorker(db)
  const { api, executor, epoch } = worker
  const [id = ''] = await worker.submit()
  const [held] = await worker.poll()
  if (!held) throw new Error('there was no job')
  const lease = { executor_id: executor, epoch, fence: held.fence }
  const begin = { ...lease, begin_id: randomUUID(), on_doubt: 'reconcile' }
  await api.must(200, api.post(`/v1/jobs/${id}/effects/deploy/begin`, begin))
  const gone = await worker.post('deregister', { epoch })
  expect(gone).toMatchObject({ status: 200, body: { executor_id: executor, epoch } })
  expect(await api.job(id)).toMatchObject({ state: 'available', attempt: 0, lost_leases: 0 })
  expect((await api.get(`/v1/jobs/${id}/attempts`)).body.attempts).toMatchObject([
    { outcome: 'released', error: { code: 'executor_deregistered' } },
  ])
  expect((await api.get(`/v1/jobs/${id}/effects`)).body.effects).toMatchObject([
    { state: 'in_doubt' },
  ])
  expect(await worker.get()).toMatchObject({ state: 'deregistered', leases: 0 })
  await expectGone(worker, epoch, held)
  // Nor under the epoch that nobody was given.
  expect((await worker.post('poll', { epoch: epoch + 1, wait_ms: 0 })).body.code).toBe(
    'stale_epoch',
  )
  expect((await worker.post('deregister', { epoch: epoch + 1 })).body.code).toBe('stale_epoch')
  expect(await worker.post('deregister', { epoch })).toMatchObject({
    status: 200,
    body: gone.body,
  })
  worker.epoch = await api.register(executor, { queues: [worker.queue] })
  expect(worker.epoch).toBeGreaterThan(epoch)
  expect(await worker.get()).toMatchObject({ state: 'healthy' })
  expect(await worker.poll()).toMatchObject([{ job_id: id }])
  // Sent once more, late: it has nothing to do with the process that came after.
  expect((await worker.post('deregister', { epoch })).body).toEqual(gone.body)
  expect(await worker.get()).toMatchObject({ state: 'healthy', leases: 1 })
  expect(await worker.history()).toEqual([
    'state healthy → deregistered, deregistered',
    'state deregistered → healthy, registered',
  ])
})

test('an operator cuts off a live executor: its poll ends, and what it holds is lost to it', async () => {
  const worker = await startWorker(db)
  const { api, executor, epoch } = worker
  const [id = ''] = await worker.submit()
  const [held] = await worker.poll()
  if (!held) throw new Error('there was no job')
  const waiting = worker.post('poll', { epoch, wait_ms: 20_000 })
  while ((await api.get('/metrics')).body.match(/waiting_requests\{for="poll"\} 1/) === null)
    await pause()
  const cut = await worker.post('deregister', { reason: 'it hangs' })
  expect(cut).toMatchObject({ status: 200, body: { epoch } })
  expect(await waiting).toMatchObject({ status: 409, body: { code: 'stale_epoch' } })
  expect(await api.job(id)).toMatchObject({ state: 'available', attempt: 0, lost_leases: 1 })
  await expectGone(worker, epoch, held)
  expect((await worker.post('deregister')).body).toEqual(cut.body)
  const { entries } = (await api.get('/v1/audit')).body
  const told = entries.filter(({ subject }: { subject: string }) => subject === executor)
  expect(told).toMatchObject([{ action: 'executor.deregister', reason: 'it hangs' }])
})

test('an executor that holds more than one transaction takes back is ended all the same', async () => {
  const worker = await startWorker(db)
  await db.sql(
    `WITH class AS (
        INSERT INTO classes (queue, kind, requires) VALUES ($1, 'x', '{}') RETURNING class_id)
      INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at, claim_at, fence,
        attempt, max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence,
        executor_id, epoch, leased_at, lease_expires_at, labels, payload)
      SELECT gen_random_uuid(), $1, 'x', class_id, 'leased', false, 0, now(), now(), 1, 1, 5, 1, 1, 1,
        'continue', $2, $3, now(), now() + interval '1 minute', '{}', '{}'
      FROM class, generate_series(1, 2500)`,
    [worker.queue, worker.executor, worker.epoch],
  )
  await worker.api.must(200, worker.post('deregister', { epoch: worker.epoch }))
  expect(
    await db.sql(
      'SELECT state, lost_leases, count(*)::int AS n FROM jobs WHERE queue = $1 GROUP BY 1, 2',
      [worker.queue],
    ),
  ).toEqual([{ state: 'available', lost_leases: 0, n: 2_500 }])
})

test('invariant 6: a job that is being cancelled does not come back when its executor goes', async () => {
  const worker = await startWorker(db)
  const { api, epoch } = worker
  const [id = ''] = await worker.submit()
  await worker.poll()
  await api.must(200, api.post(`/v1/jobs/${id}/cancel`, {}))
  await api.must(200, worker.post('deregister', { epoch }))
  expect((await api.job(id)).state).toBe('cancelled')
})

test('a fleet that goes at once keeps nobody waiting: jobs are given out between two that leave', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db)
  const fleet: [id: string, epoch: number][] = []
  for (let n = 0; n < 60; n += 1) {
    const id = `${queue}-leaves-${n}`
    fleet.push([id, await api.register(id, { queues: ['elsewhere'] })])
  }
  await api.submit({ queue })
  waitForLocks(app)
  const other = await openSession(db.url)
  await other.query('BEGIN')
  const [first, ...rest] = fleet as [[string, number]]
  await other.query('SELECT FROM executors WHERE executor_id = $1 FOR UPDATE', [first[0]])
  let gone = 0
  const leave = async ([id, epoch]: (typeof fleet)[number]) => {
    await api.must(200, api.post(`/v1/executors/${id}/deregister`, { epoch }))
    gone += 1
  }
  const leaving = [leave(first)]
  const waiting = `SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'`
  while ((await db.sql(waiting)).length === 0) await pause()
  leaving.push(...rest.map(leave))
  const polled = api.poll(executor, epoch, { wait_ms: 20_000 })
  while (app.wiring.waitList.count('poll') === 0) await pause()
  expect(gone).toBe(0)
  await other.query('ROLLBACK')
  expect(await polled).toHaveLength(1)
  expect(gone).toBeLessThan(fleet.length / 2)
  await Promise.all(leaving)
})

test('executors that are cut off at once do not hand what they hold from one to the next', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db, patient)
  const { id } = await api.submit({ queue })
  expect(await api.poll(executor, epoch)).toHaveLength(1)
  const fleet = [executor]
  const polls: Promise<unknown>[] = []
  for (let n = 0; n < 12; n += 1) {
    const name = `${executor}-waits-${n}`
    fleet.push(name)
    const epoch = await api.register(name, { queues: [queue] })
    polls.push(api.post(`/v1/executors/${name}/poll`, { epoch, wait_ms: 20_000 }))
    while (app.wiring.waitList.count('poll') <= n) await pause()
  }
  const letGo = holdLane(app)
  const cuts = fleet.map((name) => app.wiring.executorHealth.deregister(operator, name, {}))
  letGo()
  await Promise.all([...cuts, ...polls])
  expect(await api.job(id)).toMatchObject({ state: 'available', lost_leases: 1 })
})

test('whoever leaves among many and is back at once gives back first, and spends nothing', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db, patient)
  const { id } = await api.submit({ queue })
  expect(await api.poll(executor, epoch)).toHaveLength(1)
  const before = await api.register(`${executor}-before`)
  const letGo = holdLane(app)
  const { executorHealth, executors } = app.wiring
  const leaving = [
    executorHealth.deregister(operator, `${executor}-before`, { epoch: before }),
    executorHealth.deregister(itself, executor, { epoch }),
  ]
  const register = () =>
    executors.register({ ...registration, executor_id: executor, queues: [queue] })
  const back = [register()]
  // Sent again, and so the registration: the later one is the newer process.
  leaving.push(executorHealth.deregister(itself, executor, { epoch }))
  back.push(register())
  letGo()
  expect((await Promise.all(leaving)).map((gone) => gone.epoch)).toEqual([before, epoch, epoch])
  expect((await Promise.all(back)).map((now) => now.epoch)).toEqual([epoch + 2, epoch + 3])
  expect(await api.job(id)).toMatchObject({ state: 'available', lost_leases: 0 })
})
