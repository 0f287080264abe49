import { setTimeout as sleep } from 'node:timers/promises'
import type { PollAnswer, Registered } from '../../../src/contract/executors.ts'
import type { SubmitAnswer } from '../../../src/contract/jobs.ts'
import { type Callee, Caller } from './http.ts'
import { serve } from './serve.ts'
import { sideBySide } from './together.ts'

/** A client and executors that wait for its jobs, in one process, so that one clock judges both. */

export type Latency = {
  /** Submits to `client`; polls at `active`. */
  open(order: { client: Callee; active: Callee; executors: number }): Promise<null>
  /** Submits so many jobs, one each `everyMs` on average. */
  measure(order: { jobs: number; everyMs: number }): Promise<Moments[]>
}

/** When what happened to one job, in milliseconds of one clock. */
export interface Moments {
  sentAt: number
  /** It was acknowledged. */
  answeredAt: number
  /** An executor had it. */
  receivedAt: number
}

let client: Caller
let active: Caller
let executors: Registered[] = []

const acts: Latency = {
  open: async (order) => {
    client = new Caller(order.client, 'submit', 8)
    active = new Caller(order.active, 'executor', order.executors)
    executors = await Promise.all(
      Array.from({ length: order.executors }, (_, nth) =>
        active.post<Registered>('/v1/executors/register', { executor_id: `waiting-${nth}` }),
      ),
    )
    return null
  },
  measure: async ({ jobs, everyMs }) => {
    const receivedAt = new Map<string, number>()
    const submits: Promise<{ id: string; sentAt: number; answeredAt: number }>[] = []
    const polling = sideBySide(executors.length, async (nth) => {
      while (receivedAt.size < jobs) await pollAndReport(executors[nth] as Registered, receivedAt)
    })
    for (let nth = 0; nth < jobs; nth += 1) {
      submits.push(submit())
      // Unlike a clock's, so that nothing falls into step with it.
      await sleep(Math.random() * 2 * everyMs)
    }
    const submitted = await Promise.all(submits)
    await polling
    return submitted.map(({ id, ...at }) => ({
      ...at,
      receivedAt: receivedAt.get(id) ?? Number.NaN,
    }))
  },
}
serve(acts)

async function submit() {
  const sentAt = performance.now()
  const { job } = await client.post<SubmitAnswer>('/v1/jobs', { kind: 'noop' })
  return { id: job.id, sentAt, answeredAt: performance.now() }
}

async function pollAndReport({ executor_id, epoch }: Registered, receivedAt: Map<string, number>) {
  const path = `/v1/executors/${executor_id}`
  const { assignments } = await active.post<PollAnswer>(`${path}/poll`, { epoch, wait_ms: 1_000 })
  const now = performance.now()
  for (const { job_id } of assignments) receivedAt.set(job_id, now)
  const reports = assignments.map(({ job_id, fence }) => ({ job_id, fence, outcome: 'succeeded' }))
  if (reports.length > 0) await active.post(`${path}/report`, { epoch, reports })
}
