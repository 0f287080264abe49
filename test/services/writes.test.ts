import { beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import type { Assignment } from '../../src/contract/executors.ts'
import { useDatabase } from '../support/database.ts'
import { PausingClock } from '../support/pausing-clock.ts'
import { startPgProxy } from '../support/pg-proxy.ts'
import { startActive } from '../support/replica.ts'
import { StatementLog } from '../support/statement-log.ts'
import { readWritten, tellStatisticsAtOnce, writtenBetween } from '../support/written-rows.ts'

/** What jobs cost the database: each statement on the wire, in order, and each row that is written. Whoever makes that
 *  more has to say so here. */

const db = useDatabase()

beforeAll(() => tellStatisticsAtOnce(db))
// Rows find room on their page whatever was there before.
beforeEach(() => db.sql('TRUNCATE jobs, attempts, progress, executors'))

const asLeader = (...statements: string[]) => [
  'BEGIN ISOLATION LEVEL READ COMMITTED; SELECT fence_term()',
  ...statements,
  'COMMIT',
]
const asClient = (...statements: string[]) => [
  "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL understudy.door = 'client'",
  ...statements,
  'COMMIT',
]

/** A replica that serves, with one executor, whose time stands still. */
async function startStill() {
  const log = new StatementLog()
  const proxy = await startPgProxy(db.url, log.watch)
  const clock = new PausingClock()
  const env = { UNDERSTUDY_IDLE_SESSION_TIMEOUT_MS: '600000' }
  const { api } = await startActive({ url: proxy.url }, env, { clock })
  onTestFinished(() => clock.resume())
  const epoch = await api.register('e', { queues: ['default'] })
  // The class and the first session of clients are made once.
  const { id } = await api.submit()
  await api.post(`/v1/jobs/${id}/cancel`, {})
  expect(await api.poll('e', epoch)).toEqual([])
  clock.pause()

  /** With nothing under way, before or after. A look at the database lasts longer than a loop takes to its next
   *  statement. */
  const untilIdle = async () => {
    for (let looks = 0; looks < 3; looks = log.isIdle ? looks + 1 : 0) await db.sql('SELECT')
  }
  const costOf = async (act: () => Promise<unknown>) => {
    await untilIdle()
    const before = await readWritten(db)
    log.take()
    await act()
    await untilIdle()
    const statements = log.take()
    return { statements, rows: writtenBetween(before, await readWritten(db)) }
  }
  const claim = async (count: number): Promise<Assignment[]> => {
    const jobs = Array.from({ length: count }, () => ({ kind: 'test' }))
    await api.must(200, api.post('/v1/jobs/batch', { jobs }))
    return await api.poll('e', epoch, { max: count })
  }
  return { api, epoch, costOf, claim }
}

const heldOf = ({ job_id, fence }: Assignment) => ({ job_id, fence })

test('a submit costs four statements, and writes one row', async () => {
  const { api, costOf } = await startStill()
  expect(await costOf(() => api.submit())).toEqual({
    statements: asClient('insert_jobs', 'find_jobs'),
    rows: { jobs: { inserted: 1 } },
  })
})

test('a submit with a key costs no more', async () => {
  const { api, costOf } = await startStill()
  expect(await costOf(() => api.submit({ idempotency_key: 'k' }))).toEqual({
    statements: asClient('insert_jobs', 'find_jobs'),
    rows: { jobs: { inserted: 1 } },
  })
})

test('a submit that is repeated writes nothing', async () => {
  const { api, costOf } = await startStill()
  const submit = { kind: 'test', idempotency_key: 'k' }
  await api.must(201, api.post('/v1/jobs', submit))
  expect(await costOf(() => api.must(200, api.post('/v1/jobs', submit)))).toEqual({
    statements: asClient('insert_jobs', 'find_jobs_by_key', 'find_jobs'),
    rows: {},
  })
})

test('a batch of 100 costs three statements, and writes one row a job', async () => {
  const { api, costOf } = await startStill()
  const jobs = Array.from({ length: 100 }, () => ({ kind: 'test' }))
  expect(await costOf(() => api.must(200, api.post('/v1/jobs/batch', { jobs })))).toEqual({
    statements: asClient('insert_jobs'),
    rows: { jobs: { inserted: 100 } },
  })
})

test('an empty poll costs nothing', async () => {
  const { api, epoch, costOf } = await startStill()
  expect(await costOf(() => api.poll('e', epoch))).toEqual({ statements: [], rows: {} })
})

test('a poll that claims costs three statements, and one update a job', async () => {
  const { api, epoch, costOf } = await startStill()
  const jobs = Array.from({ length: 3 }, () => ({ kind: 'test' }))
  await api.must(200, api.post('/v1/jobs/batch', { jobs }))
  expect(await costOf(() => api.poll('e', epoch, { max: 3 }))).toEqual({
    statements: asLeader('claim_jobs'),
    rows: { jobs: { updated: 3 } },
  })
})

test('a heartbeat costs four statements, one update a job and one of the executor, and touches no index', async () => {
  const { api, epoch, costOf, claim } = await startStill()
  const held = (await claim(3)).map(heldOf)
  expect(await costOf(() => api.heartbeat('e', epoch, held))).toEqual({
    statements: asLeader('extend_leases_if_held', 'touch_executors_if_current'),
    rows: { jobs: { updated: 3, hot: 3 }, executors: { updated: 1, hot: 1 } },
  })
})

test('a heartbeat with progress costs one statement more, and writes only what is news', async () => {
  const { api, epoch, costOf, claim } = await startStill()
  const held = (await claim(3)).map((job) => ({ ...heldOf(job), progress: 1 }))
  const beat = () => costOf(() => api.heartbeat('e', epoch, held))
  const statements = asLeader(
    'extend_leases_if_held',
    'record_progress_if_held',
    'touch_executors_if_current',
  )
  const rows = { jobs: { updated: 3, hot: 3 }, executors: { updated: 1, hot: 1 } }
  expect(await beat()).toEqual({ statements, rows: { ...rows, progress: { inserted: 3 } } })
  expect(await beat()).toEqual({ statements, rows })
  for (const item of held.slice(0, 2)) item.progress = 2
  expect(await beat()).toEqual({ statements, rows: { ...rows, progress: { updated: 2, hot: 2 } } })
})

test('a report costs five statements, one update a job and one row of its attempt', async () => {
  const { api, epoch, costOf, claim } = await startStill()
  const reports = (await claim(3)).map((job) => ({ ...heldOf(job), outcome: 'succeeded' }))
  expect(await costOf(() => api.report('e', epoch, ...reports))).toEqual({
    statements: asLeader('lock_free_jobs', 'find_health', 'end_leases_if_fenced'),
    rows: { jobs: { updated: 3 }, attempts: { inserted: 3 } },
  })
})

test('a report that is repeated writes nothing', async () => {
  const { api, epoch, costOf, claim } = await startStill()
  const reports = (await claim(3)).map((job) => ({ ...heldOf(job), outcome: 'succeeded' }))
  await api.report('e', epoch, ...reports)
  expect(await costOf(() => api.report('e', epoch, ...reports))).toEqual({
    statements: asLeader('lock_free_jobs', 'find_ended_leases', 'find_health'),
    rows: {},
  })
})
