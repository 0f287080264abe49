import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  beforeAllLeases,
  listReclaimableLeases,
  lockReclaimableLeases,
} from '../../src/sql/leases.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive, type TestReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { stillClock } from '../support/still-clock.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

async function start(env: Record<string, string> = {}) {
  await db.sql('DELETE FROM executors')
  const { api } = await startActive(
    db,
    { UNDERSTUDY_SWEEP_INTERVAL_MS: '50', ...env },
    { clock: stillClock },
  )
  while ((await sweepState(api)) === undefined) await pause() // its first run sets the term's floor
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(executor, { queues: [queue] })
  return { api, queue, executor, epoch }
}

const pastFloor = "UPDATE terms SET deadline_floor_at = clock_timestamp() - interval '1 hour'"

/** As if every lease had run out, and the term's floor had passed. */
async function expireLeases(executor: string) {
  await db.sql(pastFloor)
  await db.sql(
    `UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 second'
      WHERE state = 'leased' AND executor_id = $1`,
    [executor],
  )
}

async function sweepState(api: TestReplica['api']) {
  const { sweeps } = (await api.get('/v1/status')).body
  return sweeps.find(({ name }: { name: string }) => name === 'expire_leases')
}

async function untilSwept(api: TestReplica['api'], times: number) {
  const { runs } = await sweepState(api)
  while ((await sweepState(api)).runs < runs + times) await pause()
}

test('invariant 11: lost leases never spend attempts, and have a budget of their own', async () => {
  const { api, queue, executor, epoch } = await start({ UNDERSTUDY_LOST_LEASE_BUDGET: '2' })
  const job = await api.submit({ queue, max_attempts: 1 })
  for (let lost = 1; lost <= 2; lost += 1) {
    expect(await api.poll(executor, epoch, { wait_ms: 10_000 })).toMatchObject([{ attempt: 1 }])
    await expireLeases(executor)
    while ((await api.job(job.id)).lost_leases < lost) await pause()
    expect(await api.job(job.id)).toMatchObject({ state: 'available', attempt: 0 })
  }
  await api.poll(executor, epoch, { wait_ms: 10_000 })
  await expireLeases(executor)
  const { body } = await api.get(`/v1/jobs/${job.id}?wait_ms=20000`)
  expect(body.job).toMatchObject({
    state: 'failed',
    lost_leases: 3,
    error: { code: 'lost_lease_budget_spent', retryable: false },
  })
})

test('invariant 7: before the deadline floor no lease is taken back, however old', async () => {
  const { api, queue, executor, epoch } = await start()
  const job = await api.submit({ queue })
  await api.poll(executor, epoch)
  await db.sql(
    "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 hour' WHERE id = $1",
    [job.id],
  )
  await untilSwept(api, 3)
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
  const [assignment] = await db.sql('SELECT id AS job_id, fence FROM jobs WHERE id = $1', [job.id])
  const answer = await api.heartbeat(executor, epoch, [assignment])
  expect(answer.held).toEqual([assignment])
})

/** At one stroke: the one lease has expired, its executor and others were last heard `ago`, and the rest
 *  just now. */
interface Fleet {
  silent: number
  heard: number
  ago: string
  /** Of the silent ones, all but the holder. */
  hasLeft?: boolean
}

async function fallSilent(fleet: Fleet) {
  await db.sql(`
    UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE state = 'leased';
    UPDATE executors SET heartbeat_at = clock_timestamp() - interval '${fleet.ago}';
    INSERT INTO executors (executor_id, epoch, labels, queues, capacity, registered_at, heartbeat_at,
        state)
      SELECT 'other-' || n, 1, '{}', '{}', 1, clock_timestamp(), clock_timestamp() -
        CASE WHEN n < ${fleet.silent} THEN interval '${fleet.ago}' ELSE interval '0' END,
        CASE WHEN n < ${fleet.silent} AND ${fleet.hasLeft ?? false} THEN 'deregistered' ELSE 'healthy' END
      FROM generate_series(1, ${fleet.silent + fleet.heard - 1}) n;
    ${pastFloor}`)
}

test('invariant 7: a lease that was renewed since it was found to be expired is not taken back', async () => {
  const { api, app, queue, executor, epoch } = await startWork(db, {
    UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000',
  })
  const job = await api.submit({ queue })
  const [given] = await api.poll(executor, epoch)
  const term = app.gate.serving?.number ?? 0
  while ((await floorOf(term)) === null) await pause()
  await db.sql('UPDATE terms SET deadline_floor_at = $1', ['2020-01-01T00:00:00Z'])
  await db.sql("UPDATE jobs SET lease_expires_at = '2020-01-01T00:00:00Z' WHERE id = $1", [job.id])
  const session = await openSession(db.url)
  const found = await listReclaimableLeases(session, term, beforeAllLeases, 10)
  expect(found.map(({ id }) => id)).toContain(job.id)
  await api.heartbeat(executor, epoch, [{ job_id: job.id, fence: given?.fence }])
  expect(await lockReclaimableLeases(session, term, [job.id])).toEqual([])
})

async function floorOf(term: number): Promise<string | null> {
  const [row] = await db.sql<{ floor: string | null }>(
    'SELECT deadline_floor_at AS floor FROM terms WHERE term = $1',
    [term],
  )
  return row?.floor ?? null
}

test.for([
  { silent: 3, heard: 2, ago: '31 seconds', is: 'most of the fleet at the same time', waits: true },
  {
    silent: 3,
    heard: 2,
    ago: '16 seconds',
    is: 'most of the fleet before its leases end',
    waits: true,
  },
  { silent: 3, heard: 3, ago: '31 seconds', is: 'half of the fleet', waits: false },
  { silent: 2, heard: 0, ago: '31 seconds', is: 'a fleet of two', waits: false },
  { silent: 3, heard: 0, ago: '46 seconds', is: 'a fleet that was waited for', waits: false },
  {
    silent: 9,
    heard: 2,
    ago: '31 seconds',
    hasLeft: true,
    is: 'a fleet that has left',
    waits: false,
  },
])(
  'invariant 7: $is falls silent; reclaim waits one more TTL: $waits',
  async (fleet, { expect }) => {
    const { api, queue, executor, epoch } = await start()
    const job = await api.submit({ queue })
    await api.poll(executor, epoch)
    await fallSilent(fleet)
    await untilSwept(api, 2)
    const { lost_leases, state } = await api.job(job.id)
    expect({ lost_leases, state }).toEqual(
      fleet.waits ? { lost_leases: 0, state: 'leased' } : { lost_leases: 1, state: 'available' },
    )
    const [floor] = await db.sql<{ waits: boolean }>(
      `SELECT deadline_floor_at > clock_timestamp() + interval '20 seconds' AS waits
      FROM terms ORDER BY term DESC LIMIT 1`,
    )
    expect(floor?.waits).toBe(fleet.waits)
  },
)
