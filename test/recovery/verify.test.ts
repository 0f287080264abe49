import { expect, onTestFinished, test } from 'vitest'
import { createLog } from '../../src/log.ts'
import { verifyPhase } from '../../src/recovery/verify.ts'
import { findViolations, isFenceSound } from '../../src/sql/violations.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

const db = useDatabase()

test.each([
  ['lease_of_no_executor', 'UPDATE jobs SET epoch = 99 WHERE id = $1'],
  ['lease_in_the_wrong_class', "UPDATE jobs SET kind = 'other' WHERE id = $1"],
  [
    'fence_used_before',
    `INSERT INTO attempts SELECT id, fence, attempt, executor_id, epoch, 'lost', NULL, NULL, now(), now()
      FROM jobs WHERE id = $1`,
  ],
  [
    'effect_of_no_lease',
    `INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch)
      VALUES ($1, 'k', 'begun', 'hold', 'b', 99, 'holder', 1)`,
  ],
  [
    'transition_of_no_wait',
    `INSERT INTO transitions (job_id, stage, move, owner, boot_id, token_id, expires_at)
      VALUES ($1, 'a', 0, 'o', 'b', 't', 'infinity')`,
  ],
])('%s is found by the sweep, counted, and told with its job', async (violation, spoil) => {
  const { api } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  const epoch = await api.register('holder', { queues: ['held'] })
  const job = await api.submit({ queue: 'held' })
  expect(await api.poll('holder', epoch)).toMatchObject([{ job_id: job.id }])
  const session = await openSession(db.url)
  expect(await findViolations(session)).toEqual([])
  await db.sql(spoil, [job.id])
  onTestFinished(async () => {
    await db.sql('DELETE FROM jobs; DELETE FROM effects; DELETE FROM transitions')
  })
  expect(await findViolations(session)).toEqual([{ violation, count: 1, jobs: [job.id] }])
  const counts = async () => {
    const { sweeps } = (await api.get('/v1/status')).body
    return sweeps.find(({ name }: { name: string }) => name === 'verify')?.last_counts
  }
  while ((await counts())?.[violation] !== 1) await pause()
  // All others are told as well, as none.
  const found = Object.entries((await counts()) ?? {}).filter(([, count]) => count !== 0)
  expect(found).toEqual([[violation, 1]])
})

test.each([
  ['that looks at old snapshots', 'ALTER FUNCTION fence_term(bigint, uuid) STABLE'],
  [
    'beside another of its name',
    "CREATE FUNCTION fence_term(text) RETURNS void LANGUAGE sql AS 'SELECT'",
  ],
])('a fence %s is found', async (_name, spoil) => {
  const session = await openSession(db.url)
  expect(await isFenceSound(session)).toBe(true)
  await session.query(`BEGIN; ${spoil}`)
  expect(await isFenceSound(session)).toBe(false)
  await session.query('ROLLBACK')
})

test('recovery tells of an unsound fence, and the gate opens all the same', async () => {
  await db.sql('ALTER FUNCTION fence_term(bigint, uuid) STABLE')
  onTestFinished(async () => {
    await db.sql('ALTER FUNCTION fence_term(bigint, uuid) VOLATILE')
  })
  const { api } = await startActive(db)
  const { body } = await api.get('/v1/leader')
  expect(body.recovery.at(-1)).toMatchObject({ phase: 'verify', counts: { unsound_fence: 1 } })
})

test('where nothing can be verified the gate opens all the same, and that is counted', async () => {
  const ended = await openSession(db.url)
  await ended.end()
  const phase = verifyPhase(ended, createLog('silent'))
  const { app } = await startActive(db)
  const term = app.gate.serving
  expect(term && (await phase.run(term))).toEqual({ unverified: 1 })
})
