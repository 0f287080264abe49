import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startReplica } from '../support/replica.ts'
import {
  asOperator,
  type Body,
  manual,
  type Pipelines,
  pastFloor,
  startPipelines,
  untilExpired,
} from '../support/stages.ts'

/** Moves that somebody owns before they are made: begin, and then commit or abandon. */

const db = useDatabase()

const atFault: [string, string, Body][] = [
  ['begin', 'ceiling_ms', { expected_stage: 'a', owner: 'o', boot_id: 'b', ceiling_ms: 0 }],
  ['begin', 'ceiling_ms', { expected_stage: 'a', owner: 'o', boot_id: 'b', ceiling_ms: 1_200_001 }],
  ['begin', 'owner', { expected_stage: 'a', boot_id: 'b' }],
  ['begin', 'boot_id', { expected_stage: 'a', owner: 'o', boot_id: '' }],
  ['begin', 'expected_stage', { expected_stage: 'x', owner: 'o', boot_id: 'b' }],
  ['commit', 'token', { token: 'x', to: 'b' }],
  ['commit', 'to', { token: '01890a5d-ac96-774b-bcce-b302099a8057' }],
  ['abandon', 'token', {}],
  ['abandon', 'note', { force: true }],
  ['abandon', 'note', { token: '01890a5d-ac96-774b-bcce-b302099a8057', note: 'n' }],
  ['abandon', 'owner', { token: '01890a5d-ac96-774b-bcce-b302099a8057', owner: 'o' }],
  ['abandon', 'force', { token: '01890a5d-ac96-774b-bcce-b302099a8057', force: true, note: 'n' }],
]

const stages = [{ name: 'a' }, manual('b'), { name: 'c' }]

async function begun(on: Pipelines, more: Record<string, unknown> = {}) {
  const job = await on.submit(stages)
  const { body } = await on.api.must(200, on.begin(job.id, 'a', more))
  return { job, token: body.token as string, expires_at: body.expires_at as string }
}

test('while a move is owned nobody claims the job, and nobody else moves it; the commit does', async () => {
  const { api, on } = await startPipelines(db)
  const { job, token } = await begun(on)
  expect(await api.job(job.id)).toMatchObject({
    state: 'waiting',
    waiting_for: 'transition',
    stage: 'a',
    move: 0,
    transition: { owner: 'o', boot_id: 'b1' },
  })
  expect(JSON.stringify(await api.job(job.id))).not.toContain(token)
  expect(await api.poll(on.executor, on.epoch)).toEqual([])
  expect(await on.transition(job.id, 'a', 'b')).toMatchObject({
    status: 409,
    body: { code: 'transition_owned', facts: { owner: 'o', boot_id: 'b1' } },
  })
  expect(await on.begin(job.id, 'a', { owner: 'other' })).toMatchObject({
    status: 409,
    body: { code: 'transition_owned', facts: { owner: 'o' } },
  })
  const committed = await on.commit(job.id, token, 'c', { reason: 'by hand' })
  expect(committed.body).toMatchObject({
    job: { state: 'available', stage: 'c', transition: null },
    moved: { move: 1, from_stage: 'a', to_stage: 'c', by: 'commit', reason: 'by hand' },
  })
  expect(await on.hold()).toMatchObject({ stage: 'c' })
  // Its answer was lost.
  const again = await on.commit(job.id, token, 'c')
  expect(again.body).toMatchObject({ replayed: true, moved: committed.body.moved })
  expect(await on.commit(job.id, token, 'b')).toMatchObject({
    status: 409,
    body: { code: 'stale_token' },
  })
  expect(await on.moves(job.id)).toHaveLength(1)
})

test('the same owner and boot get the same token; of many who begin at once, on both replicas, one owns it', async () => {
  const { on } = await startPipelines(db)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  await standby.api.untilReady()
  const { job, token, expires_at } = await begun(on)
  expect((await on.begin(job.id, 'a', { ceiling_ms: 1 })).body).toEqual({ token, expires_at })
  const other = await on.submit(stages)
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      (n % 2 === 0 ? on : on.as(standby.api)).begin(other.id, 'a', { owner: `o${n}` }),
    ),
  )
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  expect(answers.filter(({ body }) => body.code === 'transition_owned')).toHaveLength(49)
})

test('given up, a job is what it was: available, scheduled, or waiting for a decision', async () => {
  const { api, on } = await startPipelines(db)
  const { job, token } = await begun(on)
  expect((await on.abandon(job.id, { token })).body.job).toMatchObject({ state: 'available' })
  expect((await on.abandon(job.id, { token })).status).toBe(200)
  expect((await on.commit(job.id, token, 'b')).body.code).toBe('stale_token')
  expect(await on.work()).toMatchObject({ job_id: job.id, stage: 'a' })
  const decision = (await on.begin(job.id, 'b')).body
  await api.must(200, on.abandon(job.id, { token: decision.token }))
  expect(await api.job(job.id)).toMatchObject({
    state: 'waiting',
    waiting_for: 'decision',
    move: 1,
  })
  const later = await on.submit(stages, { delay_ms: 3_600_000 })
  const scheduled = (await on.begin(later.id, 'a')).body
  expect(await api.job(later.id)).toMatchObject({ state: 'waiting', scheduled: false })
  await api.must(200, on.abandon(later.id, { token: scheduled.token }))
  expect(await api.job(later.id)).toMatchObject({ state: 'available', scheduled: true })
})

test('a new boot of the same owner ends what the one before had begun; nobody else does by its name', async () => {
  const { api, on } = await startPipelines(db)
  const other = on.as(await asOperator(api))
  const { job, token } = await begun(on)
  for (const boot_id of ['b1', 'b2']) {
    expect((await other.begin(job.id, 'a', { boot_id })).body).toMatchObject({
      code: 'transition_owned',
      facts: { boot_id: 'b1' },
    })
  }
  const taken = await on.begin(job.id, 'a', { boot_id: 'b2' })
  expect(taken).toMatchObject({ status: 200 })
  expect(taken.body.token).not.toBe(token)
  expect((await on.commit(job.id, token, 'b')).body).toMatchObject({
    code: 'stale_token',
    facts: { outcome: 'taken_over' },
  })
  expect((await on.abandon(job.id, { token })).body.code).toBe('stale_token')
  // The boot before it asks late, or again, and takes nothing back: neither now nor after that move.
  const late = { status: 409, body: { code: 'stale_token', facts: { outcome: 'taken_over' } } }
  expect(await on.begin(job.id, 'a', { boot_id: 'b1' })).toMatchObject(late)
  const [entry] = (await api.get('/v1/audit')).body.entries
  expect(entry).toMatchObject({
    action: 'transition.begin',
    facts: { boot_id: 'b2', displaced: { owner: 'o', boot_id: 'b1', outcome: 'taken_over' } },
  })
  expect((await on.commit(job.id, taken.body.token, 'b')).status).toBe(200)
  expect(await on.begin(job.id, 'b', { boot_id: 'b1' })).toMatchObject(late)
  expect((await on.begin(job.id, 'b', { boot_id: 'b2' })).status).toBe(200)
})

test('past its ceiling the same boot owns it anew, for another ceiling', async () => {
  const { api, on } = await startPipelines(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const { job, token } = await begun(on, { ceiling_ms: 1 })
  const anew = () => pastFloor(db, () => on.begin(job.id, 'a', { ceiling_ms: 600_000 }))
  let answer = await anew()
  while (answer.body.token === token) answer = await anew()
  expect((await api.job(job.id)).transition).toMatchObject({ expires_at: answer.body.expires_at })
  expect((await on.commit(job.id, token, 'b')).body.facts).toEqual({ outcome: 'expired' })
  expect((await on.commit(job.id, answer.body.token, 'b')).status).toBe(200)
})

test('by force it is taken from whoever owns it, which is audited', async () => {
  const { api, on } = await startPipelines(db)
  const { job, token } = await begun(on)
  const forced = await on.abandon(job.id, { force: true, note: 'its host burned' })
  expect(forced.body.job).toMatchObject({ state: 'available', transition: null })
  expect((await on.commit(job.id, token, 'b')).body).toMatchObject({
    code: 'stale_token',
    facts: { outcome: 'forced' },
  })
  expect((await on.abandon(job.id, { force: true, note: 'again' })).body.code).toBe('stale_token')
  const [entry] = (await api.get('/v1/audit')).body.entries
  expect(entry).toMatchObject({
    action: 'transition.force',
    subject: job.id,
    reason: 'its host burned',
    facts: { stage: 'a', move: 0, owner: 'o', boot_id: 'b1' },
  })
})

test('by force it is taken from whom the caller means, and nobody who came after', async () => {
  const { on } = await startPipelines(db)
  const { job, token } = await begun(on)
  const force = { force: true, note: 'its host burned' }
  for (const meant of [{ owner: 'p' }, { boot_id: 'b0' }, { owner: 'o', boot_id: 'b0' }]) {
    expect(await on.abandon(job.id, { ...force, ...meant })).toMatchObject({
      status: 409,
      body: { code: 'transition_owned', facts: { owner: 'o', boot_id: 'b1' } },
    })
  }
  expect((await on.begin(job.id, 'a')).body.token).toBe(token)
  expect((await on.abandon(job.id, { ...force, owner: 'o', boot_id: 'b1' })).status).toBe(200)
})

test('past its ceiling it is ended by the leader’s sweep, and the job goes on', async () => {
  const { api, on } = await startPipelines(db)
  const { job, token } = await begun(on, { ceiling_ms: 1 })
  expect(await untilExpired(db, api, job.id)).toMatchObject({ state: 'available', move: 0 })
  expect((await on.commit(job.id, token, 'b')).body).toMatchObject({
    code: 'stale_token',
    facts: { outcome: 'expired' },
  })
  expect(await on.hold()).toMatchObject({ job_id: job.id, stage: 'a' })
})

test('invariant 7: no ceiling counts while the deadline floor of the term is ahead: not for the sweep, nor for who begins', async () => {
  const { api, on } = await startPipelines(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '20' })
  const passes = async () => {
    const { sweeps } = (await api.get('/v1/status')).body
    const [sweep] = sweeps.filter(({ name }: { name: string }) => name === 'expire_transitions')
    return sweep?.runs ?? 0
  }
  for (const floor of ["clock_timestamp() + interval '1 hour'", 'NULL']) {
    await db.sql(`UPDATE terms SET deadline_floor_at = ${floor}`)
    const { job, token } = await begun(on, { ceiling_ms: 1 })
    const before = await passes()
    while ((await passes()) < before + 3) await pause()
    expect((await on.begin(job.id, 'a', { owner: 'p' })).body.code).toBe('transition_owned')
    expect((await on.commit(job.id, token, 'b')).status).toBe(200)
  }
})

test('past its ceiling it goes to the next who begins, or moves the job, without waiting for a sweep', async () => {
  const { api, on } = await startPipelines(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const { job, token } = await begun(on, { ceiling_ms: 1 })
  const next = await pastFloor(db, () => on.begin(job.id, 'a', { owner: 'p', ceiling_ms: 1 }))
  expect(next.status).toBe(200)
  expect((await on.commit(job.id, token, 'b')).body.code).toBe('stale_token')
  await api.must(
    200,
    pastFloor(db, () => on.transition(job.id, 'a', 'b')),
  )
  expect((await on.commit(job.id, next.body.token, 'b')).body.code).toBe('stale_token')
  expect(await on.moves(job.id)).toHaveLength(1)
})

test('past its ceiling, but taken by nobody, it is still committed', async () => {
  const { on } = await startPipelines(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '3600000' })
  const { job, token } = await begun(on, { ceiling_ms: 1 })
  expect((await on.commit(job.id, token, 'c')).body.job).toMatchObject({ stage: 'c' })
})

test('an owner may reject from any stage, and succeed from the last', async () => {
  const { on } = await startPipelines(db)
  const { job, token } = await begun(on)
  expect((await on.commit(job.id, token, 'succeeded')).body).toMatchObject({
    code: 'invalid_request',
    errors: [{ path: 'to' }],
  })
  const failed = await on.commit(job.id, token, 'failed', { reason: 'no use' })
  expect(failed.body.job).toMatchObject({ state: 'failed', error: { code: 'rejected' } })
  const other = await on.submit([{ name: 'only' }])
  const last = (await on.begin(other.id, 'only')).body
  expect((await on.commit(other.id, last.token, 'succeeded')).body.job).toMatchObject({
    state: 'succeeded',
    result: null,
  })
})

test('begun and committed while nobody leads', async () => {
  const { app, on } = await startPipelines(db)
  const standby = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
  await standby.api.untilReady()
  const job = await on.submit(stages)
  await app.stop()
  const elsewhere = on.as(standby.api)
  const { body } = await standby.api.must(200, elsewhere.begin(job.id, 'a'))
  expect((await elsewhere.commit(job.id, body.token, 'b')).body.job).toMatchObject({
    state: 'waiting',
    waiting_for: 'decision',
    stage: 'b',
  })
})

test('what is at fault is refused by the name of the field, and nothing is changed', async () => {
  const { api, on } = await startPipelines(db)
  const job = await on.submit(stages)
  for (const [verb, path, body] of atFault) {
    expect([body, await on.post(job.id, `transition/${verb}`, body)]).toMatchObject([
      body,
      { status: 400, body: { code: 'invalid_request', errors: [{ path }] } },
    ])
  }
  expect(await api.job(job.id)).toEqual(job)
})
