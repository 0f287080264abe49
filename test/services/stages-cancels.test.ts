import { expect, test } from 'vitest'
import { untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { codesOf, reasonsOf } from '../support/explain.ts'
import { startReplica } from '../support/replica.ts'
import {
  type Body,
  manual,
  type Pipelines,
  startPipelines,
  untilExpired,
} from '../support/stages.ts'

/** Cancels of jobs with stages: between them, at a decision, and while somebody owns the next move. */

const db = useDatabase()

const stages = [{ name: 'a' }, manual('b'), { name: 'c' }]

const cancel = (on: Pipelines, id: string, more: Body = {}) => on.post(id, 'cancel', more)

async function begun(on: Pipelines, more: Body = {}) {
  const job = await on.submit(stages)
  const { body } = await on.api.must(200, on.begin(job.id, 'a', more))
  return { id: job.id, token: body.token as string }
}

/** Owned, and its end asked for. */
async function deferred(on: Pipelines, more: Body = {}) {
  const owned = await begun(on, more)
  const { body } = await on.api.must(200, cancel(on, owned.id, { reason: 'wrong branch' }))
  expect(body.job).toMatchObject({
    state: 'waiting',
    waiting_for: 'transition',
    cancel_reason: 'wrong branch',
    finished_at: null,
    transition: { owner: 'o' },
  })
  return owned
}

test('invariant 6: between stages, and at a decision, a cancel ends the job at once', async () => {
  const { api, on } = await startPipelines(db)
  const waits = await on.submit([manual('a'), { name: 'c' }])
  const moved = await on.submit(stages)
  await on.work(1)
  await api.must(200, on.transition(moved.id, 'b', 'c'))
  for (const { id } of [waits, moved]) {
    const { body } = await api.must(200, cancel(on, id))
    expect(body.job).toMatchObject({ state: 'cancelled', waiting_for: null })
    expect(body.job.finished_at).not.toBe(null)
    expect((await on.transition(id, 'c', 'a')).body.code).toBe('job_final')
  }
  expect((await api.job(moved.id)).stages.map(({ state }: Body) => state)).toEqual([
    'succeeded',
    'succeeded',
    'cancelled',
  ])
  expect(await api.poll(on.executor, on.epoch)).toEqual([])
})

test('invariant 6: what succeeds in a stage after its end was asked for goes no further; from the last stage it has succeeded', async () => {
  const { api, on } = await startPipelines(db)
  const first = await on.submit([{ name: 'a' }, { name: 'z' }])
  const stopped = await on.hold()
  await api.must(200, cancel(on, first.id))
  expect(await on.report(stopped, 'succeeded', { result: 7 })).toMatchObject({
    status: 'accepted',
    job_state: 'cancelled',
  })
  expect(await api.job(first.id)).toMatchObject({
    state: 'cancelled',
    stage: 'z',
    move: 1,
    stages: [
      { state: 'succeeded', result: 7 },
      { state: 'cancelled', result: null },
    ],
  })
  const last = await on.submit([{ name: 'only' }])
  const held = await on.hold()
  await api.must(200, cancel(on, last.id))
  expect(await on.report(held, 'succeeded', { result: 8 })).toMatchObject({
    job_state: 'succeeded',
  })
  expect(await api.job(last.id)).toMatchObject({ state: 'succeeded', result: 8 })
  expect(await api.poll(on.executor, on.epoch)).toEqual([])
})

test.each<[string, (on: Pipelines, owned: { id: string; token: string }) => Promise<unknown>]>([
  ['given up', (on, { id, token }) => on.abandon(id, { token })],
  ['taken by force', (on, { id }) => on.abandon(id, { force: true, note: 'gone' })],
  ['begun anew by a new boot of its owner', (on, { id }) => on.begin(id, 'a', { boot_id: 'b2' })],
  ['committed', (on, { id, token }) => on.commit(id, token, 'b')],
])(
  'invariant 6: a cancel waits for a move that is owned, and comes once it is %s',
  async (how, end) => {
    const { api, on } = await startPipelines(db)
    const owned = await deferred(on)
    expect(await reasonsOf(api, owned.id)).toMatchObject([
      { code: 'cancel_deferred', facts: { reason: 'wrong branch' } },
      { code: 'transition_owned', facts: { stage: 'a', move: 0, owner: 'o', boot_id: 'b1' } },
    ])
    const settled = api.get(`/v1/jobs/${owned.id}?wait_ms=20000`)
    await end(on, owned)
    const { job } = (await settled).body
    expect(job).toMatchObject({ state: 'cancelled', waiting_for: null, transition: null })
    expect(job.stage).toBe(how === 'committed' ? 'b' : 'a')
    expect(job.finished_at).not.toBe(null)
    expect(await api.poll(on.executor, on.epoch)).toEqual([])
  },
)

test('invariant 6: past its ceiling an owner is waited for no longer', async () => {
  const { api, on } = await startPipelines(db)
  await db.sql('UPDATE terms SET deadline_floor_at = NULL')
  const { id, token } = await deferred(on, { ceiling_ms: 1 })
  expect((await untilExpired(db, api, id)).state).toBe('cancelled')
  expect((await on.commit(id, token, 'b')).body).toMatchObject({
    code: 'stale_token',
    facts: { outcome: 'expired' },
  })
})

test('a move that ends the job comes before the cancel: succeeded it stays, rejected it is cancelled', async () => {
  const { on } = await startPipelines(db)
  const job = await on.submit([{ name: 'only' }])
  const { token } = (await on.begin(job.id, 'only')).body
  await cancel(on, job.id)
  expect((await on.commit(job.id, token, 'succeeded')).body.job.state).toBe('succeeded')
  const rejected = await deferred(on)
  expect((await on.commit(rejected.id, rejected.token, 'failed')).body.job.state).toBe('cancelled')
})

test('once its end was asked for nobody moves a job but its owner, who is told so by nobody else’s answer', async () => {
  const { api, on } = await startPipelines(db)
  const { id, token } = await deferred(on)
  // Its answer was lost.
  expect((await on.begin(id, 'a')).body.token).toBe(token)
  expect((await on.begin(id, 'a', { owner: 'p' })).body.code).toBe('transition_owned')
  expect((await on.transition(id, 'a', 'b')).body.code).toBe('transition_owned')
  const { body } = await on.begin(id, 'a', { boot_id: 'b2' })
  expect(body.code).toBe('cancel_requested')
  expect((await on.commit(id, token, 'b')).body).toMatchObject({
    code: 'stale_token',
    facts: { outcome: 'taken_over' },
  })
  expect(await on.moves(id)).toEqual([])
  expect(await codesOf(api, id)).toEqual(['cancelled'])
})

test('recovery leaves a cancel that waits for an owner to wait', async () => {
  const { app, on } = await startPipelines(db)
  const { id, token } = await deferred(on)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  await app.stop()
  await standby.api.untilActive()
  const elsewhere = on.as(standby.api)
  expect((await standby.api.get('/v1/leader')).body.recovery).toContainEqual(
    expect.objectContaining({ phase: 'finish_cancels', counts: { cancelled: 0, bad_rows: 0 } }),
  )
  expect(await standby.api.job(id)).toMatchObject({ state: 'waiting', transition: { owner: 'o' } })
  expect((await elsewhere.commit(id, token, 'b')).body.job).toMatchObject({
    state: 'cancelled',
    stage: 'b',
  })
})

test('invariant 6: cancels and commits at once, on both replicas: each job is cancelled where it moved to', async () => {
  const { on } = await startPipelines(db)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  const there = on.as(standby.api)
  const owned: Awaited<ReturnType<typeof begun>>[] = []
  while (owned.length < 20) owned.push(await begun(on))
  await Promise.all(
    owned.flatMap(({ id, token }, n) => {
      const [here, other] = n % 2 === 0 ? [on, there] : [there, on]
      return [untilServed(() => here.commit(id, token, 'c')), untilServed(() => cancel(other, id))]
    }),
  )
  for (const { id } of owned) {
    expect(await on.api.job(id)).toMatchObject({
      state: 'cancelled',
      stage: 'c',
      move: 1,
      transition: null,
    })
  }
})
