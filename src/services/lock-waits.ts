import { listFreeNames } from '../sql/locks.ts'
import type { Queryable } from '../sql/pool.ts'
import { KeyedWaits } from './keyed-waits.ts'
import type { Waiter, WaitList } from './wait-list.ts'

/** Requests that wait for a named lock. One at a time is woken to try for it: the others would find it taken. If that
 *  one does not take it after all, the next look wakes another. */
export class LockWaits {
  readonly #db: Queryable
  readonly #waits: KeyedWaits

  constructor(db: Queryable, waitList: WaitList) {
    this.#db = db
    this.#waits = new KeyedWaits('lock', waitList)
  }

  add(name: string, waitMs: number, gone: AbortSignal): Waiter<true> {
    return this.#waits.add(name, waitMs, gone)
  }

  /** Somebody on this replica or another has given it up. */
  freed(name: string): void {
    this.#waits.settleFirst(name)
  }

  /** One query for everybody who waits; none if nobody does. Finds locks that went stale, ended with their job, or
   *  were freed on another replica that could not say so. */
  async look(): Promise<{ counts: Record<string, number> }> {
    const { keys } = this.#waits
    if (keys.length === 0) return { counts: {} }
    for (const name of await listFreeNames(this.#db, keys)) this.freed(name)
    return { counts: {} }
  }
}
