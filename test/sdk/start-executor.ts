import { randomUUID } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { Client, Executor, type ExecutorEvent, type ExecutorOptions } from '../../src/sdk/index.ts'
import type { TestDatabase } from '../support/database.ts'
import { adminToken, startActive } from '../support/replica.ts'
import { Signals } from '../support/signals.ts'
import { type Meddle, startProxy } from './meddling-proxy.ts'

/** Pauses a twentieth as long. */
export const quick: Clock = {
  monotonic: () => systemClock.monotonic(),
  sleep: (ms, ...signals) => systemClock.sleep(ms / 20, ...signals),
}

/** Options, who meddles with its calls, and its clock. */
export type HowToStart = [
  options: Pick<ExecutorOptions, 'handler'> & Partial<ExecutorOptions>,
  meddle?: Meddle,
  clock?: Clock,
]

/** A replica, an executor with a queue of its own behind a meddling proxy, and a client. */
export async function startExecutor(
  db: TestDatabase,
  ...[options, meddle = () => undefined, clock]: HowToStart
) {
  const { api, app } = await startActive(db, { UNDERSTUDY_HEARTBEAT_MS: '50' })
  const queue = `q-${randomUUID().slice(0, 8)}`
  const events = new Signals<ExecutorEvent>()
  const draining = new AbortController()
  const stopping = new AbortController()
  const executor = new Executor(
    {
      urls: [await startProxy(api.url, meddle)],
      token: adminToken,
      executorId: queue,
      queues: [queue],
      onEvent: (event) => events.fire(event),
      ...options,
    },
    clock,
  )
  const ended = executor.run(draining.signal, stopping.signal)
  ended.catch(() => undefined)
  const client = new Client({ urls: [api.url], token: adminToken })
  onTestFinished(async () => {
    stopping.abort()
    await Promise.all([ended.catch(() => undefined), client.close()])
  })
  const submit = async (payload: unknown = null, max_attempts = 1) => {
    const backoff = { base_ms: 1, cap_ms: 1 }
    return (await client.submit({ kind: 'x', queue, payload, max_attempts, backoff })).job.id
  }
  const settled = (id: string) => client.waitForJob(id, 20_000)
  return { api, app, events, draining, stopping, ended, client, submit, settled, executorId: queue }
}
