import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { openSession, promoteByHand } from '../support/sessions.ts'

/** fence_term() and promote() by themselves; writers that are under way are in zombies.test.ts. */

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

test.for(['REPEATABLE READ', 'SERIALIZABLE'])(
  'invariant 1: at %s the fence refuses to judge by an old snapshot',
  async (level, { expect }) => {
    const { a, term } = await twoReplicas()
    const writer = await openSession(db.url)
    await writer.query(`BEGIN ISOLATION LEVEL ${level}`)
    await expect(writer.query('SELECT fence_term($1, $2)', [term, a])).rejects.toMatchObject({
      code: 'UNT02',
    })
  },
)

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
