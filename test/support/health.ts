import type { Assignment } from '../../src/contract/executors.ts'
import type { Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import { startWork } from './work.ts'

/** An executor, and what its jobs come to. */
export class Worker {
  api: Api
  readonly queue: string
  readonly executor: string
  epoch: number

  constructor(api: Api, queue: string, executor: string, epoch: number) {
    this.api = api
    this.queue = queue
    this.executor = executor
    this.epoch = epoch
  }

  async submit(many = 1): Promise<string[]> {
    const jobs = Array.from({ length: many }, () => this.api.submit({ queue: this.queue }))
    return (await Promise.all(jobs)).map(({ id }) => id)
  }

  poll(more: Record<string, unknown> = {}): Promise<Assignment[]> {
    return this.api.poll(this.executor, this.epoch, { max: 10, ...more })
  }

  report(outcome: string, ...jobs: (Assignment | undefined)[]) {
    const error = { code: 'x', retryable: false }
    const reports = jobs.map((job) => {
      const held = { job_id: job?.job_id, fence: job?.fence, outcome }
      return outcome === 'failed' ? { ...held, error } : held
    })
    return this.api.report(this.executor, this.epoch, ...reports)
  }

  /** Jobs that come to this, one after the other. */
  async work(outcome: string, times: number): Promise<void> {
    for (let done = 0; done < times; done += 1) {
      await this.submit()
      const [job] = await this.poll({ max: 1, wait_ms: 10_000 })
      const [{ status }] = await this.report(outcome, job)
      if (status !== 'accepted') throw new Error(`the report of ${outcome} was ${status}`)
    }
  }

  post(verb: string, body: unknown = {}) {
    return this.api.post(`/v1/executors/${this.executor}/${verb}`, body)
  }

  async get() {
    return (await this.api.must(200, this.api.get(`/v1/executors/${this.executor}`))).body
  }

  /** Its changes, oldest first: `axis from → to, reason`. */
  async history(): Promise<string[]> {
    const path = `/v1/executors/${this.executor}/history`
    const { body } = await this.api.must(200, this.api.get(path))
    return body.changes
      .map(
        ({ axis, from, to, reason }: Record<string, string>) =>
          `${axis} ${from} → ${to}, ${reason}`,
      )
      .reverse()
  }
}

/** So that on a busy machine nobody is suspect who sends no heartbeats: only some tests are about those. */
export const patient = {
  UNDERSTUDY_HEARTBEAT_MS: '60000',
  UNDERSTUDY_SELF_FENCE_MS: '200000',
  UNDERSTUDY_LEASE_TTL_MS: '300000',
  UNDERSTUDY_CANCEL_GRACE_MS: '120000',
  UNDERSTUDY_RUN_TIMEOUT_GRACE_MS: '120000',
}

export async function startWorker(db: TestDatabase, env: Record<string, string> = {}) {
  const { api, queue, executor, epoch } = await startWork(db, { ...patient, ...env })
  return new Worker(api, queue, executor, epoch)
}
