import { randomUUID } from 'node:crypto'
import type { Assignment } from '../../src/contract/executors.ts'
import type { Answer, Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import { startWork } from './work.ts'

/** One lease, and what its executor may say to the ledger. */
export class Holder {
  readonly #api: Api
  readonly executor: string
  readonly epoch: number
  readonly job: Assignment

  constructor(api: Api, executor: string, epoch: number, job: Assignment) {
    this.#api = api
    this.executor = executor
    this.epoch = epoch
    this.job = job
  }

  begin(key: string, more: Record<string, unknown> = {}): Promise<Answer> {
    return this.call(key, 'begin', { begin_id: randomUUID(), ...more })
  }

  call(key: string, verb: string, body: Record<string, unknown>): Promise<Answer> {
    const { executor, epoch, job } = this
    const path = `/v1/jobs/${job.job_id}/effects/${encodeURIComponent(key)}/${verb}`
    return this.#api.post(path, { executor_id: executor, epoch, fence: job.fence, ...body })
  }

  report(outcome: string) {
    const { job_id, fence } = this.job
    return this.#api.report(this.executor, this.epoch, { job_id, fence, outcome })
  }
}

/** A job that an executor holds, and what takes it from one and gives it to the next. */
export async function startEffects(db: TestDatabase, env: Record<string, string> = {}) {
  const { api, app, queue } = await startWork(db, env)
  const hold = async () => {
    const executor = `e-${randomUUID().slice(0, 8)}`
    const epoch = await api.register(executor, { queues: [queue] })
    const [job] = await api.poll(executor, epoch, { wait_ms: 10_000 })
    if (!job) throw new Error('there was no job')
    return new Holder(api, executor, epoch, job)
  }
  const submit = () => api.submit({ queue, backoff: { base_ms: 1, cap_ms: 1 } })
  /** A new process of its id: what it held is taken back. */
  const lose = (holder: Holder) => api.register(holder.executor, { queues: ['elsewhere'] })
  const ledger = async (jobId: string) =>
    (await api.must(200, api.get(`/v1/jobs/${jobId}/effects`))).body
  const effects = async (jobId: string) => (await ledger(jobId)).effects
  return { api, app, queue, submit, hold, lose, ledger, effects }
}
