import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Executor } from '../../../src/sdk/index.ts'
import { Recorder, recordRequests } from '../history/record.ts'
import type { FleetOrders } from './actors.ts'

/** Executors of a drill, in one process. Told on stdin what to be; works until SIGTERM, then finishes what
 *  it holds. A job's payload says how long it takes. */
const orders = JSON.parse(await text(process.stdin)) as FleetOrders
const recorder = new Recorder(orders.history)
recordRequests(recorder, orders.actor)

const draining = new AbortController()
process.on('SIGTERM', () => draining.abort())

await Promise.all(
  orders.executors.map(({ id, urls, queues }) =>
    new Executor({
      urls,
      queues,
      token: orders.token,
      executorId: id,
      capacity: orders.capacity,
      handler: async ({ job, signal }) => {
        await sleep((job.payload as { ms: number }).ms, undefined, { signal })
        return { fence: job.fence }
      },
    }).run(draining.signal),
  ),
)
await recorder.close()
