import { randomUUID } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { applySettings, lockSettings } from '../../src/sql/session.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startActive, startReplica } from '../support/replica.ts'
import { openSession, promoteByHand } from '../support/sessions.ts'
import { stand, untilLost } from '../support/stand.ts'

const db = useDatabase()

const lockHolders = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

test('of five replicas started at once exactly one is active, by probe and by the lock', async () => {
  const replicas = await Promise.all([1, 2, 3, 4, 5].map(() => startReplica(db)))
  await Promise.race(replicas.map(({ api }) => api.untilActive()))
  await Promise.all(replicas.map(({ events }) => events.wait('standing')))
  const probes = await Promise.all(replicas.map(({ api }) => api.get('/health/active')))
  expect(probes.map(({ status }) => status).sort()).toEqual([200, 503, 503, 503, 503])
  expect(await db.sql(lockHolders)).toHaveLength(1)
})

test('when its lock session ends the leader steps down and the standby leads the next term', async () => {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  const { term } = await first.events.wait('promoted')
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  await first.events.wait('lost')
  const promoted = await second.events.wait('promoted')
  expect(promoted.term.number).toBe(term.number + 1)
  await second.api.untilActive()
  expect((await first.api.get('/health/active')).status).toBe(503)
  expect(term.endReason).toBe('session_ended')
  const { body } = await second.api.get('/v1/leader')
  expect(body).toMatchObject({ role: 'active', term: promoted.term.number })
  expect(body.terms[1]).toMatchObject({ term: term.number, end_reason: 'session_ended' })
})

test('a replica that stops hands over: its term ends as hand_over, and the standby leads', async () => {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  await first.app.stop()
  await second.api.untilActive()
  const { body } = await second.api.get('/v1/leader')
  expect(body.terms[1]).toMatchObject({ name: first.app.identity.name, end_reason: 'hand_over' })
})

test('cut off from Postgres without a word, a leader stops trusting itself before it is replaced', async () => {
  const proxy = await startPgProxy(db.url)
  const first = await startActive(db, {
    UNDERSTUDY_LEADER_DATABASE_URL: proxy.url,
    UNDERSTUDY_TRUST_WINDOW_MS: '3500',
    // Far beyond the trust: what is shown is the order, and not how close it is.
    UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '14000',
  })
  const second = await startReplica(db)
  await second.events.wait('standing')
  proxy.freeze()
  const { term } = await first.events.wait('lost')
  expect(term.endReason).toBe('trust_expired')
  expect(second.events.fired.map(({ type }) => type)).not.toContain('promoted')
  await second.api.untilActive()
  expect((await first.api.get('/health/active')).status).toBe(503)
})

test('Postgres itself drops a lock session whose replica is frozen', async () => {
  const frozen = await openSession(db.url, 'frozen lock')
  const ended = Promise.withResolvers<string | undefined>()
  frozen.on('error', (error) => ended.resolve((error as { code?: string }).code))
  await frozen.query('SELECT pg_advisory_lock(504946615666)')
  // At one stroke, and last: they are in force at once, and nothing more is asked.
  await applySettings(frozen, lockSettings(300))
  expect(await ended.promise).toBe('57P05')
  // The client is told a moment before its locks are gone.
  while ((await db.sql(lockHolders)).length > 0) await pause()
})

test('what holds another lock is not promoted while somebody leads under this one', async () => {
  const first = await startActive(db)
  const session = await openSession(db.url)
  await expect(promoteByHand(session, randomUUID(), '42')).rejects.toThrow(
    'a replica with active_lock_id 504946615666 leads this database',
  )
  expect((await first.api.get('/health/active')).status).toBe(200)
})

test('a replica of role api never stands, and serves submits and reads', async () => {
  const api = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
  const first = await startActive(db)
  const job = await api.api.submit({ queue: 'from-api' })
  expect((await first.api.job(job.id)).queue).toBe('from-api')
  expect(api.events.fired).toEqual([])
  const refused = await api.api.post('/v1/executors/register', { executor_id: 'e' })
  expect(refused).toMatchObject({ status: 503, body: { code: 'controller_standby' } })
})

test('a leader whose schema no longer fits makes way, and takes no lease with it', async () => {
  const { api, events } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50' })
  const epoch = await api.register('fits', { queues: ['fits'] })
  const job = await api.submit({ queue: 'fits' })
  await api.poll('fits', epoch)
  await db.sql(
    "INSERT INTO migrations (version, name, breaking, checksum) VALUES (9999, 'next', true, '')",
  )
  onTestFinished(async () => {
    await db.sql('DELETE FROM migrations WHERE version = 9999')
  })
  const { term } = await events.wait('lost')
  expect(term.endReason).toBe('schema_changed')
  const refused = await api.post('/v1/executors/fits/heartbeat', { epoch })
  expect(refused).toMatchObject({ status: 503, body: { code: 'schema_ahead' } })
  const [row] = await db.sql('SELECT state, lost_leases FROM jobs WHERE id = $1', [job.id])
  expect(row).toEqual({ state: 'leased', lost_leases: 0 })
})

test('invariant 7: while heartbeats are refused a leader does not say that it was heard', async () => {
  const proxy = await startPgProxy(db.url)
  const { api, app } = await startActive(db, {
    DATABASE_URL: proxy.url,
    UNDERSTUDY_LEADER_DATABASE_URL: db.url,
  })
  const { token } = (await api.post('/v1/tokens', { name: 't', role: 'executor' })).body
  await api.as(token).register('heard')
  proxy.cut()
  // Refused where the token is looked up, or where the lease is renewed: either is a stall.
  for (const each of [api, api.as(token)]) {
    const settled = app.wiring.stalls.unsettled
    const { status } = await each.post('/v1/executors/heard/heartbeat', { epoch: 1 })
    expect(status).toBe(503)
    expect(app.wiring.stalls.unsettled).toBeGreaterThan(settled)
  }
  const ticks = async () =>
    (
      await db.sql<{ ticked: string; served: string }>(
        'SELECT ticked_at::text AS ticked, served_at::text AS served FROM terms ORDER BY term DESC LIMIT 1',
      )
    )[0]
  const nextTick = async () => {
    const last = await ticks()
    for (;;) {
      const tick = await ticks()
      if (tick?.ticked !== last?.ticked) return tick
      await pause()
    }
  }
  // The first may have been under way already.
  const before = await nextTick()
  expect((await nextTick())?.served).toBe(before?.served)
})

test('a recovery that fails keeps the replica recovering and is tried again', async () => {
  const states: string[] = []
  const done = Promise.withResolvers<void>()
  const { gate } = stand(
    db,
    {
      recover: async () => {
        states.push(gate.state)
        if (states.length < 3) throw new Error('planted')
      },
      sweep: (term, lost) => {
        done.resolve()
        return untilLost(term, lost)
      },
    },
    'recovers at the third try',
  )
  await done.promise
  expect(states).toEqual(['recovering', 'recovering', 'recovering'])
  expect(gate.state).toBe('active')
})

test('after three failed recoveries a replica leaves the lock to one that waits', async () => {
  const bad = stand(
    db,
    { recover: () => Promise.reject(new Error('planted')), sweep: untilLost },
    'never recovers',
  )
  await bad.events.wait('promoted')
  const good = stand(db, { recover: async () => undefined, sweep: untilLost }, 'recovers')
  await bad.events.wait('stood_back')
  const { term } = await bad.events.wait('lost')
  expect(term.endReason).toBe('recovery_failed')
  await good.events.wait('promoted')
})

test('with nobody else waiting it keeps the lock however often recovery fails, and pauses each time', async () => {
  const done = Promise.withResolvers<void>()
  const failures = 6
  let tries = 0
  const asked: number[] = []
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, ...over) => {
      asked.push(ms)
      return systemClock.sleep(Math.min(ms, 10), ...over)
    },
  }
  // Longer than any pause, to be told from them.
  const [pingMs, trustWindowMs] = [1e6, 1e9]
  const { gate, events } = stand(
    db,
    {
      recover: async () => {
        tries += 1
        if (tries <= failures) throw new Error('planted')
      },
      sweep: (term, lost) => {
        done.resolve()
        return untilLost(term, lost)
      },
    },
    'recovers at last',
    {},
    { clock, pingMs, trustWindowMs },
  )
  await done.promise
  expect(gate.state).toBe('active')
  expect(events.fired.map(({ type }) => type)).toEqual(['standing', 'granted', 'promoted'])
  const pauses = asked.filter((ms) => ms < pingMs / 2)
  expect(pauses).toHaveLength(failures)
  for (const [at, ms] of pauses.entries()) {
    expect(ms).toBeLessThanOrEqual(Math.min(400 * 2 ** at, 5_000))
  }
})

test('sweeps that cannot start put the replica back to recovering, under the same term', async () => {
  let starts = 0
  const recovered: number[] = []
  const done = Promise.withResolvers<void>()
  const { gate, events } = stand(
    db,
    {
      recover: async (term) => {
        recovered.push(term.number)
      },
      sweep: (term, lost) => {
        starts += 1
        if (starts === 1) return Promise.reject(new Error('planted'))
        done.resolve()
        return untilLost(term, lost)
      },
    },
    'sweeps at the second try',
  )
  await done.promise
  const { term } = await events.wait('promoted')
  expect(recovered).toEqual([term.number, term.number])
  expect(gate.state).toBe('active')
})
