import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { createLog } from '../../src/log.ts'
import { createDoors, type Doors } from '../../src/sql/doors.ts'
import { openPool } from '../../src/sql/pool.ts'
import { useDatabase } from '../support/database.ts'
import { openSession, promoteByHand } from '../support/sessions.ts'

const db = useDatabase()
let pool: pg.Pool
let doors: Doors
let lost: string[]
let term: { number: number; replicaId: string; lose(reason: string): void }

beforeEach(async () => {
  pool = openPool({
    url: db.url,
    name: 'doors',
    size: 3,
    log: createLog('silent'),
    onRefusedSettings: () => undefined,
  })
  onTestFinished(() => pool.end())
  doors = createDoors({ leader: pool, client: pool })
  const replicaId = randomUUID()
  const lock = await openSession(db.url, 'lock')
  lost = []
  term = {
    number: await promoteByHand(lock, replicaId),
    replicaId,
    lose: (reason) => lost.push(reason),
  }
})

const insertExecutor = `INSERT INTO executors
  VALUES ($1, 1, '{}', '{}', 1, clock_timestamp(), clock_timestamp())`

/** The pool at rest: nothing leaked, nobody waits. */
function expectAtRest() {
  expect(pool.waitingCount).toBe(0)
  expect(pool.totalCount).toBe(pool.idleCount)
}

test('asLeader commits under the term that rules', async () => {
  const id = randomUUID()
  await doors.asLeader(term, (tx) => tx.query({ text: insertExecutor, values: [id] }))
  expect(await db.sql('SELECT FROM executors WHERE executor_id = $1', [id])).toHaveLength(1)
  expect(lost).toEqual([])
  expectAtRest()
})

test('asLeader under a term that is over writes nothing, loses the term and answers 503', async () => {
  await db.sql('UPDATE leader SET term = term + 1, replica_id = $1', [randomUUID()])
  const id = randomUUID()
  const write = doors.asLeader(term, (tx) => tx.query({ text: insertExecutor, values: [id] }))
  await expect(write).rejects.toMatchObject({ code: 'controller_standby' })
  expect(lost).toEqual(['fenced'])
  expect(await db.sql('SELECT FROM executors WHERE executor_id = $1', [id])).toHaveLength(0)
  expectAtRest()
})

test('an error that was caught inside a transaction does not pass for a commit', async () => {
  const id = randomUUID()
  const write = doors.asClient(async (tx) => {
    await tx.query({ text: insertExecutor, values: [id] })
    await tx.query({ text: 'SELECT 1/0' }).catch(() => undefined)
  })
  await expect(write).rejects.toThrow('ended with ROLLBACK, not COMMIT')
  expect(await db.sql('SELECT FROM executors WHERE executor_id = $1', [id])).toHaveLength(0)
  expectAtRest()
})

test('an error of the application rolls back, and its session is used again', async () => {
  const failing = doors.asClient(async (tx) => {
    await tx.query({ text: insertExecutor, values: ['never'] })
    throw new TypeError('ours')
  })
  await expect(failing).rejects.toThrow('ours')
  expect(await db.sql("SELECT FROM executors WHERE executor_id = 'never'")).toHaveLength(0)
  expect(pool.totalCount).toBe(1)
  expectAtRest()
})

test('a session terminated between two statements is answered as unavailable and not used again', async () => {
  const write = doors.asClient(async (tx) => {
    const { rows } = await tx.query<{ pid: number }>({ text: 'SELECT pg_backend_pid() AS pid' })
    await db.sql('SELECT pg_terminate_backend($1, 5000)', [rows[0]?.pid])
    await tx.query({ text: 'SELECT 1' })
  })
  await expect(write).rejects.toMatchObject({ code: 'database_unavailable' })
  expect(pool.totalCount).toBe(0)
  expect(await doors.asClient(async () => 'works')).toBe('works')
  expectAtRest()
})

test('invariant 4: a session terminated just before COMMIT: the caller is told 503, never success', async () => {
  const id = randomUUID()
  const write = doors.asClient(async (tx) => {
    await tx.query({ text: insertExecutor, values: [id] })
    const { rows } = await tx.query<{ pid: number }>({ text: 'SELECT pg_backend_pid() AS pid' })
    await db.sql('SELECT pg_terminate_backend($1, 5000)', [rows[0]?.pid])
  })
  await expect(write).rejects.toMatchObject({ code: 'database_unavailable' })
  expect(await db.sql('SELECT FROM executors WHERE executor_id = $1', [id])).toHaveLength(0)
  expectAtRest()
})

test('a deadlock is run again from the start, and both transactions commit', async () => {
  await db.sql(`${insertExecutor}`, ['one'])
  await db.sql(`${insertExecutor}`, ['two'])
  const bump = (id: string) => ({
    text: 'UPDATE executors SET capacity = capacity + 1 WHERE executor_id = $1',
    values: [id],
  })
  const [met, meet] = rendezvous(2)
  const crossing = (first: string, second: string) =>
    doors.asClient(async (tx) => {
      await tx.query(bump(first))
      await meet()
      await tx.query(bump(second))
    })
  await Promise.all([crossing('one', 'two'), crossing('two', 'one'), met])
  expect(
    await db.sql("SELECT capacity FROM executors WHERE executor_id IN ('one', 'two')"),
  ).toEqual([{ capacity: 3 }, { capacity: 3 }])
  expectAtRest()
})

/** Everybody goes on once `parties` have come; those who come again later are not held up. */
function rendezvous(parties: number): [Promise<void>, () => Promise<void>] {
  const all = Promise.withResolvers<void>()
  let come = 0
  return [
    all.promise,
    () => {
      come += 1
      if (come >= parties) all.resolve()
      return all.promise
    },
  ]
}

test('an exhausted pool answers unavailable within its timeout instead of queueing for ever', async () => {
  const held = Promise.withResolvers<void>()
  const holders = [1, 2, 3].map(() =>
    doors.asClient(async (tx) => {
      // They hold on for as long as the one that comes last is refused.
      await tx.query({ text: 'SET LOCAL idle_in_transaction_session_timeout = 0' })
      await held.promise
    }),
  )
  await expect(doors.asClient(async () => 'in')).rejects.toMatchObject({
    code: 'database_unavailable',
  })
  held.resolve()
  await Promise.all(holders)
  expectAtRest()
})

test('the guard of all tests stops a write without a door', async () => {
  const bare = await openSession(db.url)
  await expect(bare.query(insertExecutor, ['bare'])).rejects.toThrow('without a door')
})

test('the guard of all tests stops a client that takes a lease away', async () => {
  await db.sql(`INSERT INTO classes (queue, kind, requires) VALUES ('q', 'k', '{}')`)
  await db.sql(`INSERT INTO jobs (id, queue, kind, class_id, state, scheduled, priority, run_at,
      claim_at, max_attempts, backoff_base_ms, backoff_factor, backoff_cap_ms, on_silence, labels,
      payload, executor_id, epoch, leased_at, lease_expires_at, fence)
    VALUES (gen_random_uuid(), 'q', 'k', 1, 'leased', false, 0, now(), now(), 1, 1, 1, 1, 'continue',
      '{}', '{}', 'e', 1, now(), now(), 1)`)
  const steal = doors.asClient((tx) =>
    tx.query({ text: "UPDATE jobs SET executor_id = 'thief' WHERE state = 'leased'" }),
  )
  await expect(steal).rejects.toThrow('a client changed the lease')
  await expect(
    doors.asLeader(term, (tx) => tx.query({ text: 'UPDATE jobs SET fence = 0' })),
  ).rejects.toThrow('the fence in jobs was lowered')
})
