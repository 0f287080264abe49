import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startEffects } from '../support/effects.ts'
import { pause } from '../support/pause.ts'

const db = useDatabase()

test.each(['succeeded', 'failed', 'released', 'cancelled'])(
  'invariant 5: what is begun when the job is reported %s is in doubt',
  async (outcome) => {
    const { submit, hold, effects } = await startEffects(db)
    const job = await submit()
    const holder = await hold()
    await holder.begin('deploy')
    expect(await holder.report(outcome)).toMatchObject([{ status: 'accepted' }])
    expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt', settled_at: null }])
  },
)

test('invariant 5: what a lost executor had begun is in doubt; with hold the job waits for an operator', async () => {
  const { api, submit, hold, lose, effects } = await startEffects(db)
  const job = await submit()
  const first = await hold()
  await first.begin('deploy', { on_doubt: 'hold' })
  await lose(first)
  expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt', holds: false }])
  const second = await hold()
  const begin_id = randomUUID()
  const told = await second.begin('deploy', { begin_id, on_doubt: 'retry' })
  expect(told.body).toMatchObject({ outcome: 'in_doubt', on_doubt: 'hold', result: null })
  expect(await api.job(job.id)).toMatchObject({
    state: 'waiting',
    executor_id: null,
    fence: second.job.fence + 1,
    attempt: 0,
  })
  // The answer was lost: it is the same.
  expect((await second.begin('deploy', { begin_id })).body).toEqual(told.body)
  expect((await second.begin('deploy')).body.code).toBe('stale_fence')
  expect(await second.report('succeeded')).toMatchObject([{ status: 'rejected' }])
  const resolve = (body: object) => api.post(`/v1/jobs/${job.id}/effects/deploy/resolve`, body)
  const resolved = await resolve({ outcome: 'committed', result: { id: 9 }, note: 'seen live' })
  expect(resolved).toMatchObject({
    status: 200,
    body: { effect: { state: 'committed', result: { id: 9 }, holds: false } },
  })
  expect(await resolve({ outcome: 'aborted', note: 'no' })).toMatchObject({
    status: 409,
    body: { code: 'effect_settled' },
  })
  const third = await hold()
  expect((await third.begin('deploy')).body).toMatchObject({
    outcome: 'committed',
    result: { id: 9 },
  })
  const { entries } = (await api.get('/v1/audit')).body
  expect(entries[0]).toMatchObject({
    action: 'effect.resolve',
    subject: `${job.id} deploy`,
    reason: 'seen live',
    facts: { outcome: 'committed', was_held: true },
  })
})

test('invariant 5: with retry the next attempt is told to proceed, under the same token', async () => {
  const { submit, hold, lose } = await startEffects(db)
  await submit()
  const first = await hold()
  const { body } = await first.begin('put', { on_doubt: 'retry' })
  await lose(first)
  const second = await hold()
  expect((await second.begin('put')).body).toEqual(body)
})

test('invariant 5: with reconcile the next attempt finds out, and only it', async () => {
  const { api, submit, hold, lose, ledger } = await startEffects(db)
  const job = await submit()
  const first = await hold()
  const lost = randomUUID()
  await first.begin('charge', { begin_id: lost, on_doubt: 'reconcile' })
  await lose(first)
  const second = await hold()
  const begin_id = randomUUID()
  const told = await second.begin('charge', { begin_id })
  expect(told.body).toMatchObject({ outcome: 'in_doubt', on_doubt: 'reconcile' })
  expect((await second.begin('charge', { begin_id })).body).toEqual(told.body)
  expect((await second.begin('charge')).body.code).toBe('effect_in_progress')
  // Who has lost the job says so too late: kept, and no more.
  const late = await first.call('charge', 'commit', { begin_id: lost, result: 'late' })
  expect(late).toMatchObject({ status: 409, body: { code: 'stale_epoch' } })
  expect(await ledger(job.id)).toMatchObject({
    effects: [{ state: 'in_doubt', result: null }],
    late_effects: [{ begin_id: lost, outcome: 'committed', result: 'late' }],
  })
  // Nor does an operator, while it finds out.
  const body = { outcome: 'aborted', note: 'n' }
  const resolved = await api.post(`/v1/jobs/${job.id}/effects/charge/resolve`, body)
  expect(resolved.body.code).toBe('effect_in_progress')
  expect((await second.call('charge', 'abort', { begin_id })).body.effect.state).toBe('aborted')
  const again = await second.begin('charge')
  expect(again.body).toMatchObject({ outcome: 'proceed' })
})

test('invariant 5: a reconciliation that is lost, too, leaves it in doubt', async () => {
  const { submit, hold, lose } = await startEffects(db)
  await submit()
  const first = await hold()
  await first.begin('charge', { on_doubt: 'reconcile' })
  await lose(first)
  const second = await hold()
  const begin_id = randomUUID()
  await second.begin('charge', { begin_id })
  await lose(second)
  const third = await hold()
  expect((await third.begin('charge')).body.outcome).toBe('in_doubt')
  expect((await second.call('charge', 'commit', { begin_id })).body.code).toBe('stale_epoch')
})

test('an operator cannot resolve what its executor may be doing', async () => {
  const { api, submit, hold } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  await holder.begin('deploy')
  const resolve = (key: string) =>
    api.post(`/v1/jobs/${job.id}/effects/${key}/resolve`, { outcome: 'aborted', note: 'n' })
  expect(await resolve('deploy')).toMatchObject({
    status: 409,
    body: { code: 'effect_in_progress' },
  })
  expect((await resolve('nothing')).status).toBe(404)
})

test('what a lost executor says is kept, also after an operator has said otherwise', async () => {
  const { api, submit, hold, lose, ledger } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  const begin_id = randomUUID()
  await holder.begin('deploy', { begin_id })
  await lose(holder)
  const body = { outcome: 'aborted', note: 'not there' }
  await api.must(200, api.post(`/v1/jobs/${job.id}/effects/deploy/resolve`, body))
  expect((await holder.call('deploy', 'commit', { begin_id, result: 1 })).status).toBe(409)
  expect(await ledger(job.id)).toMatchObject({
    effects: [{ state: 'aborted' }],
    late_effects: [{ key: 'deploy', outcome: 'committed', result: 1 }],
  })
})

test('invariant 5: recovery puts in doubt what a leader left begun that knew no effects', async () => {
  const { api, app, submit, effects } = await startEffects(db)
  const job = await submit()
  await db.sql(
    `INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch)
      VALUES ($1, 'k', 'begun', 'hold', 'b', 1, 'e', 1)`,
    [job.id],
  )
  await db.terminate(`understudy ${app.identity.name} lock`)
  while ((await effects(job.id))[0].state !== 'in_doubt') await pause()
  await api.untilActive()
  const { recovery } = (await api.get('/v1/leader')).body
  expect(recovery).toContainEqual(
    expect.objectContaining({
      phase: 'doubt_effects',
      counts: { effects_in_doubt: 1, bad_rows: 0 },
    }),
  )
})
