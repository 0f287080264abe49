import type { Waiter, WaiterGroup, WaitList } from './wait-list.ts'

/** Requests of one group that wait for a thing that has a key. They are told at once of what happens on this replica,
 *  and find out by looking what happened on another. */
export class KeyedWaits {
  readonly #group: WaiterGroup
  readonly #waitList: WaitList
  readonly #byKey = new Map<string, Set<Waiter<true>>>()

  constructor(group: WaiterGroup, waitList: WaitList) {
    this.#group = group
    this.#waitList = waitList
  }

  /** What somebody waits for. */
  get keys(): string[] {
    return [...this.#byKey.keys()]
  }

  add(key: string, waitMs: number, gone: AbortSignal): Waiter<true> {
    const waiter: Waiter<true> = this.#waitList.add({
      group: this.#group,
      waitMs,
      gone,
      onLeave: (left) => this.#leave(key, left),
    })
    if (waiter.isSettled) return waiter
    const waiters = this.#byKey.get(key) ?? new Set()
    this.#byKey.set(key, waiters.add(waiter))
    return waiter
  }

  /** It has happened, for all who wait for it. */
  settleAll(key: string): void {
    for (const waiter of [...(this.#byKey.get(key) ?? [])]) waiter.settle(true)
  }

  /** It has happened, and only one of them can have it. */
  settleFirst(key: string): void {
    const [first] = this.#byKey.get(key) ?? []
    first?.settle(true)
  }

  #leave(key: string, waiter: Waiter<true>): void {
    const waiters = this.#byKey.get(key)
    waiters?.delete(waiter)
    if (waiters?.size === 0) this.#byKey.delete(key)
  }
}
