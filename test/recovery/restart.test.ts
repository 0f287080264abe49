import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { migrate } from '../../src/sql/migrate.ts'
import type { Answer } from '../support/api.ts'
import { startOwnPostgres } from '../support/own-postgres.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { tempFolder } from '../support/temp.ts'

/** Postgres itself goes down without a word, as `pg_ctl stop -m immediate` makes it, and comes back. */

async function startDatabase() {
  const folder = tempFolder('restart')
  const settings = { max_connections: '100' }
  let server = await startOwnPostgres({ folder, settings })
  onTestFinished(() => server.stop())
  const { url, port } = server
  await migrate({ url })
  const restart = async () => {
    process.kill(server.pid, 'SIGQUIT')
    await server.stop()
    server = await startOwnPostgres({ folder, settings, port })
  }
  return { url, restart }
}

async function startPair(url: string) {
  const first = await startActive({ url })
  const second = await startReplica({ url })
  await second.events.wait('standing')
  return [first, second] as const
}

/** The replica that serves, once one does. */
async function untilServed(replicas: readonly TestReplica[]): Promise<TestReplica> {
  for (;;) {
    for (const replica of replicas) {
      const { body } = await replica.api.get('/health/active')
      if (body.controller_state === 'active') return replica
    }
    await sleep(20)
  }
}

/** Asks one replica after the other until one serves: as clients and executors do. */
async function ask(replicas: readonly TestReplica[], path: string, body: object): Promise<Answer> {
  for (let tried = 0; ; tried += 1) {
    const replica = replicas[tried % replicas.length]
    const answer = await replica?.api.post(path, body)
    if (answer && answer.status !== 503) return answer
    await sleep(5)
  }
}

test('invariant 4: Postgres restarted under load: what was acknowledged is there, and leases are kept', async () => {
  const { url, restart } = await startDatabase()
  const pair = await startPair(url)
  const post = (path: string, body: object) => ask(pair, path, body)
  const register = (id: string) =>
    post('/v1/executors/register', { executor_id: id, queues: [id] }).then(({ body }) => body.epoch)
  const [keeps, works] = await Promise.all([register('keeps'), register('works')])
  await post('/v1/jobs', { kind: 'k', queue: 'keeps' })
  const poll = await post('/v1/executors/keeps/poll', { epoch: keeps })
  const held = poll.body.assignments.map(
    ({ job_id, fence }: { job_id: string; fence: number }) => ({
      job_id,
      fence,
    }),
  )
  const submitted: string[] = []
  const reported: string[] = []
  let isOver = false
  const submitting = async () => {
    while (!isOver) {
      const idempotency_key = randomUUID()
      const { body } = await post('/v1/jobs', { kind: 'k', queue: 'works', idempotency_key })
      submitted.push(body.job.id)
    }
  }
  const working = async () => {
    while (!isOver || reported.length < submitted.length) {
      const given = await post('/v1/executors/works/poll', { epoch: works, max: 5, wait_ms: 100 })
      for (const { job_id, fence } of given.body.assignments) {
        const report = { job_id, fence, outcome: 'succeeded' }
        const { body } = await post('/v1/executors/works/report', {
          epoch: works,
          reports: [report],
        })
        expect(['accepted', 'duplicate']).toContain(body.results[0].status)
        reported.push(job_id)
      }
      await post('/v1/executors/works/heartbeat', { epoch: works })
    }
  }
  const load = Promise.all([submitting(), working()])
  while (reported.length < 20) await sleep(5)
  await restart()
  await untilServed(pair)
  const before = reported.length
  while (reported.length < before + 20) await sleep(5)
  isOver = true
  await load
  const client = await openSession(url)
  // Also of what was asked for again: each once.
  const { rows } = await client.query(
    `SELECT count(*) AS jobs, count(*) FILTER (WHERE id = ANY ($1) AND state = 'succeeded') AS succeeded,
        (SELECT count(*) FROM attempts WHERE outcome = 'succeeded') AS ends
      FROM jobs WHERE queue = 'works'`,
    [submitted],
  )
  const all = submitted.length
  expect(rows).toEqual([{ jobs: all, succeeded: all, ends: all }])
  const beat = await post('/v1/executors/keeps/heartbeat', { epoch: keeps, assignments: held })
  expect(beat.body).toMatchObject({ held, revoked: [] })
  process.stdout.write(`  ${submitted.length} jobs submitted and reported through the restart\n`)
})

test('Postgres restarted in the middle of recovery: it is done again, and leases are kept', async () => {
  const { url, restart } = await startDatabase()
  const [first, second] = await startPair(url)
  const epoch = await first.api.register('e', { queues: ['q'] })
  const job = await first.api.submit({ queue: 'q' })
  const [given] = await first.api.poll('e', epoch)
  const blocker = new pg.Client({ connectionString: url })
  const ended = new Promise((resolve) => blocker.on('error', resolve))
  await blocker.connect()
  await blocker.query('BEGIN; LOCK TABLE classes')
  await blocker.query(
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1',
    [`understudy ${first.app.identity.name} lock`],
  )
  const { term } = await second.events.wait('promoted')
  const blocked = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'classes'::regclass"
  while ((await blocker.query(blocked)).rowCount === 0) await pause()
  expect(second.app.gate.state).toBe('recovering')
  await restart()
  await ended
  const active = await untilServed([first, second])
  expect(term.lost.aborted).toBe(true)
  const held = { job_id: job.id, fence: given?.fence }
  const beat = await ask([first, second], '/v1/executors/e/heartbeat', {
    epoch,
    assignments: [held],
  })
  expect(beat.body).toMatchObject({ held: [held], revoked: [] })
  expect(beat.body.term).toBeGreaterThan(term.number)
  const report = { ...held, outcome: 'succeeded' }
  expect(await active.api.report('e', epoch, report)).toMatchObject([{ status: 'accepted' }])
})
