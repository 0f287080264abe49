import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { age, Claimant, lockName } from '../support/locks.ts'
import { startActive } from '../support/replica.ts'

/** A process that a new one of its owner came after, and whose request to acquire arrives late: it gets nothing,
 *  whatever became of the lock since. */

const db = useDatabase()

async function start() {
  const { api } = await startActive(db)
  const name = lockName()
  const claimant = (owner = 'deployer') => new Claimant(api, name, owner)
  const force = () => api.must(200, api.post(`/v1/locks/${name}/force-release`, { note: 'n' }))
  return { api, name, claimant, force }
}

async function expectRefused(late: Claimant, code: string): Promise<void> {
  expect(await late.acquire()).toMatchObject({ status: 409, body: { code } })
}

test('it does not come back after two successors', async () => {
  const { claimant } = await start()
  const [a, b, c] = [claimant(), claimant(), claimant()]
  for (const each of [a, b, c]) await each.take()
  for (const late of [a, b, a]) await expectRefused(late, 'lock_held')
  expect((await c.renew(3)).status).toBe(200)
})

test('it does not come back after it was taken away, and a new one has it', async () => {
  const { claimant, force } = await start()
  const [a, b] = [claimant(), claimant()]
  await a.take()
  await force()
  expect(await b.take()).toBe(2)
  await expectRefused(a, 'lock_held')
  expect((await b.renew(2)).status).toBe(200)
})

test('it does not come back when another owner came between', async () => {
  const { name, claimant } = await start()
  const [a, x, b] = [claimant(), claimant('other'), claimant()]
  await a.take()
  await age(db, name, '20 s')
  await x.release(await x.take())
  expect(await b.take()).toBe(3)
  await expectRefused(a, 'lock_held')
  expect((await b.renew(3)).status).toBe(200)
})

test('it does not get what its successor has released, and is told so without a wait', async () => {
  const { claimant } = await start()
  const [a, b] = [claimant(), claimant()]
  await a.take()
  await b.release(await b.take())
  await expectRefused(a, 'stale_fence')
  expect(await a.acquire({ wait_ms: 25_000 })).toMatchObject({ body: { code: 'stale_fence' } })
  expect(await b.take()).toBe(3)
})

test('a process that only gave it up, or lost it, gets it again, whoever had it meanwhile', async () => {
  const { name, claimant, force } = await start()
  const [a, x] = [claimant(), claimant('other')]
  await a.release(await a.take())
  await x.release(await x.take())
  expect(await a.take()).toBe(3)
  await force()
  expect(await a.take()).toBe(4)
  await age(db, name, '20 s')
  expect(await x.take()).toBe(5)
})

test('the last 16 processes are remembered', async () => {
  const { name, claimant } = await start()
  const first = claimant()
  await first.take()
  for (let n = 0; n < 15; n += 1) await claimant().take()
  await expectRefused(first, 'lock_held')
  await claimant().take()
  const [row] = await db.sql<{ n: number }>(
    'SELECT cardinality(holders) AS n FROM locks WHERE name = $1',
    [name],
  )
  expect(row?.n).toBe(16)
})
