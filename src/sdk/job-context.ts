import type { Assignment, ReportItem } from '../contract/executors.ts'
import { type CriticalOptions, CriticalSections } from './critical.ts'
import { ApiError, EffectInDoubt, JobFailure, JobRelease } from './errors.ts'
import { textOf, toError, toJson, toText, UnsendableError } from './json.ts'
import type { LeaseCalls } from './lease-calls.ts'
import { type EffectContext, type EffectOptions, Ledger } from './ledger.ts'

/** Why a job's signal aborted. */
export type StopReason =
  | 'revoked'
  | 'cancelled'
  | 'silence'
  | 'shutdown'
  | 'run_timeout'
  /** An effect is in doubt, and the job waits for an operator. */
  | 'in_doubt'

/** What a job handler is given. */
export interface JobContext {
  /** The job, its payload, its `traceparent`, and what an earlier attempt left as `checkpoint`; with stages, the `stage`
   *  that it is in, and the `results` of those before it by name. */
  readonly job: Assignment
  /** Who holds it; with the job's fence these prove it to the control plane. */
  readonly executorId: string
  readonly epoch: number
  /** Aborts when the job must stop; its `reason` is a StopReason. */
  readonly signal: AbortSignal
  /** True while the control plane has not answered for `self_fence_ms`: somebody else may be given the
   *  job. Work may go on; begin nothing that cannot be undone. */
  readonly isOwnershipUncertain: boolean
  /** What was given as the reason, once the job is being cancelled: '' if none was, or it is not known yet. */
  readonly cancelReason: string | undefined
  /** Tells how far the job has come, any JSON up to 64 KiB; the next attempt gets the latest one as its
   *  checkpoint. Sent, as it is now, with the next heartbeat. Throws TypeError for anything else. */
  progress(value: unknown): void
  /** Does what cannot be undone, at most once for this job and key, on whatever attempt. Returns what `act` returned,
   *  or what it returned on an attempt before: any JSON up to 256 KiB. What it throws leaves open whether it was
   *  done, unless that is EffectNotDone. While the control plane is away it waits. Throws EffectInDoubt when the job
   *  has to wait for an operator, and ApiError when it is no longer held (stale_fence, stale_epoch) or is being
   *  cancelled (cancel_requested: nothing was begun). */
  effect<T>(
    key: string,
    act: (context: EffectContext) => Promise<T>,
    options?: EffectOptions<T>,
  ): Promise<T>
  /** Runs what must not be interrupted half-way: a cancel of the job waits for its end, or until `ceilingMs` have
   *  passed. While the control plane is away, its beginning and its end wait. Throws ApiError cancel_requested, and
   *  does nothing, if a cancel came first. */
  critical<T>(act: () => Promise<T>, options?: CriticalOptions): Promise<T>
}

/** Does the work of one job. What it returns is the result, any JSON up to 256 KiB. It may throw
 *  JobFailure or JobRelease; any other error fails the attempt, retryably. */
export type JobHandler = (context: JobContext) => Promise<unknown>

/** What a held job knows of its executor. */
export interface Holder {
  executorId: string
  epoch: number
  calls: LeaseCalls
  isUncertain(): boolean
}

/** One assignment while it is held: the handler's context, and what the executor does with it. */
export class HeldJob implements JobContext {
  readonly job: Assignment
  readonly executorId: string
  readonly epoch: number
  readonly #isUncertain: () => boolean
  readonly #ledger: Ledger
  readonly #critical: CriticalSections
  readonly #onStop: (reason: StopReason) => void
  readonly #acts = new Set<Promise<unknown>>()
  #isOver = false
  #cancelReason: string | undefined
  readonly #stop = new AbortController()
  #progress: { value: unknown; bytes: number } = { value: null, bytes: 0 }
  #told = 0
  #sent = 0

  constructor(job: Assignment, holder: Holder, onStop: (reason: StopReason) => void) {
    this.job = job
    this.executorId = holder.executorId
    this.epoch = holder.epoch
    this.#isUncertain = holder.isUncertain
    this.#ledger = new Ledger(holder.calls)
    this.#onStop = onStop
    this.#critical = new CriticalSections(holder.calls, job, this.signal, (why) => this.cancel(why))
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  get cancelReason(): string | undefined {
    return this.#cancelReason
  }

  get isOwnershipUncertain(): boolean {
    return this.#isUncertain()
  }

  progress(value: unknown): void {
    this.#progress = toJson(value, progressBytes)
    this.#told += 1
  }

  async effect<T>(
    key: string,
    act: (context: EffectContext) => Promise<T>,
    options: EffectOptions<T> = {},
  ): Promise<T> {
    return await this.#hold(() => this.#ledger.run(this.job, this.signal, key, act, options))
  }

  async critical<T>(act: () => Promise<T>, options: CriticalOptions = {}): Promise<T> {
    return await this.#hold(() => this.#critical.run(act, options))
  }

  /** Keeps the report until it is over. */
  async #hold<T>(run: () => Promise<T>): Promise<T> {
    if (this.#isOver) throw new Error('the handler has ended; nothing more is begun')
    const running = run()
    const settled = running.catch(() => undefined)
    this.#acts.add(settled)
    void settled.then(() => this.#acts.delete(settled))
    try {
      return await running
    } catch (error) {
      this.#heed(error)
      throw error
    }
  }

  /** What was asked for was refused for a reason that goes for the whole job. */
  #heed(error: unknown): void {
    if (error instanceof EffectInDoubt) this.#onStop('in_doubt')
    if (error instanceof ApiError && error.code === 'cancel_requested') this.cancel('')
  }

  /** Somebody has asked for its end. */
  cancel(reason: string): void {
    // A call that was refused tells no reason; the heartbeat that follows does.
    this.#cancelReason ||= reason
    this.#onStop('cancelled')
  }

  stop(reason: StopReason): void {
    this.#stop.abort(reason)
  }

  /** As a heartbeat lists it, with progress that was not sent yet if there is room for it; `sent` is to
   *  be called once it was. */
  list(room: number) {
    const { value: progress, bytes } = this.#progress
    const { job_id, fence } = this.job
    if (this.#told === this.#sent || bytes > room) {
      return { listed: { job_id, fence }, bytes: 0, sent: () => undefined }
    }
    const told = this.#told
    const sent = () => {
      this.#sent = told
    }
    return { listed: { job_id, fence, progress }, bytes, sent }
  }

  /** Runs the handler. Returns what is to be reported; undefined: nothing. It never rejects. */
  async run(handler: JobHandler): Promise<ReportItem | undefined> {
    const { job_id, fence, run_timeout_ms } = this.job
    const timeout =
      run_timeout_ms === null
        ? undefined
        : setTimeout(() => this.stop('run_timeout'), Math.min(run_timeout_ms, longestTimerMs))
    try {
      const result = await this.#untilActed(() => handler(this))
      return { job_id, fence, outcome: 'succeeded', result: toResult(result) }
    } catch (error) {
      const outcome = this.#outcomeOf(toError(error))
      return outcome && { job_id, fence, ...outcome }
    } finally {
      clearTimeout(timeout)
    }
  }

  /** No report while an effect, or a critical section, is under way: the next attempt would be told that it is in
   *  doubt, or to do it again, beside a process that is alive and at it. */
  async #untilActed(handle: () => Promise<unknown>): Promise<unknown> {
    try {
      return await handle()
    } finally {
      this.#isOver = true
      await Promise.all(this.#acts)
    }
  }

  /** A handler that gives up because it was told to stop has not failed. */
  #outcomeOf(error: Error): Pick<ReportItem, 'outcome' | 'error'> | undefined {
    if (error instanceof JobRelease) return { outcome: 'released' }
    if (error instanceof JobFailure || !this.signal.aborted) {
      return { outcome: 'failed', error: toFailure(error) }
    }
    switch (this.signal.reason as StopReason) {
      case 'revoked':
      case 'in_doubt':
        return undefined
      case 'cancelled':
        return { outcome: 'cancelled' }
      case 'run_timeout':
        return { outcome: 'failed', error: timedOut }
      default:
        return { outcome: 'released' }
    }
  }
}

const longestTimerMs = 2 ** 31 - 1
const progressBytes = 64 * 1_024
const resultBytes = 256 * 1_024
const timedOut = { code: 'run_timeout', message: 'ran longer than run_timeout_ms', retryable: true }

function toResult(value: unknown): unknown {
  try {
    return toJson(value, resultBytes).value
  } catch (error) {
    if (!(error instanceof UnsendableError)) throw error
    const message = `the result: ${error.message}`
    throw new JobFailure(`result_${error.code}`, message, { retryable: false })
  }
}

function toFailure(error: Error) {
  const isFailure = error instanceof JobFailure
  return {
    code: isFailure ? error.code : 'exception',
    message: toText(textOf(error), 16_000),
    retryable: isFailure ? error.retryable : true,
  }
}
