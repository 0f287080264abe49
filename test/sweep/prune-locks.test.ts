import { expect, test } from 'vitest'
import { requireServing } from '../../src/services/serving.ts'
import { createDoors } from '../../src/sql/doors.ts'
import { acquireLockIfFree, keepFromPruning, pruneAbandonedLocks } from '../../src/sql/locks.ts'
import { createReader } from '../../src/sql/pool.ts'
import { pruneLocks } from '../../src/sweep/prune-locks.ts'
import { useDatabase } from '../support/database.ts'
import { age, Claimant, lockName } from '../support/locks.ts'
import { pause } from '../support/pause.ts'
import { startActive } from '../support/replica.ts'
import { openSession, pidOf, untilWaiting } from '../support/sessions.ts'

/** Names that nobody uses any more are forgotten; their fences never. */

const db = useDatabase()

async function start() {
  const { api, app } = await startActive(db)
  // Its own first run is over, and the next is a minute away: what is pruned is what the test prunes.
  const hasRun = async () =>
    (await api.get('/v1/status')).body.sweeps.some(
      ({ name }: { name: string }) => name === 'prune_locks',
    )
  while (!(await hasRun())) await pause()
  const names = async () =>
    (await db.sql<{ name: string }>('SELECT name FROM locks ORDER BY name')).map(({ name }) => name)
  return { api, app, names }
}

test('a lock that nobody has had for a day is forgotten, and goes on above its last fence', async () => {
  const { api, app, names } = await start()
  const released = new Claimant(api, lockName())
  for (let fence = 1; fence <= 7; fence += 1) await released.release(await released.take())
  const over = new Claimant(api, lockName())
  await over.take()
  const recent = new Claimant(api, lockName())
  await recent.release(await recent.take())
  const held = new Claimant(api, lockName())
  await held.take({ ttl_ms: 86_400_000 })
  await age(db, released.name, '25 h')
  await age(db, over.name, '25 h')
  await age(db, recent.name, '23 h')
  await age(db, held.name, '25 h')
  const { pools, gate } = app
  const { runOnce } = pruneLocks(createReader(pools.leader), createDoors(pools))
  const term = requireServing(gate)
  await runOnce(term)
  expect(await runOnce(term)).toEqual({ counts: { pruned: 0 } })
  expect(await names()).toEqual([held.name, recent.name].sort())
  expect(await released.take()).toBe(8)
  expect((await released.release(7)).body.code).toBe('stale_fence')
  // Above every fence that was forgotten, since nobody knows any more which was whose.
  expect(await over.take()).toBe(8)
  expect(await new Claimant(api, lockName()).take()).toBe(8)
  expect(await held.take()).toBe(2)
})

test('a name that is acquired while it is pruned does not get a fence that was used', async () => {
  await start()
  const name = lockName()
  const [pruner, acquirer, observer] = await Promise.all([
    openSession(db.url),
    openSession(db.url),
    openSession(db.url),
  ])
  await db.sql(
    `INSERT INTO locks (name, fence, owner, boot_id, holders, token_id, metadata, ttl_ms, acquired_at, renewed_at,
        expires_at, ends_at)
      SELECT $1, 41, 'o', 'b', '{o b}', 't', '{}', 1000, at, at, at, at FROM (SELECT now() - interval '2 days' AS at) t`,
    [name],
  )
  const acquirerPid = await pidOf(acquirer)
  for (const session of [pruner, acquirer]) {
    await session.query("BEGIN; SET LOCAL understudy.door = 'test'")
  }
  expect(await pruneAbandonedLocks(pruner, 500)).toBe(1)
  const kept = keepFromPruning(acquirer)
  await untilWaiting(observer, acquirerPid)
  await pruner.query('COMMIT')
  await kept
  const got = await acquireLockIfFree(acquirer, {
    name,
    owner: 'o',
    boot_id: 'new',
    token_id: 't',
    is_admin: false,
    job_id: null,
    metadata: '{}',
    ttl_ms: 1_000,
    valid_ms: 1_000,
  })
  await acquirer.query('COMMIT')
  expect(got?.fence).toBeGreaterThan(41)
})
