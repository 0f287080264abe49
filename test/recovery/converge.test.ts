import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startServe } from '../support/processes.ts'
import { startActive, type TestReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

/** Recovery that is run again, or was killed half-way, comes to the same end. */

const db = useDatabase()

/** A leader whose sweeps run once, with one lease that is held and one that had run out as it served. */
async function startWithLeases() {
  const { api, app } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(executor, { queues: [queue] })
  await api.submit({ queue })
  await api.submit({ queue })
  const [kept, lost] = await api.poll(executor, epoch, { max: 2 })
  const served =
    'SELECT FROM terms WHERE term = (SELECT term FROM leader) AND served_at IS NOT NULL'
  while ((await db.sql(served)).length === 0) await pause()
  await db.sql(`UPDATE terms SET deadline_floor_at = served_at - interval '2 hours'`)
  await db.sql(
    `UPDATE jobs SET lease_expires_at = lease_expires_at - interval '1 hour' WHERE id = $1`,
    [lost?.job_id],
  )
  return { app, queue, executor, epoch, kept, lost }
}

/** All that is durable, but for what tells the time of the run itself. */
async function readState() {
  const tables = ['jobs', 'attempts', 'executors', 'progress', 'replicas', 'leader', 'classes']
  const state: Record<string, unknown> = {}
  for (const table of tables) state[table] = await db.sql(`SELECT * FROM ${table} ORDER BY 1`)
  state.terms = await db.sql(
    'SELECT term, replica_id, deadline_floor_at, ended_at, end_reason FROM terms ORDER BY term',
  )
  return state
}

async function expectConverged(
  { api }: TestReplica,
  { executor, epoch, kept, lost }: Awaited<ReturnType<typeof startWithLeases>>,
) {
  const held = { job_id: kept?.job_id, fence: kept?.fence }
  expect(await api.heartbeat(executor, epoch, [held])).toMatchObject({ held: [held], revoked: [] })
  expect(await api.job(lost?.job_id ?? '')).toMatchObject({
    state: 'available',
    fence: 2,
    attempt: 0,
    lost_leases: 1,
  })
  const { attempts } = (await api.get(`/v1/jobs/${lost?.job_id}/attempts`)).body
  expect(attempts).toMatchObject([{ outcome: 'lost', fence: 1 }])
}

test('run twice under one term, recovery changes nothing the second time', async () => {
  const work = await startWithLeases()
  await work.app.stop()
  await db.sql(
    `INSERT INTO replicas (replica_id, name, advertised_url, role, version, active_lock_id)
      VALUES (gen_random_uuid(), 'long gone', '', 'all', '0', 1)`,
  )
  await db.sql('UPDATE terms SET ended_at = NULL, end_reason = NULL')
  const states: Record<string, unknown>[] = []
  const replica = await startActive(
    db,
    {},
    {
      duties: ({ recover, sweep }) => ({
        sweep,
        recover: async (term, lost) => {
          for (const _ of ['first', 'second']) {
            await recover(term, lost)
            states.push(await readState())
          }
        },
      }),
    },
  )
  expect(states).toHaveLength(2)
  expect(states[1]).toEqual(states[0])
  await expectConverged(replica, work)
})

test('killed half-way, recovery is completed by the successor', async () => {
  const work = await startWithLeases()
  const { process, api } = await startServe(db, 'killed')
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE classes')
  await work.app.stop()
  const blocked = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'classes'::regclass"
  while ((await blocker.query(blocked)).rowCount === 0) await pause()
  // Its leases are settled, and its memory is not: half-way.
  expect((await api.get('/health/live')).body.controller_state).toBe('recovering')
  const [row] = await db.sql('SELECT state FROM jobs WHERE id = $1', [work.lost?.job_id])
  expect(row).toEqual({ state: 'available' })
  process.kill('SIGKILL')
  await process.exited
  await blocker.query('ROLLBACK')
  const successor = await startActive(db)
  await expectConverged(successor, work)
  const { body } = await successor.api.get('/v1/leader')
  expect(body.terms.slice(1, 3)).toMatchObject([
    { name: 'killed', end_reason: 'vanished' },
    { name: work.app.identity.name, end_reason: 'hand_over' },
  ])
})
