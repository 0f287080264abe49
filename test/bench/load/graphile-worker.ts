import { Logger, makeWorkerUtils, run, type WorkerUtils } from 'graphile-worker'
import type { Contender, Work } from './contender.ts'
import { serve } from './serve.ts'
import { payload, portions, sideBySide, timed } from './together.ts'

/** graphile-worker as its users run it: one process. With a `size` above one it has a local queue of that size, and
 *  completes in batches. */

export interface Graphile extends Contender {
  open(order: { url: string }): Promise<null>
}

let url: string
let utils: WorkerUtils

const logger = new Logger(() => (level, message) => {
  if (level === 'error') process.stderr.write(`graphile-worker: ${message}\n`)
})

const acts: Graphile = {
  open: async (order) => {
    url = order.url
    utils = await makeWorkerUtils({ connectionString: url, logger })
    await utils.migrate()
    return null
  },
  submit: ({ jobs, size, abreast }) => {
    const next = portions(jobs, size)
    return timed(() =>
      sideBySide(abreast, async () => {
        for (let portion = next(); portion > 0; portion = next()) {
          await utils.addJobs(
            Array.from({ length: portion }, (_, nth) => ({
              identifier: 'noop',
              payload: payload(nth),
            })),
          )
        }
      }),
    )
  },
  work: workAll,
}
serve(acts)

/** From the first job that is run to the last one: what it takes to start and to stop is not held against it. */
async function workAll({ jobs, size, abreast }: Work): Promise<number> {
  let [started, done] = [0, 0]
  const all = Promise.withResolvers<number>()
  const runner = await run({
    connectionString: url,
    noHandleSignals: true,
    logger,
    preset: { worker: { concurrentJobs: abreast, ...batching(size) } },
    taskList: {
      noop: () => {
        started ||= performance.now()
        done += 1
        if (done === jobs) all.resolve((performance.now() - started) / 1_000)
      },
    },
  })
  try {
    return await Promise.race([
      all.promise,
      runner.promise.then(() => {
        throw new Error(`graphile-worker stopped after ${done} of ${jobs} jobs`)
      }),
    ])
  } finally {
    await runner.stop()
  }
}

function batching(size: number) {
  if (size === 1) return {}
  return { localQueue: { size }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
}
