import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { reasonsOf } from '../support/explain.ts'
import { manual, type Pipelines, startPipelines } from '../support/stages.ts'

/** A retry of a job with stages goes on in the one where the old job ended, with what it was handed there. */

const db = useDatabase()

const stages = [{ name: 'build' }, { name: 'test', kind: 't' }, manual('approve'), { name: 'ship' }]

async function retried(on: Pipelines, id: string) {
  return (await on.api.must(201, on.post(id, 'retry', {}))).body.job
}

test('a retry begins at the stage that failed, with the results and the checkpoint of the old job', async () => {
  const { api, on } = await startPipelines(db)
  const old = await on.submit(stages, { max_attempts: 1 })
  await on.work({ artefact: 'a1' })
  const held = await on.hold()
  await api.heartbeat(on.executor, on.epoch, [
    { job_id: old.id, fence: held.fence, progress: { half: true } },
  ])
  await on.report(held, 'failed')
  const job = await retried(on, old.id)
  expect(job).toMatchObject({
    state: 'available',
    stage: 'test',
    attempt: 0,
    retry_of: old.id,
    stages: [
      { name: 'build', state: 'succeeded', result: { artefact: 'a1' } },
      { name: 'test', state: 'current', result: null },
      { name: 'approve', state: 'pending', manual: true },
      { name: 'ship', state: 'pending' },
    ],
  })
  expect(await on.work('fine')).toMatchObject({
    job_id: job.id,
    stage: 'test',
    kind: 't',
    results: { build: { artefact: 'a1' } },
    checkpoint: { half: true },
  })
  await api.must(200, on.transition(job.id, 'approve', 'ship'))
  expect(await on.work('done')).toMatchObject({
    stage: 'ship',
    results: { build: { artefact: 'a1' }, test: 'fine' },
  })
  expect(await api.job(job.id)).toMatchObject({ state: 'succeeded', result: 'done' })
  // The old one is what it was.
  expect(await api.job(old.id)).toMatchObject({ state: 'failed', stage: 'test', move: 1 })
  expect((await on.moves(job.id)).map(({ to_stage }: { to_stage: string }) => to_stage)).toEqual([
    'approve',
    'ship',
  ])
})

test('what was rejected, or cancelled at a decision, waits for it again, and nobody is given it', async () => {
  const { api, on } = await startPipelines(db)
  for (const end of ['reject', 'cancel']) {
    const old = await on.submit([{ name: 'build' }, manual('approve'), { name: 'ship' }])
    await on.work(1)
    const ended =
      end === 'reject'
        ? on.transition(old.id, 'approve', 'failed', { reason: 'no' })
        : on.post(old.id, 'cancel', {})
    await api.must(200, ended)
    const [why] = await reasonsOf(api, old.id)
    const { jobs } = (await api.get(`/v1/jobs?queue=${on.queue}&limit=1`)).body
    if (end === 'reject') {
      expect(why).toMatchObject({
        detail: 'rejected at stage approve',
        facts: { error: { code: 'rejected', message: 'no' } },
      })
      expect(jobs).toMatchObject([{ id: old.id, error_code: 'rejected' }])
    }
    const job = await retried(on, old.id)
    expect(job).toMatchObject({
      state: 'waiting',
      waiting_for: 'decision',
      stage: 'approve',
      error: null,
    })
    expect(await api.poll(on.executor, on.epoch)).toEqual([])
    expect(await reasonsOf(api, job.id)).toMatchObject([
      { code: 'waiting_for_decision', facts: { stage: 'approve', move: 0 } },
    ])
    await api.must(200, on.transition(job.id, 'approve', 'ship', { expected_move: 0 }))
    expect(await on.work()).toMatchObject({ job_id: job.id, results: { build: 1 } })
  }
})

test('what succeeded in a stage while its end was asked for is not done again by a retry', async () => {
  const { api, on } = await startPipelines(db)
  const old = await on.submit([{ name: 'a' }, { name: 'b' }])
  const held = await on.hold()
  await api.must(200, on.post(old.id, 'cancel', {}))
  await on.report(held, 'succeeded', { result: 'once' })
  const job = await retried(on, old.id)
  expect(await on.work()).toMatchObject({ job_id: job.id, stage: 'b', results: { a: 'once' } })
  expect(await api.job(job.id)).toMatchObject({ state: 'succeeded' })
})

test('results that a move back has undone are handed to nobody, nor to a retry', async () => {
  const { api, on } = await startPipelines(db)
  const stages = [{ name: 'a' }, { name: 'b' }, manual('m'), { name: 'c' }]
  const old = await on.submit(stages, { max_attempts: 1 })
  await on.work(1)
  await on.work(2)
  await api.must(200, on.transition(old.id, 'm', 'a'))
  await on.work(3)
  await api.must(200, on.transition(old.id, 'b', 'c'))
  const held = await on.hold()
  expect(held.results).toEqual({ a: 3 })
  await on.report(held, 'failed')
  const job = await retried(on, old.id)
  expect(job.stages.map(({ state }: { state: string }) => state)).toEqual([
    'succeeded',
    'skipped',
    'skipped',
    'current',
  ])
  expect(await on.hold()).toMatchObject({ job_id: job.id, stage: 'c' })
})

test('invariant 5: a key that an earlier stage committed stays committed for the retry', async () => {
  const { api, on } = await startPipelines(db)
  const old = await on.submit([{ name: 'a' }, { name: 'b' }], { max_attempts: 1 })
  const first = await on.hold()
  const lease = { executor_id: on.executor, epoch: on.epoch, fence: first.fence }
  const effect = (id: string, verb: string, body: object) =>
    on.post(id, `effects/pay/${verb}`, body as Record<string, unknown>)
  await api.must(200, effect(old.id, 'begin', { ...lease, begin_id: 'x1', on_doubt: 'hold' }))
  await api.must(200, effect(old.id, 'commit', { ...lease, begin_id: 'x1', result: 'paid' }))
  await on.report(first, 'succeeded')
  await on.report(await on.hold(), 'failed')
  const job = await retried(on, old.id)
  const { fence } = await on.hold()
  const again = { ...lease, fence, begin_id: 'x2', on_doubt: 'hold' }
  expect((await effect(job.id, 'begin', again)).body).toMatchObject({
    outcome: 'committed',
    result: 'paid',
  })
})
