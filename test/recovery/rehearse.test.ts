import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica, type TestReplica } from '../support/replica.ts'

const db = useDatabase()

async function untilOpen({ app }: TestReplica, count: number): Promise<void> {
  while (app.pools.leader.totalCount !== count || app.pools.leader.idleCount !== count) {
    await sleep(5)
  }
}

test('a standby keeps open the sessions that it would lead with, and opens them again', async () => {
  await startActive(db)
  const standby = await startReplica(db, { UNDERSTUDY_POOL_SIZE: '8' })
  const { leader } = standby.app.pools
  await untilOpen(standby, 4)
  const client = await leader.connect()
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  client.release()
  // Between two looks it may have been replaced already.
  const removed = new Promise((resolve) => leader.once('remove', resolve))
  await db.sql('SELECT pg_terminate_backend($1)', [rows[0]?.pid])
  await removed
  await untilOpen(standby, 4)
  expect((await standby.api.get('/health/live')).body.controller_state).toBe('standby')
})
