import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { Executor, type JobContext } from '../../../src/sdk/index.ts'
import { Recorder, recordRequests } from '../history/record.ts'
import type { FleetOrders } from './actors.ts'
import { Outside } from './outside.ts'
import { releaseKind, workOn } from './release.ts'

/** Executors of a drill, in one process. Told on stdin what to be; works until SIGTERM, then finishes what
 *  it holds. A job's payload says how long it takes. */
const orders = JSON.parse(await text(process.stdin)) as FleetOrders
const recorder = new Recorder(orders.history)
recordRequests(recorder, orders.actor)
const outside = new Outside(orders.outside)

const draining = new AbortController()
process.on('SIGTERM', () => draining.abort())

interface Payload {
  ms: number
  /** How many attempts fail before one succeeds. */
  fails?: number
}

async function work(context: JobContext): Promise<unknown> {
  const { job, signal } = context
  const { ms, fails = 0 } = job.payload as Payload
  context.progress({ fence: job.fence })
  if (job.kind === releaseKind) return await workOn(context, orders.actor, outside)
  await sleep(ms, undefined, { signal })
  if (job.attempt <= fails) throw new Error('as it was asked to')
  return { fence: job.fence }
}

await Promise.all(
  orders.executors.map(({ id, urls, queues }) =>
    new Executor({
      ...{ urls, queues, token: orders.token, executorId: id, capacity: orders.capacity },
      handler: work,
    }).run(draining.signal),
  ),
)
outside.close()
recorder.close()
