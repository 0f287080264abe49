import { type Clock, systemClock } from '../clock.ts'
import type { AuditList, AuditQuery } from '../contract/audit.ts'
import type { BulkAnswer, BulkRequestInput } from '../contract/bulk.ts'
import type { CancelRequest, Critical, CriticalAnswer } from '../contract/cancels.ts'
import type {
  Health,
  LeaderAnswer,
  LeaderQuery,
  Status,
  StepDown,
  SteppedDown,
} from '../contract/cluster.ts'
import type {
  Effect,
  EffectAbort,
  EffectAnswer,
  EffectBegin,
  EffectBegun,
  EffectCommit,
  EffectList,
  EffectResolve,
} from '../contract/effects.ts'
import type { Explanation } from '../contract/explain.ts'
import type {
  AttemptList,
  BatchAnswer,
  Job,
  JobAnswer,
  JobList,
  JobSubmitInput,
  SubmitAnswer,
} from '../contract/jobs.ts'
import type { JobRetry } from '../contract/retries.ts'
import type { Token, TokenCreate, TokenCreated } from '../contract/tokens.ts'
import { Executors } from './executors.ts'
import { Locks } from './locks.ts'
import { ReplicaList } from './replica-list.ts'
import { keyHeader, withKey } from './submit-key.ts'
import { Transitions } from './transitions.ts'
import { type Call, Transport } from './transport.ts'

export interface ClientOptions {
  /** Every replica, or the balancer in front of them. */
  urls: string[]
  token: string
  /** How long a call may go on trying while no replica serves it, milliseconds. Default 15 s. While a submit waits for its
   *  turn and others are served, it is not counted. */
  patienceMs?: number
}

export interface JobFilter {
  queue?: string
  state?: string
  kind?: string
  /** `name=value` each. */
  labels?: string[]
  cursor?: string
  limit?: number
}

const tryMs = 10_000
/** A submit says the same when it is sent again: a replica that is frozen is left early for another. */
const submitMs = 4_000
const waitSliceMs = 20_000

/** Submits and reads, on whichever replica answers. Safe to share; close it when done. */
export class Client {
  /** Named locks for actors outside. */
  readonly locks: Locks
  /** Executors, as operators see and treat them. */
  readonly executors: Executors
  /** Jobs with stages, as outside actors move them. */
  readonly transitions: Transitions
  readonly #transport: Transport
  readonly #replicas: number
  readonly #patienceMs: number
  readonly #clock: Clock

  constructor({ urls, token, patienceMs = 15_000 }: ClientOptions, clock: Clock = systemClock) {
    this.#transport = new Transport(new ReplicaList(urls, clock), token, clock)
    this.#replicas = urls.length
    this.#clock = clock
    this.#patienceMs = patienceMs
    this.locks = new Locks((call) => this.#call(call), patienceMs, clock)
    this.executors = new Executors((call) => this.#call(call))
    this.transitions = new Transitions((call) => this.#call(call))
  }

  close(): Promise<void> {
    return this.#transport.close()
  }

  /** Submits a job. Without an idempotency key it gets a random one, so that a lost answer is asked for
   *  again and never makes a second job. Of the submits of one client, single and batches, 64 are under way at once;
   *  the others wait for their turn, as long as replicas serve those. Throws ApiError idempotency_mismatch,
   *  invalid_request, … */
  submit(job: JobSubmitInput): Promise<SubmitAnswer> {
    const body = withKey(job)
    return this.#call({
      method: 'POST',
      path: '/v1/jobs',
      body,
      headers: keyHeader(body),
      timeoutMs: this.#replicas > 1 ? submitMs : tryMs,
      takesTurn: true,
    })
  }

  /** Submits up to 1000 jobs, all or nothing; ids in their order. Keys and turns as with `submit`. */
  submitBatch(jobs: JobSubmitInput[]): Promise<BatchAnswer> {
    return this.#call({
      method: 'POST',
      path: '/v1/jobs/batch',
      body: { jobs: jobs.map(withKey) },
      timeoutMs: 30_000,
      takesTurn: true,
    })
  }

  /** The job as it is now. Throws ApiError not_found. */
  async getJob(id: string): Promise<Job> {
    const { job } = await this.#call<JobAnswer>({ path: `/v1/jobs/${encodeURIComponent(id)}` })
    return job
  }

  /** The job once it is final, or as it is after `timeoutMs`. */
  async waitForJob(id: string, timeoutMs: number, signal?: AbortSignal): Promise<Job> {
    const until = this.#clock.monotonic() + timeoutMs
    for (;;) {
      const waitMs = Math.max(0, Math.min(waitSliceMs, Math.ceil(until - this.#clock.monotonic())))
      const { job } = await this.#call<JobAnswer>({
        path: `/v1/jobs/${encodeURIComponent(id)}?wait_ms=${waitMs}`,
        timeoutMs: waitMs + tryMs,
        // A replica may die late in a wait: its successor gets as long as it would for any call.
        patienceMs: waitMs + this.#patienceMs,
        signal,
      })
      if (job.finished_at !== null || this.#clock.monotonic() >= until) return job
    }
  }

  /** Asks for the end of a job; the same again is answered the same. The job is cancelled, or still leased until its
   *  executor has answered. Throws ApiError already_final, if it has succeeded or failed, and not_found. */
  async cancelJob(id: string, body: CancelRequest = {}): Promise<Job> {
    const path = `/v1/jobs/${encodeURIComponent(id)}/cancel`
    return (await this.#call<JobAnswer>({ method: 'POST', path, body })).job
  }

  /** Begins (`enter`) or ends a critical section of a lease, as its executor. Throws ApiError cancel_requested,
   *  stale_fence, stale_epoch and not_found. */
  markCritical(id: string, body: Critical): Promise<CriticalAnswer> {
    const path = `/v1/jobs/${encodeURIComponent(id)}/critical`
    return this.#call({ method: 'POST', path, body })
  }

  listJobs({ labels = [], ...filter }: JobFilter = {}): Promise<JobList> {
    const query = new URLSearchParams()
    for (const label of labels) query.append('label', label)
    for (const [name, value] of Object.entries(filter)) query.set(name, String(value))
    return this.#call({ path: `/v1/jobs?${query}` })
  }

  /** Retries a job that failed or was cancelled, as a new job; asked again, the same one is answered. Throws
   *  ApiError not_found, job_not_final, not_retryable. */
  retryJob(id: string, retry: JobRetry = {}): Promise<SubmitAnswer> {
    const path = `/v1/jobs/${encodeURIComponent(id)}/retry`
    return this.#call({ method: 'POST', path, body: retry })
  }

  /** Does something to at most 500 of the jobs that fit a filter; go on with `next_cursor`. Throws ApiError
   *  invalid_request for an empty filter without `confirm`. */
  bulkJobs(bulk: BulkRequestInput): Promise<BulkAnswer> {
    return this.#call({ method: 'POST', path: '/v1/jobs/bulk', body: bulk, timeoutMs: 30_000 })
  }

  listAttempts(id: string): Promise<AttemptList> {
    return this.#call({ path: `/v1/jobs/${encodeURIComponent(id)}/attempts` })
  }

  /** Why a job is where it is, whatever its state: at least one reason, the most telling first (docs/explain.md).
   *  Throws ApiError not_found. */
  explainJob(id: string): Promise<Explanation> {
    return this.#call({ path: `/v1/jobs/${encodeURIComponent(id)}/explain` })
  }

  /** Asks whether to do an irreversible act; for an executor's token. The same `begin_id` gets the same answer.
   *  Throws ApiError stale_fence, stale_epoch, effect_in_progress, … */
  beginEffect(jobId: string, key: string, begin: EffectBegin): Promise<EffectBegun> {
    return this.#call({ method: 'POST', path: effectPath(jobId, key, 'begin'), body: begin })
  }

  /** Records that it was done. */
  async commitEffect(jobId: string, key: string, commit: EffectCommit): Promise<Effect> {
    return await this.#settle(effectPath(jobId, key, 'commit'), commit)
  }

  /** Records that it was certainly not done. */
  async abortEffect(jobId: string, key: string, abort: EffectAbort): Promise<Effect> {
    return await this.#settle(effectPath(jobId, key, 'abort'), abort)
  }

  /** An operator says whether what is in doubt was done. Throws ApiError effect_settled, effect_in_progress. */
  async resolveEffect(jobId: string, key: string, resolve: EffectResolve): Promise<Effect> {
    return await this.#settle(effectPath(jobId, key, 'resolve'), resolve)
  }

  async #settle(path: string, body: object): Promise<Effect> {
    const { effect } = await this.#call<EffectAnswer>({ method: 'POST', path, body })
    return effect
  }

  /** A page of the irreversible acts of a job, by key. */
  listEffects(
    jobId: string,
    { cursor }: { cursor?: string | undefined } = {},
  ): Promise<EffectList> {
    const query = cursor === undefined ? '' : `?cursor=${encodeURIComponent(cursor)}`
    return this.#call({ path: `/v1/jobs/${encodeURIComponent(jobId)}/effects${query}` })
  }

  getStatus(): Promise<Status> {
    return this.#call({ path: '/v1/status' })
  }

  /** Who leads, and the latest terms: 20, or as many as you say. */
  getLeader({ limit }: Partial<LeaderQuery> = {}): Promise<LeaderAnswer> {
    const query = limit === undefined ? '' : `?limit=${limit}`
    return this.#call({ path: `/v1/leader${query}` })
  }

  /** Ends the term that leads; its replica stands again two seconds later. Give the term that you saw:
   *  asked again, or late, it then deposes no successor. Throws ApiError stale_term. */
  stepDown(wanted: StepDown = {}): Promise<SteppedDown> {
    return this.#call({
      method: 'POST',
      path: '/v1/leader/step-down',
      body: wanted,
      isRepeatable: false,
    })
  }

  /** What people did to the cluster, newest first. */
  listAudit({ cursor, limit = 50 }: Partial<AuditQuery> = {}): Promise<AuditList> {
    const query = new URLSearchParams({ limit: String(limit) })
    if (cursor !== undefined) query.set('cursor', String(cursor))
    return this.#call({ path: `/v1/audit?${query}` })
  }

  /** How the replica that answers stands; needs no token. */
  getHealth(): Promise<Health> {
    return this.#call({ path: '/health/live' })
  }

  /** The secret is in this answer only. Not repeated after a broken answer: it might exist twice. */
  createToken(token: TokenCreate): Promise<TokenCreated> {
    return this.#call({ method: 'POST', path: '/v1/tokens', body: token, isRepeatable: false })
  }

  async listTokens(): Promise<Token[]> {
    const { tokens } = await this.#call<{ tokens: Token[] }>({ path: '/v1/tokens' })
    return tokens
  }

  async revokeToken(id: string): Promise<Token> {
    const path = `/v1/tokens/${encodeURIComponent(id)}`
    const { token } = await this.#call<{ token: Token }>({ method: 'DELETE', path })
    return token
  }

  #call<T>(call: Partial<Call> & { path: string }): Promise<T> {
    return this.#transport.call<T>({
      method: 'GET',
      timeoutMs: tryMs,
      patienceMs: this.#patienceMs,
      isRepeatable: true,
      ...call,
    })
  }
}

function effectPath(jobId: string, key: string, verb: string): string {
  return `/v1/jobs/${encodeURIComponent(jobId)}/effects/${encodeURIComponent(key)}/${verb}`
}
