import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startRetries } from '../support/retries.ts'

const db = useDatabase()

/** A job that failed with the effect committed, aborted, or left in doubt. */
async function startFailed(settled: 'commit' | 'abort' | undefined, on_doubt = 'hold') {
  const work = await startRetries(db)
  const job = await work.api.submit({ queue: work.queue, max_attempts: 1 })
  const holder = await work.hold()
  const begin_id = randomUUID()
  const begun = await holder.begin('deploy', { begin_id, on_doubt })
  const settle = (verb: string) =>
    holder.call('deploy', verb, verb === 'commit' ? { begin_id, result: { id: 7 } } : { begin_id })
  if (settled) await settle(settled)
  await holder.report('failed')
  return { ...work, job, holder, begin_id, settle, token: begun.body.effect_token }
}

test('invariant 5: a committed effect is not repeated by the job that retries', async () => {
  const { job, token, retry, hold, effects } = await startFailed('commit')
  const { body } = await retry(job.id)
  const next = await hold()
  expect(next.job.job_id).toBe(body.job.id)
  expect((await next.begin('deploy')).body).toEqual({
    outcome: 'committed',
    effect_token: token,
    on_doubt: 'hold',
    result: { id: 7 },
  })
  expect(await effects(body.job.id)).toMatchObject([{ state: 'committed', holds: false }])
})

test('invariant 5: an effect in doubt stays so for the job that retries, and holds it', async () => {
  const { api, job, token, retry, hold, effects } = await startFailed(undefined)
  const { body } = await retry(job.id)
  const next = await hold()
  expect((await next.begin('deploy')).body).toMatchObject({
    outcome: 'in_doubt',
    effect_token: token,
  })
  const id = body.job.id
  expect((await api.job(id)).state).toBe('waiting')
  const resolve = (of: string) =>
    api.post(`/v1/jobs/${of}/effects/deploy/resolve`, { outcome: 'committed', note: 'seen' })
  // At the job that goes on, and not where it would be heard by nobody.
  expect(await resolve(job.id)).toMatchObject({ status: 409, body: { code: 'job_retried' } })
  expect((await resolve(job.id)).body.detail).toContain(id)
  expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt' }])
  expect((await resolve(id)).status).toBe(200)
  expect((await (await hold()).begin('deploy')).body.outcome).toBe('committed')
})

test('invariant 5: with reconcile the job that retries finds out; what its predecessor says is evidence there', async () => {
  const { job, token, settle, retry, hold, effects, ledger } = await startFailed(
    undefined,
    'reconcile',
  )
  const { body } = await retry(job.id)
  const next = await hold()
  const begin_id = randomUUID()
  expect((await next.begin('deploy', { begin_id })).body).toMatchObject({
    outcome: 'in_doubt',
    effect_token: token,
  })
  expect(await settle('commit')).toMatchObject({ status: 409, body: { code: 'stale_fence' } })
  expect(await ledger(job.id)).toMatchObject({
    effects: [{ state: 'in_doubt' }],
    late_effects: [{ outcome: 'committed' }],
  })
  expect(await ledger(body.job.id)).toMatchObject({
    effects: [{ state: 'in_doubt' }],
    late_effects: [],
  })
  expect((await next.call('deploy', 'commit', { begin_id, result: 1 })).status).toBe(200)
  expect(await effects(body.job.id)).toMatchObject([{ state: 'committed', result: 1 }])
  expect(await effects(job.id)).toMatchObject([{ state: 'in_doubt' }])
})

test('invariant 5: with retry it is done again by the job that retries, under the same token', async () => {
  const { job, token, retry, hold } = await startFailed(undefined, 'retry')
  await retry(job.id)
  expect((await (await hold()).begin('deploy')).body).toMatchObject({
    outcome: 'proceed',
    effect_token: token,
  })
})

test('what was aborted is begun anew by the job that retries', async () => {
  const { job, retry, hold, effects } = await startFailed('abort')
  const { body } = await retry(job.id)
  expect(await effects(body.job.id)).toEqual([])
  expect((await (await hold()).begin('deploy')).body.outcome).toBe('proceed')
})

test('invariant 2: who held the old job has no say in the new one', async () => {
  const { api, job, holder, begin_id, retry, effects } = await startFailed(undefined, 'reconcile')
  const { body } = await retry(job.id)
  const { executor, epoch } = holder
  const claim = { executor_id: executor, epoch, fence: holder.job.fence, begin_id }
  for (const verb of ['begin', 'commit', 'abort']) {
    expect(await api.post(`/v1/jobs/${body.job.id}/effects/deploy/${verb}`, claim)).toMatchObject({
      status: 409,
      body: { code: 'stale_fence' },
    })
  }
  const report = { job_id: body.job.id, fence: holder.job.fence, outcome: 'succeeded' }
  expect(await api.report(executor, epoch, report)).toMatchObject([
    { status: 'rejected', reason: 'stale_fence', job_state: 'available' },
  ])
  expect(await effects(body.job.id)).toMatchObject([{ state: 'in_doubt' }])
})

test('invariant 5: what a build without a ledger left begun on a final job is in doubt for the next', async () => {
  const { job, retry, effects } = await startFailed(undefined)
  await db.sql("UPDATE effects SET state = 'begun' WHERE job_id = $1", [job.id])
  const { body } = await retry(job.id)
  expect(await effects(body.job.id)).toMatchObject([{ state: 'in_doubt' }])
})
