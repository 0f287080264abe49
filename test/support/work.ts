import { randomUUID } from 'node:crypto'
import type { TestDatabase } from './database.ts'
import { startActive } from './replica.ts'

/** A replica that serves, and one executor with a queue of its own. */
export async function startWork(db: TestDatabase, env: Record<string, string> = {}) {
  const { api, app } = await startActive(db, { UNDERSTUDY_SWEEP_INTERVAL_MS: '50', ...env })
  const queue = `q-${randomUUID().slice(0, 8)}`
  const executor = `e-${randomUUID().slice(0, 8)}`
  const epoch = await api.register(executor, { queues: [queue] })
  return { api, app, queue, executor, epoch }
}
