import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startEffects } from '../support/effects.ts'
import { openSession, untilAnyWaiting } from '../support/sessions.ts'

const db = useDatabase()

test('invariant 5: an effect is begun, committed, and told to every later attempt', async () => {
  const { api, submit, hold, effects } = await startEffects(db)
  const job = await submit()
  const first = await hold()
  const begin_id = randomUUID()
  const begun = await first.begin('deploy', { begin_id })
  expect(begun).toMatchObject({
    status: 200,
    body: { outcome: 'proceed', on_doubt: 'hold', result: null },
  })
  const committed = await first.call('deploy', 'commit', { begin_id, result: { id: 7 } })
  expect(committed).toMatchObject({
    status: 200,
    body: { effect: { key: 'deploy', state: 'committed', result: { id: 7 }, holds: false } },
  })
  await first.report('failed')
  const second = await hold()
  expect(second.job.fence).toBeGreaterThan(first.job.fence)
  expect((await second.begin('deploy')).body).toEqual({
    outcome: 'committed',
    effect_token: begun.body.effect_token,
    on_doubt: 'hold',
    result: { id: 7 },
  })
  expect(await effects(job.id)).toMatchObject([{ state: 'committed', fence: first.job.fence }])
  expect((await api.job(job.id)).state).toBe('leased')
})

test('invariant 5: the same begin gets the same answer, another of the same lease none', async () => {
  const { submit, hold, effects } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  const begin_id = randomUUID()
  const [one, two] = await Promise.all([
    holder.begin('pay', { begin_id }),
    holder.begin('pay', { begin_id }),
  ])
  expect(one.body).toMatchObject({ outcome: 'proceed' })
  expect(two.body).toEqual(one.body)
  expect(await holder.begin('pay')).toMatchObject({
    status: 409,
    body: { code: 'effect_in_progress' },
  })
  expect(await effects(job.id)).toMatchObject([{ begin_id, state: 'begun' }])
})

test('invariant 5: of many begins at once one is told to proceed', async () => {
  const { submit, hold } = await startEffects(db)
  await submit()
  const holder = await hold()
  const answers = await Promise.all(Array.from({ length: 20 }, () => holder.begin('pay')))
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  expect(answers.filter(({ body }) => body.code === 'effect_in_progress')).toHaveLength(19)
})

test('an aborted effect can be begun anew under its token; its own begin, come late, cannot', async () => {
  const { submit, hold } = await startEffects(db)
  await submit()
  const holder = await hold()
  const begin_id = randomUUID()
  const { body } = await holder.begin('mail', { begin_id })
  expect(await holder.call('mail', 'abort', { begin_id })).toMatchObject({
    status: 200,
    body: { effect: { state: 'aborted' } },
  })
  expect((await holder.call('mail', 'abort', { begin_id })).status).toBe(200)
  expect(await holder.begin('mail', { begin_id })).toMatchObject({
    status: 409,
    body: { code: 'effect_settled' },
  })
  expect((await holder.call('mail', 'commit', { begin_id })).body.code).toBe('effect_settled')
  expect((await holder.begin('mail')).body).toEqual({ ...body, outcome: 'proceed' })
})

test('a commit is answered the same when it is sent again, also after the lease has ended', async () => {
  const { submit, hold, lose } = await startEffects(db)
  await submit()
  const holder = await hold()
  const begin_id = randomUUID()
  await holder.begin('deploy', { begin_id })
  const commit = () => holder.call('deploy', 'commit', { begin_id, result: 1 })
  const first = await commit()
  expect((await commit()).body).toEqual(first.body)
  await lose(holder)
  expect((await commit()).body).toEqual(first.body)
  expect((await holder.call('deploy', 'abort', { begin_id })).status).toBe(409)
})

test('invariant 2: nobody but the holder begins, commits or aborts', async () => {
  const { api, submit, hold, lose, ledger } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  const begin_id = randomUUID()
  const post = (verb: string, more: object) =>
    api.post(`/v1/jobs/${job.id}/effects/deploy/${verb}`, {
      executor_id: holder.executor,
      epoch: holder.epoch,
      fence: holder.job.fence,
      begin_id,
      ...more,
    })
  const stranger = `${holder.executor}-x`
  const epoch = await api.register(stranger, { queues: ['other'] })
  for (const verb of ['begin', 'commit', 'abort']) {
    const codes = [
      await post(verb, { executor_id: stranger, epoch }),
      await post(verb, { fence: holder.job.fence + 1 }),
      await post(verb, { epoch: holder.epoch + 1 }),
    ].map(({ status, body }) => `${status} ${body.code}`)
    expect(codes).toEqual(['409 stale_fence', '409 stale_fence', '409 stale_epoch'])
  }
  expect((await ledger(job.id)).effects).toEqual([])
  await post('begin', {})
  await lose(holder)
  expect((await post('commit', {})).body.code).toBe('stale_epoch')
  // Who never held it has nothing to tell.
  const { body } = await post('commit', { executor_id: stranger, epoch })
  expect(body.code).toBe('stale_fence')
  expect(await ledger(job.id)).toMatchObject({
    effects: [{ state: 'in_doubt' }],
    late_effects: [{ executor_id: holder.executor, outcome: 'committed' }],
  })
})

test('a ledger is listed in pages, by key and by size', async () => {
  const { api, submit, hold } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  const result = 'x'.repeat(250_000)
  for (let n = 0; n < 12; n += 1) {
    const begin_id = randomUUID()
    await holder.begin(`k${n + 10}`, { begin_id })
    await holder.call(`k${n + 10}`, 'commit', { begin_id, result })
  }
  const keys: string[] = []
  const sizes: number[] = []
  for (let cursor = ''; cursor !== null; ) {
    const query = cursor === '' ? '' : `?cursor=${cursor}`
    const { body } = await api.must(200, api.get(`/v1/jobs/${job.id}/effects${query}`))
    keys.push(...body.effects.map(({ key }: { key: string }) => key))
    sizes.push(body.effects.length)
    cursor = body.next_cursor
  }
  expect(keys).toEqual(Array.from({ length: 12 }, (_, n) => `k${n + 10}`))
  expect(sizes).toEqual([8, 4])
})

test('a key may be any printable text; a job has at most 1000 of them', async () => {
  const { submit, hold, effects } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  const key = 'deploy/eu-1?x=%20#"\\'
  expect((await holder.begin(key)).status).toBe(200)
  expect(await effects(job.id)).toMatchObject([{ key }])
  expect((await holder.begin('two words')).status).toBe(400)
  await db.sql(
    `INSERT INTO effects (job_id, key, state, on_doubt, begin_id, fence, executor_id, epoch)
      SELECT $1, 'k' || n, 'begun', 'hold', 'b', 1, 'e', 1 FROM generate_series(1, 999) n`,
    [job.id],
  )
  expect(await holder.begin('one more')).toMatchObject({ status: 400 })
  expect((await holder.begin('one-more')).body.code).toBe('invalid_request')
})

test('invariant 7: begins that wait for a row leave sessions to heartbeats', async () => {
  const { api, submit, hold } = await startEffects(db)
  const job = await submit()
  const holder = await hold()
  const other = `e-${randomUUID()}`
  const epoch = await api.register(other, { queues: ['elsewhere'] })
  const locker = await openSession(db.url)
  await locker.query('BEGIN')
  await locker.query(`SELECT FROM jobs WHERE id = '${job.id}' FOR UPDATE`)
  const begins = Array.from({ length: 40 }, () => holder.begin('pay'))
  await untilAnyWaiting(locker)
  // Each is answered 200, or this throws.
  await Promise.all(Array.from({ length: 10 }, () => api.heartbeat(other, epoch)))
  await locker.query('ROLLBACK')
  const answers = await Promise.all(begins)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
})
