import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type Api, secretOf } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'
import { openSession, untilAnyWaiting } from '../support/sessions.ts'

const db = useDatabase()

async function createToken(api: Awaited<ReturnType<typeof startActive>>['api'], body: object) {
  return (await api.must(201, api.post('/v1/tokens', { name: 'test', ...body }))).body as {
    id: string
    token: string
  }
}

/** What takes a second, on a busy machine; far less than anybody waits here. */
const longestMs = 10_000

test('a token is shown once: its hash is kept, and no list has a secret', async () => {
  const { api } = await startActive(db)
  const { id, token } = await createToken(api, { role: 'read', name: 'secretive' })
  expect(token).toMatch(/^ust_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/)
  const [row] = await db.sql('SELECT * FROM tokens WHERE id = $1', [id])
  const secret = secretOf(token)
  expect(JSON.stringify(row)).not.toContain(secret)
  expect((row as { secret_hash: Buffer }).secret_hash).toHaveLength(32)
  const { body } = await api.get('/v1/tokens')
  expect(JSON.stringify(body)).not.toContain(secret)
  expect(body.tokens.find((listed: { id: string }) => listed.id === id)).toMatchObject({
    name: 'secretive',
    role: 'read',
    revoked_at: null,
  })
})

test('a new token is good at once on every replica', async () => {
  const { api } = await startActive(db)
  const other = await startReplica(db)
  await other.api.untilReady()
  for (let n = 0; n < 5; n += 1) {
    const { token } = await createToken(api, { role: 'read' })
    expect((await other.api.as(token).get('/v1/jobs')).status).toBe(200)
    expect((await api.as(token).get('/v1/jobs')).status).toBe(200)
  }
})

test('a revoked token is refused everywhere within a second, also where it is in memory', async () => {
  const { api } = await startActive(db)
  const other = await startReplica(db)
  await other.api.untilReady()
  const { id, token } = await createToken(api, { role: 'read' })
  expect((await other.api.as(token).get('/v1/jobs')).status).toBe(200)
  expect((await api.as(token).get('/v1/jobs')).status).toBe(200)
  await api.must(200, api.request('DELETE', `/v1/tokens/${id}`))
  const revokedAt = performance.now()
  expect((await api.as(token).get('/v1/jobs')).status).toBe(401)
  while ((await other.api.as(token).get('/v1/jobs')).status === 200) await pause()
  expect(performance.now() - revokedAt).toBeLessThan(longestMs)
  const [row] = await db.sql('SELECT revoked_at FROM tokens WHERE id = $1', [id])
  await api.must(200, api.request('DELETE', `/v1/tokens/${id}`))
  expect(await db.sql('SELECT revoked_at FROM tokens WHERE id = $1', [id])).toEqual([row])
})

test('a revocation of which no replica is told is in force on both all the same', async () => {
  const { api } = await startActive(db)
  const other = await startReplica(db)
  await other.api.untilReady()
  const { id, token } = await createToken(api, { role: 'read' })
  for (const each of [api, other.api]) await each.must(200, each.as(token).get('/v1/jobs'))
  await db.sql('UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = $1', [id])
  for (const each of [api, other.api]) {
    while ((await each.as(token).get('/v1/jobs')).status === 200) await pause()
    expect((await each.as(token).get('/v1/jobs')).status).toBe(401)
  }
})

/** Two that wait by tokens of their own. Where a slow machine comes too late with them, they live longer. */
async function startWaiting({ api, app }: TestReplica, queue: string, lastsMs: number) {
  const epoch = await api.register(queue, { queues: [queue] })
  const job = await api.submit({ queue, delay_ms: 60_000 })
  for (let ms = lastsMs; ; ms *= 2) {
    const untilMs = performance.now() + ms
    const expires_at = ms > 0 ? new Date(Date.now() + ms).toISOString() : undefined
    const executor = await createToken(api, { role: 'executor', expires_at })
    const submitter = await createToken(api, { role: 'submit', expires_at })
    const waiting = [
      api.as(executor.token).post(`/v1/executors/${queue}/poll`, { epoch, wait_ms: 20_000 }),
      api.as(submitter.token).get(`/v1/jobs/${job.id}?wait_ms=20000`),
    ]
    let isLate = false
    for (const each of waiting) void each.then(() => (isLate = true))
    while (app.wiring.waitList.size < 2 && !isLate) await pause()
    if (!isLate) return { ids: [executor.id, submitter.id], waiting, untilMs }
    await Promise.all(waiting)
  }
}

test.each([
  ['revoked here', 0, (api: Api, id: string) => api.request('DELETE', `/v1/tokens/${id}`)],
  [
    'revoked where nobody tells',
    0,
    (_api: Api, id: string) =>
      db.sql('UPDATE tokens SET revoked_at = clock_timestamp() WHERE id = $1', [id]),
  ],
  ['expired', 1_500, () => undefined],
] as const)(
  'who waits by a token that is %s is given nothing any more',
  async (how, lastsMs, end) => {
    const replica = await startActive(db)
    const { api } = replica
    const queue = how.replaceAll(' ', '-')
    const { ids, waiting, untilMs } = await startWaiting(replica, queue, lastsMs)
    for (const id of ids) await end(api, id)
    for (const answer of await Promise.all(waiting)) {
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    }
    expect(performance.now() - untilMs).toBeLessThan(longestMs)
    const { id } = await api.submit({ queue })
    expect((await api.job(id)).state).toBe('available')
  },
)

/** One that was good when it was first shown, which takes a slow machine longer. */
async function createShortLived(api: Api, lastsMs: number) {
  for (let ms = lastsMs; ; ms *= 2) {
    const expires_at = new Date(Date.now() + ms).toISOString()
    const { token } = await createToken(api, { role: 'read', expires_at })
    if ((await api.as(token).get('/v1/jobs')).status === 200) return { token, expires_at }
  }
}

test('a token expires by itself', async () => {
  const { api } = await startActive(db)
  const { token, expires_at } = await createShortLived(api, 700)
  while ((await api.as(token).get('/v1/jobs')).status === 200) await pause()
  const { body } = await api.get('/v1/tokens')
  expect(body.tokens).toContainEqual(
    expect.objectContaining({ name: 'test', expires_at, revoked_at: null }),
  )
})

test.each([
  ['a wrong secret', (token: string) => `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`],
  ['an unknown id', (token: string) => token.replace(/_[0-9a-f]{16}_/, '_0000000000000000_')],
  ['no form at all', () => 'something'],
  ['an empty token', () => ''],
])('%s is 401', async (_name, spoil) => {
  const { api } = await startActive(db)
  const { token } = await createToken(api, { role: 'admin' })
  const answer = await api.as(spoil(token)).get('/v1/jobs')
  expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
  expect(answer.headers.get('www-authenticate')).toBe('Bearer')
})

test('a token that is bound to queues serves and fills only those', async () => {
  const { api } = await startActive(db)
  const executor = api.as(
    (await createToken(api, { role: 'executor', queues: ['bound-a', 'bound-b'] })).token,
  )
  const submitter = api.as((await createToken(api, { role: 'submit', queues: ['bound-a'] })).token)
  await executor.register('bound', { queues: ['bound-a', 'bound-b'] })
  const refused = [
    executor.post('/v1/executors/register', { executor_id: 'bound', queues: ['bound-a', 'other'] }),
    executor.post('/v1/executors/register', { executor_id: 'bound' }),
    submitter.post('/v1/jobs', { kind: 'x' }),
    submitter.post('/v1/jobs/batch', {
      jobs: [
        { kind: 'x', queue: 'bound-a' },
        { kind: 'x', queue: 'bound-b' },
      ],
    }),
  ]
  for (const answer of await Promise.all(refused)) expect(answer.status).toBe(403)
  await submitter.submit({ queue: 'bound-a' })
  expect(await db.sql("SELECT queue FROM jobs WHERE queue LIKE 'bound-%'")).toEqual([
    { queue: 'bound-a' },
  ])
})

test('the refusal of an old or guessed epoch does not tell the current one', async () => {
  const { api } = await startActive(db)
  let epoch = 0
  while (epoch < 7) epoch = await api.register('guarded')
  const answer = await api.post('/v1/executors/guarded/poll', { epoch: 1 })
  expect(answer).toMatchObject({ status: 409, body: { code: 'stale_epoch' } })
  expect(answer.body.detail).not.toContain('7')
})

test('a submitter that is bound to queues reads those alone', async () => {
  const { api } = await startActive(db)
  const { token } = await createToken(api, { role: 'submit', queues: ['mine', 'ours'] })
  const bound = api.as(token)
  const theirs = await api.submit({ queue: 'theirs' })
  const own = [await bound.submit({ queue: 'mine' }), await bound.submit({ queue: 'ours' })]
  expect(await bound.get(`/v1/jobs/${theirs.id}?wait_ms=20000`)).toMatchObject({
    status: 404,
    body: { code: 'not_found', detail: `there is no job ${theirs.id}` },
  })
  for (const { id } of own) await api.must(200, bound.get(`/v1/jobs/${id}/attempts`))
  const listed = async (query: string) =>
    (await bound.get(`/v1/jobs?${query}`)).body.jobs.map(({ id }: { id: string }) => id)
  expect(await listed('')).toEqual(own.map(({ id }) => id).reverse())
  expect(await listed('queue=mine')).toEqual([own[0]?.id])
  expect(await listed('queue=theirs')).toEqual([])
})

test('bindings that make no sense for a role are refused by name', async () => {
  const { api } = await startActive(db)
  for (const [body, path] of [
    [{ role: 'read', executor_id: 'x' }, 'executor_id'],
    [{ role: 'read', queues: ['x'] }, 'queues'],
    [{ role: 'king' }, 'role'],
    [{ role: 'executor', executor_id: 'a*b' }, 'executor_id'],
    [{ role: 'read', expires_at: 'soon' }, 'expires_at'],
  ] as const) {
    expect(await api.post('/v1/tokens', { name: 'x', ...body })).toMatchObject({
      status: 400,
      body: { errors: [{ path }] },
    })
  }
})

test('invariant 7: a heartbeat whose token is long looked up is a stall, one with a wrong token is none', async () => {
  // Stands still unless the test moves it: a stall of the machine is none.
  let now = 0
  const clock = { ...systemClock, monotonic: () => now }
  const env = { UNDERSTUDY_SWEEP_INTERVAL_MS: '600000' }
  const { api, app } = await startActive(db, env, { clock })
  const { stalls } = app.wiring
  const { token } = await createToken(api, { role: 'executor' })
  const epoch = await api.register('looked-up')
  const session = await openSession(db.url)
  const beatSlowly = async (shown: string) => {
    await session.query('BEGIN; LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE')
    const answer = api.as(shown).post('/v1/executors/looked-up/heartbeat', { epoch })
    await untilAnyWaiting(session)
    for (let step = 0; step < 2; step += 1) {
      now += 600
      // Asked at each step, it takes none of them for a stall of its own.
      expect(stalls.unsettled).toBe(0)
    }
    await session.query('ROLLBACK')
    return (await answer).status
  }
  expect(await beatSlowly(token.replace(/_[0-9a-f]{16}_/, '_0000000000000000_'))).toBe(401)
  expect(stalls.unsettled).toBe(0)
  expect(await beatSlowly(token)).toBe(200)
  expect(stalls.unsettled).toBeGreaterThan(0)
})
