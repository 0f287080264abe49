import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EmbeddedPostgres } from '../../../src/dev/embedded-postgres.ts'
import { migrate } from '../../../src/sql/migrate.ts'
import { makeFolder } from '../../support/make-folder.ts'
import { startOwnPostgres } from '../../support/own-postgres.ts'
import { parseCommits } from './commits.ts'

/** A server of its own: the shared one has no logical decoding. */
let server: EmbeddedPostgres
let client: pg.Client
let folder: string
let order = 0

beforeAll(async () => {
  folder = makeFolder('commits')
  server = await startOwnPostgres({
    folder,
    settings: { wal_level: 'logical', fsync: 'off' },
  })
  await migrate({ url: server.url })
  const url = Object.assign(new URL(server.adminUrl), { pathname: '/understudy' }).href
  client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query("SELECT pg_create_logical_replication_slot('history', 'test_decoding')")
})

afterAll(async () => {
  await client?.end()
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** What was committed since it was asked last. */
async function decode() {
  const { rows } = await client.query<{ data: string }>(
    `SELECT lsn, xid, data FROM pg_logical_slot_get_changes('history', NULL, NULL,
      'include-timestamp', 'on', 'include-xids', 'on')`,
  )
  const commits = parseCommits(rows, order)
  order += commits.length
  return commits
}

async function insertJob(id: string, awkward: string): Promise<void> {
  await client.query(
    `INSERT INTO jobs (id, queue, kind, class_id, scheduled, priority, run_at, claim_at, max_attempts,
        backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels, payload,
        idempotency_key, body_hash)
      VALUES ($1, $2, $2, 1, false, 0, now(), now(), 5, 1, 1.5, 1, 'continue', $3::text::jsonb, $3::text::json, $2, '\\x00')`,
    [id, awkward, JSON.stringify({ [awkward]: awkward })],
  )
}

const awkward = `it's "quoted", '' twice\nnew-tuple: id[uuid]:'x' [text]:null state[text]:'leased' B'1' \\ é😀 `

test('values with quotes, brackets, newlines and what looks like syntax come through', async () => {
  const id = randomUUID()
  await insertJob(id, awkward)
  const [commit, ...more] = await decode()
  expect(more).toEqual([])
  expect(commit?.changes).toEqual([
    {
      table: 'jobs',
      kind: 'insert',
      row: {
        ...{ id, queue: awkward, kind: awkward, state: 'available', fence: '0', attempt: '0' },
        ...{ max_attempts: '5', lost_leases: '0', executor_id: null, epoch: null, poll_id: null },
        ...{ offered: 'false', lease_expires_at: null, idempotency_key: awkward },
        ...{ stage: null, move: '0', waiting_for: null, retry_of: null },
        ...{ cancel_requested_at: null, cancel_told_at: null, critical_fence: null },
        ...{ critical_entered_at: null, critical_ceiling_ms: null },
      },
    },
  ])
  expect(Math.abs((commit?.committedAt ?? 0) - Date.now())).toBeLessThan(60_000)
})

test('columns out of line that did not change are left out, a changed key leaves its new row', async () => {
  const [id, next] = [randomUUID(), randomUUID()]
  // Random, so that it is too long for the row even when it is compressed.
  const key = Array.from({ length: 60 }, randomUUID).join("'")
  await client.query(
    `INSERT INTO attempts VALUES ($1, 1, 1, $2, 1, 'released', NULL, NULL, now(), now())`,
    [id, key],
  )
  await client.query('ALTER TABLE attempts ALTER executor_id SET STORAGE EXTERNAL')
  await client.query('UPDATE attempts SET executor_id = executor_id || $1', [key])
  await client.query('UPDATE attempts SET job_id = $1, epoch = 2', [next])
  const told = { fence: '1', attempt: '1', outcome: 'released' }
  expect((await decode()).map(({ changes }) => changes[0]?.row)).toEqual([
    { ...told, job_id: id, executor_id: key, epoch: '1' },
    { ...told, job_id: id, executor_id: key + key, epoch: '1' },
    { ...told, job_id: next, epoch: '2' },
  ])
})

test('arrays are read past, and instants are told as Postgres prints them', async () => {
  const queues = ['a b', `c"d'e]:`, '{x,y}']
  await client.query(
    "INSERT INTO executors VALUES ($1, 1, '{}', $2, 1, now(), '2024-01-01 00:00:00.123456+00')",
    [awkward, queues],
  )
  const replicaId = randomUUID()
  await client.query(
    `INSERT INTO terms (term, replica_id, active_lock_id, system_identifier, timeline, promoted_at,
        ticked_at, deadline_floor_at)
      VALUES (9, $1, 1, $2, 1, now(), now(), '2024-01-01 00:00:00.123456+00')`,
    [replicaId, awkward],
  )
  const [executor, term] = await decode()
  expect(executor?.changes[0]?.row).toEqual({ executor_id: awkward, epoch: '1' })
  expect(term?.changes[0]?.row).toMatchObject({ term: '9', replica_id: replicaId, recovery: '[]' })
  expect(term?.changes[0]?.row.deadline_floor_at).toMatch(/^\S+ \d\d:\d\d:00\.123456[+-]\d\d$/)
})

test('a delete tells its key, a truncate each of its tables', async () => {
  const id = randomUUID()
  await insertJob(id, id)
  await client.query('DELETE FROM jobs WHERE id = $1', [id])
  await client.query('TRUNCATE jobs, attempts, classes')
  await client.query('ALTER TABLE progress REPLICA IDENTITY NOTHING')
  await client.query(`INSERT INTO progress VALUES ($1, 1, '1', now())`, [id])
  await client.query('DELETE FROM progress')
  const [, deleted, truncated, , nameless] = await decode()
  expect(deleted?.changes).toEqual([{ table: 'jobs', kind: 'delete', row: { id } }])
  expect(truncated?.changes.toSorted((a, b) => a.table.localeCompare(b.table))).toEqual([
    { table: 'attempts', kind: 'delete', row: {} },
    { table: 'jobs', kind: 'delete', row: {} },
  ])
  expect(nameless?.changes).toEqual([{ table: 'progress', kind: 'delete', row: {} }])
})

test('the writer is that of its own transaction; those that say nothing have no place', async () => {
  const replicaId = randomUUID()
  const note = `SELECT pg_logical_emit_message(true, 'understudy.writer', '7 ${replicaId}')`
  await client.query(`BEGIN; ${note}; UPDATE leader SET term = term; COMMIT`)
  await client.query(`SELECT pg_logical_emit_message(false, 'understudy.writer', '8 x')`)
  await client.query('CREATE TABLE other (id integer)')
  await client.query('INSERT INTO other VALUES (1)')
  await client.query(`SELECT pg_logical_emit_message(true, 'another.prefix', '9 x')`)
  await client.query(`BEGIN; ${note}; ROLLBACK`)
  await client.query(`BEGIN; ${note}; COMMIT`)
  await client.query('UPDATE leader SET term = term')
  const before = order
  const commits = await decode()
  const writer = { term: 7, replicaId }
  const changes = [{ table: 'leader', kind: 'update', row: { term: '0', replica_id: null } }]
  expect(commits.map(({ xid: _xid, committedAt: _at, ...rest }) => rest)).toEqual([
    { type: 'commit', order: before + 1, writer, changes },
    { type: 'commit', order: before + 2, writer, changes: [] },
    { type: 'commit', order: before + 3, changes },
  ])
  expect(commits.every(({ xid }) => xid > 0)).toBe(true)
})

test('what is no output of test_decoding is an error', () => {
  const refused = [
    ...[
      'something',
      "table public.jobs: INSERT: id[uuid]:'x",
      'table public.jobs: UPSERT: id[uuid]',
    ],
    ...['table public.jobs: INSERT: id'],
  ]
  for (const data of refused) expect(() => parseCommits([{ data: 'BEGIN 1' }, { data }])).toThrow()
  const commit = { data: 'COMMIT 1 (at 2024-01-01 00:00:00+00)' }
  expect(() => parseCommits([commit])).toThrow('without its BEGIN')
  expect(() => parseCommits([{ data: 'BEGIN 1' }])).toThrow('has no COMMIT')
})
