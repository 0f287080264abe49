import type { CriticalAnswer } from '../contract/cancels.ts'
import type { Assignment } from '../contract/executors.ts'
import { ApiError } from './errors.ts'
import type { LeaseCall, LeaseCalls } from './lease-calls.ts'

export interface CriticalOptions {
  /** Longest that a cancel waits, from the section's beginning; milliseconds, up to an hour; default five minutes. */
  ceilingMs?: number
}

/** The sections of one held job in which a cancel waits. Those that overlap are one. */
export class CriticalSections {
  readonly #calls: LeaseCalls
  readonly #job: Assignment
  readonly #stop: AbortSignal
  readonly #onCancel: (reason: string) => void
  #depth = 0
  #last: Promise<void> = Promise.resolve()

  constructor(
    calls: LeaseCalls,
    job: Assignment,
    stop: AbortSignal,
    onCancel: (reason: string) => void,
  ) {
    this.#calls = calls
    this.#job = job
    this.#stop = stop
    this.#onCancel = onCancel
  }

  async run<T>(act: () => Promise<T>, { ceilingMs }: CriticalOptions): Promise<T> {
    await this.#inTurn(async () => {
      this.#stop.throwIfAborted()
      if (this.#depth === 0) await this.#enter(ceilingMs)
      this.#depth += 1
    })
    try {
      return await act()
    } finally {
      await this.#inTurn(async () => {
        this.#depth -= 1
        if (this.#depth === 0) await this.#leave()
      })
    }
  }

  /** One after the other: no section begins, or joins one, while it is not known whether there is one. */
  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#last.then(step)
    this.#last = done.catch(() => undefined)
    return done
  }

  async #enter(ceilingMs: number | undefined): Promise<void> {
    const body = { enter: true, ceiling_ms: ceilingMs }
    try {
      await this.#calls.ask<CriticalAnswer>(this.#critical(body))
      this.#stop.throwIfAborted()
    } catch (error) {
      // Whatever became of the request, nothing is going on that a cancel would have to wait for.
      if (this.#stop.aborted) await this.#leave()
      throw error
    }
  }

  /** What was done is done, also where the lease is lost, or nobody answers: then the ceiling ends the section. */
  async #leave(): Promise<void> {
    try {
      const { cancel } = await this.#calls.tell<CriticalAnswer>(this.#critical({ enter: false }))
      if (cancel) this.#onCancel(cancel.reason)
    } catch (error) {
      if (error instanceof ApiError || this.#stop.aborted) return
      throw error
    }
  }

  #critical(body: object): LeaseCall {
    return { job: this.#job, what: 'critical', body, signal: this.#stop }
  }
}
