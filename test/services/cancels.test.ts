import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { startEffects } from '../support/effects.ts'
import { pause } from '../support/pause.ts'
import { adminToken, startReplica, waitForLocks } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'

const db = useDatabase()
const quickly = { UNDERSTUDY_HEARTBEAT_MS: '100', UNDERSTUDY_CANCEL_GRACE_MS: '200' }

async function startCancels(env: Record<string, string> = {}) {
  const work = await startEffects(db, env)
  const { api } = work
  const cancel = (id: string, body: object = {}) => api.post(`/v1/jobs/${id}/cancel`, body)
  const beat = ({ executor, epoch, job: { job_id, fence } }: Holder) =>
    api.heartbeat(executor, epoch, [{ job_id, fence }])
  const attempts = async (id: string) => (await api.get(`/v1/jobs/${id}/attempts`)).body.attempts
  return { ...work, cancel, beat, attempts }
}
type Holder = Awaited<ReturnType<Awaited<ReturnType<typeof startEffects>>['hold']>>

test('what nobody holds is cancelled at once, and its key is free again', async () => {
  const { api, queue, cancel, hold } = await startCancels()
  const idempotency_key = randomUUID()
  const waiting = await api.submit({ queue, idempotency_key })
  const delayed = await api.submit({ queue, delay_ms: 3_600_000 })
  const end = api.get(`/v1/jobs/${waiting.id}?wait_ms=20000`)
  const cancelled = await cancel(waiting.id, { reason: 'not needed' })
  expect(cancelled).toMatchObject({
    status: 200,
    body: { job: { state: 'cancelled', cancel_reason: 'not needed', idempotency_key } },
  })
  expect((await end).body.job.state).toBe('cancelled')
  expect((await cancel(waiting.id, { reason: 'again' })).body).toEqual(cancelled.body)
  expect((await cancel(delayed.id)).body.job).toMatchObject({
    state: 'cancelled',
    scheduled: false,
  })
  const anew = await api.submit({ queue, idempotency_key })
  expect(anew.id).not.toBe(waiting.id)
  expect((await hold()).job.job_id).toBe(anew.id)
})

test('a cancel needs no body, whatever type is named', async () => {
  const { api, queue } = await startCancels()
  const [one, two] = [await api.submit({ queue }), await api.submit({ queue })]
  const bare = await api.request('POST', `/v1/jobs/${one.id}/cancel`)
  expect([bare.status, bare.body.job?.state]).toEqual([200, 'cancelled'])
  const typed = await fetch(`${api.url}/v1/jobs/${two.id}/cancel`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
  })
  expect(typed.status).toBe(200)
})

test('bad cancels change nothing', async () => {
  const { api, queue, cancel } = await startCancels()
  const job = await api.submit({ queue })
  expect(await cancel(job.id, { reason: 7 })).toMatchObject({
    status: 400,
    body: { errors: [{ path: 'reason' }] },
  })
  expect(await cancel(job.id, { why: 'x' })).toMatchObject({ status: 400 })
  expect((await cancel(randomUUID())).status).toBe(404)
  expect((await cancel('nonsense')).status).toBe(404)
  expect(await api.job(job.id)).toMatchObject({ state: 'available', cancel_requested_at: null })
})

test('invariant 6: a holder is told on every heartbeat until it answers', async () => {
  const { api, queue, cancel, hold, beat, attempts } = await startCancels()
  const job = await api.submit({ queue })
  const holder = await hold()
  expect((await beat(holder)).cancel).toEqual([])
  expect((await cancel(job.id, { reason: 'stop it' })).body.job).toMatchObject({
    state: 'leased',
    cancel_reason: 'stop it',
  })
  const told = [{ job_id: job.id, fence: holder.job.fence, reason: 'stop it' }]
  for (let n = 0; n < 3; n += 1) {
    const answer = await beat(holder)
    expect(answer.cancel).toEqual(told)
    expect(answer.held).toHaveLength(1)
  }
  expect(await holder.report('cancelled')).toMatchObject([
    { status: 'accepted', job_state: 'cancelled' },
  ])
  expect((await beat(holder)).cancel).toEqual([])
  expect(await attempts(job.id)).toMatchObject([{ outcome: 'cancelled' }])
})

for (const outcome of ['failed', 'released']) {
  test(`invariant 6: a cancelled job that is reported ${outcome} is not tried again`, async () => {
    const { api, queue, cancel, hold } = await startCancels()
    const job = await api.submit({ queue })
    const holder = await hold()
    await cancel(job.id)
    expect(await holder.report(outcome)).toMatchObject([{ job_state: 'cancelled' }])
    expect(await holder.report(outcome)).toMatchObject([{ status: 'duplicate' }])
  })
}

test('a success that is reported first wins, and a cancel that comes after it is refused', async () => {
  const { api, queue, cancel, hold } = await startCancels()
  const job = await api.submit({ queue })
  const holder = await hold()
  await cancel(job.id)
  expect(await holder.report('succeeded')).toMatchObject([{ job_state: 'succeeded' }])
  expect(await api.job(job.id)).toMatchObject({
    state: 'succeeded',
    cancel_requested_at: expect.any(String),
  })
  expect(await cancel(job.id)).toMatchObject({ status: 409, body: { code: 'already_final' } })
})

test('invariant 6: an executor that is lost takes the cancel with it', async () => {
  const { api, queue, cancel, hold, lose, attempts } = await startCancels()
  const job = await api.submit({ queue })
  const holder = await hold()
  await cancel(job.id)
  await lose(holder)
  expect((await api.job(job.id)).state).toBe('cancelled')
  expect(await attempts(job.id)).toMatchObject([{ outcome: 'lost' }])
})

test('invariant 6: who was told and does not answer loses the lease; who was not told keeps it', async () => {
  const { api, queue, cancel, hold, beat, attempts } = await startCancels(quickly)
  const [told, untold] = [await api.submit({ queue }), await api.submit({ queue })]
  const [deaf, away] = [await hold(), await hold()]
  await cancel(told.id)
  await cancel(untold.id)
  while ((await api.job(told.id)).state === 'leased') await beat(deaf)
  expect(await api.job(told.id)).toMatchObject({ state: 'cancelled', fence: deaf.job.fence + 1 })
  expect(await attempts(told.id)).toMatchObject([
    { outcome: 'cancelled', error: { code: 'cancel_unanswered' } },
  ])
  expect((await beat(deaf)).revoked).toMatchObject([{ job_id: told.id }])
  expect(await deaf.report('succeeded')).toMatchObject([
    { status: 'rejected', reason: 'already_final' },
  ])
  expect((await api.job(untold.id)).state).toBe('leased')
  expect(await away.report('cancelled')).toMatchObject([{ status: 'accepted' }])
})

test('invariant 7: the grace of who was told by a term before starts over with the gate', async () => {
  const { api, app, queue, cancel, hold, beat } = await startCancels({
    UNDERSTUDY_CANCEL_GRACE_MS: '30000',
  })
  const job = await api.submit({ queue })
  const holder = await hold()
  await cancel(job.id)
  await beat(holder)
  await db.sql(
    `UPDATE jobs SET cancel_told_at = clock_timestamp() - interval '1 hour' WHERE id = $1`,
    [job.id],
  )
  await db.terminate(`understudy ${app.identity.name} lock`)
  while ((await api.get('/v1/leader')).body.term < 2) await pause()
  await api.untilActive()
  const runs = async () => {
    const { sweeps } = (await api.get('/v1/status')).body
    return sweeps.find(({ name }: { name: string }) => name === 'end_unanswered_cancels')?.runs ?? 0
  }
  const before = await runs()
  while ((await runs()) < before + 2) await pause()
  expect((await api.job(job.id)).state).toBe('leased')
  // And it is told again.
  expect((await beat(holder)).cancel).toHaveLength(1)
})

test('invariant 6: of many cancels and one claim each job has one story', async () => {
  const { api, queue, cancel, executorOf } = await startRace()
  const jobs = await Promise.all(Array.from({ length: 30 }, () => api.submit({ queue })))
  const { executor, epoch } = await executorOf()
  const [assignments, answers] = await Promise.all([
    api.poll(executor, epoch, { max: 30 }),
    Promise.all(jobs.map(({ id }) => untilServed(() => cancel(id)))),
  ])
  for (const [index, { id }] of jobs.entries()) {
    const state = answers[index]?.body.job.state
    const isHeld = assignments.some(({ job_id }) => job_id === id)
    expect([id, state]).toEqual([id, isHeld ? 'leased' : 'cancelled'])
  }
})

async function startRace() {
  const work = await startCancels()
  const executorOf = async () => {
    const executor = randomUUID()
    const epoch = await work.api.register(executor, { queues: [work.queue], capacity: 30 })
    return { executor, epoch }
  }
  return { ...work, executorOf }
}

test('a cancel needs no leader, and any replica takes it', async () => {
  const { api, queue } = await startCancels()
  const { api: standby } = await startReplica(db)
  await standby.untilReady()
  const job = await api.submit({ queue })
  expect((await standby.post(`/v1/jobs/${job.id}/cancel`, {})).body.job.state).toBe('cancelled')
})

test('a job that waits for an operator is cancelled; what is in doubt stays in doubt', async () => {
  const { api, submit, hold, lose, cancel, effects } = await startCancels()
  const job = await submit()
  const first = await hold()
  await first.begin('deploy')
  await lose(first)
  expect((await (await hold()).begin('deploy')).body.outcome).toBe('in_doubt')
  expect((await cancel(job.id)).body.job.state).toBe('cancelled')
  expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt', holds: false }])
  const body = { outcome: 'aborted', note: 'n' }
  await api.must(200, api.post(`/v1/jobs/${job.id}/effects/deploy/resolve`, body))
  expect((await api.job(job.id)).state).toBe('cancelled')
})

test('a doubt that came while a cancel waited for the row holds nothing', async () => {
  const { api, app, queue, cancel, effects } = await startCancels()
  waitForLocks(app)
  const job = await api.submit({ queue })
  const other = await openSession(db.url)
  await other.query(`SET understudy.door = 'test'; BEGIN`)
  await other.query(`SELECT FROM jobs WHERE id = '${job.id}' FOR UPDATE`)
  const cancelled = cancel(job.id)
  const isWaiting = `SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'transactionid'`
  while ((await db.sql(isWaiting)).length === 0) await pause()
  await other.query(`UPDATE jobs SET state = 'waiting' WHERE id = '${job.id}'`)
  await other.query(
    `INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch, holds)
      VALUES ('${job.id}', 'k', 'in_doubt', 'hold', 'b', 1, 'e', 1, true)`,
  )
  await other.query('COMMIT')
  expect((await cancelled).body.job.state).toBe('cancelled')
  expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt', holds: false }])
})

test('a begin that was answered in doubt is answered the same after a cancel', async () => {
  const { submit, hold, lose, cancel } = await startCancels()
  const job = await submit()
  const first = await hold()
  await first.begin('k', { on_doubt: 'reconcile' })
  await lose(first)
  const second = await hold()
  const begin_id = randomUUID()
  const told = await second.begin('k', { begin_id })
  expect(told.body.outcome).toBe('in_doubt')
  await cancel(job.id)
  expect((await second.begin('k', { begin_id })).body).toEqual(told.body)
})

test('no effect is begun once a cancel is there; what was begun can be committed', async () => {
  const { submit, hold, cancel } = await startCancels()
  const job = await submit()
  const holder = await hold()
  const begin_id = randomUUID()
  const begun = await holder.begin('one', { begin_id })
  await cancel(job.id)
  expect(await holder.begin('two')).toMatchObject({
    status: 409,
    body: { code: 'cancel_requested' },
  })
  // Its answer may have got lost: then it may have been done.
  expect((await holder.begin('one', { begin_id })).body).toEqual(begun.body)
  expect((await holder.call('one', 'commit', { begin_id })).status).toBe(200)
  expect(await holder.begin('one')).toMatchObject({ body: { code: 'cancel_requested' } })
})

test('invariant 6: recovery cancels what a leader put back that knew no cancels', async () => {
  const { api, app, queue } = await startCancels()
  const job = await api.submit({ queue, delay_ms: 3_600_000 })
  await db.sql(
    `UPDATE jobs SET cancel_requested_at = clock_timestamp(), scheduled = false,
      claim_at = '2000-01-01' WHERE id = $1`,
    [job.id],
  )
  // No claim takes it, either, nor is held up by it.
  const next = await api.submit({ queue })
  const epoch = await api.register('claimer', { queues: [queue] })
  expect(await api.poll('claimer', epoch, { wait_ms: 10_000 })).toMatchObject([{ job_id: next.id }])
  await db.terminate(`understudy ${app.identity.name} lock`)
  while ((await api.job(job.id)).state !== 'cancelled') await pause()
  await api.untilActive()
  const { recovery } = (await api.get('/v1/leader')).body
  expect(recovery).toContainEqual(
    expect.objectContaining({ phase: 'finish_cancels', counts: { cancelled: 1, bad_rows: 0 } }),
  )
})
