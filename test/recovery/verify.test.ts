import { expect, onTestFinished, test } from 'vitest'
import { createLog } from '../../src/log.ts'
import { verifyPhase } from '../../src/recovery/verify.ts'
import { findViolations } from '../../src/sql/violations.ts'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

const db = useDatabase()

/** A lease that its replica left behind. */
async function leaveLease(): Promise<string> {
  const { api, app } = await startActive(db)
  const epoch = await api.register('holder', { queues: ['held'] })
  const job = await api.submit({ queue: 'held' })
  expect(await api.poll('holder', epoch)).toMatchObject([{ job_id: job.id }])
  expect(await findViolations(await openSession(db.url))).toEqual([])
  await app.stop()
  onTestFinished(async () => {
    await db.sql('DELETE FROM jobs')
  })
  return job.id
}

test.each([
  ['lease_of_no_executor', 'UPDATE jobs SET epoch = 99 WHERE id = $1'],
  ['lease_of_an_older_epoch', 'UPDATE jobs SET epoch = 0 WHERE id = $1'],
  ['lease_in_the_wrong_class', "UPDATE jobs SET kind = 'other' WHERE id = $1"],
  [
    'fence_used_before',
    `INSERT INTO attempts SELECT id, fence, attempt, executor_id, epoch, 'lost', NULL, NULL, now(), now()
      FROM jobs WHERE id = $1`,
  ],
])(
  '%s is found in recovery and told with its job, and the gate opens all the same',
  async (violation, spoil) => {
    const job = await leaveLease()
    await db.sql(spoil, [job])
    expect(await findViolations(await openSession(db.url))).toEqual([
      { violation, count: 1, jobs: [job] },
    ])
    const { api } = await startActive(db)
    const { body } = await api.get('/v1/leader')
    expect(body.recovery.at(-1)).toMatchObject({ phase: 'verify', counts: { [violation]: 1 } })
  },
)

test('a sweep goes on looking, and the status tells what it found', async () => {
  await db.sql("UPDATE jobs SET kind = 'other' WHERE id = $1", [await leaveLease()])
  const { api } = await startActive(db)
  const found = { name: 'verify', last_counts: { lease_in_the_wrong_class: 1 } }
  const sweeps = async () => (await api.get('/v1/status')).body.sweeps as (typeof found)[]
  while (!(await sweeps()).some(({ name }) => name === found.name));
  expect(await sweeps()).toContainEqual(expect.objectContaining(found))
})

test('a fence that would look at old snapshots is found', async () => {
  const session = await openSession(db.url)
  const signature = 'FUNCTION fence_term(bigint, uuid)'
  await session.query(`BEGIN; ALTER ${signature} STABLE`)
  expect(await findViolations(session)).toEqual([
    { violation: 'fence_that_looks_at_old_snapshots', count: 1, jobs: [] },
  ])
  await session.query('ROLLBACK')
})

test('where nothing can be verified the gate opens all the same, and that is counted', async () => {
  // A database without the tables.
  const elsewhere = Object.assign(new URL(db.url), { pathname: '/template1' }).href
  const phase = verifyPhase(await openSession(elsewhere), createLog('silent'))
  const { app } = await startActive(db)
  const term = app.gate.serving
  expect(term && (await phase.run(term))).toEqual({ unverified: 1 })
})
