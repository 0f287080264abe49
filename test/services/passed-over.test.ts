import { expect, test } from 'vitest'
import type { Api } from '../support/api.ts'
import { useDatabase } from '../support/database.ts'
import { LogLines } from '../support/log-lines.ts'
import { startActive } from '../support/replica.ts'
import { openSession } from '../support/sessions.ts'
import { startWork } from '../support/work.ts'

/** What others hold, and what cannot be claimed, never keeps anybody from what lies behind it. */

const db = useDatabase()

async function submitMany(
  api: Api,
  queue: string,
  count: number,
  kind = 'test',
): Promise<string[]> {
  const jobs = Array.from({ length: count }, () => ({ kind, queue }))
  const { body } = await api.must(200, api.post('/v1/jobs/batch', { jobs }))
  return body.results.map(({ id }: { id: string }) => id)
}

const idsOf = (given: { job_id: string }[]) => given.map(({ job_id }) => job_id)

test.for([
  { held: 1, max: 1, what: 'the first job' },
  { held: 64, max: 1, what: 'the first 64' },
  { held: 3, max: 5, what: 'some of as many as are asked for' },
])('somebody holds $what: those behind are given at once', async ({ held, max }) => {
  const { api, queue, executor, epoch } = await startWork(db)
  const jobs = await submitMany(api, queue, held + 5)
  const other = await openSession(db.url)
  await other.query('BEGIN')
  await other.query('SELECT FROM jobs WHERE id = ANY ($1) FOR UPDATE', [jobs.slice(0, held)])
  const given: string[] = []
  while (given.length < 5) {
    const more = idsOf(await api.poll(executor, epoch, { max, wait_ms: 0 }))
    expect(more).not.toEqual([])
    given.push(...more)
  }
  expect(given).toEqual(jobs.slice(held))
  expect(await api.poll(executor, epoch, { max, wait_ms: 0 })).toEqual([])

  await other.query('ROLLBACK')
  const rest = await api.poll(executor, epoch, { max: 100, wait_ms: 20_000 })
  expect(new Set(idsOf(rest))).toEqual(new Set(jobs.slice(0, held)))
})

test('jobs that are just being cancelled are passed over, in this queue and for others', async () => {
  const { api, queue, executor, epoch } = await startWork(db)
  const [first = '', second] = await submitMany(api, queue, 2)
  const other = await openSession(db.url)
  await other.query("BEGIN; SET LOCAL understudy.door = 'client'")
  await other.query(
    "UPDATE jobs SET state = 'cancelled', finished_at = now(), cancel_requested_at = now() WHERE id = $1",
    [first],
  )
  expect(idsOf(await api.poll(executor, epoch, { wait_ms: 0 }))).toEqual([second])
  await other.query('COMMIT')
  expect(await api.poll(executor, epoch, { wait_ms: 0 })).toEqual([])
})

test('jobs that cannot be claimed are left alone, and told of; the others are given', async () => {
  const lines = new LogLines('error')
  const { api } = await startActive(db, {}, {}, lines)
  const queue = 'spoilt'
  const epoch = await api.register('e-spoilt', { queues: [queue] })
  await db.sql(`
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
    CREATE TRIGGER planted BEFORE UPDATE ON jobs FOR EACH ROW WHEN (OLD.kind = 'bad')
      EXECUTE FUNCTION refuse()`)
  const good = await submitMany(api, queue, 3)
  const bad = await submitMany(api, queue, 2, 'bad')
  const later = await submitMany(api, queue, 3)
  const given: string[] = []
  while (given.length < 6) {
    given.push(...idsOf(await api.poll('e-spoilt', epoch, { max: 8, wait_ms: 20_000 })))
  }
  expect(given).toEqual([...good, ...later])
  expect(await api.poll('e-spoilt', epoch, { max: 8, wait_ms: 0 })).toEqual([])
  expect(lines.lines.map(({ job_id }) => job_id)).toEqual(bad)
  await db.sql('DROP TRIGGER planted ON jobs')
})
