import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { age, Claimant, lockName } from '../support/locks.ts'
import { pause } from '../support/pause.ts'
import { startActive, startReplica } from '../support/replica.ts'

/** Who waits for a lock: woken by whatever frees it, holding no transaction open meanwhile. */

const db = useDatabase()

async function start() {
  const { api, app } = await startActive(db)
  const name = lockName()
  const untilWaiting = async (count: number) => {
    while (app.wiring.waitList.count('lock') !== count) await pause()
  }
  return { api, app, name, claimant: () => new Claimant(api, name), untilWaiting }
}

test('a release wakes one that waits, here and on the other replica', async () => {
  const { api, name, claimant, untilWaiting } = await start()
  const { api: other, app: otherApp } = await startReplica(db)
  await other.untilReady()
  const first = claimant()
  const second = claimant()
  const third = new Claimant(other, name)
  const fence = await first.take()
  const here = second.acquire({ wait_ms: 25_000 })
  await untilWaiting(1)
  await first.release(fence)
  expect(await here).toMatchObject({ status: 200, body: { fence: fence + 1 } })
  const there = third.acquire({ wait_ms: 25_000 })
  while (otherApp.wiring.waitList.count('lock') === 0) await pause()
  await second.release(fence + 1)
  expect(await there).toMatchObject({ status: 200, body: { fence: fence + 2 } })
  expect((await api.get(`/v1/locks/${name}`)).body.lock.owner).toBe(third.owner)
})

test('of ten that wait, each gets it once, one after the other, each with a fence of its own', async () => {
  const { claimant } = await start()
  const first = claimant()
  const fence = await first.take()
  const fences: number[] = []
  const all = Array.from({ length: 10 }, async () => {
    const each = claimant()
    const got = await each.take({ wait_ms: 25_000 })
    fences.push(got)
    await each.release(got)
  })
  await first.release(fence)
  await Promise.all(all)
  expect(fences).toEqual(Array.from({ length: 10 }, (_, n) => fence + 1 + n))
})

test('a lock that goes stale is found by looking', async () => {
  const { name, claimant, untilWaiting } = await start()
  await claimant().take()
  const waits = claimant().acquire({ wait_ms: 25_000 })
  await untilWaiting(1)
  await age(db, name, '16 s')
  expect(await waits).toMatchObject({ status: 200, body: { fence: 2 } })
})

test('force-release wakes one that waits, and so does the end of the job', async () => {
  const { api, name, claimant, untilWaiting } = await start()
  const job = await api.submit({ queue: name })
  await claimant().take()
  const second = claimant().acquire({ wait_ms: 25_000, job_id: job.id })
  await untilWaiting(1)
  await api.post(`/v1/locks/${name}/force-release`, { note: 'n' })
  expect(await second).toMatchObject({ status: 200, body: { fence: 2 } })
  const third = claimant().acquire({ wait_ms: 25_000 })
  await untilWaiting(1)
  const epoch = await api.register(name, { queues: [name] })
  const [held] = await api.poll(name, epoch)
  await api.report(name, epoch, { job_id: job.id, fence: held?.fence, outcome: 'succeeded' })
  expect(await third).toMatchObject({ status: 200, body: { fence: 3 } })
})

test('when its time is up it is told who has the lock', async () => {
  const { claimant } = await start()
  const holder = claimant()
  await holder.take()
  expect(await claimant().acquire({ wait_ms: 50 })).toMatchObject({
    status: 409,
    body: { code: 'lock_held', detail: expect.stringContaining(holder.owner) },
  })
})

test('who has hung up gets nothing, and who waits behind it does', async () => {
  const { claimant, untilWaiting } = await start()
  const holder = claimant()
  const fence = await holder.take()
  const hangUp = new AbortController()
  const gone = claimant()
    .acquire({ wait_ms: 25_000 }, hangUp.signal)
    .catch(() => 'hung up')
  await untilWaiting(1)
  const behind = claimant().acquire({ wait_ms: 25_000 })
  await untilWaiting(2)
  hangUp.abort()
  expect(await gone).toBe('hung up')
  await untilWaiting(1)
  await holder.release(fence)
  expect(await behind).toMatchObject({ status: 200, body: { fence: fence + 1 } })
})

test('whoever waits holds no session and no transaction', async () => {
  const { app, claimant, untilWaiting } = await start()
  await claimant().take()
  const hangUp = new AbortController()
  const waits = Array.from({ length: 20 }, () =>
    claimant()
      .acquire({ wait_ms: 25_000 }, hangUp.signal)
      .catch(() => 'hung up'),
  )
  await untilWaiting(20)
  const { client } = app.pools
  while (client.idleCount < client.totalCount) await pause()
  const open = await db.sql(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`,
  )
  expect(open).toEqual([])
  hangUp.abort()
  await Promise.all(waits)
  await untilWaiting(0)
})

test('a replica that stops ends the wait, as if its time were up', async () => {
  const { app, claimant, untilWaiting } = await start()
  await claimant().take()
  const waits = claimant().acquire({ wait_ms: 25_000 })
  await untilWaiting(1)
  const stopped = app.stop()
  expect((await waits).status).toBe(409)
  await stopped
})
