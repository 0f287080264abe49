import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { EffectBegun, OnDoubt } from '../contract/effects.ts'
import type { Assignment } from '../contract/executors.ts'
import {
  ApiError,
  EffectInDoubt,
  EffectNotDone,
  isContentRefused,
  JobFailure,
  UnavailableError,
} from './errors.ts'
import { textOf, toJson, UnsendableError } from './json.ts'
import type { Transport } from './transport.ts'

/** What the code of an irreversible act is given. */
export interface EffectContext {
  /** Stable for this job and key, on every attempt: hand it to the outside system as its idempotency key. */
  readonly token: string
  /** Aborts when the job must stop. What has been sent by then cannot be called back. */
  readonly signal: AbortSignal
}

/** What was found out about an act that was in doubt. */
export type Found<T> = { outcome: 'committed'; result: T } | { outcome: 'aborted' }

/** What to do with an act that an attempt may have done which was lost. The first begin of a key decides. */
export type EffectOptions<T> =
  /** hold, the default: the job waits for an operator. retry: it is safe to do it again. */
  | { onDoubt?: 'hold' | 'retry' }
  /** The next attempt asks the outside system. It must know: what it cannot find out it throws. */
  | { onDoubt: 'reconcile'; reconcile(context: EffectContext): Promise<Found<T>> }

export interface LedgerOptions {
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
/** How long what was done may still take to be told once the executor shuts down; then it is in doubt. */
const lastWordMs = 5_000
const resultBytes = 256 * 1_024

/** The control plane's ledger of irreversible acts, for what one executor holds. */
export class Ledger {
  readonly #o: LedgerOptions

  constructor(options: LedgerOptions) {
    this.#o = options
  }

  /** Does it unless it was done. See JobContext.effect. */
  async run<T>(
    job: Assignment,
    stop: AbortSignal,
    key: string,
    act: (context: EffectContext) => Promise<T>,
    options: EffectOptions<T>,
  ): Promise<T> {
    for (;;) {
      stop.throwIfAborted()
      const entry = new Entry(this, job, key, stop)
      const begun = await entry.begin(options.onDoubt ?? 'hold')
      if (begun.outcome === 'committed') return begun.result as T
      const context = { token: begun.effect_token, signal: stop }
      if (begun.outcome === 'proceed') return await perform(entry, () => act(context))
      if (begun.on_doubt === 'hold') throw new EffectInDoubt(key)
      if (options.onDoubt !== 'reconcile') {
        const message = `effect ${key} may have been done; it was begun to be reconciled, and this handler cannot`
        throw new JobFailure('effect_in_doubt', message, { retryable: false })
      }
      const found = await options.reconcile(context)
      if (found.outcome === 'committed') return await entry.commit(found.result)
      await entry.abort()
    }
  }

  /** Asks until it is answered, or the signal aborts. A replica of a build that knows no effects says that there is no
   *  such route: an upgrade is under way. */
  async call<T>(
    job: Assignment,
    key: string,
    verb: string,
    body: object,
    signal: AbortSignal,
  ): Promise<T> {
    const { transport, clock, executorId, epoch, ended } = this.#o
    for (;;) {
      try {
        return await transport.call<T>({
          method: 'POST',
          path: `/v1/jobs/${job.job_id}/effects/${encodeURIComponent(key)}/${verb}`,
          body: { executor_id: executorId, epoch, fence: job.fence, ...body },
          timeoutMs: callMs,
          patienceMs: Number.POSITIVE_INFINITY,
          isRepeatable: true,
          signal: AbortSignal.any([signal, ended]),
        })
      } catch (error) {
        const isUnknown = error instanceof ApiError && error.code === 'not_found'
        if (!isUnknown || verb === 'abort') throw error
        await clock.sleep(upgradeMs, signal, ended)
        signal.throwIfAborted()
        ended.throwIfAborted()
      }
    }
  }

  /** An answer that took so long may be about a lease that has ended since. */
  isStale(sentAt: number): boolean {
    return this.#o.clock.monotonic() - sentAt >= this.#o.selfFenceMs
  }

  now(): number {
    return this.#o.clock.monotonic()
  }
}

/** One begin, and what becomes of it. */
class Entry {
  readonly #ledger: Ledger
  readonly #job: Assignment
  readonly #key: string
  readonly #stop: AbortSignal
  readonly #beginId = randomUUID()

  constructor(ledger: Ledger, job: Assignment, key: string, stop: AbortSignal) {
    this.#ledger = ledger
    this.#job = job
    this.#key = key
    this.#stop = stop
  }

  async begin(onDoubt: OnDoubt): Promise<EffectBegun> {
    try {
      for (;;) {
        const sentAt = this.#ledger.now()
        const body = { begin_id: this.#beginId, on_doubt: onDoubt }
        const begun = await this.#call<EffectBegun>('begin', body, this.#stop)
        this.#stop.throwIfAborted()
        if (!this.#ledger.isStale(sentAt)) return begun
      }
    } catch (error) {
      // Whatever became of the request, nothing was done: that need not be in doubt.
      // Best effort: it may not even have been begun.
      if (this.#stop.aborted) await this.abort().catch(() => undefined)
      throw error
    }
  }

  /** Returns what later attempts are told. */
  async commit<T>(result: T): Promise<T> {
    try {
      const sent = toJson(result, resultBytes).value
      await this.#tell('commit', { begin_id: this.#beginId, result: sent })
      return sent as T
    } catch (error) {
      const code = error instanceof UnsendableError ? error.code : undefined
      if (code === undefined && !isContentRefused(error)) throw error
      // It was done all the same, and must not be done again for want of words.
      await this.#tell('commit', { begin_id: this.#beginId, result: null })
      const message = `effect ${this.#key} was done; its result: ${textOf(error)}`
      throw new JobFailure(`result_${code ?? 'refused'}`, message, { retryable: false })
    }
  }

  async abort(): Promise<void> {
    await this.#tell('abort', { begin_id: this.#beginId })
  }

  /** What is so has to be told, even by who has to stop. */
  async #tell(verb: string, body: object): Promise<void> {
    const last = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const onStop = () => {
      timer = setTimeout(() => last.abort(new UnavailableError('stopped')), lastWordMs)
    }
    this.#stop.addEventListener('abort', onStop, { once: true })
    if (this.#stop.aborted) onStop()
    try {
      await this.#call(verb, body, last.signal)
    } finally {
      this.#stop.removeEventListener('abort', onStop)
      clearTimeout(timer)
    }
  }

  #call<T>(verb: string, body: object, signal: AbortSignal): Promise<T> {
    return this.#ledger.call<T>(this.#job, this.#key, verb, body, signal)
  }
}

/** What throws may have happened all the same: it stays begun, and is in doubt when the lease ends. */
async function perform<T>(entry: Entry, act: () => Promise<T>): Promise<T> {
  let result: T
  try {
    result = await act()
  } catch (error) {
    if (error instanceof EffectNotDone) await entry.abort()
    throw error
  }
  return await entry.commit(result)
}
