import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { Worker } from '../support/health.ts'
import { pause } from '../support/pause.ts'
import { startActive, type TestReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { stillClock } from '../support/still-clock.ts'

const db = useDatabase()

const ago = (seconds: number) => `clock_timestamp() - interval '${seconds} seconds'`
const pastFloor = `UPDATE terms SET deadline_floor_at = ${ago(3_600)} WHERE deadline_floor_at IS NOT NULL`

const isHeld = 'SELECT FROM terms WHERE deadline_floor_at > clock_timestamp()'

/** The default heartbeat and lease TTL: suspect after 15 s, lost after 30 s. */
async function start() {
  await db.sql('DELETE FROM executors')
  const { api, app } = await startActive(
    db,
    { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' },
    { clock: stillClock },
  )
  while ((await sweepOf(api)) === undefined) await pause() // the gate is open, and the floor set
  const register = async () => {
    const name = `e-${randomUUID().slice(0, 8)}`
    return new Worker(api, name, name, await api.register(name, { queues: [name] }))
  }
  return { api, app, register }
}

async function sweepOf(api: TestReplica['api']) {
  const { sweeps } = (await api.get('/v1/status')).body
  return sweeps.find(({ name }: { name: string }) => name === 'watch_executors')
}

async function untilSwept(api: TestReplica['api'], times = 3) {
  const { runs } = await sweepOf(api)
  while ((await sweepOf(api)).runs < runs + times) await pause()
}

/** As if they had been heard so long ago. */
const silence = (seconds: number, ...workers: Worker[]) =>
  db.sql(`UPDATE executors SET heartbeat_at = ${ago(seconds)} WHERE executor_id = ANY ($1)`, [
    workers.map(({ executor }) => executor),
  ])

const until = async (worker: Worker, state: string) => {
  while ((await worker.get()).state !== state) await pause()
}

test('three missed beats make an executor suspect, a lease TTL lost; a heartbeat brings it back', async () => {
  const { register } = await start()
  const worker = await register()
  await db.sql(pastFloor)
  await silence(16, worker)
  await until(worker, 'suspect')
  await worker.api.heartbeat(worker.executor, worker.epoch)
  expect(await worker.get()).toMatchObject({ state: 'healthy' })
  await silence(31, worker)
  await until(worker, 'lost')
  worker.epoch = await worker.api.register(worker.executor)
  expect(await worker.get()).toMatchObject({ state: 'healthy' })
  expect(await worker.history()).toEqual([
    'state healthy → suspect, silent',
    'state suspect → healthy, heard',
    'state healthy → lost, silent',
    'state lost → healthy, registered',
  ])
  const { changes } = (await worker.api.get(`/v1/executors/${worker.executor}/history`)).body
  expect(changes.at(-1)).toMatchObject({ epoch: 1, axis: 'state', facts: {} })
  expect(changes.at(-1).facts.silent_ms).toBeGreaterThan(16_000)
})

test('invariant 7: time in which nobody could be heard makes nobody suspect', async () => {
  const { api, register } = await start()
  const worker = await register()
  // The gate opened just now, and the executor was last heard long before.
  await silence(3_600, worker)
  await untilSwept(api)
  expect(await worker.get()).toMatchObject({ state: 'healthy' })
  // Three beats after it opened.
  await db.sql(
    `UPDATE terms SET deadline_floor_at = clock_timestamp() + interval '14 seconds'
      WHERE deadline_floor_at IS NOT NULL`,
  )
  await until(worker, 'suspect')
  await db.sql('UPDATE terms SET deadline_floor_at = NULL')
  await untilSwept(api)
  expect(await worker.get()).toMatchObject({ state: 'suspect' })
})

test('invariant 7: a stall of the replica itself makes nobody suspect', async () => {
  const { api, app, register } = await start()
  const worker = await register()
  await db.sql(pastFloor)
  app.wiring.stalls.note()
  // The sweep of leases moves the floor for it.
  while ((await db.sql(isHeld)).length === 0) await pause()
  await silence(3_600, worker)
  await untilSwept(api)
  expect(await worker.get()).toMatchObject({ state: 'healthy' })
})

test('invariant 7: most of a fleet that falls silent at once is not lost for one more TTL', async () => {
  const { api, register } = await start()
  const fleet = [await register(), await register(), await register()]
  await db.sql(pastFloor)
  await silence(31, ...fleet)
  await untilSwept(api)
  for (const worker of fleet) expect((await worker.get()).state).not.toBe('lost')
  await db.sql(pastFloor)
  await silence(46, ...fleet)
  for (const worker of fleet) await until(worker, 'lost')
})

test('a fleet larger than a batch is judged whole, and one that is locked is left', async () => {
  const { api, register } = await start()
  const worker = await register()
  await db.sql(
    `INSERT INTO executors (executor_id, epoch, labels, queues, capacity, registered_at, heartbeat_at)
      SELECT 'f-' || n, 1, '{}', '{}', 1, ${ago(100)}, ${ago(100)} FROM generate_series(1, 1200) n`,
  )
  const session = await openSession(db.url)
  await session.query('BEGIN')
  await session.query("SELECT FROM executors WHERE executor_id = 'f-7' FOR UPDATE")
  await db.sql(pastFloor)
  const left = "SELECT executor_id FROM executors WHERE state <> 'lost'"
  while ((await db.sql(left)).length !== 2) await pause()
  await session.query('ROLLBACK')
  while ((await db.sql(left)).length !== 1) await pause()
  expect(await worker.get()).toMatchObject({ state: 'healthy' })
  expect((await sweepOf(api)).failures).toBe(0)
  const events = "SELECT count(*)::int AS n FROM executor_events WHERE executor_id LIKE 'f-%'"
  expect(await db.sql(events)).toEqual([{ n: 1_200 }])
})
