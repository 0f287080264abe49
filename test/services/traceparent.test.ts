import { randomBytes, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startWork } from '../support/work.ts'

const db = useDatabase()

const span = (trace = randomBytes(16).toString('hex')) =>
  `00-${trace}-${randomBytes(8).toString('hex')}-01`

test('the header is shown in the job and given with it; a field goes before the header', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
  const headers = { traceparent: span() }
  const own = span()
  const jobs = [{}, { traceparent: own }].map((more) => ({ kind: 'x', queue, ...more }))
  for (const job of jobs) await api.must(201, api.post('/v1/jobs', job, { headers }))
  await api.must(200, api.post('/v1/jobs/batch', { jobs }, { headers }))
  const untraced = await api.submit({ queue })
  expect(untraced.traceparent).toBeNull()
  const traces = [headers.traceparent, own, headers.traceparent, own, null]
  const given = await api.poll(executor, epoch, { max: 5 })
  const byId = new Map(given.map(({ job_id, traceparent }) => [job_id, traceparent]))
  const { body } = await api.get(`/v1/jobs?queue=${queue}`)
  const listed: { id: string; traceparent: string }[] = body.jobs.reverse()
  expect(listed.map(({ traceparent }) => traceparent)).toEqual(traces)
  expect(listed.map(({ id }) => byId.get(id))).toEqual(traces)
  for (const { id, traceparent } of listed) expect(await api.job(id)).toMatchObject({ traceparent })
})

test('the next attempt, and a poll whose answer was lost, are given the same trace', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
  const traceparent = span()
  await api.submit({ queue, traceparent })
  const [first] = await api.poll(executor, epoch)
  const lease = { job_id: first?.job_id, fence: first?.fence }
  await api.report(executor, epoch, { ...lease, outcome: 'released' })
  const poll_id = randomUUID()
  expect(await api.poll(executor, epoch, { poll_id })).toMatchObject([{ traceparent }])
  expect(await api.poll(executor, epoch, { poll_id })).toMatchObject([{ traceparent }])
})

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const faulty = [
  'nonsense',
  `00-${trace}-00f067aa0ba902b7-01-more`,
  `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
  `00-${trace}-${'0'.repeat(16)}-01`,
  `00-${trace.toUpperCase()}-00f067aa0ba902b7-01`,
  `ff-${trace}-00f067aa0ba902b7-01`,
  '',
]

test.each(faulty)(
  '%j: as a header it is ignored, as a field it is refused by name',
  async (bad) => {
    const { api, queue } = await startWork(db)
    const headers = { traceparent: bad }
    const job = { kind: 'x', queue }
    const submitted = await api.post('/v1/jobs', job, { headers })
    expect(submitted).toMatchObject({ status: 201, body: { job: { traceparent: null } } })
    expect((await api.post('/v1/jobs/batch', { jobs: [job] }, { headers })).status).toBe(200)
    expect(await api.post('/v1/jobs', { ...job, traceparent: bad })).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'traceparent' }] },
    })
    const jobs = [job, { ...job, traceparent: bad }]
    expect(await api.post('/v1/jobs/batch', { jobs })).toMatchObject({
      status: 400,
      body: { errors: [{ path: 'jobs.1.traceparent' }] },
    })
  },
)

test('a submit that is repeated is another span and the same job, which keeps its first trace', async () => {
  const { api, queue } = await startWork(db)
  const job = { kind: 'x', queue, idempotency_key: randomUUID() }
  const traceparent = span()
  await api.must(201, api.post('/v1/jobs', job, { headers: { traceparent } }))
  for (const again of [{ ...job, traceparent: span() }, job]) {
    expect(await api.post('/v1/jobs', again, { headers: { traceparent: span() } })).toMatchObject({
      status: 200,
      body: { replayed: true, job: { traceparent } },
    })
  }
})
