import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { manual, startPipelines } from '../support/stages.ts'

/** Jobs that go through their stages by the work of executors. */

const db = useDatabase()

const atFault: [string, unknown][] = [
  ['stages', []],
  ['stages', Array.from({ length: 33 }, (_, n) => ({ name: `s${n}` }))],
  ['stages.1.name', [{ name: 'a' }, { name: 'a' }]],
  ['stages.0.name', [{ name: 'succeeded' }]],
  ['stages.0.name', [{ name: 'two words' }]],
  ['stages.0.name', [{ kind: 'x' }]],
  ['stages.1.kind', [{ name: 'a' }, { name: 'b', manual: true, kind: 'x' }]],
  ['stages.1.requires', [{ name: 'a' }, { name: 'b', manual: true, requires: {} }]],
  ['stages.0.requires.g', [{ name: 'a', requires: { g: 'x'.repeat(257) } }]],
  ['stages.0.max', [{ name: 'a', max: 1 }]],
]

test('a job goes through its stages in order, and each is handed what those before it came to', async () => {
  const { api, on } = await startPipelines(db)
  const stages = [{ name: 'build', kind: 'make' }, { name: 'test' }, manual('approve')]
  const job = await on.submit([...stages, { name: 'deploy' }], { payload: { n: 1 } })
  expect(job).toMatchObject({ state: 'available', stage: 'build', move: 0, waiting_for: null })
  const build = await on.hold()
  expect(build).toMatchObject({ stage: 'build', kind: 'make', payload: { n: 1 }, results: {} })
  expect(await on.report(build, 'succeeded', { result: { image: 7 } })).toMatchObject({
    status: 'accepted',
    job_state: 'available',
  })
  const test = await on.work('green')
  expect(test).toMatchObject({ stage: 'test', kind: 'test', attempt: 1, fence: 2 })
  expect(test.results).toEqual({ build: { image: 7 } })
  expect(await api.job(job.id)).toMatchObject({
    state: 'waiting',
    waiting_for: 'decision',
    stage: 'approve',
    move: 2,
    stages: [
      { name: 'build', kind: 'make', manual: false, state: 'succeeded', result: { image: 7 } },
      { name: 'test', kind: 'test', state: 'succeeded', result: 'green' },
      { name: 'approve', kind: null, requires: null, manual: true, state: 'current' },
      { name: 'deploy', kind: 'test', state: 'pending', result: null, done_at: null },
    ],
  })
  const approved = await on.transition(job.id, 'approve', 'deploy', { reason: 'looks good' })
  expect(approved).toMatchObject({ status: 200, body: { job: { stage: 'deploy', move: 3 } } })
  const deploy = await on.work({ url: 'x' })
  expect(deploy.results).toEqual({ build: { image: 7 }, test: 'green' })
  const done = await api.job(job.id)
  expect(done).toMatchObject({ state: 'succeeded', stage: 'deploy', move: 3, result: { url: 'x' } })
  expect(done.stages.map(({ state }) => state)).toEqual(Array(4).fill('succeeded'))
  expect(await on.moves(job.id)).toMatchObject([
    { move: 1, from_stage: 'build', to_stage: 'test', by: 'report', fence: 1, token_id: null },
    { move: 2, from_stage: 'test', to_stage: 'approve', by: 'report', fence: 2 },
    { move: 3, from_stage: 'approve', to_stage: 'deploy', by: 'transition', reason: 'looks good' },
  ])
  const { attempts } = (await api.get(`/v1/jobs/${job.id}/attempts`)).body
  expect(attempts.map(({ stage }: { stage: string }) => stage)).toEqual(['build', 'test', 'deploy'])
})

test('a stage waits for an executor that serves its kind and labels, whoever served the one before', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b', requires: { gpu: 'yes' } }])
  await on.work()
  expect(await api.poll(on.executor, on.epoch)).toEqual([])
  expect(await api.job(job.id)).toMatchObject({ state: 'available', requires: { gpu: 'yes' } })
  const other = randomUUID()
  const epoch = await api.register(other, { queues: [on.queue], labels: { gpu: 'yes' } })
  expect(await api.poll(other, epoch, { wait_ms: 10_000 })).toMatchObject([{ stage: 'b' }])
})

test('each visit of a stage has budgets of its own; a failure is the stage’s, and its attempts end the job', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b' }], { max_attempts: 2 })
  await on.report(await on.hold(), 'failed')
  expect(await on.work()).toMatchObject({ stage: 'a', attempt: 2 })
  const first = await on.hold()
  expect(first).toMatchObject({ stage: 'b', attempt: 1 })
  await on.report(first, 'failed')
  const second = await on.hold()
  expect(second).toMatchObject({ stage: 'b', attempt: 2 })
  const error = { code: 'broken', message: '' }
  expect(await on.report(second, 'failed', { error })).toMatchObject({ job_state: 'failed' })
  expect(await api.job(job.id)).toMatchObject({
    stage: 'b',
    error: { code: 'broken' },
    stages: [{ state: 'succeeded' }, { state: 'failed' }],
  })
})

test('invariant 11: a lease that is lost in the second stage goes back to it, and its losses are its own', async () => {
  const { api, on } = await startPipelines(db)
  const lose = async () => {
    const executor = randomUUID()
    const epoch = await api.register(executor, { queues: [on.queue] })
    const [job] = await api.poll(executor, epoch, { wait_ms: 10_000 })
    await api.register(executor, { queues: ['elsewhere'] })
    return job
  }
  const job = await on.submit([{ name: 'a' }, { name: 'b' }])
  expect(await lose()).toMatchObject({ stage: 'a' })
  expect(await api.job(job.id)).toMatchObject({ stage: 'a', move: 0, lost_leases: 1 })
  await on.work()
  expect(await lose()).toMatchObject({ stage: 'b' })
  expect(await api.job(job.id)).toMatchObject({
    state: 'available',
    stage: 'b',
    move: 1,
    lost_leases: 1,
    attempt: 0,
  })
  expect(await on.work()).toMatchObject({ stage: 'b' })
})

test('invariant 3: a report that is told again after the stage has moved is a duplicate, also while the next one runs', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b' }])
  const first = await on.hold()
  await on.report(first)
  expect(await on.report(first)).toEqual({
    job_id: job.id,
    status: 'duplicate',
    job_state: 'available',
  })
  const second = await on.hold()
  expect(await on.report(first)).toMatchObject({ status: 'duplicate', job_state: 'leased' })
  expect(await on.report(first, 'failed')).toMatchObject({ reason: 'stale_fence' })
  expect(await api.job(job.id)).toMatchObject({ state: 'leased', stage: 'b', move: 1 })
  await on.report(second)
  expect(await on.report(first)).toMatchObject({ status: 'duplicate', job_state: 'succeeded' })
})

test('progress of a stage is no checkpoint of the next one', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b' }])
  const tell = ({ job_id, fence }: { job_id: string; fence: number }, progress: unknown) =>
    api.heartbeat(on.executor, on.epoch, [{ job_id, fence, progress }])
  const first = await on.hold()
  await tell(first, 'half of a')
  expect((await api.job(job.id)).progress).toBe('half of a')
  await on.report(first)
  expect((await api.job(job.id)).progress).toBeNull()
  const second = await on.hold()
  expect(second).toMatchObject({ stage: 'b', checkpoint: null })
  await tell(second, 'half of b')
  await on.report(second, 'failed')
  expect(await on.hold()).toMatchObject({ stage: 'b', checkpoint: 'half of b' })
})

test('results that are too large together fail the job by name, and nothing is lost silently', async () => {
  const { api, on } = await startPipelines(db)
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  const job = await on.submit(names.map((name) => ({ name })))
  const result = 'x'.repeat(250_000)
  for (const _ of names.slice(0, 4)) await on.work(result)
  const fifth = await on.hold()
  expect(Object.keys(fifth.results)).toEqual(names.slice(0, 4))
  expect(await on.report(fifth, 'succeeded', { result })).toMatchObject({ job_state: 'failed' })
  expect(await on.report(fifth, 'succeeded', { result })).toMatchObject({ status: 'duplicate' })
  expect(await api.job(job.id)).toMatchObject({
    stage: 'e',
    error: { code: 'results_too_large', retryable: false },
  })
})

test('a claim weighs what earlier stages hand on', async () => {
  const { api, on } = await startPipelines(db)
  const stages = [{ name: 'a' }, manual('gate'), { name: 'b' }]
  for (let n = 0; n < 10; n += 1) {
    const { id } = await on.submit(stages)
    await on.work('x'.repeat(1_000))
    await api.must(200, on.transition(id, 'gate', 'b'))
    const told = await db.sql('SELECT results_bytes FROM jobs WHERE id = $1', [id])
    expect(told).toEqual([{ results_bytes: 1_002 }])
    // As if it were much larger, and claimed with the others only.
    await db.sql("UPDATE jobs SET results_bytes = 1000000, state = 'waiting' WHERE id = $1", [id])
  }
  await db.sql("UPDATE jobs SET state = 'available' WHERE queue = $1", [on.queue])
  expect(await api.poll(on.executor, on.epoch, { max: 10, wait_ms: 10_000 })).toHaveLength(7)
  expect(await api.poll(on.executor, on.epoch, { max: 10, wait_ms: 10_000 })).toHaveLength(3)
})

test('a job whose first stage is manual waits from the beginning; run_at holds beyond the approval', async () => {
  const { api, on } = await startPipelines(db)
  const stages = [manual('gate'), { name: 'run' }]
  const job = await on.submit(stages, { delay_ms: 3_600_000 })
  expect(job).toMatchObject({ state: 'waiting', waiting_for: 'decision', scheduled: false })
  await api.must(200, on.transition(job.id, 'gate', 'run'))
  expect(await api.job(job.id)).toMatchObject({ state: 'available', scheduled: true })
  const at_once = await on.submit(stages)
  await api.must(200, on.transition(at_once.id, 'gate', 'run'))
  expect(await on.hold()).toMatchObject({ job_id: at_once.id, stage: 'run' })
})

test('a job keeps its place in the queue from stage to stage', async () => {
  const { on } = await startPipelines(db)
  const first = await on.submit([{ name: 'a' }, { name: 'b' }])
  await on.submit([{ name: 'a' }])
  await on.work()
  expect(await on.hold()).toMatchObject({ job_id: first.id, stage: 'b' })
})

test('the same stages in other words are the same body for an idempotency key', async () => {
  const { api, on } = await startPipelines(db)
  const { queue } = on
  const submit = (stages: unknown) =>
    api.post('/v1/jobs', { kind: 'k', queue, idempotency_key: 'once', stages })
  await api.must(201, submit([{ name: 'a' }, { name: 'b', manual: true }]))
  const inFull = [
    { name: 'a', kind: 'k', requires: {}, manual: false },
    { name: 'b', manual: true },
  ]
  expect((await submit(inFull)).body).toMatchObject({ replayed: true, job: { stage: 'a' } })
  const other = await submit([
    { name: 'a', kind: 'other' },
    { name: 'b', manual: true },
  ])
  expect(other.body.code).toBe('idempotency_mismatch')
  expect((await submit(undefined)).body.code).toBe('idempotency_mismatch')
})

test('stages at fault are refused by the name of the field, and nothing is made', async () => {
  const { api, on } = await startPipelines(db)
  for (const [path, stages] of atFault) {
    const answer = await api.post('/v1/jobs', { kind: 'k', queue: on.queue, stages })
    expect([path, answer]).toMatchObject([path, { status: 400, body: { code: 'invalid_request' } }])
    const faults = answer.body.errors.map((each: { path: string }) => each.path)
    expect(faults).toContain(path)
  }
  expect((await api.get(`/v1/jobs?queue=${on.queue}`)).body.jobs).toEqual([])
})

test('a job without stages shows none, and is handed no results', async () => {
  const { api, on } = await startPipelines(db)
  const job = await api.submit({ queue: on.queue })
  expect(job).toMatchObject({ stage: null, move: 0, stages: [], transition: null })
  expect(await on.work(1)).toMatchObject({ stage: null, results: {} })
  expect(await api.job(job.id)).toMatchObject({ state: 'succeeded', result: 1, stage: null })
  expect(await on.moves(job.id)).toEqual([])
  expect((await on.transition(job.id, 'a', 'b')).body).toMatchObject({
    code: 'invalid_request',
    errors: [{ path: 'expected_stage', message: 'the job has no stages' }],
  })
})
