import { expect, test } from 'vitest'
import { useDatabase } from '../support/database.ts'
import { startActive, startReplica } from '../support/replica.ts'

const db = useDatabase()

test('of two replicas exactly one is active, by /health/active and by the lock', async () => {
  const first = await startActive(db)
  const second = await startReplica(db)
  await second.events.wait('standing')
  expect((await first.api.get('/health/active')).status).toBe(200)
  expect((await second.api.get('/health/active')).status).toBe(503)
  const holders = await db.sql(
    `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  )
  expect(holders).toHaveLength(1)
})
