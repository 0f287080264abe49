import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { untilServed } from '../support/cuts.ts'
import { useDatabase } from '../support/database.ts'
import { startReplica } from '../support/replica.ts'

const db = useDatabase()

/** A replica of role api: submitting and reading need no leader. */
const start = async () => {
  const replica = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
  await replica.api.untilReady()
  return replica
}

test('only kind is required; the rest has the defaults of DESIGN 6', async () => {
  const { api } = await start()
  const answer = await api.post('/v1/jobs', { kind: 'plain' })
  expect(answer.status).toBe(201)
  expect(answer.body.job).toMatchObject({
    kind: 'plain',
    queue: 'default',
    state: 'available',
    scheduled: false,
    payload: {},
    labels: {},
    requires: {},
    priority: 0,
    fence: 0,
    attempt: 0,
    max_attempts: 5,
    lost_leases: 0,
    backoff: { base_ms: 2_000, factor: 2, cap_ms: 600_000 },
    run_timeout_ms: null,
    on_silence: 'continue',
    executor_id: null,
    lease_expires_at: null,
    idempotency_key: null,
    finished_at: null,
    result: null,
    error: null,
  })
  expect(answer.body.replayed).toBeUndefined()
  expect(await api.job(answer.body.job.id)).toEqual(answer.body.job)
})

test('a payload comes back as it was sent: __proto__, U+0000, order and depth are data', async () => {
  const { api } = await start()
  const raw = `{"kind":"odd","payload":{"b":1,"__proto__":{"x":1},"constructor":{"prototype":{}},"a":"\\u0000\\ud800","n":null}}`
  const { body } = await api.must(201, api.post('/v1/jobs', undefined, { raw }))
  const response = await fetch(`${api.url}/v1/jobs/${body.job.id}`, {
    headers: { authorization: `Bearer ${api.token}` },
  })
  const text = await response.text()
  expect(text).toContain(
    '"payload":{"b":1,"__proto__":{"x":1},"constructor":{"prototype":{}},"a":"\\u0000\\ud800","n":null}',
  )
  expect(({} as { x?: number }).x).toBeUndefined()
})

test.each([
  ['null', null],
  ['a number', 7],
  ['an array', [1, 2]],
  ['text', 'é💡'],
])('a payload may be any JSON: %s', async (_name, payload) => {
  const { api } = await start()
  const job = await api.submit({ payload })
  expect((await api.job(job.id)).payload).toEqual(payload)
})

test('the same key and body: the same job, 200 and replayed, also with defaults spelled out', async () => {
  const { api } = await start()
  const key = randomUUID()
  const first = await api.submit({ idempotency_key: key, payload: { a: 1, b: 2 } })
  const same = { kind: 'test', idempotency_key: key, payload: { b: 2, a: 1 }, priority: 0 }
  const again = await api.post('/v1/jobs', same)
  expect(again.status).toBe(200)
  expect(again.body).toMatchObject({ replayed: true, job: { id: first.id } })
})

test('the same key with another body: 409 idempotency_mismatch, and nothing is made', async () => {
  const { api } = await start()
  const key = randomUUID()
  await api.submit({ idempotency_key: key, queue: 'mismatch' })
  const other = await api.post('/v1/jobs', {
    kind: 'other',
    idempotency_key: key,
    queue: 'mismatch',
  })
  expect(other).toMatchObject({
    status: 409,
    body: { code: 'idempotency_mismatch', errors: [{ path: 'idempotency_key' }] },
  })
  expect((await api.get('/v1/jobs?queue=mismatch')).body.jobs).toHaveLength(1)
})

test('the key may stand in the header; where it stands twice it must agree', async () => {
  const { api } = await start()
  const headers = { 'idempotency-key': randomUUID() }
  const first = await api.post('/v1/jobs', { kind: 'test' }, { headers })
  expect(first.body.job.idempotency_key).toBe(headers['idempotency-key'])
  expect((await api.post('/v1/jobs', { kind: 'test' }, { headers })).status).toBe(200)
  const both = await api.post('/v1/jobs', { kind: 'test', idempotency_key: 'x' }, { headers })
  expect(both).toMatchObject({ status: 400, body: { errors: [{ path: 'idempotency_key' }] } })
})

test('a key belongs to its queue: the same key in another queue is another job', async () => {
  const { api } = await start()
  const idempotency_key = randomUUID()
  const one = await api.submit({ idempotency_key, queue: 'one' })
  const two = await api.submit({ idempotency_key, queue: 'two' })
  expect(one.id).not.toBe(two.id)
})

test('50 submits of one key at once, over two replicas: one job', async () => {
  const replicas = [await start(), await start()] as const
  const job = { kind: 'test', queue: 'race', idempotency_key: randomUUID() }
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      untilServed(() => replicas[n % 2 === 0 ? 0 : 1].api.post('/v1/jobs', job)),
    ),
  )
  expect(new Set(answers.map(({ body }) => body.job.id)).size).toBe(1)
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(49)
})

test('a batch answers in order, and counts keys that are taken or come twice', async () => {
  const { api } = await start()
  const taken = await api.submit({ queue: 'batch', idempotency_key: 'taken' })
  const jobs = [
    { kind: 'test', queue: 'batch', payload: 1 },
    { kind: 'test', queue: 'batch', idempotency_key: 'taken' },
    { kind: 'test', queue: 'batch', idempotency_key: 'twice' },
    { kind: 'test', queue: 'batch', idempotency_key: 'twice' },
  ]
  const { body } = await api.must(200, api.post('/v1/jobs/batch', { jobs }))
  expect(body.results.map(({ created }: { created: boolean }) => created)).toEqual([
    true,
    false,
    true,
    false,
  ])
  expect(body.results[1].id).toBe(taken.id)
  expect(body.results[2].id).toBe(body.results[3].id)
  expect((await api.job(body.results[0].id)).payload).toBe(1)
})

test('a batch is all or nothing: one mismatch names itself, and no job is made', async () => {
  const { api } = await start()
  await api.submit({ queue: 'nothing', idempotency_key: 'k' })
  const jobs = [
    { kind: 'test', queue: 'nothing' },
    { kind: 'other', queue: 'nothing', idempotency_key: 'k' },
  ]
  const answer = await api.post('/v1/jobs/batch', { jobs })
  expect(answer).toMatchObject({
    status: 409,
    body: { code: 'idempotency_mismatch', errors: [{ path: 'jobs.1.idempotency_key' }] },
  })
  expect((await api.get('/v1/jobs?queue=nothing')).body.jobs).toHaveLength(1)
})

test('batches with the same keys in opposite orders, at once, do not deadlock', async () => {
  const replicas = [await start(), await start()] as const
  const jobs = Array.from({ length: 200 }, (_, n) => ({
    kind: 'test',
    queue: 'crossed',
    idempotency_key: `key-${n}`,
  }))
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) => {
      const body = { jobs: n % 4 < 2 ? jobs : [...jobs].reverse() }
      return untilServed(() => replicas[n % 2 === 0 ? 0 : 1].api.post('/v1/jobs/batch', body))
    }),
  )
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
  expect(await db.sql("SELECT count(*) FROM jobs WHERE queue = 'crossed'")).toEqual([
    { count: 200 },
  ])
})

test('a job with a delay, or a run_at to come, is available and scheduled', async () => {
  const { api } = await start()
  const delayed = await api.submit({ delay_ms: 60_000 })
  const planned = await api.submit({ run_at: new Date(Date.now() + 60_000).toISOString() })
  const past = await api.submit({ run_at: '2020-01-01T00:00:00Z' })
  expect([delayed, planned, past].map(({ state, scheduled }) => [state, scheduled])).toEqual([
    ['available', true],
    ['available', true],
    ['available', false],
  ])
})

test('lists are newest first, filtered, and paged without gaps', async () => {
  const { api } = await start()
  const ids: string[] = []
  for (let n = 0; n < 5; n += 1) {
    const labels = { team: n % 2 ? 'odd' : 'even', n: String(n) }
    ids.push((await api.submit({ queue: 'listed', kind: `kind-${n}`, labels })).id)
  }
  const newest = [...ids].reverse()
  const idsOf = (answer: { body: { jobs: { id: string }[] } }) =>
    answer.body.jobs.map(({ id }) => id)
  expect(idsOf(await api.get('/v1/jobs?queue=listed'))).toEqual(newest)
  const first = await api.get('/v1/jobs?queue=listed&limit=3')
  const rest = await api.get(`/v1/jobs?queue=listed&limit=3&cursor=${first.body.next_cursor}`)
  expect([...idsOf(first), ...idsOf(rest)]).toEqual(newest)
  expect(rest.body.next_cursor).toBeNull()
  expect(idsOf(await api.get('/v1/jobs?queue=listed&kind=kind-2'))).toEqual([ids[2]])
  expect(idsOf(await api.get('/v1/jobs?queue=listed&label=team=odd'))).toEqual([ids[3], ids[1]])
  expect(idsOf(await api.get('/v1/jobs?queue=listed&label=team=odd&label=n=1'))).toEqual([ids[1]])
  expect(idsOf(await api.get('/v1/jobs?queue=listed&state=failed'))).toEqual([])
  expect(first.body.jobs[0].payload).toBeUndefined()
})

test('an unknown job, or an id that is none, is not_found', async () => {
  const { api } = await start()
  for (const id of [randomUUID(), 'nonsense', '%00', '../jobs']) {
    expect(await api.get(`/v1/jobs/${encodeURIComponent(id)}`)).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
  }
})
