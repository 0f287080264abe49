import type { SubmitAnswer } from '../contract/jobs.ts'
import type { JobRetry } from '../contract/retries.ts'
import { judgeRetry } from '../domain/retry.ts'
import { AppError } from '../errors.ts'
import type { Doors } from '../sql/doors.ts'
import type { PlacedRow } from '../sql/jobs.ts'
import type { Queryable } from '../sql/pool.ts'
import {
  findRetry,
  inheritEffects,
  inheritProgress,
  inheritStages,
  insertRetriesUnlessKeyed,
  lockForRetry,
  type NewRetry,
  pointToRetriesIfFinal,
  type RetriedJob,
} from '../sql/retries.ts'
import { type Actor, audit } from './audit.ts'
import type { BulkAct } from './bulk.ts'
import { newJobId } from './job-ids.ts'
import type { Jobs, Reader } from './jobs.ts'

export interface RetriesOptions {
  doors: Doors
  jobs: Jobs
  /** Tells whoever claims that jobs came in, on this replica or another. */
  onPlaced(rows: PlacedRow[]): void
}

/** New jobs of final ones, one of each, whoever asks and however often. Any replica serves this. */
export class Retries {
  readonly #o: RetriesOptions

  constructor(options: RetriesOptions) {
    this.#o = options
  }

  /** Answers the job that an earlier retry made, if there is one. Throws not_found, job_not_final and
   *  not_retryable. */
  async retry(
    actor: Actor,
    reader: Reader,
    jobId: string,
    { delay_ms = 0, reason }: JobRetry,
  ): Promise<SubmitAnswer> {
    const { jobs } = this.#o
    const { id, retried_as } = await jobs.get(jobId, reader)
    // Once and for good: that needs no lock.
    if (retried_as !== null) return { job: await jobs.get(retried_as, reader), replayed: true }
    const { answer, made } = await this.#o.doors.asClient(async (tx) => {
      const [old] = await lockForRetry(tx, [id])
      if (!old) throw new AppError('not_found', `there is no job ${id}`)
      const verdict = judgeRetry(old)
      if (verdict.outcome === 'replayed') {
        return {
          answer: { ...(await this.#read(tx, verdict.as)), replayed: true as const },
          made: [],
        }
      }
      if (verdict.outcome !== 'retry') throw refusal(verdict.outcome, old)
      const [retry] = toRetries([old])
      const made = await makeRetries(tx, retry ? [retry] : [], delay_ms)
      const facts = { retried_as: retry?.id }
      await audit(tx, actor, { action: 'job.retry', subject: id, reason, facts })
      return { answer: await this.#read(tx, retry?.id ?? ''), made }
    })
    this.#o.onPlaced(made)
    return answer
  }

  /** For the jobs of a filter: those that somebody has retried meanwhile are passed over. */
  readonly inBulk: BulkAct = {
    skipsCancelled: false,
    states: ['failed', 'cancelled'],
    // What somebody cancelled is not done after all unless somebody says so.
    statesByDefault: ['failed'],
    act: async (tx, ids) => {
      const jobs = await lockForRetry(tx, ids)
      const retries = toRetries(jobs.filter((job) => judgeRetry(job).outcome === 'retry'))
      const made = await makeRetries(tx, retries, 0)
      return { changed: retries.length, announce: () => this.#o.onPlaced(made) }
    },
  }

  async #read(tx: Queryable, id: string): Promise<SubmitAnswer> {
    const [job] = await this.#o.jobs.read(tx, [id])
    if (!job) throw new Error(`job ${id} was written and not found`)
    return { job }
  }
}

/** What a final job came to is settled at the job that retries it. The row of the job is locked. */
export async function refuseIfRetried(tx: Queryable, jobId: string): Promise<void> {
  const retriedAs = await findRetry(tx, jobId)
  if (retriedAs !== null) {
    throw new AppError('job_retried', `the job was retried as ${retriedAs}: resolve it there`)
  }
}

function toRetries(jobs: RetriedJob[]): NewRetry[] {
  return jobs.map(({ id, idempotency_key, body_hash }) => {
    return { id: newJobId(), retry_of: id, idempotency_key, body_hash }
  })
}

/** The old jobs are locked, and were judged. They give their keys up first. */
async function makeRetries(
  tx: Queryable,
  retries: NewRetry[],
  delayMs: number,
): Promise<PlacedRow[]> {
  if (retries.length === 0) return []
  await pointToRetriesIfFinal(tx, retries)
  const keyed = await insertRetriesUnlessKeyed(tx, retries, delayMs)
  const made = new Set(keyed.map(({ id }) => id))
  const late = retries
    .filter(({ id }) => !made.has(id))
    .map((retry) => ({ ...retry, idempotency_key: null, body_hash: null }))
  const keyless = late.length > 0 ? await insertRetriesUnlessKeyed(tx, late, delayMs) : []
  await inheritEffects(tx, retries)
  await inheritProgress(tx, retries)
  await inheritStages(tx, retries)
  return [...keyed, ...keyless]
}

function refusal(code: 'job_not_final' | 'not_retryable', { id, state }: RetriedJob): AppError {
  return new AppError(code, `job ${id} is ${state}; failed and cancelled ones are retried`)
}
