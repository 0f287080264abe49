import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { expectRefused } from '../support/refused.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

/** Replicas that cannot stand beside each other, and find out while they watch. */

const db = useDatabase()

test('of two replicas with one name the second takes no part until the first is gone', async () => {
  const named = { UNDERSTUDY_NAME: 'twin' }
  const first = await startActive(db, named)
  const second = await startReplica(db, named)
  await expectRefused(second, 'name_taken', 'another replica named twin is alive')
  expect((await first.api.get('/health/active')).status).toBe(200)
  await first.app.stop()
  await second.api.untilActive()
})

test('a leader whose watch session breaks keeps its name against one that waits for it', async () => {
  const named = { UNDERSTUDY_NAME: 'held' }
  const first = await startActive(db, named)
  const second = await startReplica(db, named)
  await expectRefused(second, 'name_taken', 'another replica named held is alive')
  for (let times = 0; times < 3; times += 1) {
    const before = await sessionOf('understudy held watch')
    await db.terminate('understudy held watch')
    while ((await sessionOf('understudy held watch')) === before)
      await first.api.get('/health/live')
  }
  await expectRefused(second, 'name_taken', 'another replica named held is alive')
  expect((await first.api.get('/health/active')).status).toBe(200)
  expect(first.events.fired.map(({ type }) => type)).toEqual(['standing', 'granted', 'promoted'])
})

test('of two standbys with one name the one that lost it steps aside, and says so', async () => {
  await startActive(db)
  const named = { UNDERSTUDY_NAME: 'lent' }
  const first = await startReplica(db, named)
  await first.events.wait('standing')
  const thief = await openSession(db.url)
  const takeName = "SELECT pg_try_advisory_lock(1970168949, hashtext('lent')) AS taken"
  // Quicker than its own next try: as another process of that name may be.
  await db.terminate('understudy lent watch')
  while (!(await thief.query(takeName)).rows[0].taken);
  while (first.app.watch.refusals.length === 0) await first.api.get('/health/live')
  expect((await first.api.get('/health/ready')).body.detail).toContain(
    'name_taken: another replica took',
  )
  await thief.end()
  while ((await first.api.get('/health/ready')).status !== 200);
})

async function sessionOf(applicationName: string): Promise<number> {
  const [row] = await db.sql<{ pid: number }>(
    'SELECT max(pid) AS pid FROM pg_stat_activity WHERE application_name = $1',
    [applicationName],
  )
  return row?.pid ?? 0
}

test('of five replicas that start at once with one name exactly one takes part', async () => {
  const replicas = await Promise.all(
    [1, 2, 3, 4, 5].map(() => startReplica(db, { UNDERSTUDY_NAME: 'quintuplet' })),
  )
  const refused = () => replicas.filter(({ app }) => app.watch.refusals.length > 0)
  while (refused().length < 4) await replicas[0]?.api.get('/health/live')
  await Promise.race(replicas.map(({ api }) => api.untilActive()))
  expect(refused()).toHaveLength(4)
})

test('a replica that cannot stand beside the others for its lock id is refused', async () => {
  await startActive(db)
  const replica = await startReplica(db, { UNDERSTUDY_ACTIVE_LOCK_ID: '9223372036854775807' })
  await expectRefused(replica, 'other_lock_id', 'replica-')
})
