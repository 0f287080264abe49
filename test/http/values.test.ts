import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive } from '../support/replica.ts'

const db = useDatabase()
const lone = '\ud800'
const day = 86_400_000

const refused: [string, string, object, string][] = [
  ...[
    '9999-12-31T23:59:59-14:00',
    '9999-01-01T00:00:00Z',
    '0001-01-01T00:00:00+14:00',
    '0001-01-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '1970-01-01T00:00:00+01:00',
    '2030-01-01T00:00:00+16:00',
    '2030-01-01T00:00:00-23:59',
    `2030-01-01T00:00:00.${'1'.repeat(200)}Z`,
  ].flatMap((at): [string, string, object, string][] => [
    [`run_at ${at}`, '/v1/jobs', { kind: 'x', run_at: at }, 'run_at'],
    [`expires_at ${at}`, '/v1/tokens', { name: 'x', role: 'read', expires_at: at }, 'expires_at'],
  ]),
  ['25 days to run', '/v1/jobs', { kind: 'x', run_timeout_ms: 25 * day }, 'run_timeout_ms'],
  ['half a character in a label', '/v1/jobs', { kind: 'x', labels: { a: lone } }, 'labels.a'],
  ['half a character required', '/v1/jobs', { kind: 'x', requires: { a: lone } }, 'requires.a'],
  [
    'more than 1 KiB required, in fewer characters',
    '/v1/jobs',
    { kind: 'x', requires: { a: '語'.repeat(250), b: '語'.repeat(250) } },
    'requires',
  ],
  [
    'half a character in an executor’s label',
    '/v1/executors/register',
    { executor_id: 'x', labels: { a: lone } },
    'labels.a',
  ],
  [
    'more at a time than an inventory can list',
    '/v1/executors/register',
    { executor_id: 'x', capacity: 5_001 },
    'capacity',
  ],
  ['half a character in a name', '/v1/tokens', { name: lone, role: 'read' }, 'name'],
  [
    'half a character in an error',
    '/v1/executors/x/report',
    { epoch: 1, reports: [{ job_id: 'x', fence: 1, outcome: 'failed', error: { code: lone } }] },
    'reports.0.error.code',
  ],
]

test('a value that could not be kept or read back is refused by name', async () => {
  const { api } = await startActive(db)
  for (const [name, path, body, field] of refused) {
    const { status, body: problem } = await api.post(path, body)
    expect([status, problem.errors], name).toMatchObject([400, [{ path: field }]])
  }
  expect(await db.sql('SELECT FROM jobs')).toEqual([])
})

test('the earliest, the latest and the finest instant come back as they were meant', async () => {
  const { api } = await startActive(db)
  for (const [run_at, read] of [
    ['1970-01-01T00:00:00+00:00', '1970-01-01T00:00:00.000Z'],
    ['9998-12-31T23:59:59.999-00:00', '9998-12-31T23:59:59.999Z'],
    ['2030-01-01T00:00:00.123456789+15:59', '2029-12-31T08:01:00.123Z'],
    ['2030-01-01T00:00:00-15:59', '2030-01-01T15:59:00.000Z'],
  ]) {
    expect(await api.submit({ run_at, run_timeout_ms: 2 ** 31 - 1 })).toMatchObject({
      run_at: read,
    })
  }
})

test('an instant that somebody else wrote hides no list', async () => {
  const { api } = await startActive(db)
  for (const [at, read] of [
    ['infinity', '9999-12-31T23:59:59.999Z'],
    ['10000-01-01 00:00+00', '9999-12-31T23:59:59.999Z'],
    ['0044-03-15 12:00+00 BC', '0001-01-01T00:00:00.000Z'],
    ['-infinity', '0001-01-01T00:00:00.000Z'],
    ['0031-03-15 12:00+00', '0031-03-15T12:00:00.000Z'],
  ]) {
    const { id } = await api.submit({ queue: 'odd', delay_ms: day })
    await db.sql("SELECT set_config('understudy.door', 'test', false)")
    await db.sql('UPDATE jobs SET run_at = $2 WHERE id = $1', [id, at])
    const { body } = await api.must(200, api.get('/v1/jobs?queue=odd&limit=1'))
    expect(body.jobs).toMatchObject([{ id, run_at: read }])
  }
})

test('what no name can hold is not found, or refused, in paths and queries', async () => {
  const { api } = await startActive(db)
  const report = { epoch: 1, reports: [{ job_id: 'x', fence: 1, outcome: 'succeeded' }] }
  for (const [method, path, body] of [
    ['GET', '/v1/jobs/a%00b'],
    ['GET', '/v1/jobs/a%00b/attempts'],
    ['GET', '/v1/executors/a%00b'],
    ['POST', '/v1/executors/a%00b/report', report],
    ['DELETE', '/v1/tokens/a%00b'],
    ['GET', '/v1/jobs?label=a%00b=c'],
    ['GET', '/v1/jobs?label=a=%00'],
    ['GET', '/v1/jobs/%ZZ'],
  ] as const) {
    const answer = await api.request(method, path, body)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect([path, answer.status, answer.body.code]).toEqual([path, 400, 'invalid_request'])
  }
  const long = await api.get(`/v1/jobs/${'x'.repeat(300)}`)
  expect(long).toMatchObject({ status: 404, body: { code: 'not_found' } })
})

test('what only Postgres finds to be at fault is the sender’s to change, alone', async () => {
  const { api } = await startActive(db)
  await db.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'no' USING ERRCODE = TG_ARGV[0]; END $$`)
  for (const state of ['22021', '54000']) {
    await db.sql(`CREATE TRIGGER refuse BEFORE INSERT ON jobs FOR EACH ROW
      WHEN (NEW.kind = 'odd') EXECUTE FUNCTION refuse('${state}')`)
    const kinds = ['fine', 'odd', 'fine']
    const answers = await Promise.all(kinds.map((kind) => api.post('/v1/jobs', { kind })))
    expect(answers.map(({ status }) => status)).toEqual([201, 400, 201])
    expect(answers[1]?.body).toMatchObject({ code: 'invalid_request', retryable: false })
    await db.sql('DROP TRIGGER refuse ON jobs')
  }
})

test.each([
  ['{"n":9007199254740993}', 'payload.n'],
  ['[{"a\\"b":[true,"1,2",[-12345678901234567890]]}]', 'payload.0.a\\"b.2.0'],
  ['{"a":[[],{},1e400],"b":1}', 'payload.a.2'],
  ['9'.repeat(1_000), 'payload'],
])('a number that would arrive as another is refused by its path: %s', async (payload, path) => {
  const { api } = await startActive(db)
  const answer = await api.post('/v1/jobs', undefined, { raw: `{"kind":"x","payload":${payload}}` })
  expect(answer).toMatchObject({ status: 400, body: { errors: [{ path }] } })
})

test('numbers that a double holds come back, whoever wrote them', async () => {
  const { api } = await startActive(db)
  for (const [sent, kept] of [
    ['9007199254740991', 9007199254740991],
    ['1152921504606846976', 2 ** 60],
    ['12345678901234567000', 12345678901234567000],
    ['10000000000000000000000', 1e22],
    ['-1.7976931348623157e308', -Number.MAX_VALUE],
    ['0.10000000000000001', 0.1],
    ['"9007199254740993 1e400"', '9007199254740993 1e400'],
  ]) {
    const raw = `{"kind":"x","payload":[${sent}]}`
    const { body } = await api.must(201, api.post('/v1/jobs', undefined, { raw }))
    expect(body.job.payload).toEqual([kept])
  }
})

test('a payload of null is another body than none', async () => {
  const { api } = await startActive(db)
  const job = { kind: 'x', queue: 'null', idempotency_key: 'k' }
  await api.must(201, api.post('/v1/jobs', { ...job, payload: null }))
  await api.must(200, api.post('/v1/jobs', { ...job, payload: null }))
  await api.must(409, api.post('/v1/jobs', job))
  await api.must(201, api.post('/v1/jobs', { ...job, queue: 'none' }))
  await api.must(200, api.post('/v1/jobs', { ...job, queue: 'none', payload: {} }))
})
