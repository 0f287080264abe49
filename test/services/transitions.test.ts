import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startReplica } from '../support/replica.ts'
import { type Body, manual, startPipelines } from '../support/stages.ts'

/** Moves that outside actors make. */

const db = useDatabase()

const atFault: [string, Body][] = [
  ['to', { expected_stage: 'a', to: 'nowhere' }],
  ['to', { expected_stage: 'a', to: 'a' }],
  ['to', { expected_stage: 'a', to: 'succeeded' }],
  ['to', { expected_stage: 'b', to: 'failed' }],
  ['to', { expected_stage: 'a', to: 'cancelled' }],
  ['to', { expected_stage: 'a' }],
  ['expected_stage', { expected_stage: 'nowhere', to: 'b' }],
  ['expected_stage', { to: 'b' }],
  ['expected_move', { expected_stage: 'a', to: 'b', expected_move: -1 }],
  ['reason', { expected_stage: 'a', to: 'b', reason: 'x'.repeat(2_001) }],
  ['idempotency_key', { expected_stage: 'a', to: 'b', idempotency_key: '' }],
  ['force', { expected_stage: 'a', to: 'b', force: true }],
]

const audits = (id: string) =>
  db.sql('SELECT action, reason, facts FROM audit WHERE subject = $1 ORDER BY id', [id])

test('of 50 who move a job at once, on both replicas, one does, and the rest are told where it is', async () => {
  const { on } = await startPipelines(db)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  await standby.api.untilReady()
  const elsewhere = on.as(standby.api)
  const job = await on.submit([manual('approve'), { name: 'deploy' }, manual('after')])
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      (n % 2 === 0 ? on : elsewhere).transition(job.id, 'approve', 'deploy', {
        reason: `by ${n}`,
      }),
    ),
  )
  const won = answers.filter(({ status }) => status === 200)
  expect(won).toHaveLength(1)
  const lost = answers.filter(({ status }) => status !== 200)
  for (const { status, body } of lost) {
    expect(body).toMatchObject({ code: 'stage_mismatch', facts: { stage: 'deploy', move: 1 } })
    expect(status).toBe(409)
  }
  const reason = won[0]?.body.moved.reason
  expect(await on.moves(job.id)).toMatchObject([{ move: 1, to_stage: 'deploy', reason }])
  expect(await audits(job.id)).toMatchObject([
    { action: 'job.transition', reason, facts: { from: 'approve', to: 'deploy', move: 1 } },
  ])
  expect(await on.hold()).toMatchObject({ job_id: job.id, stage: 'deploy', attempt: 1 })
  expect(await on.api.poll(on.executor, on.epoch)).toEqual([])
})

test('an approval that comes late never hits a second visit', async () => {
  const { on } = await startPipelines(db)
  const job = await on.submit([{ name: 'build' }, manual('approve'), { name: 'deploy' }])
  await on.work('first')
  const seen = { expected_move: 1 }
  await on.api.must(200, on.transition(job.id, 'approve', 'build', seen))
  await on.work('second')
  expect(await on.transition(job.id, 'approve', 'deploy', seen)).toMatchObject({
    status: 409,
    body: { code: 'stage_mismatch', facts: { stage: 'approve', move: 3 } },
  })
  await on.api.must(200, on.transition(job.id, 'approve', 'deploy', { expected_move: 3 }))
  expect((await on.hold()).results).toEqual({ build: 'second' })
})

test('sent back, a job goes through its stages anew; what they came to is not handed on', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b' }, manual('c'), { name: 'd' }])
  await on.work(1)
  await on.work(2)
  await api.must(200, on.transition(job.id, 'c', 'b', { reason: 'again' }))
  expect(await api.job(job.id)).toMatchObject({
    state: 'available',
    stage: 'b',
    attempt: 0,
    stages: [
      { state: 'succeeded', result: 1 },
      { state: 'current', result: null },
      { state: 'pending' },
      { state: 'pending' },
    ],
  })
  expect((await on.work(3)).results).toEqual({ a: 1 })
  await api.must(200, on.transition(job.id, 'c', 'd'))
  expect((await on.work(4)).results).toEqual({ a: 1, b: 3 })
  expect(await api.job(job.id)).toMatchObject({ state: 'succeeded', result: 4, move: 5 })
})

test('advanced past stages, a job shows them as skipped', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b' }, manual('c'), { name: 'd' }])
  await api.must(200, on.transition(job.id, 'a', 'd'))
  expect(await on.work()).toMatchObject({ stage: 'd', results: {} })
  const { stages } = await api.job(job.id)
  expect(stages.map(({ state }) => state)).toEqual(['skipped', 'skipped', 'skipped', 'succeeded'])
})

test('the last stage, if it is manual, is approved to succeed, or rejected', async () => {
  const { api, on } = await startPipelines(db)
  const stages = [{ name: 'build' }, manual('accept')]
  const job = await on.submit(stages)
  await on.work('built')
  const approved = await on.transition(job.id, 'accept', 'succeeded')
  expect(approved.body.job).toMatchObject({ state: 'succeeded', stage: 'accept', error: null })
  expect((await on.transition(job.id, 'accept', 'build')).body).toMatchObject({
    code: 'job_final',
    facts: { state: 'succeeded' },
  })
  const other = await on.submit(stages)
  await on.work('built')
  await api.must(200, on.transition(other.id, 'accept', 'failed', { reason: 'ugly' }))
  expect(await api.job(other.id)).toMatchObject({
    state: 'failed',
    error: { code: 'rejected', message: 'ugly', retryable: false },
    stages: [{ state: 'succeeded' }, { state: 'failed' }],
  })
})

test('who waits for the end of a job is told when a transition ends it', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([manual('accept')])
  const waiting = api.get(`/v1/jobs/${job.id}?wait_ms=20000`)
  await api.must(200, on.transition(job.id, 'accept', 'succeeded'))
  expect((await waiting).body.job.state).toBe('succeeded')
})

test('while an executor works on it, a job is not moved', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([{ name: 'a' }, { name: 'b' }])
  const held = await on.hold()
  for (const answer of [on.transition(job.id, 'a', 'b'), on.begin(job.id, 'a')]) {
    expect(await answer).toMatchObject({ status: 409, body: { code: 'job_leased' } })
  }
  expect(await on.report(held)).toMatchObject({ status: 'accepted' })
  expect(await api.job(job.id)).toMatchObject({ stage: 'b', move: 1 })
})

test('moved out of a backoff, a job is worked on at once', async () => {
  const { api, on } = await startPipelines(db)
  const backoff = { base_ms: 3_600_000, cap_ms: 3_600_000 }
  const job = await on.submit([{ name: 'a' }, { name: 'b' }], { backoff })
  for (;;) {
    await on.report(await on.hold(), 'failed')
    if ((await api.job(job.id)).scheduled) break
  }
  await api.must(200, on.transition(job.id, 'a', 'b'))
  expect(await on.hold()).toMatchObject({ stage: 'b', attempt: 1 })
})

test('the same idempotency key is answered as the first time, even after later moves', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([manual('a'), manual('b'), manual('c')])
  const key = { idempotency_key: 'k1', reason: 'r' }
  const first = await on.transition(job.id, 'a', 'b', key)
  expect(first.body).not.toHaveProperty('replayed')
  await api.must(200, on.transition(job.id, 'b', 'c'))
  const again = await on.transition(job.id, 'a', 'b', key)
  expect(again).toMatchObject({ status: 200, body: { replayed: true, job: { stage: 'c' } } })
  expect(again.body.moved).toEqual(first.body.moved)
  const other = await on.transition(job.id, 'a', 'c', key)
  expect(other).toMatchObject({
    status: 409,
    body: { code: 'idempotency_mismatch', errors: [{ path: 'idempotency_key' }] },
  })
  await api.must(200, on.transition(job.id, 'c', 'succeeded'))
  expect((await on.transition(job.id, 'a', 'b', key)).body.moved).toEqual(first.body.moved)
  expect(await on.moves(job.id)).toHaveLength(3)
  expect(await audits(job.id)).toHaveLength(3)
})

test('the key may stand in the header, and never differs from that of the body', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([manual('a'), manual('b')])
  const move = (more: object) =>
    api.post(
      `/v1/jobs/${job.id}/transition`,
      { expected_stage: 'a', to: 'b', ...more },
      { headers: { 'Idempotency-Key': 'k1' } },
    )
  expect((await move({ idempotency_key: 'k2' })).body.errors).toMatchObject([
    { path: 'idempotency_key' },
  ])
  const { body } = await move({})
  expect(body.moved).toMatchObject({ move: 1, idempotency_key: 'k1' })
  expect((await move({})).body).toMatchObject({ replayed: true, moved: body.moved })
})

test('of many with one key, on both replicas, all are answered with the one move', async () => {
  const { on } = await startPipelines(db)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  await standby.api.untilReady()
  const job = await on.submit([manual('a'), manual('b')])
  const answers = await Promise.all(
    [on, on.as(standby.api)].flatMap((each) =>
      Array.from({ length: 10 }, () =>
        each.transition(job.id, 'a', 'b', { idempotency_key: 'same' }),
      ),
    ),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
  expect(answers.filter(({ body }) => !body.replayed)).toHaveLength(1)
  expect(new Set(answers.map(({ body }) => JSON.stringify(body.moved))).size).toBe(1)
  expect(await on.moves(job.id)).toHaveLength(1)
})

test('a transition at fault is refused by the name of the field, and nothing is changed', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([manual('a'), { name: 'b' }, { name: 'c' }])
  for (const [path, body] of atFault) {
    expect([body, await on.post(job.id, 'transition', body)]).toMatchObject([
      body,
      { status: 400, body: { code: 'invalid_request', errors: [{ path }] } },
    ])
  }
  expect(await api.job(job.id)).toEqual(job)
  expect(await audits(job.id)).toEqual([])
})

test('a job that there is not is not found', async () => {
  const { api, on } = await startPipelines(db)
  for (const id of [randomUUID(), 'x']) {
    expect((await on.transition(id, 'a', 'b')).status).toBe(404)
    expect((await on.begin(id, 'a')).status).toBe(404)
    expect((await on.commit(id, randomUUID(), 'b')).status).toBe(404)
    expect((await on.abandon(id, { force: true, note: 'n' })).status).toBe(404)
    expect((await api.get(`/v1/jobs/${id}/moves`)).status).toBe(404)
  }
})

test('moves are listed in pages', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit([manual('a'), manual('b')])
  for (const [from, to] of [
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'b'],
  ] as const) {
    await api.must(200, on.transition(job.id, from, to))
  }
  const page = (query: string) => api.get(`/v1/jobs/${job.id}/moves?${query}`)
  const first = (await page('limit=2')).body
  expect(first).toMatchObject({ moves: [{ move: 1 }, { move: 2 }], next_cursor: 2 })
  const second = (await page('limit=2&cursor=2')).body
  expect(second).toMatchObject({ moves: [{ move: 3 }], next_cursor: null })
})
