import type { Clock } from '../clock.ts'
import type { Assignment } from '../contract/executors.ts'
import { ApiError, UnavailableError } from './errors.ts'
import type { Transport } from './transport.ts'

export interface LeaseCallsOptions {
  transport: Transport
  clock: Clock
  executorId: string
  epoch: number
  selfFenceMs: number
  /** Aborts when the executor has ended. */
  ended: AbortSignal
}

const callMs = 2_000
const upgradeMs = 1_000
/** How long what was done may still take to be told once the executor shuts down. */
const lastWordMs = 5_000

/** One call in the name of a lease. */
export interface LeaseCall {
  job: Assignment
  /** The rest of the path, after the job's. */
  what: string
  body: object
  /** Aborts when nobody waits for the answer any more. */
  signal: AbortSignal
  /** What it is about may not be there. Otherwise a 404 comes of a replica of a build before, which has no such route:
   *  an upgrade is under way. */
  mayBeMissing?: boolean
}

/** What an executor asks in the name of one lease, again and again until it is answered. */
export class LeaseCalls {
  readonly #o: LeaseCallsOptions

  constructor(options: LeaseCallsOptions) {
    this.#o = options
  }

  /** Until the signal aborts. Throws ApiError. */
  async ask<T>(call: LeaseCall): Promise<T> {
    const { clock, ended } = this.#o
    const { signal, mayBeMissing = false } = call
    for (;;) {
      try {
        return await this.#send<T>(call)
      } catch (error) {
        const isMissing = error instanceof ApiError && error.code === 'not_found'
        if (!isMissing || mayBeMissing) throw error
        await clock.sleep(upgradeMs, signal, ended)
        signal.throwIfAborted()
        ended.throwIfAborted()
      }
    }
  }

  /** What is so has to be told, even by who has to stop (`signal`): then for a moment. */
  async tell<T>({ signal: stop, ...call }: LeaseCall): Promise<T> {
    const last = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const onStop = () => {
      timer = setTimeout(() => last.abort(new UnavailableError('stopped')), lastWordMs)
    }
    stop.addEventListener('abort', onStop, { once: true })
    if (stop.aborted) onStop()
    try {
      return await this.ask<T>({ ...call, signal: last.signal })
    } finally {
      stop.removeEventListener('abort', onStop)
      clearTimeout(timer)
    }
  }

  /** An answer to what was sent then may be about a lease that has ended since. */
  isStale(sentAt: number): boolean {
    return this.now() - sentAt >= this.#o.selfFenceMs
  }

  now(): number {
    return this.#o.clock.monotonic()
  }

  #send<T>({ job, what, body, signal }: LeaseCall): Promise<T> {
    const { transport, executorId, epoch, ended } = this.#o
    return transport.call<T>({
      method: 'POST',
      path: `/v1/jobs/${job.job_id}/${what}`,
      body: { executor_id: executorId, epoch, fence: job.fence, ...body },
      timeoutMs: callMs,
      patienceMs: Number.POSITIVE_INFINITY,
      isRepeatable: true,
      signal: AbortSignal.any([signal, ended]),
    })
  }
}
