import { findSettledJobs } from '../sql/jobs.ts'
import type { Queryable } from '../sql/pool.ts'
import type { Waiter, WaitList } from './wait-list.ts'

/** Requests that wait for a job to be final. They are told at once of what ends on this replica, and
 *  find out by looking what ended on another. */
export class JobWaits {
  readonly #db: Queryable
  readonly #waitList: WaitList
  readonly #byJob = new Map<string, Set<Waiter<true>>>()

  constructor(db: Queryable, waitList: WaitList) {
    this.#db = db
    this.#waitList = waitList
  }

  add(jobId: string, waitMs: number, gone: AbortSignal): Waiter<true> {
    const waiter: Waiter<true> = this.#waitList.add({
      group: 'job',
      waitMs,
      gone,
      onLeave: (left) => this.#leave(jobId, left),
    })
    if (waiter.isSettled) return waiter
    const waiters = this.#byJob.get(jobId) ?? new Set()
    this.#byJob.set(jobId, waiters.add(waiter))
    return waiter
  }

  settled(jobIds: string[]): void {
    for (const jobId of jobIds) {
      for (const waiter of [...(this.#byJob.get(jobId) ?? [])]) waiter.settle(true)
    }
  }

  /** One query for everybody who waits; none if nobody does. */
  async look(): Promise<{ counts: Record<string, number> }> {
    if (this.#byJob.size > 0) {
      this.settled(await findSettledJobs(this.#db, [...this.#byJob.keys()]))
    }
    return { counts: {} }
  }

  #leave(jobId: string, waiter: Waiter<true>): void {
    const waiters = this.#byJob.get(jobId)
    waiters?.delete(waiter)
    if (waiters?.size === 0) this.#byJob.delete(jobId)
  }
}
