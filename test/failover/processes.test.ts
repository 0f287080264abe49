import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startServe, tellApart } from '../support/processes.ts'

/** Real processes, real signals. Times are printed, safety is asserted. */

const db = useDatabase()

async function startPair() {
  const pair = await tellApart(await Promise.all([startServe(db, 'left'), startServe(db, 'right')]))
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await pair.active.api.register(executor, { queues: [queue] })
  return { ...pair, queue, executor, epoch }
}

function printSince(what: string, since: number) {
  process.stdout.write(`  ${what}: ${Math.round(performance.now() - since)} ms\n`)
}

test('of two replicas exactly one answers /health/active with 200', async () => {
  const { active, standby } = await startPair()
  expect((await active.api.get('/health/active')).status).toBe(200)
  expect((await standby.api.get('/health/active')).status).toBe(503)
})

test('kill -9: the other answers the heartbeat of an executor, whose leases are still held', async () => {
  const { active, standby, queue, executor, epoch } = await startPair()
  const jobs = [await active.api.submit({ queue }), await active.api.submit({ queue })]
  const given = await active.api.poll(executor, epoch, { max: 2 })
  const held = given.map(({ job_id, fence }) => ({ job_id, fence }))
  expect(held.map(({ job_id }) => job_id).sort()).toEqual(jobs.map(({ id }) => id).sort())
  await active.api.heartbeat(executor, epoch, held)
  active.process.kill('SIGKILL')
  const killedAt = performance.now()
  const beat = () =>
    standby.api.post(`/v1/executors/${executor}/heartbeat`, { epoch, assignments: held })
  let answer = await beat()
  while (answer.status === 503) answer = await beat()
  printSince('kill -9 to the first heartbeat answered', killedAt)
  expect(answer.status).toBe(200)
  expect(answer.body.held).toEqual(expect.arrayContaining(held))
  expect(answer.body.revoked).toEqual([])
  const reports = held.map((lease) => ({ ...lease, outcome: 'succeeded' }))
  expect(await standby.api.report(executor, epoch, ...reports)).toMatchObject([
    { status: 'accepted' },
    { status: 'accepted' },
  ])
})

test('SIGSTOP: a frozen active is replaced; resumed, it answers 503 and has written nothing', async () => {
  const { active, standby, queue, executor, epoch } = await startPair()
  const job = await active.api.submit({ queue })
  const [assignment] = await active.api.poll(executor, epoch)
  const held = { job_id: job.id, fence: assignment?.fence }
  await active.api.heartbeat(executor, epoch, [held])
  active.process.kill('SIGSTOP')
  const frozenAt = performance.now()
  // These reach the frozen process and wait in its socket; it reads them once it is resumed.
  const report = { epoch, reports: [{ ...held, outcome: 'failed', error: { code: 'zombie' } }] }
  const zombies = [
    active.api.post(`/v1/executors/${executor}/report`, report),
    active.api.post(`/v1/executors/${executor}/heartbeat`, { epoch, assignments: [held] }),
    active.api.post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 0 }),
    active.api.post('/v1/executors/register', { executor_id: executor, queues: [queue] }),
  ]
  await standby.api.untilActive()
  printSince('SIGSTOP to the standby active', frozenAt)
  const [before] = await db.sql('SELECT * FROM jobs WHERE id = $1', [job.id])
  active.process.kill('SIGCONT')
  for (const answer of await Promise.all(zombies)) expect(answer.status).toBe(503)
  expect(await active.api.get('/health/active')).toMatchObject({
    status: 503,
    body: { code: 'controller_standby' },
  })
  expect((await db.sql('SELECT * FROM jobs WHERE id = $1', [job.id]))[0]).toEqual(before)
  expect(await db.sql('SELECT epoch FROM executors WHERE executor_id = $1', [executor])).toEqual([
    { epoch },
  ])
  expect(await db.sql('SELECT FROM attempts WHERE job_id = $1', [job.id])).toHaveLength(0)
  expect(
    await standby.api.report(executor, epoch, { ...held, outcome: 'succeeded' }),
  ).toMatchObject([{ status: 'accepted' }])
})

test('SIGTERM: the active hands over, answers what is in flight, and exits 0', async () => {
  const { active, standby, executor, epoch } = await startPair()
  const waiting = active.api.post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 20_000 })
  await active.api.get('/health/live')
  active.process.kill('SIGTERM')
  const stoppedAt = performance.now()
  expect(await waiting).toMatchObject({ status: 503, body: { code: 'controller_draining' } })
  await standby.api.untilActive()
  printSince('SIGTERM to the standby active', stoppedAt)
  await active.process.exited
  expect(active.process.exitCode).toBe(0)
  const { body } = await standby.api.get('/v1/leader')
  expect(body.terms[1].end_reason).toBe('hand_over')
})

test('a replica that starts before its schema waits, answers why, and stands once it fits', async () => {
  const { api } = await startServe(db, 'alone')
  await api.untilActive()
  await db.sql("INSERT INTO migrations VALUES (9999, 'from_the_future', true, 'x')")
  while ((await api.get('/health/ready')).status === 200) await pause()
  expect(await api.get('/v1/jobs')).toMatchObject({ status: 503, body: { code: 'schema_ahead' } })
  expect((await api.get('/health/live')).status).toBe(200)
  await db.sql('DELETE FROM migrations WHERE version = 9999')
  await api.untilReady()
  await api.untilActive()
})
