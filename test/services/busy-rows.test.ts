import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { waitForLocks } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

/** One row that somebody holds, or that cannot be written, costs its own request, and no other. */

const db = useDatabase()

/** Executors that hold a job each, and a session that holds the row of the first one's. */
async function startHeld(executors: number) {
  const { api, app, queue } = await startWork(db)
  const held = []
  // One after the other: many at once may be told to come back.
  for (let nth = 0; nth < executors; nth += 1) {
    const id = `${queue}-${nth}`
    const epoch = await api.register(id, { queues: [`${id}-own`] })
    await api.submit({ queue: `${id}-own` })
    const [job] = await api.poll(id, epoch, { wait_ms: 20_000 })
    held.push({ id, epoch, lease: { job_id: job?.job_id ?? '', fence: job?.fence ?? 0 } })
  }
  // Or who waits for the row would give up, and keep the others waiting only until then.
  waitForLocks(app)
  const other = await openSession(db.url)
  await other.query('BEGIN')
  await other.query('SELECT FROM jobs WHERE id = $1 FOR UPDATE', [held[0]?.lease.job_id])
  return { api, app, held, other }
}

test('somebody holds the row of a lease: the other heartbeats are answered, and that one once it is free', async () => {
  const { api, held, other } = await startHeld(20)
  const beat = ({ id, epoch, lease }: (typeof held)[number], seq: number) => {
    const assignments = [{ ...lease, progress: 1 }]
    return api.post(`/v1/executors/${id}/heartbeat`, { epoch, seq, assignments })
  }
  const [first] = held as [(typeof held)[number]]
  const beats = held.map((each) => beat(each, 1))
  for (const [nth, { status, body }] of (await Promise.all(beats.slice(1))).entries()) {
    expect({ status, held: body.held }).toEqual({ status: 200, held: [held[nth + 1]?.lease] })
  }
  await other.query('ROLLBACK')
  let answer = await beats[0]
  // On a slow machine that was too late for this one.
  if (answer?.body.held.length === 0) answer = await beat(first, 2)
  expect(answer).toMatchObject({ status: 200, body: { held: [first.lease], revoked: [] } })
  expect(await api.job(first.lease.job_id)).toMatchObject({ progress: 1 })
})

test('somebody holds the row of a lease: the other reports are answered, and that one once it is free', async () => {
  const { api, held, other } = await startHeld(20)
  const report = ({ id, epoch, lease }: (typeof held)[number]) =>
    api.post(`/v1/executors/${id}/report`, { epoch, reports: [{ ...lease, outcome: 'succeeded' }] })
  const [first] = held as [(typeof held)[number]]
  const accepted = { status: 200, body: { results: [{ status: 'accepted' }] } }
  const reports = held.map(report)
  for (const answer of await Promise.all(reports.slice(1))) expect(answer).toMatchObject(accepted)
  await other.query('ROLLBACK')
  let answer = await reports[0]
  // On a slow machine that was too late for this one.
  if (answer?.status === 503) answer = await report(first)
  expect(answer).toMatchObject(accepted)
  expect(await api.job(first.lease.job_id)).toMatchObject({ state: 'succeeded' })
})

test('a row that is held for long: its heartbeat is answered without it, and nobody is taken for deaf', async () => {
  const { api, app, held, other } = await startHeld(1)
  const [{ id, epoch, lease } = { id: '', epoch: 0, lease: { job_id: '', fence: 0 } }] = held
  await api.submit({ queue: `${id}-own` })
  const [more] = await api.poll(id, epoch, { wait_ms: 20_000 })
  const free = { job_id: more?.job_id, fence: more?.fence }
  const since = app.wiring.stalls.now()
  const answer = await api.heartbeat(id, epoch, [lease, free])
  expect(answer).toMatchObject({ held: [free], revoked: [], cancel: [] })
  expect(app.wiring.stalls.now() - since).toBeGreaterThanOrEqual(450)
  await other.query('ROLLBACK')
  expect(await api.heartbeat(id, epoch, [lease, free])).toMatchObject({ held: [lease, free] })
})

test('invariant 7: a row is held until its lease is about to expire: no lease is taken back meanwhile', async () => {
  const { api, held, other } = await startHeld(1)
  const [{ id, epoch, lease } = { id: '', epoch: 0, lease: { job_id: '', fence: 0 } }] = held
  await other.query('ROLLBACK')
  await db.sql(
    "UPDATE jobs SET lease_expires_at = clock_timestamp() + interval '5 s' WHERE id = $1",
    [lease.job_id],
  )
  await other.query('BEGIN')
  await other.query('SELECT FROM jobs WHERE id = $1 FOR UPDATE', [lease.job_id])
  const floorOf = async () => {
    const sql = 'SELECT extract(epoch FROM max(deadline_floor_at)) AS floor FROM terms'
    return Number((await other.query<{ floor: string }>(sql)).rows[0]?.floor)
  }
  const before = await floorOf()
  expect(await api.heartbeat(id, epoch, [lease])).toMatchObject({ held: [], revoked: [] })
  // No lease is taken back before it.
  while ((await floorOf()) <= before) await pause()
})

test('a row that is held for long: its report is told to come back, and the rest of it is done', async () => {
  const { api, held, other } = await startHeld(1)
  const [{ id, epoch, lease } = { id: '', epoch: 0, lease: { job_id: '', fence: 0 } }] = held
  await api.submit({ queue: `${id}-own` })
  const [more] = await api.poll(id, epoch, { wait_ms: 20_000 })
  const reports = [lease, { job_id: more?.job_id ?? '', fence: more?.fence ?? 0 }].map((named) => ({
    ...named,
    outcome: 'succeeded',
  }))
  const path = `/v1/executors/${id}/report`
  const since = performance.now()
  const refused = await api.post(path, { epoch, reports })
  expect(performance.now() - since).toBeGreaterThanOrEqual(900)
  expect(refused).toMatchObject({ status: 503, body: { code: 'database_unavailable' } })
  expect(await api.job(more?.job_id ?? '')).toMatchObject({ state: 'succeeded' })
  await other.query('ROLLBACK')
  expect(await api.job(lease.job_id)).toMatchObject({ state: 'leased', fence: 1 })
  const { status, body } = await api.post(path, { epoch, reports })
  expect([status, ...body.results.map(({ status }: { status: string }) => status)]).toEqual([
    200,
    'accepted',
    'duplicate',
  ])
})

test('a row that Postgres refuses, whatever its reason: it fails alone', async () => {
  const { api, queue } = await startWork(db)
  await db.sql(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
    CREATE TRIGGER planted BEFORE INSERT ON jobs FOR EACH ROW WHEN (NEW.kind = 'bad')
      EXECUTE FUNCTION refuse()`)
  const kinds = ['good', 'good', 'bad', 'good', 'good', 'bad', 'good']
  const answers = await Promise.all(kinds.map((kind) => api.post('/v1/jobs', { kind, queue })))
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 500, 201, 201, 500, 201])
  const { body } = await api.get(`/v1/jobs?queue=${queue}`)
  expect(body.jobs).toHaveLength(5)
  await db.sql('DROP TRIGGER planted ON jobs')
})
