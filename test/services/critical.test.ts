import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startEffects } from '../support/effects.ts'
import { pause } from '../support/pause.ts'

const db = useDatabase()

/** The ceiling of a section goes by the floor of the term: so far ahead a replica that stalls does not move it. */
const fixFloor = () =>
  db.sql("UPDATE terms SET deadline_floor_at = clock_timestamp() + interval '1 hour'")

async function startCritical(env: Record<string, string> = {}) {
  const { api, app, submit, hold, lose } = await startEffects(db, env)
  const job = await submit()
  const holder = await hold()
  const { executor, epoch, job: lease } = holder
  const { fence } = lease
  const critical = (body: object) =>
    api.post(`/v1/jobs/${job.id}/critical`, { executor_id: executor, epoch, fence, ...body })
  const beat = () => api.heartbeat(executor, epoch, [{ job_id: job.id, fence }])
  const cancel = () => api.post(`/v1/jobs/${job.id}/cancel`, { reason: 'stop' })
  return { api, app, job, holder, lose, critical, beat, cancel }
}

test('invariant 6: a cancel waits for the end of a critical section, for all to see', async () => {
  const { api, job, holder, critical, beat, cancel } = await startCritical()
  await fixFloor()
  const entered = await critical({ enter: true, ceiling_ms: 60_000 })
  expect(entered).toMatchObject({ status: 200, body: { cancel: null } })
  const { critical_until } = entered.body
  expect((await cancel()).body.job).toMatchObject({ state: 'leased', critical_until })
  expect((await beat()).cancel).toEqual([])
  const left = await critical({ enter: false })
  expect(left.body).toEqual({ critical_until: null, cancel: { reason: 'stop' } })
  expect((await critical({ enter: false })).body).toEqual(left.body)
  expect((await beat()).cancel).toMatchObject([{ job_id: job.id, reason: 'stop' }])
  expect((await api.job(job.id)).critical_until).toBe(null)
  expect(await critical({ enter: true })).toMatchObject({
    status: 409,
    body: { code: 'cancel_requested' },
  })
  expect(await holder.report('cancelled')).toMatchObject([{ job_state: 'cancelled' }])
})

test('a section that is entered again is the same, and its ceiling stays', async () => {
  const { job, critical, cancel } = await startCritical()
  await fixFloor()
  const begunAt = () => db.sql('SELECT critical_entered_at FROM jobs WHERE id = $1', [job.id])
  const entered = await critical({ enter: true, ceiling_ms: 60_000 })
  const since = await begunAt()
  expect((await critical({ enter: true, ceiling_ms: 3_600_000 })).body).toEqual(entered.body)
  await cancel()
  expect((await critical({ enter: true, ceiling_ms: 3_600_000 })).body).toEqual(entered.body)
  expect(await begunAt()).toEqual(since)
})

test('invariant 6: past its ceiling a section puts off nothing', async () => {
  const { job, critical, beat, cancel } = await startCritical()
  await critical({ enter: true, ceiling_ms: 300 })
  await cancel()
  let answer = await beat()
  while (answer.cancel.length === 0) answer = await beat()
  expect(answer.cancel).toMatchObject([{ job_id: job.id }])
  const [{ is_late } = {}] = await db.sql(
    `SELECT cancel_told_at >= critical_entered_at + interval '300 milliseconds' AS is_late
      FROM jobs WHERE id = $1`,
    [job.id],
  )
  expect(is_late).toBe(true)
})

test('invariant 7: a ceiling starts over with the gate: nobody could end the section meanwhile', async () => {
  const { api, app, job, critical, beat, cancel } = await startCritical()
  await critical({ enter: true, ceiling_ms: 60_000 })
  await cancel()
  await db.sql(
    `UPDATE jobs SET critical_entered_at = clock_timestamp() - interval '1 hour' WHERE id = $1`,
    [job.id],
  )
  await db.terminate(`understudy ${app.identity.name} lock`)
  while ((await api.get('/v1/leader')).body.term < 2) await pause()
  await api.untilActive()
  const answer = await beat()
  expect(answer.held).toHaveLength(1)
  expect(answer.cancel).toEqual([])
})

test('a section ends with the lease', async () => {
  const { api, job, holder, lose, critical } = await startCritical()
  await critical({ enter: true })
  await lose(holder)
  expect(await api.job(job.id)).toMatchObject({ state: 'available', critical_until: null })
  expect(await critical({ enter: false })).toMatchObject({ status: 409 })
  const epoch = await api.register('next', { queues: [job.queue] })
  expect(await api.poll('next', epoch)).toHaveLength(1)
  await api.post(`/v1/jobs/${job.id}/cancel`, {})
  const fence = holder.job.fence + 2
  expect((await api.heartbeat('next', epoch, [{ job_id: job.id, fence }])).cancel).toHaveLength(1)
})

test('invariant 2: nobody but the holder enters or leaves; a ceiling has its bounds', async () => {
  const { api, job, holder, critical, cancel } = await startCritical()
  for (const ceiling_ms of [0, -1, 1.5, 3_600_001, '60000']) {
    expect(await critical({ enter: true, ceiling_ms })).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'ceiling_ms' }] },
    })
  }
  expect((await critical({ enter: false, ceiling_ms: 1 })).status).toBe(400)
  expect((await critical({})).status).toBe(400)
  expect((await api.job(job.id)).critical_until).toBe(null)
  const thief = await api.register('thief', { queues: ['elsewhere'] })
  const stolen = { enter: true, executor_id: 'thief', epoch: thief }
  expect(await critical(stolen)).toMatchObject({ status: 409, body: { code: 'stale_fence' } })
  const old = { enter: true, fence: holder.job.fence + 1 }
  expect(await critical(old)).toMatchObject({ status: 409, body: { code: 'stale_fence' } })
  await critical({ enter: true })
  await cancel()
  expect((await critical({ ...stolen, enter: false })).status).toBe(409)
  expect((await api.job(job.id)).critical_until).not.toBe(null)
})

test('invariant 5: within a section effects are begun, though a cancel waits', async () => {
  const { holder, critical, beat, cancel } = await startCritical()
  await critical({ enter: true, ceiling_ms: 60_000 })
  await cancel()
  expect((await holder.begin('switch')).body.outcome).toBe('proceed')
  await critical({ enter: false })
  expect((await holder.begin('more')).body.code).toBe('cancel_requested')
  expect((await beat()).cancel).toHaveLength(1)
})

test('an effect in doubt holds no job that is cancelled once a section has put the cancel off', async () => {
  const { api, submit, hold, lose, effects } = await startEffects(db)
  const job = await submit()
  const first = await hold()
  await first.begin('deploy', { on_doubt: 'hold' })
  await lose(first)
  const second = await hold()
  const { executor: executor_id, epoch } = second
  const section = { executor_id, epoch, fence: second.job.fence, enter: true }
  await api.must(200, api.post(`/v1/jobs/${job.id}/critical`, section))
  await api.must(200, api.post(`/v1/jobs/${job.id}/cancel`, {}))
  expect((await second.begin('deploy')).body).toMatchObject({ outcome: 'in_doubt' })
  expect(await api.job(job.id)).toMatchObject({ state: 'cancelled' })
  expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt', holds: false }])
})

test('a section that is past its ceiling is none: the next one begins anew', async () => {
  const { api, job, critical, beat, cancel } = await startCritical()
  const { critical_until } = (await critical({ enter: true, ceiling_ms: 1_000 })).body
  while ((await api.job(job.id)).critical_until !== null) await pause()
  const again = (await critical({ enter: true, ceiling_ms: 60_000 })).body
  expect(Date.parse(again.critical_until)).toBeGreaterThan(Date.parse(critical_until) + 30_000)
  await cancel()
  expect((await beat()).cancel).toEqual([])
})

test('invariant 6: a cancel that was told past a ceiling is told by the next term, too', async () => {
  const { api, app, critical, beat, cancel } = await startCritical()
  await critical({ enter: true, ceiling_ms: 300 })
  await cancel()
  while ((await beat()).cancel.length === 0) await pause()
  await db.terminate(`understudy ${app.identity.name} lock`)
  while ((await api.get('/v1/leader')).body.term < 2) await pause()
  await api.untilActive()
  expect((await beat()).cancel).toHaveLength(1)
})
