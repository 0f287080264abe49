import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { openSession, pidOf, promoteByHand, untilWaiting } from '../support/sessions.ts'

/** Invariant 1: once term N+1 is committed, no write stamped with a term ≤ N commits. */

const db = useDatabase()

/** Two replicas; the first leads. `depose` makes the second one lead. */
async function twoReplicas() {
  const [a, b] = [randomUUID(), randomUUID()]
  const oldLock = await openSession(db.url, 'old lock')
  const newLock = await openSession(db.url, 'new lock')
  const term = await promoteByHand(oldLock, a)
  const depose = async () => {
    await oldLock.end()
    return promoteByHand(newLock, b)
  }
  return { a, term, depose, newLock }
}

test('a writer of the term that rules passes the fence', async () => {
  const { a, term } = await twoReplicas()
  const writer = await openSession(db.url)
  await writer.query('BEGIN')
  await writer.query('SELECT fence_term($1, $2)', [term, a])
  expect((await writer.query('COMMIT')).command).toBe('COMMIT')
})

test('a writer of an older term is refused with our own SQLSTATE', async () => {
  const { a, term, depose } = await twoReplicas()
  await depose()
  const writer = await openSession(db.url)
  await expect(writer.query('SELECT fence_term($1, $2)', [term, a])).rejects.toMatchObject({
    code: 'UNT01',
  })
})

test('a term of the same number but another replica is refused: Postgres may have lost one', async () => {
  const { term } = await twoReplicas()
  const writer = await openSession(db.url)
  await expect(
    writer.query('SELECT fence_term($1, $2)', [term, randomUUID()]),
  ).rejects.toMatchObject({ code: 'UNT01' })
})

test('a promotion waits for a fenced writer, and the writer commits before it', async () => {
  const { a, term, depose, newLock } = await twoReplicas()
  const writer = await openSession(db.url)
  const observer = await openSession(db.url)
  await writer.query('BEGIN')
  await writer.query('SELECT fence_term($1, $2)', [term, a])
  const newPid = await pidOf(newLock)
  const promoted = depose()
  await untilWaiting(observer, newPid)
  expect((await writer.query('COMMIT')).command).toBe('COMMIT')
  expect(await promoted).toBe(term + 1)
})

test('a writer blocked at the fence while a promotion commits is refused', async () => {
  const { a, term, depose } = await twoReplicas()
  const observer = await openSession(db.url)
  const promoter = await openSession(db.url)
  await promoter.query('BEGIN')
  await promoter.query('SELECT pg_advisory_xact_lock(1970168947, 1)')
  const writer = await openSession(db.url)
  const pid = await pidOf(writer)
  await writer.query('BEGIN')
  const fenced = writer.query('SELECT fence_term($1, $2)', [term, a])
  const refused = expect(fenced).rejects.toMatchObject({ code: 'UNT01' })
  await untilWaiting(observer, pid)
  await promoter.query('UPDATE leader SET term = term + 1, replica_id = $1', [randomUUID()])
  await promoter.query('COMMIT')
  await refused
  await depose()
})

test('at REPEATABLE READ the fence refuses to judge by an old snapshot', async () => {
  const { a, term } = await twoReplicas()
  const writer = await openSession(db.url)
  await writer.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
  await expect(writer.query('SELECT fence_term($1, $2)', [term, a])).rejects.toMatchObject({
    code: 'UNT02',
  })
})

test('fence_term is VOLATILE: a STABLE one would look at the snapshot of its caller', async () => {
  const [row] = await db.sql("SELECT provolatile FROM pg_proc WHERE proname = 'fence_term'")
  expect(row).toEqual({ provolatile: 'v' })
})

test('only the session that holds the lock can be promoted', async () => {
  const { a } = await twoReplicas()
  const other = await openSession(db.url)
  await expect(other.query('SELECT promote($1)', [a])).rejects.toMatchObject({ code: 'UNT04' })
})

test('a promotion that cannot get the fence gives up within its own timeout, and changes nothing', async () => {
  const { a, term, newLock, depose } = await twoReplicas()
  const frozen = await openSession(db.url)
  await frozen.query('BEGIN')
  await frozen.query('SELECT fence_term($1, $2)', [term, a])
  await expect(depose()).rejects.toMatchObject({ code: '55P03' })
  expect(await db.sql('SELECT term, replica_id FROM leader')).toEqual([{ term, replica_id: a }])
  await frozen.query('ROLLBACK')
  const { rows } = await newLock.query('SELECT term FROM leader')
  expect(rows).toEqual([{ term }])
})
