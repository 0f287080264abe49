import { limits } from '../contract/common.ts'
import type {
  AttemptList,
  BatchAnswer,
  Job,
  JobList,
  JobState,
  JobSubmit,
  SubmitAnswer,
} from '../contract/jobs.ts'
import { isFinal } from '../domain/job.ts'
import { AppError, invalid } from '../errors.ts'
import { listAttempts, listLateReports } from '../sql/attempts.ts'
import type { Doors } from '../sql/doors.ts'
import { findJobs, type JobRow, listJobs, type PlacedRow } from '../sql/jobs.ts'
import type { Queryable } from '../sql/pool.ts'
import { insertStages } from '../sql/stages.ts'
import { findJobsByKey, insertJobsUnlessKeyed, type NewJob } from '../sql/submits.ts'
import { Batcher } from './batcher.ts'
import { hashOf } from './body-hash.ts'
import type { ClassCatalog } from './class-catalog.ts'
import { newJobId } from './job-ids.ts'
import type { JobWaits } from './job-waits.ts'
import { isJobId, toBoundedJson, toJson } from './json.ts'
import { classNamesOf, type Pipeline, planOf, resolveStages } from './pipeline.ts'

export interface JobsOptions {
  db: Queryable
  doors: Doors
  catalog: ClassCatalog
  waits: JobWaits
  /** Longest that a request may wait for a job. */
  pollWaitCapMs: number
  leaseTtlMs: number
  /** Tells whoever claims that jobs came in, on this replica or another. */
  onPlaced(rows: PlacedRow[]): void
}

/** Who reads; null: any queue. */
export interface Reader {
  readonly queues: string[] | null
}

interface ListFilter {
  queue?: string | undefined
  state?: JobState | undefined
  kind?: string | undefined
  label?: string[] | undefined
  cursor?: string | undefined
  limit: number
}

/** What came of one job that was submitted. */
interface Placed {
  id: string
  created: boolean
}

/** A job about to be inserted, and its stages. */
type Submitted = NewJob & Pick<Pipeline, 'stages'>

/** A job with a key may be a replay, which is answered with its results and all. */
function weightOf({ payload, labels, idempotency_key, stages }: Submitted): number {
  const answer = idempotency_key === null ? 1_000 : stages.length === 0 ? 50_000 : 250_000
  return answer + payload.length + labels.length + stages.length * 500
}

/** Submitting and reading jobs. Any replica serves these; no leader is needed. */
export class Jobs {
  readonly #o: JobsOptions
  readonly #submits: Batcher<Submitted, { job: JobRow; created: boolean }>

  constructor(options: JobsOptions) {
    this.#o = options
    this.#submits = new Batcher({
      weigh: weightOf,
      maxWeight: 4_000_000,
      maxWaiting: 64_000_000,
      flush: (jobs) => this.#flush(jobs),
    })
  }

  /** Throws idempotency_mismatch where the key belongs to a job with another body. */
  async submit(submit: JobSubmit): Promise<SubmitAnswer> {
    const [job] = await this.#prepare([submit], () => 'payload')
    if (!job) throw new Error('one job in, none out')
    const placed = await this.#submits.add(job)
    return placed.created ? { job: placed.job } : { job: placed.job, replayed: true }
  }

  /** All or nothing, in one transaction of its own. */
  async submitBatch(submits: JobSubmit[]): Promise<BatchAnswer> {
    const jobs = await this.#prepare(submits, (index) => `jobs.${index}.payload`)
    const { placed, made } = await this.#o.doors.asClient(async (tx) => {
      const done = await place(tx, jobs)
      for (const [index, outcome] of done.placed.entries()) {
        if (outcome instanceof AppError) throw invalidInBatch(index, outcome)
      }
      return { ...done, placed: done.placed as Placed[] }
    })
    this.#o.onPlaced(made)
    return { results: placed }
  }

  /** Whole jobs, as `tx` sees them, in the order of their ids. */
  read(tx: Queryable, ids: string[]): Promise<JobRow[]> {
    return findJobs(tx, ids, this.#o.leaseTtlMs)
  }

  /** For a reader who is bound to queues, a job in any other does not exist. */
  async get(id: string, { queues }: Reader): Promise<Job> {
    const [job] = isJobId(id) ? await this.read(this.#o.db, [id]) : []
    if (!job || queues?.includes(job.queue) === false)
      throw new AppError('not_found', `there is no job ${id}`)
    return job
  }

  /** The job once it is final, or as it is when the time is up or the client has hung up. */
  async getSettled(id: string, reader: Reader, waitMs: number, gone: AbortSignal): Promise<Job> {
    if (!isJobId(id)) return await this.get(id, reader)
    const { waits, pollWaitCapMs } = this.#o
    const waiting = waits.add(id.toLowerCase(), Math.min(waitMs, pollWaitCapMs), gone)
    try {
      // Read after the wait has begun, so that no end falls between the two.
      const job = await this.get(id, reader)
      if (isFinal(job.state)) return job
      await waiting.answer
      return await this.get(id, reader)
    } finally {
      waiting.settle(undefined)
    }
  }

  async list(filter: ListFilter, { queues }: Reader): Promise<JobList> {
    const { queue, state, kind, label, cursor, limit } = filter
    if (cursor !== undefined && !isJobId(cursor)) throw invalid('cursor', 'is not one of ours')
    const jobs = await listJobs(this.#o.db, {
      queue,
      readable: queues,
      state,
      kind,
      labels: labelsOf(label),
      beforeId: cursor,
      limit,
    })
    const last = jobs.at(-1)
    return { jobs, next_cursor: last && jobs.length === limit ? last.id : null }
  }

  async listAttempts(id: string, reader: Reader): Promise<AttemptList> {
    await this.get(id, reader)
    const [attempts, late_reports] = await Promise.all([
      listAttempts(this.#o.db, id),
      listLateReports(this.#o.db, id),
    ])
    return { attempts, late_reports }
  }

  async #prepare(submits: JobSubmit[], path: (index: number) => string): Promise<Submitted[]> {
    const payloads = submits.map((submit, index) => payloadOf(submit, path(index)))
    const names = submits.map(classNamesOf)
    const classIds = await this.#o.catalog.intern(names.flat())
    let taken = 0
    return submits.map((submit, index) => {
      const own = classIds.slice(taken, taken + (names[index]?.length ?? 0))
      taken += own.length
      return toNewJob(submit, payloads[index] ?? '{}', own)
    })
  }

  async #flush(jobs: Submitted[]) {
    const { placed, rows, made } = await this.#o.doors.asClient(async (tx) => {
      const done = await place(tx, jobs)
      const ids = done.placed.flatMap((outcome) => (outcome instanceof AppError ? [] : outcome.id))
      return { ...done, rows: await this.read(tx, ids) }
    })
    this.#o.onPlaced(made)
    const byId = new Map(rows.map((row) => [row.id, row]))
    return placed.map((outcome) => {
      if (outcome instanceof AppError) return outcome
      const job = byId.get(outcome.id)
      if (!job) throw new Error(`job ${outcome.id} was written and not found`)
      return { job, created: outcome.created }
    })
  }
}

/** `name=value` each. */
export function labelsOf(pairs: string[] = []): Record<string, string> {
  return Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s).slice(0, 2)))
}

/** How often a key may change hands while it is asked for. */
const mostTries = 5

/** Inserts what is new and finds what the taken keys belong to. A winner that is gone again by the time
 *  it is looked up has freed its key: then the insert is tried again. */
async function place(tx: Queryable, jobs: Submitted[]) {
  const made = new Map<string, PlacedRow>()
  const placed = new Map<NewJob, Placed | AppError>()
  for (let tried = 1; placed.size < jobs.length; tried += 1) {
    const open = jobs.filter((job) => !placed.has(job))
    for (const row of await insertJobsUnlessKeyed(tx, open)) made.set(row.id, row)
    for (const job of open) {
      if (made.has(job.id)) placed.set(job, { id: job.id, created: true })
    }
    const lost = open.filter((job) => !placed.has(job))
    for (const [job, outcome] of await findWinners(tx, lost)) placed.set(job, outcome)
    if (tried < mostTries) continue
    for (const job of lost.filter((job) => !placed.has(job))) placed.set(job, restless())
  }
  const stages = jobs.flatMap((job) => (made.has(job.id) ? job.stages : []))
  if (stages.length > 0) await insertStages(tx, stages)
  return {
    placed: jobs.map((job) => placed.get(job) as Placed | AppError),
    made: [...made.values()],
  }
}

async function findWinners(tx: Queryable, jobs: NewJob[]): Promise<[NewJob, Placed | AppError][]> {
  const keyed = jobs.flatMap((job) =>
    job.idempotency_key === null ? [] : [{ ...job, idempotency_key: job.idempotency_key, job }],
  )
  if (keyed.length === 0) return []
  const rows = await findJobsByKey(tx, keyed)
  const winners = new Map(rows.map((row) => [`${row.queue} ${row.idempotency_key}`, row]))
  return keyed.flatMap(({ queue, idempotency_key, job }): [NewJob, Placed | AppError][] => {
    const winner = winners.get(`${queue} ${idempotency_key}`)
    if (!winner) return []
    const isSame = job.body_hash !== null && winner.body_hash.equals(job.body_hash)
    return [[job, isSame ? { id: winner.id, created: false } : mismatch(winner.id)]]
  })
}

function restless(): AppError {
  return new AppError('overloaded', 'idempotency_key: it changed hands too often; try again')
}

function mismatch(jobId: string): AppError {
  return new AppError(
    'idempotency_mismatch',
    `idempotency_key: job ${jobId} has this key and another body`,
    { faults: [{ path: 'idempotency_key', message: `belongs to job ${jobId}` }] },
  )
}

function invalidInBatch(index: number, error: AppError): AppError {
  return new AppError(error.code, `jobs.${index}.${error.message}`, {
    faults: error.faults.map(({ path, message }) => ({ path: `jobs.${index}.${path}`, message })),
  })
}

function payloadOf({ payload = {} }: JobSubmit, path: string): string {
  return toBoundedJson(payload, path, limits.payloadBytes)
}

function toNewJob(submit: JobSubmit, payload: string, classIds: number[]): Submitted {
  const id = newJobId()
  return {
    id,
    ...planOf(id, submit, classIds),
    queue: submit.queue,
    kind: submit.kind,
    priority: submit.priority,
    run_at: submit.run_at ?? null,
    delay_ms: submit.delay_ms ?? 0,
    max_attempts: submit.max_attempts,
    backoff_base_ms: submit.backoff.base_ms,
    backoff_factor: submit.backoff.factor,
    backoff_cap_ms: submit.backoff.cap_ms,
    run_timeout_ms: submit.run_timeout_ms ?? null,
    on_silence: submit.on_silence,
    labels: toJson(submit.labels),
    payload,
    traceparent: submit.traceparent ?? null,
    idempotency_key: submit.idempotency_key ?? null,
    body_hash: submit.idempotency_key === undefined ? null : hashBody(submit),
  }
}

/** Two bodies are the same if they mean the same: keys in any order, defaults given or left out. A submit
 *  that is repeated is another span of the trace. */
function hashBody({ idempotency_key: _key, traceparent: _trace, ...body }: JobSubmit): Buffer {
  return hashOf({ payload: {}, ...body, stages: body.stages && resolveStages(body) })
}
