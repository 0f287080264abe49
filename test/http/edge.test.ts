import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica } from '../support/replica.ts'

const db = useDatabase()

async function jobCount(): Promise<number> {
  const [row] = await db.sql<{ count: number }>('SELECT count(*) FROM jobs')
  return row?.count ?? -1
}

test('a batch has no more stages than a transaction can take', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const job = { kind: 'x', stages: Array.from({ length: 32 }, (_, n) => ({ name: `s${n}` })) }
  expect(await api.post('/v1/jobs/batch', { jobs: Array(157).fill(job) })).toMatchObject({
    status: 400,
    body: { code: 'invalid_request', errors: [{ path: 'jobs' }] },
  })
  expect(await jobCount()).toBe(before)
})

test('every faulty field is named by its path, and nothing is done', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const answer = await api.post('/v1/jobs/batch', {
    jobs: [
      { kind: 'fine' },
      { kind: 7, priority: 10, colour: 'red', backoff: { base_ms: -1, speed: 1 } },
      { queue: 'a b', delay_ms: 1, run_at: '2030-01-01T00:00:00Z', kind: 'x' },
    ],
    extra: true,
  })
  expect(answer.status).toBe(400)
  expect(answer.headers.get('content-type')).toContain('application/problem+json')
  expect(answer.body.code).toBe('invalid_request')
  const paths = answer.body.errors.map(({ path }: { path: string }) => path)
  expect(paths.sort()).toEqual([
    'extra',
    'jobs.1.backoff.base_ms',
    'jobs.1.backoff.speed',
    'jobs.1.colour',
    'jobs.1.kind',
    'jobs.1.priority',
    'jobs.2.delay_ms',
    'jobs.2.queue',
  ])
  expect(await jobCount()).toBe(before)
})

test.each([
  ['no body', { method: 'POST' }, 400, 'invalid_request'],
  ['malformed JSON', { raw: '{"kind":' }, 400, 'malformed_json'],
  ['an empty JSON body', { raw: '' }, 400, 'malformed_json'],
  ['an array', { raw: '[]' }, 400, 'invalid_request'],
  ['null', { raw: 'null' }, 400, 'invalid_request'],
  [
    'text',
    { raw: 'kind=x', headers: { 'content-type': 'text/plain' } },
    415,
    'unsupported_media_type',
  ],
  ['__proto__ as a field', { raw: '{"kind":"x","__proto__":{"a":1}}' }, 400, 'invalid_request'],
  [
    'run_at and delay_ms',
    { raw: '{"kind":"x","delay_ms":1,"run_at":"2030-01-01T00:00:00Z"}' },
    400,
    'invalid_request',
  ],
  ['a label that is no text', { raw: '{"kind":"x","labels":{"a":1}}' }, 400, 'invalid_request'],
  ['U+0000 in a label', { raw: '{"kind":"x","labels":{"a":"\\u0000"}}' }, 400, 'invalid_request'],
  ['an instant that is none', { raw: '{"kind":"x","run_at":"tomorrow"}' }, 400, 'invalid_request'],
  ['a batch as a job', { raw: '{"jobs":[]}' }, 400, 'invalid_request'],
] as const)('%s is refused with a problem', async (_name, init, status, code) => {
  const { api } = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
  await api.untilReady()
  const before = await jobCount()
  const answer = await api.request('POST', '/v1/jobs', undefined, init as object)
  expect(answer).toMatchObject({ status, body: { status, code, retryable: false } })
  expect(await jobCount()).toBe(before)
})

test('what is too large is 413: a body, a payload, a result', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const big = 'x'.repeat(300 * 1024)
  expect(await api.post('/v1/jobs', { kind: 'x', payload: big })).toMatchObject({
    status: 413,
    body: { code: 'payload_too_large', errors: [{ path: 'payload' }] },
  })
  expect(await api.post('/v1/jobs', { kind: 'x', payload: big + big })).toMatchObject({
    status: 413,
    body: { code: 'payload_too_large' },
  })
  expect(
    await api.post('/v1/jobs/batch', { jobs: [{ kind: 'x' }, { kind: 'x', payload: big }] }),
  ).toMatchObject({ status: 413, body: { errors: [{ path: 'jobs.1.payload' }] } })
  expect(await jobCount()).toBe(before)
  const epoch = await api.register('big')
  const job = await api.submit()
  const [assignment] = await api.poll('big', epoch)
  const report = { job_id: job.id, fence: assignment?.fence, outcome: 'succeeded', result: big }
  expect(await api.post('/v1/executors/big/report', { epoch, reports: [report] })).toMatchObject({
    status: 413,
    body: { errors: [{ path: 'reports.0.result' }] },
  })
  expect((await api.job(job.id)).state).toBe('leased')
})

test('an unknown route is a problem, and a method that it has not too', async () => {
  const { api } = await startActive(db)
  for (const [method, path] of [
    ['GET', '/v1/nothing'],
    ['DELETE', '/v1/jobs'],
    ['PUT', '/health/live'],
  ]) {
    expect(await api.request(method as string, path as string)).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    })
  }
})

test('unknown query parameters and bad values are named', async () => {
  const { api } = await startActive(db)
  for (const [query, path] of [
    ['limit=0', 'limit'],
    ['limit=ten', 'limit'],
    ['state=running', 'state'],
    ['colour=red', 'colour'],
    ['label=nothing', 'label.0'],
    ['cursor=abc', 'cursor'],
  ]) {
    expect(await api.get(`/v1/jobs?${query}`)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ path }] },
    })
  }
})

test('the gate answers before authentication, and says where to go', async () => {
  const active = await startActive(db)
  const standby = await startReplica(db)
  await standby.events.wait('standing')
  standby.app.watch.nudge()
  while (standby.app.watch.leader?.advertised_url !== active.api.url) {
    await standby.api.get('/health/live')
  }
  for (const call of ['register', 'x/poll', 'x/heartbeat', 'x/report']) {
    const answer = await standby.api.as(undefined).post(`/v1/executors/${call}`, {})
    expect(answer).toMatchObject({
      status: 503,
      body: {
        code: 'controller_standby',
        role: 'standby',
        retryable: true,
        active_url: active.api.url,
      },
    })
    expect(answer.body.term).toBeGreaterThan(0)
    expect(answer.body.retry_after_ms).toBeGreaterThanOrEqual(20)
    expect(answer.body.retry_after_ms).toBeLessThanOrEqual(150)
    expect(answer.headers.get('retry-after')).toBe('1')
  }
})

test('probes need no token, and answer HEAD', async () => {
  const { api } = await startActive(db)
  for (const probe of ['live', 'ready', 'active']) {
    const answer = await api.as(undefined).get(`/health/${probe}`)
    expect(answer).toMatchObject({ status: 200, body: { controller_state: 'active' } })
    expect(Object.keys(answer.body).sort()).toEqual([
      'controller_state',
      'name',
      'replica_id',
      'term',
    ])
    expect(await api.as(undefined).request('HEAD', `/health/${probe}`)).toMatchObject({
      status: 200,
      body: undefined,
    })
  }
})

test('the API browser and its description are there', async () => {
  const { api } = await startActive(db)
  const page = await fetch(`${api.url}/docs`)
  expect(await page.text()).toContain('swagger-ui')
  const description = await fetch(`${api.url}/docs/json`)
  const { paths } = (await description.json()) as { paths: object }
  expect(Object.keys(paths)).toContain('/v1/jobs/{id}')
})

test('a job id in any case of letters is the same job', async () => {
  const { api } = await startActive(db)
  const epoch = await api.register('upper', { queues: ['upper'] })
  const job = await api.submit({ queue: 'upper' })
  const [assignment] = await api.poll('upper', epoch)
  const job_id = job.id.toUpperCase()
  const held = { job_id, fence: assignment?.fence }
  expect((await api.heartbeat('upper', epoch, [held])).held).toEqual([{ job_id: job.id, fence: 1 }])
  expect(await api.report('upper', epoch, { ...held, outcome: 'succeeded' })).toMatchObject([
    { status: 'accepted' },
  ])
})

test('requests that a client breaks off half-way change nothing and hurt nobody', async () => {
  const { api } = await startActive(db)
  const before = await jobCount()
  const { hostname, port } = new URL(api.url)
  const socket = connect(Number(port), hostname)
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(
    `POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${api.token}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"kind":"half"`,
  )
  await new Promise<void>((resolve) => socket.end(() => resolve()))
  await api.submit({ kind: 'whole', idempotency_key: randomUUID() })
  expect(await jobCount()).toBe(before + 1)
})
