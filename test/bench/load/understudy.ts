import type {
  Assignment,
  PollAnswer,
  Registered,
  ReportAnswer,
} from '../../../src/contract/executors.ts'
import type { BatchAnswer } from '../../../src/contract/jobs.ts'
import type { Contender, Work } from './contender.ts'
import { type Callee, Caller } from './http.ts'
import { serve } from './serve.ts'
import { payload, portions, sideBySide, timed } from './together.ts'

/** Clients and executors of Understudy, over HTTP. */

export interface Understudy extends Contender {
  /** Registers as many executors, for these queues. */
  open(order: Callee & { executors: number; queues?: string[] }): Promise<null>
  /** Submits to one queue after the other. */
  spread(order: { jobs: number; queues: string[] }): Promise<number>
}

let client: Caller
let caller: Caller
let executors: Registered[] = []

const acts: Understudy = {
  open: async ({ executors: count, queues = ['default'], ...callee }) => {
    client = new Caller(callee, 'submit', 8)
    caller = new Caller(callee, 'executor', Math.max(count, 8))
    executors = await Promise.all(
      Array.from({ length: count }, (_, nth) =>
        caller.post<Registered>('/v1/executors/register', { executor_id: `bench-${nth}`, queues }),
      ),
    )
    return null
  },
  submit: ({ jobs, size, abreast }) => {
    const next = portions(jobs, size)
    return timed(() =>
      sideBySide(abreast, async () => {
        for (let portion = next(); portion > 0; portion = next()) await submit(portion, size)
      }),
    )
  },
  spread: ({ jobs, queues }) => {
    const next = portions(jobs, 1_000)
    let nth = 0
    return timed(async () => {
      for (let portion = next(); portion > 0; portion = next()) {
        await submit(portion, 1_000, () => queues[nth++ % queues.length])
      }
    })
  },
  work,
}
serve(acts)

async function submit(
  count: number,
  size: number,
  queueOf: () => string | undefined = () => undefined,
) {
  const jobs = Array.from({ length: count }, (_, nth) => ({
    kind: 'noop',
    payload: payload(nth),
    queue: queueOf(),
  }))
  if (size === 1) return void (await client.post('/v1/jobs', jobs[0]))
  const { results } = await client.post<BatchAnswer>('/v1/jobs/batch', { jobs })
  if (results.length !== count) throw new Error(`${results.length} of ${count} jobs were taken`)
}

/** Each executor polls and reports, one after the other, until so many are done; what else there is is left. */
async function work({ jobs, size, abreast }: Work): Promise<number> {
  // Neither done nor asked for.
  let [left, done] = [jobs, 0]
  const started = performance.now()
  let ended = started
  await sideBySide(abreast, async (nth) => {
    const executor = executors[nth]
    if (!executor) throw new Error(`there are ${executors.length} executors`)
    while (left > 0) {
      const asked = Math.min(size, left)
      left -= asked
      const assignments = await poll(executor, asked)
      left += asked - assignments.length
      if (assignments.length === 0) continue
      await report(executor, assignments)
      done += assignments.length
      ended = performance.now()
    }
  })
  if (done !== jobs) throw new Error(`${done} of ${jobs} jobs were done`)
  return (ended - started) / 1_000
}

async function poll({ executor_id, epoch }: Registered, max: number): Promise<Assignment[]> {
  const path = `/v1/executors/${executor_id}/poll`
  // Short, for those who are left with nothing when the last job is taken.
  return (await caller.post<PollAnswer>(path, { epoch, max, wait_ms: 200 })).assignments
}

async function report({ executor_id, epoch }: Registered, assignments: Assignment[]) {
  const reports = assignments.map(({ job_id, fence }) => ({ job_id, fence, outcome: 'succeeded' }))
  const path = `/v1/executors/${executor_id}/report`
  const { results } = await caller.post<ReportAnswer>(path, { epoch, reports })
  const refused = results.find(({ status }) => status !== 'accepted')
  if (refused) throw new Error(`a report was refused: ${JSON.stringify(refused)}`)
}
