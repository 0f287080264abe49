import { expect, onTestFinished, test } from 'vitest'
import type { Duties } from '../../src/leader/tenure.ts'
import { waitForActiveLock } from '../../src/sql/leader.ts'
import { applySettings, lockSettings } from '../../src/sql/session.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startServe, tellApart } from '../support/processes.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { openSession, pidOf } from '../support/sessions.ts'
import { stand, untilLost } from '../support/stand.ts'

const db = useDatabase()

interface LockRow {
  pid: number
  name: string
  granted: boolean
}

const activeLockId = '504946615666'

/** Who holds, or waits for, the lock of the active replica. */
function locks(lockId = activeLockId): Promise<LockRow[]> {
  return db.sql<LockRow & { [column: string]: unknown }>(
    `SELECT l.pid, a.application_name AS name, l.granted
      FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.objsubid = 1
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((l.classid::bigint << 32) | l.objid::bigint) = $1::bigint`,
    [lockId],
  )
}

test('a slice that times out as it is granted holds the lock: asked again it says so, and closing frees it', async () => {
  const holder = await openSession(db.url)
  let waiter = await openSession(db.url)
  let tries = 0
  let raced = 0
  for (let releaseMs = 20; raced < 8; tries += 1) {
    await holder.query('SELECT pg_advisory_lock(7)')
    const waiting = waitForActiveLock(waiter, '7', 20)
    await holder.query('SELECT pg_sleep($1 / 1000.0), pg_advisory_unlock(7)', [releaseMs])
    const said = await waiting
    const pid = await pidOf(waiter)
    const holds = (await locks('7')).some((lock) => lock.pid === pid && lock.granted)
    // Towards the instant at which either may win.
    releaseMs += said ? 0.05 : -0.05
    if (said) await waiter.query('SELECT pg_advisory_unlock(7)')
    if (said || !holds) continue
    raced += 1
    expect(await waitForActiveLock(waiter, '7', 20)).toBe(true)
    await waiter.end()
    while ((await locks('7')).length > 0) await pause()
    waiter = await openSession(db.url)
  }
  process.stdout.write(`  granted, though the slice had timed out: ${raced} of ${tries} tries\n`)
})

test('a replica whose slice timed out as it was granted asks again, leads, and leaves the lock free', async () => {
  const wait = 'FUNCTION wait_for_active_lock'
  await db.sql(`ALTER ${wait} RENAME TO wait_as_shipped`)
  await db.sql(`CREATE ${wait}(p_lock_id bigint, p_slice_ms integer) RETURNS boolean
    LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_advisory_lock(p_lock_id);
      IF current_setting('test.asked', true) = 'yes' THEN RETURN true; END IF;
      PERFORM set_config('test.asked', 'yes', false);
      RETURN false;
    END $$`)
  onTestFinished(async () => {
    await db.sql(`DROP ${wait}; ALTER FUNCTION wait_as_shipped RENAME TO wait_for_active_lock`)
  })
  const { app, events } = await startActive(db)
  const fired = events.fired.map(({ type }) => type)
  expect(fired).toEqual(['standing', 'waiting', 'granted', 'promoted'])
  expect(await locks()).toMatchObject([{ granted: true }])
  await app.stop()
  while ((await locks()).length > 0) await pause()
})

test('a half-open waiter that inherits the lock does not keep it', async () => {
  const first = await startActive(db)
  const proxy = await startPgProxy(db.url)
  const ghost = await openSession(proxy.url, 'ghost lock')
  const ghostName = 'understudy ghost lock'
  // As a replica's, but for a slice that never ends: it waits longest, whenever the lock comes free.
  await applySettings(ghost, { ...lockSettings(8_000), statement_timeout: '0' })
  waitForActiveLock(ghost, activeLockId, 600_000).catch(() => undefined)
  const untilWaits = async (who: string) => {
    while (!(await locks()).some(({ name, granted }) => name === who && !granted)) await pause()
  }
  await untilWaits(ghostName)
  const third = await startReplica(db)
  await untilWaits(`understudy ${third.app.identity.name} lock`)
  proxy.freeze()
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  const since = performance.now()
  while (!(await locks()).some(({ name, granted }) => granted && name === ghostName)) await pause()
  const { term: before } = await first.events.wait('promoted')
  // By then the first one stands again, too: either may be next.
  const { term } = await Promise.race(
    [first, third].map(({ events }) =>
      events.wait('promoted', (event) => event.term.number > before.number),
    ),
  )
  process.stdout.write(
    `  lock free to the next promoted, past a ghost: ${Math.round(performance.now() - since)} ms\n`,
  )
  await Promise.race([first, third].map(({ api }) => api.untilActive()))
  expect(term.number).toBe(before.number + 1)
})

test('a standby that waits holds no snapshot for longer than a slice, under load', async () => {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  const epoch = await first.api.register('load', { queues: ['load'] })
  let isOver = false
  const load = async () => {
    while (!isOver) {
      await first.api.submit({ queue: 'load' })
      for (const { job_id, fence } of await first.api.poll('load', epoch, { max: 10 })) {
        await first.api.report('load', epoch, { job_id, fence, outcome: 'succeeded' })
      }
    }
  }
  const loading = load()
  const slices = new Set<string>()
  let oldestMs = 0
  while (slices.size < 6) {
    const rows = await db.sql<{ name: string; since: string; ms: number }>(
      `SELECT application_name AS name, xact_start::text AS since,
          extract(epoch FROM clock_timestamp() - xact_start)::float8 * 1000 AS ms
        FROM pg_stat_activity, pg_sleep(0.05)
        WHERE datname = current_database() AND backend_xmin IS NOT NULL
          AND application_name LIKE 'understudy %'`,
    )
    for (const { name, since, ms } of rows) {
      oldestMs = Math.max(oldestMs, ms)
      if (name === `understudy ${second.app.identity.name} lock`) slices.add(since)
    }
  }
  isOver = true
  await loading
  process.stdout.write(`  oldest snapshot over ${slices.size} slices: ${Math.round(oldestMs)} ms\n`)
  expect(oldestMs).toBeLessThan(2_000)
})

test('a standby killed as it waits leaves no waiter, and a third replica takes over', async () => {
  const { active, standby } = await tellApart(
    await Promise.all([startServe(db, 'left'), startServe(db, 'right')]),
  )
  const standbyName = `understudy ${standby.process.name} lock`
  while (!(await locks()).some(({ name }) => name === standbyName)) await pause()
  const third = await startServe(db, 'third')
  standby.process.kill('SIGKILL')
  await standby.process.exited
  while ((await locks()).some(({ name }) => name === standbyName)) await pause()
  const { term } = (await active.api.get('/health/active')).body
  active.process.kill('SIGKILL')
  await third.api.untilActive()
  expect((await third.api.get('/health/active')).body.term).toBe(term + 1)
})

test('a promotion whose answer is lost: the replica stands again, and nobody led that term', async () => {
  const led: number[] = []
  const hasLooked = Promise.withResolvers<void>()
  // Held until the terms have been read: what serves is soon told by a ping.
  const recover: Duties['recover'] = async (term, lost) => {
    led.push(term.number)
    await Promise.race([hasLooked.promise, untilLost(term, lost)])
  }
  const duties = { recover, sweep: untilLost }
  const proxy = await startPgProxy(db.url)
  const [before] = await db.sql<{ term: number }>('SELECT term FROM leader')
  const lost = proxy.loseAnswer('SELECT promote(')
  const { events, replicaId } = stand(db, duties, 'loses its promotion', { url: proxy.url })
  await lost
  const { term } = await events.wait('promoted')
  const terms = await db.sql(
    'SELECT term, replica_id, served_at FROM terms WHERE term > $1 ORDER BY term',
    [before?.term],
  )
  hasLooked.resolve()
  expect(terms).toEqual([
    { term: (before?.term ?? 0) + 1, replica_id: replicaId, served_at: null },
    { term: term.number, replica_id: replicaId, served_at: null },
  ])
  expect(events.fired.filter(({ type }) => type === 'granted')).toHaveLength(2)
  while (led.length === 0) await pause()
  expect(led).toEqual([term.number])
})

test('a recovery that is overtaken by the loss of the lock opens no gate and starts no sweep', async () => {
  const goOn = Promise.withResolvers<void>()
  const recovering = Promise.withResolvers<void>()
  const swept: number[] = []
  const first = stand(
    db,
    {
      recover: async () => {
        recovering.resolve()
        await goOn.promise
      },
      sweep: async (term, lost) => {
        swept.push(term.number)
        await untilLost(term, lost)
      },
    },
    'is overtaken',
  )
  await recovering.promise
  const { term } = await first.events.wait('promoted')
  const second = stand(db, { recover: async () => undefined, sweep: untilLost }, 'overtakes')
  await db.terminate('understudy is overtaken lock')
  const successor = await second.events.wait('promoted')
  expect(successor.term.number).toBe(term.number + 1)
  expect(term.lost.aborted).toBe(true)
  goOn.resolve()
  await first.events.wait('lost')
  expect(swept).toEqual([])
  expect(first.gate.state).toBe('standby')
})
