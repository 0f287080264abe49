import { expect, test } from 'vitest'
import { createLog } from '../../src/log.ts'
import { useDatabase } from '../support/database.ts'
import { LogLines } from '../support/log-lines.ts'
import { RawConnection } from '../support/raw.ts'
import { startActive, startReplica } from '../support/replica.ts'

const db = useDatabase()
const probe = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'
const named = (id: string) => ({ headers: { 'x-request-id': id } })

test('a job’s whole life is found in the log by its id, and each request by its own', async () => {
  const logged = new LogLines('debug')
  const { api } = await startActive(db, {}, {}, logged)
  const epoch = await api.register('worker')
  const { body } = await api.post('/v1/jobs', { kind: 'x' }, named('to-submit'))
  const job_id = body.job.id
  const polled = await api.post(
    '/v1/executors/worker/poll',
    { epoch, wait_ms: 0 },
    named('to-poll'),
  )
  const { fence } = polled.body.assignments[0]
  const report = { job_id, fence, outcome: 'succeeded', result: 'quiet' }
  const answer = { epoch, reports: [report, report] }
  await api.must(200, api.post('/v1/executors/worker/report', answer, named('to-report')))
  const told = logged.lines.filter((line) => line.job_id === job_id)
  const held = { executor_id: 'worker', fence }
  expect(told).toMatchObject([
    { msg: 'job submitted', request_id: 'to-submit' },
    { msg: 'job assigned', request_id: 'to-poll', ...held, attempt: 1 },
    { msg: 'lease ended', ...held, outcome: 'succeeded', job_state: 'succeeded' },
    { msg: 'job reported', request_id: 'to-report', ...held, status: 'accepted' },
    { msg: 'job reported', request_id: 'to-report', ...held, status: 'duplicate' },
  ])
  const asked = logged.lines.filter(({ request_id }) => request_id === 'to-submit')
  expect(asked).toMatchObject([{ job_id }, { msg: 'POST /v1/jobs', status: 201 }])
})

test('every line says which replica wrote it, and under which term', async () => {
  const logged = new LogLines('trace')
  const { api, app, events } = await startActive(db, {}, {}, logged)
  await api.submit()
  await api.post('/v1/jobs', {})
  const { term, replica_id, name } = (await api.get('/health/live')).body
  await app.stop()
  await events.wait('lost')
  const { lines } = logged
  for (const line of lines) expect(line).toMatchObject({ name, replica_id })
  const index = (msg: string) => lines.findIndex((line) => line.msg === msg)
  const tenure = lines.slice(index('promoted'), index('leadership ended') + 1)
  expect(tenure.map(({ msg }) => msg)).toContain('POST /v1/jobs refused')
  for (const line of tenure) expect(line).toMatchObject({ term })
  for (const line of lines.slice(0, index('promoted'))) expect(line).not.toHaveProperty('term')
})

test('a caller’s X-Request-Id is answered, and one that would not fit a log is replaced', async () => {
  const { api } = await startReplica(db, { UNDERSTUDY_ROLE: 'api' })
  await api.untilReady()
  for (const [path, status] of [
    ['/health/live', 200],
    ['/v1/jobs/x', 404],
    ['/v1/nothing', 404],
    ['/v1/jobs/%ZZ', 400],
    ['/v1/executors/x/poll', 404],
  ] as const) {
    const answer = await api.request('GET', path, undefined, named('mine:1'))
    expect([path, answer.status]).toEqual([path, status])
    expect(answer.headers.get('x-request-id')).toBe('mine:1')
    if (status >= 400) expect(answer.body.request_id).toBe('mine:1')
  }
  for (const id of ['', 'a b', 'ä', 'x'.repeat(129)]) {
    const answer = await api.request('GET', '/v1/nothing', undefined, named(id))
    expect(answer.body.request_id).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.headers.get('x-request-id')).toBe(answer.body.request_id)
  }
})

test('above debug nothing is said of what anybody can bring about as often as they like', async () => {
  const logged = new LogLines('info')
  const { api } = await startActive(db, {}, {}, logged)
  await api.submit({ idempotency_key: 'same' })
  await api.post('/v1/jobs', {})
  expect((await api.as('wrong').get('/v1/jobs')).status).toBe(401)
  const { token } = (await api.post('/v1/tokens', { name: 'reader', role: 'read' })).body
  expect((await api.as(token).post('/v1/jobs', {})).status).toBe(403)
  expect((await api.post('/v1/jobs', { kind: 'other', idempotency_key: 'same' })).status).toBe(409)
  const large = { kind: 'x', payload: 'x'.repeat(300 * 1_024) }
  expect((await api.post('/v1/jobs', large)).status).toBe(413)
  expect(logged.lines.filter((line) => line.request_id !== undefined)).toEqual([])
})

test('a refusal for overload is said once a minute', async () => {
  const logged = new LogLines('info')
  const { api } = await startActive(db, { UNDERSTUDY_MAX_CONNECTIONS: '10' }, {}, logged)
  const overloaded = () => logged.lines.filter(({ msg }) => msg.endsWith('refused as overloaded'))
  expect(overloaded()).toEqual([])
  for (let taken = 0; taken < 10; taken += 1) {
    await new RawConnection(api.url).write(probe).until(/\r\n\r\n{/)
  }
  for (let refused = 0; refused < 2; refused += 1) {
    const raw = new RawConnection(api.url).write('GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n')
    await raw.closed
    expect(raw.statuses).toEqual([503])
  }
  expect(overloaded()).toMatchObject([{ level: 'warn' }])
})

test('an error that is its own cause is logged, too', () => {
  const logged = new LogLines('info')
  const error = new Error('round')
  error.cause = error
  const log = createLog('info', {}, logged)
  log.info({ err: error }, 'failed')
  log.info({ cause: error }, 'failed')
  expect(logged.lines).toMatchObject([
    { err: { message: 'round' } },
    { cause: { message: 'round' } },
  ])
})
