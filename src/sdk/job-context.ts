import type { Assignment, ReportItem } from '../contract/executors.ts'
import { JobFailure, JobRelease } from './errors.ts'
import { textOf, toError, toJson, toText, UnsendableError } from './json.ts'

/** Why a job's signal aborted. */
export type StopReason = 'revoked' | 'cancelled' | 'silence' | 'shutdown' | 'run_timeout'

/** What a job handler is given. */
export interface JobContext {
  /** The job, its payload, its `traceparent`, and what an earlier attempt left as `checkpoint`. */
  readonly job: Assignment
  /** Who holds it; with the job's fence these prove it to the control plane. */
  readonly executorId: string
  readonly epoch: number
  /** Aborts when the job must stop; its `reason` is a StopReason. */
  readonly signal: AbortSignal
  /** True while the control plane has not answered for `self_fence_ms`: somebody else may be given the
   *  job. Work may go on; begin nothing that cannot be undone. */
  readonly isOwnershipUncertain: boolean
  /** Tells how far the job has come, any JSON up to 64 KiB; the next attempt gets the latest one as its
   *  checkpoint. Sent, as it is now, with the next heartbeat. Throws TypeError for anything else. */
  progress(value: unknown): void
}

/** Does the work of one job. What it returns is the result, any JSON up to 256 KiB. It may throw
 *  JobFailure or JobRelease; any other error fails the attempt, retryably. */
export type JobHandler = (context: JobContext) => Promise<unknown>

/** What a held job knows of its executor. */
export interface Holder {
  executorId: string
  epoch: number
  isUncertain(): boolean
}

/** One assignment while it is held: the handler's context, and what the executor does with it. */
export class HeldJob implements JobContext {
  readonly job: Assignment
  readonly executorId: string
  readonly epoch: number
  readonly #isUncertain: () => boolean
  readonly #stop = new AbortController()
  #progress: { value: unknown; bytes: number } = { value: null, bytes: 0 }
  #told = 0
  #sent = 0

  constructor(job: Assignment, holder: Holder) {
    this.job = job
    this.executorId = holder.executorId
    this.epoch = holder.epoch
    this.#isUncertain = holder.isUncertain
  }

  get signal(): AbortSignal {
    return this.#stop.signal
  }

  get isOwnershipUncertain(): boolean {
    return this.#isUncertain()
  }

  progress(value: unknown): void {
    this.#progress = toJson(value, progressBytes)
    this.#told += 1
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
      return { job_id, fence, outcome: 'succeeded', result: toResult(await handler(this)) }
    } catch (error) {
      const outcome = this.#outcomeOf(toError(error))
      return outcome && { job_id, fence, ...outcome }
    } finally {
      clearTimeout(timeout)
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
