import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobSubmitInput } from '../../../src/contract/jobs.ts'
import { Client, UnavailableError } from '../../../src/sdk/index.ts'
import { Recorder, recordRequests } from '../history/record.ts'
import type { SubmitterOrders } from './actors.ts'

/** Submits jobs at a steady rate, whether or not the ones before were acknowledged; each with a key of its
 *  own, until it is. Told on stdin how; stops at SIGTERM, when the last is acknowledged. */
const orders = JSON.parse(await text(process.stdin)) as SubmitterOrders
const { actor, urls, token, ratePerSecond, queue, workMs } = orders
const recorder = new Recorder(orders.history)
recordRequests(recorder, actor)

const client = new Client({ urls, token })
const stopping = new AbortController()
process.on('SIGTERM', () => stopping.abort())

const againMs = 100
/** Every so many jobs are submitted by two at once, with one key. */
const twiceEvery = 10
const unacknowledged = new Set<Promise<void>>()

/** Most are done at once; some fail at first, are delayed, or tell their progress. */
function jobOf(n: number): JobSubmitInput {
  const job = { kind: 'sleep', queue, payload: { ms: workMs, fails: n % 10 === 3 ? 1 : 0 } }
  if (n % 10 === 5) return { ...job, delay_ms: 500 }
  return { ...job, backoff: { base_ms: 100 } }
}

async function submitUntilAcknowledged(n: number): Promise<void> {
  const key = `${actor}-${process.pid}-${n}`
  for (;;) {
    try {
      await client.submit({ ...jobOf(n), idempotency_key: key })
      return
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error
      recorder.write({ type: 'gave_up', actor, key })
      await sleep(againMs)
    }
  }
}

const startedAt = performance.now()
for (let n = 0; !stopping.signal.aborted; n += 1) {
  for (let copies = n % twiceEvery === 0 ? 2 : 1; copies > 0; copies -= 1) {
    const submitted = submitUntilAcknowledged(n).finally(() => unacknowledged.delete(submitted))
    unacknowledged.add(submitted)
  }
  const dueAt = startedAt + ((n + 1) * 1_000) / ratePerSecond
  await sleep(Math.max(0, dueAt - performance.now()), undefined, { signal: stopping.signal }).catch(
    () => undefined,
  )
}
await Promise.all(unacknowledged)
await client.close()
recorder.close()
