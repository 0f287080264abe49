import { randomUUID } from 'node:crypto'
import type { Assignment } from '../../src/contract/executors.ts'
import type { Job } from '../../src/contract/jobs.ts'
import type { Answer, Api } from './api.ts'
import type { TestDatabase } from './database.ts'
import { pause } from './pause.ts'
import { startWork } from './work.ts'

export type Body = Record<string, unknown>

/** What is done to jobs with stages: by an executor of the queue, and by outside actors. */
export class Pipelines {
  readonly api: Api
  readonly queue: string
  readonly executor: string
  readonly epoch: number

  constructor(api: Api, queue: string, executor: string, epoch: number) {
    this.api = api
    this.queue = queue
    this.executor = executor
    this.epoch = epoch
  }

  submit(stages: unknown[], more: Body = {}) {
    const backoff = { base_ms: 1, cap_ms: 1 }
    return this.api.submit({ queue: this.queue, backoff, stages, ...more })
  }

  /** The next job of the queue. */
  async hold(): Promise<Assignment> {
    const [job] = await this.api.poll(this.executor, this.epoch, { wait_ms: 10_000 })
    if (!job) throw new Error('there was no job')
    return job
  }

  async report({ job_id, fence }: Assignment, outcome = 'succeeded', more: Body = {}) {
    const item = { job_id, fence, outcome, ...more }
    const [result] = await this.api.report(this.executor, this.epoch, item)
    return result
  }

  /** One stage, from the poll to the report. */
  async work(result: unknown = null): Promise<Assignment> {
    const job = await this.hold()
    await this.report(job, 'succeeded', { result })
    return job
  }

  transition(id: string, from: string, to: string, more: Body = {}): Promise<Answer> {
    return this.post(id, 'transition', { expected_stage: from, to, ...more })
  }

  begin(id: string, from: string, more: Body = {}): Promise<Answer> {
    const body = { expected_stage: from, owner: 'o', boot_id: 'b1', ...more }
    return this.post(id, 'transition/begin', body)
  }

  commit(id: string, token: string, to: string, more: Body = {}): Promise<Answer> {
    return this.post(id, 'transition/commit', { token, to, ...more })
  }

  abandon(id: string, body: Body): Promise<Answer> {
    return this.post(id, 'transition/abandon', body)
  }

  post(id: string, verb: string, body: Body): Promise<Answer> {
    return this.api.post(`/v1/jobs/${id}/${verb}`, body)
  }

  async moves(id: string) {
    return (await this.api.must(200, this.api.get(`/v1/jobs/${id}/moves`))).body.moves
  }

  /** The same queue and executor, asked for with another token, or elsewhere. */
  as(api: Api): Pipelines {
    return new Pipelines(api, this.queue, this.executor, this.epoch)
  }
}

export const manual = (name: string) => ({ name, manual: true })

/** A replica that serves, an executor with a queue of its own, and what they do to stages. */
export async function startPipelines(db: TestDatabase, env: Record<string, string> = {}) {
  const { api, app, queue, executor, epoch } = await startWork(db, env)
  return { api, app, on: new Pipelines(api, queue, executor, epoch) }
}

/** Acts until no deadline floor is in the way. A replica that stalls on a busy machine raises it: that time is over at
 *  once. */
export async function pastFloor(db: TestDatabase, act: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    await db.sql('UPDATE terms SET deadline_floor_at = clock_timestamp()')
    const answer = await act()
    if (answer.body.code !== 'transition_owned') return answer
  }
}

/** The job, once the sweep has ended the move that was owned. */
export async function untilExpired(db: TestDatabase, api: Api, id: string): Promise<Job> {
  for (;;) {
    await db.sql('UPDATE terms SET deadline_floor_at = clock_timestamp()')
    const job = await api.job(id)
    if (job.waiting_for !== 'transition') return job
    await pause()
  }
}

/** A token of an operator, and a client that shows it. */
export async function asOperator(api: Api, more: Body = {}): Promise<Api> {
  const body = { name: randomUUID(), role: 'operator', ...more }
  return api.as((await api.must(201, api.post('/v1/tokens', body))).body.token)
}
