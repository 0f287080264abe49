import { findSettledJobs } from '../sql/jobs.ts'
import type { Queryable } from '../sql/pool.ts'
import { KeyedWaits } from './keyed-waits.ts'
import type { Waiter, WaitList } from './wait-list.ts'

/** Requests that wait for a job to be final. */
export class JobWaits {
  readonly #db: Queryable
  readonly #waits: KeyedWaits

  constructor(db: Queryable, waitList: WaitList) {
    this.#db = db
    this.#waits = new KeyedWaits('job', waitList)
  }

  add(jobId: string, waitMs: number, gone: AbortSignal): Waiter<true> {
    return this.#waits.add(jobId, waitMs, gone)
  }

  settled(jobIds: string[]): void {
    for (const jobId of jobIds) this.#waits.settleAll(jobId)
  }

  /** One query for everybody who waits; none if nobody does. */
  async look(): Promise<{ counts: Record<string, number> }> {
    const { keys } = this.#waits
    if (keys.length > 0) this.settled(await findSettledJobs(this.#db, keys))
    return { counts: {} }
  }
}
