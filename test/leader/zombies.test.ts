import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { tick } from '../../src/sql/leader.ts'
import type { Queryable } from '../../src/sql/pool.ts'
import { useDatabase } from '../support/database.ts'
import { pause } from '../support/pause.ts'
import { startReplica } from '../support/replica.ts'
import { openSession, pidOf, promoteByHand, reign, untilWaiting } from '../support/sessions.ts'

/** Writers of a term that are still under way, on real sessions, when the next term comes. */

const db = useDatabase()

async function insertExecutor(): Promise<string> {
  const id = randomUUID()
  await db.sql(
    `INSERT INTO executors VALUES ($1, 1, '{}', '{}', 1, clock_timestamp(), clock_timestamp())`,
    [id],
  )
  return id
}

function write(tx: Queryable, id: string) {
  return tx.query({
    text: 'UPDATE executors SET capacity = 99 WHERE executor_id = $1',
    values: [id],
  })
}

async function capacityOf(id: string) {
  const rows = await db.sql('SELECT capacity FROM executors WHERE executor_id = $1', [id])
  return rows[0]?.capacity
}

/** Waits for the fence without a limit, looks what is committed by then, and only then promotes. */
async function promoteOnceFree(session: pg.Client, executor: string) {
  await session.query('BEGIN')
  await session.query('SELECT pg_advisory_xact_lock(1970168947, 1)')
  const { rows } = await session.query(
    'SELECT capacity, term FROM executors, leader WHERE executor_id = $1',
    [executor],
  )
  const term = await promoteByHand(session, randomUUID())
  await session.query('COMMIT')
  return { seen: rows[0], term }
}

test('invariant 1: promoted between a statement and its COMMIT: the writer commits first, and is seen', async () => {
  const { term, doors, lock } = await reign(db.url)
  const id = await insertExecutor()
  const [promoter, observer] = [await openSession(db.url), await openSession(db.url)]
  const pid = await pidOf(promoter)
  await lock.end()
  let promoted: ReturnType<typeof promoteOnceFree> | undefined
  await doors.asLeader(term, async (tx) => {
    await write(tx, id)
    promoted = promoteOnceFree(promoter, id)
    await untilWaiting(observer, pid)
  })
  expect(await promoted).toEqual({
    seen: { capacity: 99, term: term.number },
    term: term.number + 1,
  })
})

test('invariant 1: a writer that waits for a row is waited for; one that comes after is refused', async () => {
  const { term, doors, lock, lost } = await reign(db.url)
  const id = await insertExecutor()
  const [promoter, observer] = [await openSession(db.url), await openSession(db.url)]
  const pid = await pidOf(promoter)
  await lock.end()
  const client = await holdRow(id)
  const writing = doors.asLeader(term, async (tx) => {
    const { rows } = await tx.query<{ pid: number }>({ text: 'SELECT pg_backend_pid() AS pid' })
    const written = write(tx, id)
    await untilWaiting(observer, rows[0]?.pid ?? 0)
    const promoted = promoteOnceFree(promoter, id)
    await untilWaiting(observer, pid)
    await client.query('ROLLBACK')
    await written
    return { promoted }
  })
  const { promoted } = await writing
  expect(await promoted).toMatchObject({ seen: { capacity: 99, term: term.number } })
  expect(lost).toEqual([])
  const late = doors.asLeader(term, (tx) => write(tx, id))
  await expect(late).rejects.toMatchObject({ code: 'controller_standby' })
  expect(lost).toEqual(['fenced'])
})

/** A client in its own transaction has this row. */
async function holdRow(id: string): Promise<pg.Client> {
  const client = await openSession(db.url)
  await client.query('BEGIN')
  await client.query('SELECT FROM executors WHERE executor_id = $1 FOR UPDATE', [id])
  return client
}

/** A replica that stands while `lock` leads, and then is let in. */
async function succeed(lock: pg.Client) {
  const successor = await startReplica(db)
  await successor.events.wait('standing')
  const since = performance.now()
  await lock.end()
  const { term } = await successor.events.wait('promoted')
  await successor.api.untilActive()
  return { successor, term, ms: Math.round(performance.now() - since) }
}

test('invariant 1: a writer that waits for a row for too long is ended by its successor', async () => {
  const { term, doors, lock, pool } = await reign(db.url)
  const id = await insertExecutor()
  const observer = await openSession(db.url)
  const client = await holdRow(id)
  const waiting = Promise.withResolvers<number>()
  const writing = doors.asLeader(term, async (tx) => {
    const { rows } = await tx.query<{ pid: number }>({ text: 'SELECT pg_backend_pid() AS pid' })
    waiting.resolve(rows[0]?.pid ?? 0)
    await write(tx, id)
  })
  // 57P01: terminated by somebody.
  const refused = expect(writing).rejects.toMatchObject({
    code: 'database_unavailable',
    cause: { code: '57P01' },
  })
  await untilWaiting(observer, await waiting.promise)
  const promoted = await succeed(lock)
  expect(promoted.term.number).toBe(term.number + 1)
  await client.query('COMMIT')
  await refused
  expect(await capacityOf(id)).toBe(1)
  expect(pool.totalCount).toBe(pool.idleCount)
})

test('invariant 1: frozen with the fence and row locks: a successor ends the session and goes on', async () => {
  const { term, lock } = await reign(db.url)
  const id = await insertExecutor()
  const frozen = await openSession(db.url)
  const ended = Promise.withResolvers<string | undefined>()
  frozen.on('error', (error) => ended.resolve((error as { code?: string }).code))
  await frozen.query("SET understudy.door = 'leader'")
  await frozen.query(`BEGIN; SELECT fence_term(${term.number}, '${term.replicaId}')`)
  await frozen.query('UPDATE executors SET capacity = 99 WHERE executor_id = $1', [id])
  // This session waits for locks without a limit: that for the fence is the promotion's own.
  await expect(promoteByHand(lock, randomUUID())).rejects.toMatchObject({ code: '55P03' })
  const { successor, ms } = await succeed(lock)
  process.stdout.write(`  lock free to active, past a frozen writer: ${ms} ms\n`)
  expect(await ended.promise).toBe('57P01')
  await expect(frozen.query('COMMIT')).rejects.toThrow()
  expect(await capacityOf(id)).toBe(1)
  // The row is free: the successor raises the epoch.
  expect(await successor.api.register(id)).toBe(2)
})

/** A writer comes to the fence while a promotion holds it, and goes on once that has committed. */
async function zombie() {
  const { term, doors, lock } = await reign(db.url)
  const id = await insertExecutor()
  const [promoter, observer] = [await openSession(db.url), await openSession(db.url)]
  await lock.end()
  await promoter.query('BEGIN')
  await promoteByHand(promoter, randomUUID())
  const writing = doors
    .asLeader(term, (tx) => write(tx, id))
    .then(
      () => 'committed',
      (error) => error.code,
    )
  const fenced = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 1970168947
    AND objid = 1 AND NOT granted AND database = (SELECT oid FROM pg_database
      WHERE datname = current_database())`
  while ((await observer.query(fenced)).rowCount === 0) await pause()
  await promoter.query('COMMIT')
  return { outcome: await writing, capacity: await capacityOf(id) }
}

test('invariant 1: a writer at the fence while a promotion commits is refused', async () => {
  expect(await zombie()).toEqual({ outcome: 'controller_standby', capacity: 1 })
})

test('a STABLE fence_term would look at the snapshot of its caller, and let that writer commit', async () => {
  const fence = 'FUNCTION fence_term(bigint, uuid)'
  await db.sql(`ALTER ${fence} STABLE`)
  onTestFinished(async () => {
    await db.sql(`ALTER ${fence} VOLATILE`)
  })
  expect(await zombie()).toEqual({ outcome: 'committed', capacity: 99 })
})

test('invariant 1: a term that Postgres lost and gave again is its new replica’s alone', async () => {
  const { term, doors, lock, lost } = await reign(db.url)
  const id = await insertExecutor()
  // A failover to a server that had not received the promotion: it never happened, there.
  await lock.end()
  await db.sql('UPDATE leader SET term = term - 1')
  await db.sql('DELETE FROM terms WHERE term = $1', [term.number])
  const successor = await openSession(db.url)
  const replicaId = randomUUID()
  expect(await promoteByHand(successor, replicaId)).toBe(term.number)
  const late = doors.asLeader(term, (tx) => write(tx, id))
  await expect(late).rejects.toMatchObject({ code: 'controller_standby' })
  expect(lost).toEqual(['fenced'])
  const old = await openSession(db.url)
  expect(await tick(old, term.number, term.replicaId, true)).toBe(false)
  expect(await tick(successor, term.number, replicaId, false)).toBe(true)
  expect(await capacityOf(id)).toBe(1)
  expect(await db.sql('SELECT served_at FROM terms WHERE term = $1', [term.number])).toEqual([
    { served_at: null },
  ])
})
