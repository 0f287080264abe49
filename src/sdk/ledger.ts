import { randomUUID } from 'node:crypto'
import type { EffectBegun, OnDoubt } from '../contract/effects.ts'
import type { Assignment } from '../contract/executors.ts'
import { EffectInDoubt, EffectNotDone, isContentRefused, JobFailure } from './errors.ts'
import { textOf, toJson, UnsendableError } from './json.ts'
import type { LeaseCall, LeaseCalls } from './lease-calls.ts'

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

const resultBytes = 256 * 1_024

/** The control plane's ledger of irreversible acts, for what one executor holds. */
export class Ledger {
  readonly #calls: LeaseCalls

  constructor(calls: LeaseCalls) {
    this.#calls = calls
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
      const entry = new Entry(this.#calls, job, key, stop)
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
}

/** One begin, and what becomes of it. */
class Entry {
  readonly #calls: LeaseCalls
  readonly #job: Assignment
  readonly #key: string
  readonly #stop: AbortSignal
  readonly #beginId = randomUUID()

  constructor(calls: LeaseCalls, job: Assignment, key: string, stop: AbortSignal) {
    this.#calls = calls
    this.#job = job
    this.#key = key
    this.#stop = stop
  }

  async begin(onDoubt: OnDoubt): Promise<EffectBegun> {
    try {
      for (;;) {
        const sentAt = this.#calls.now()
        const body = { begin_id: this.#beginId, on_doubt: onDoubt }
        const begun = await this.#calls.ask<EffectBegun>(this.#call('begin', body))
        this.#stop.throwIfAborted()
        if (!this.#calls.isStale(sentAt)) return begun
      }
    } catch (error) {
      if (this.#stop.aborted) await this.#takeBack(onDoubt).catch(() => undefined)
      throw error
    }
  }

  /** Whatever became of the request, nothing was done: that need not be in doubt. Asked once more, for who was told
   *  that it is in doubt knows nothing, and must not say that it was not done. Best effort. */
  async #takeBack(onDoubt: OnDoubt): Promise<void> {
    const body = { begin_id: this.#beginId, on_doubt: onDoubt }
    const begun = await this.#calls.tell<EffectBegun>(this.#call('begin', body))
    if (begun.outcome === 'proceed' && begun.on_doubt !== 'retry') await this.abort()
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

  async #tell(verb: string, body: object): Promise<void> {
    await this.#calls.tell(this.#call(verb, body))
  }

  #call(verb: string, body: object): LeaseCall {
    return {
      job: this.#job,
      what: `effects/${encodeURIComponent(this.#key)}/${verb}`,
      body,
      signal: this.#stop,
      mayBeMissing: verb === 'abort',
    }
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
