import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { expect, test } from 'vitest'
import type { Seams } from '../../src/app.ts'
import type { Assignment } from '../../src/contract/executors.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { untilLost } from '../support/stand.ts'

const db = useDatabase()

/** The latest term has noted that it serves. */
async function untilServed() {
  const latest = 'SELECT served_at FROM terms ORDER BY term DESC LIMIT 1'
  while ((await db.sql<{ served_at: string | null }>(latest))[0]?.served_at === null) await pause()
}

/** Its lock session waits for the lock, now: to have stood once is not to stand. */
async function untilWaits({ app }: TestReplica) {
  const waiting = `SELECT FROM pg_locks JOIN pg_stat_activity a USING (pid)
    WHERE locktype = 'advisory' AND NOT granted AND a.application_name = $1 AND a.datname = current_database()`
  const name = `understudy ${app.identity.name} lock`
  while ((await db.sql(waiting, [name])).length === 0) await pause()
}

/** The leader's lock session ends, as in a crash; the other leads. */
async function failOver(from: TestReplica, to: TestReplica) {
  await untilWaits(to)
  const terms = to.events.fired.filter(({ type }) => type === 'promoted').length
  await db.terminate(`understudy ${from.app.identity.name} lock`)
  while (to.events.fired.filter(({ type }) => type === 'promoted').length === terms) {
    await db.sql('SELECT 1')
  }
  await to.api.untilActive()
}

function heldOf(assignment: Assignment | undefined) {
  return { job_id: assignment?.job_id, fence: assignment?.fence }
}

/** A claim waits for the lock that this session holds. */
async function untilBlocked(session: pg.Client) {
  const waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'jobs'::regclass"
  while ((await session.query(waiting)).rows.length === 0) await pause()
}

async function start(more: Record<string, string> = {}, seams: Seams = {}) {
  const env = { UNDERSTUDY_SWEEP_INTERVAL_MS: '50', ...more }
  const first = await startActive(db, env)
  const second = await startReplica(db, env, seams)
  await second.api.untilReady()
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await first.api.register(executor, { queues: [queue] })
  return { first, second, queue, executor, epoch }
}

/** The second leads, and does not recover before `goOn` is called: the first is gone for good, and hears nobody. */
async function startAndEndFirst() {
  const held = Promise.withResolvers<void>()
  const duties: Seams['duties'] = (own) => ({
    ...own,
    recover: async (term, lost) => {
      await Promise.race([held.promise, untilLost(term, lost)])
      await own.recover(term, lost)
    },
  })
  const { first, second, queue, executor, epoch } = await start({}, { duties })
  const job = await first.api.submit({ queue })
  const [assignment] = await first.api.poll(executor, epoch)
  await untilServed()
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  await first.events.wait('lost')
  await first.app.stop()
  return { second, executor, epoch, job, held: heldOf(assignment), goOn: held.resolve }
}

test('leases, epochs and fences hold over a failover: heartbeat and report go on as before', async () => {
  const { first, second, queue, executor, epoch } = await start()
  const job = await first.api.submit({ queue })
  const [assignment] = await first.api.poll(executor, epoch)
  const held = { job_id: job.id, fence: assignment?.fence }
  await failOver(first, second)
  const answer = await second.api.heartbeat(executor, epoch, [held])
  expect(answer).toMatchObject({ held: [held], revoked: [] })
  expect(await second.api.report(executor, epoch, { ...held, outcome: 'succeeded' })).toMatchObject(
    [{ status: 'accepted', job_state: 'succeeded' }],
  )
  expect((await second.api.job(job.id)).fence).toBe(assignment?.fence)
})

test('a report whose answer was lost in the failover is a duplicate for the successor', async () => {
  const { first, second, queue, executor, epoch } = await start()
  const job = await first.api.submit({ queue })
  const [assignment] = await first.api.poll(executor, epoch)
  const report = { job_id: job.id, fence: assignment?.fence, outcome: 'succeeded' }
  await first.api.report(executor, epoch, report)
  await failOver(first, second)
  expect(await second.api.report(executor, epoch, report)).toMatchObject([{ status: 'duplicate' }])
})

test('a poll whose answer was lost in the failover gets its jobs from the successor', async () => {
  const { first, second, queue, executor, epoch } = await start()
  const job = await first.api.submit({ queue })
  const poll_id = randomUUID()
  const [lost] = await first.api.poll(executor, epoch, { poll_id })
  await failOver(first, second)
  expect(await second.api.poll(executor, epoch, { poll_id })).toMatchObject([
    { job_id: job.id, fence: lost?.fence, attempt: 1 },
  ])
})

test('an offer of the term before that nobody shows is found by the successor, and goes back', async () => {
  const { first, second, queue, executor, epoch } = await start({ UNDERSTUDY_HEARTBEAT_MS: '100' })
  const job = await first.api.submit({ queue })
  await first.api.poll(executor, epoch)
  await failOver(first, second)
  await second.api.heartbeat(executor, epoch)
  expect(await second.api.job(job.id)).toMatchObject({ state: 'leased', fence: 1 })
  while ((await second.api.job(job.id)).state === 'leased') {
    await second.api.heartbeat(executor, epoch)
  }
  expect(await second.api.job(job.id)).toMatchObject({ state: 'available', attempt: 0, fence: 2 })
  const { body } = await second.api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.attempts).toMatchObject([{ fence: 1, outcome: 'undelivered' }])
})

test('invariant 7: a lease that ran out while nobody led gets one full TTL', async () => {
  const { second, executor, epoch, job, held, goOn } = await startAndEndFirst()
  // It ran out a moment after the term before was last able to hear anybody.
  await db.sql(
    `UPDATE jobs SET lease_expires_at =
        (SELECT max(served_at) FROM terms) + interval '1 millisecond' WHERE id = $1`,
    [job.id],
  )
  await db.sql("UPDATE terms SET deadline_floor_at = served_at - interval '1 minute'")
  goOn()
  await second.api.untilActive()
  const runs = async () => {
    const { sweeps } = (await second.api.get('/v1/status')).body
    return sweeps.find(({ name }: { name: string }) => name === 'expire_leases')?.runs ?? 0
  }
  while ((await runs()) <= 5) await pause()
  expect(await second.api.job(job.id)).toMatchObject({ state: 'leased', fence: 1, lost_leases: 0 })
  expect((await second.api.heartbeat(executor, epoch, [held])).held).toEqual([held])
})

test('a lease that had run out while executors could be heard is taken back in recovery', async () => {
  const { second, job, goOn } = await startAndEndFirst()
  await db.sql(
    `UPDATE jobs SET lease_expires_at = (SELECT max(served_at) FROM terms) - interval '1 minute'
      WHERE id = $1`,
    [job.id],
  )
  await db.sql("UPDATE terms SET deadline_floor_at = served_at - interval '1 minute'")
  goOn()
  await second.api.untilActive()
  expect(await second.api.job(job.id)).toMatchObject({
    state: 'available',
    attempt: 0,
    lost_leases: 1,
  })
  const { body } = await second.api.get(`/v1/jobs/${job.id}/attempts`)
  expect(body.attempts).toMatchObject([
    { outcome: 'lost', error: { message: 'the lease had expired before the failover' } },
  ])
})

test('two failovers in a row do not shorten the TTL that the first one gave', async () => {
  const { first, second, queue, executor, epoch } = await start()
  const job = await first.api.submit({ queue })
  const [assignment] = await first.api.poll(executor, epoch)
  await failOver(first, second)
  await db.sql(
    `UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '10 seconds' WHERE id = $1`,
    [job.id],
  )
  await failOver(second, first)
  const held = { job_id: job.id, fence: assignment?.fence }
  expect((await first.api.heartbeat(executor, epoch, [held])).held).toEqual([held])
})

test('jobs that were waiting, and those due since, are served by the successor', async () => {
  const { first, second, queue, executor, epoch } = await start()
  const now = await first.api.submit({ queue })
  const soon = await first.api.submit({ queue, delay_ms: 300 })
  await failOver(first, second)
  const given = [
    ...(await second.api.poll(executor, epoch, { max: 2, wait_ms: 10_000 })),
    ...(await second.api.poll(executor, epoch, { max: 2, wait_ms: 10_000 })),
  ].map(({ job_id }) => job_id)
  expect(new Set(given)).toEqual(new Set([now.id, soon.id]))
})

test('polls that wait are ended with 503 when leadership is lost, not left hanging', async () => {
  const { first, second, executor, epoch } = await start()
  await second.events.wait('standing')
  const waiting = first.api.post(`/v1/executors/${executor}/poll`, { epoch, wait_ms: 20_000 })
  while (first.app.wiring.waitList.size === 0) await pause()
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  expect(await waiting).toMatchObject({ status: 503, body: { code: 'controller_standby' } })
})

test('a job submitted on the standby reaches an executor that waits at the active', async () => {
  const { first, second, queue, executor, epoch } = await start()
  const waiting = first.api.poll(executor, epoch, { wait_ms: 20_000 })
  const job = await second.api.submit({ queue, kind: `new-${queue}` })
  expect(await waiting).toMatchObject([{ job_id: job.id }])
})

test('an executor that was long silent when the term began is known when it calls', async () => {
  const { first, second, queue, executor, epoch } = await start()
  await db.sql("UPDATE executors SET heartbeat_at = clock_timestamp() - interval '1 day'")
  await failOver(first, second)
  expect(second.app.wiring.directory.find(executor)).toBeUndefined()
  const job = await second.api.submit({ queue })
  expect(await second.api.poll(executor, epoch)).toMatchObject([{ job_id: job.id }])
  const stale = await second.api.post(`/v1/executors/${executor}/poll`, { epoch: epoch + 1 })
  expect(stale.status).toBe(409)
})

test('invariant 12: a poll that waits for a claim under way ends with the term', async () => {
  const { first, second, queue, executor, epoch } = await start()
  await first.api.submit({ queue })
  const [warm] = await first.api.poll(executor, epoch)
  await first.api.report(executor, epoch, { ...heldOf(warm), outcome: 'succeeded' })
  const blocker = await openSession(db.url)
  await blocker.query('BEGIN; LOCK TABLE jobs IN SHARE MODE')
  const poll = (poll_id: string) =>
    first.api.post(`/v1/executors/${executor}/poll`, { epoch, poll_id, wait_ms: 20_000 })
  const claiming = poll('one')
  while (first.app.wiring.waitList.size === 0) await pause()
  first.app.wiring.polls.markReady(first.app.wiring.polls.takeDoubtful())
  await untilBlocked(blocker)
  const behind = poll('two')
  await second.events.wait('standing')
  await db.terminate(`understudy ${first.app.identity.name} lock`)
  await first.events.wait('lost')
  await blocker.query('ROLLBACK')
  expect((await claiming).status).toBe(503)
  expect((await behind).status).toBe(503)
  expect(first.app.wiring.waitList.size).toBe(0)
})

test('each term tells its recovery, and replicas that are gone are marked', async () => {
  const { first, second } = await start()
  await failOver(first, second)
  const { body } = await second.api.get('/v1/leader')
  expect(body.leader).toMatchObject({ name: second.app.identity.name })
  expect(body.recovery.map(({ phase }: { phase: string }) => phase)).toEqual([
    'check_schema',
    'mark_gone',
    'settle_deadlines',
    'finish_cancels',
    'doubt_effects',
    'load_memory',
    'verify',
  ])
  const gone = await db.sql(
    `INSERT INTO replicas (replica_id, name, advertised_url, role, version, active_lock_id)
      VALUES (gen_random_uuid(), 'long gone', '', 'all', '0', 1) RETURNING replica_id`,
  )
  await failOver(second, first)
  const [row] = await db.sql(
    'SELECT gone_at IS NOT NULL AS is_gone FROM replicas WHERE replica_id = $1',
    [gone[0]?.replica_id],
  )
  expect(row).toEqual({ is_gone: true })
  const live = (await first.api.get('/v1/status')).body.replicas.map(
    ({ name }: { name: string }) => name,
  )
  expect(live.sort()).toEqual([first.app.identity.name, second.app.identity.name].sort())
})
