/** Runs one thing at a time, in the order of asking. */
export class Lane {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(fn: () => Promise<T>): Promise<T> {
    const next = this.#last.then(fn)
    // The next in line waits for this one to end, however it ends; its caller gets the error.
    this.#last = next.catch(() => undefined)
    return next
  }
}

interface KeyedLane {
  lane: Lane
  users: number
  /** For all who are still in it. */
  failure?: unknown
}

/** A lane for each key, for as long as somebody is in it. What fails for a reason that holds for all fails for those
 *  behind it, too, at once: else each would wait for its turn, to fail as slowly. */
export class Lanes {
  readonly #byKey = new Map<string, KeyedLane>()
  readonly #isForAll: (error: unknown) => boolean

  constructor(isForAll: (error: unknown) => boolean) {
    this.#isForAll = isForAll
  }

  async run<T>(key: string, fn: () => Promise<T>): Promise<T> {
    const entry: KeyedLane = this.#byKey.get(key) ?? { lane: new Lane(), users: 0 }
    this.#byKey.set(key, entry)
    entry.users += 1
    try {
      return await entry.lane.run(() => this.#turn(key, entry, fn))
    } finally {
      entry.users -= 1
      if (entry.users === 0) this.#forget(key, entry)
    }
  }

  async #turn<T>(key: string, entry: KeyedLane, fn: () => Promise<T>): Promise<T> {
    if ('failure' in entry) throw entry.failure
    try {
      return await fn()
    } catch (error) {
      if (this.#isForAll(error)) {
        entry.failure = error
        // Who comes now may find things better.
        this.#forget(key, entry)
      }
      throw error
    }
  }

  #forget(key: string, entry: KeyedLane): void {
    if (this.#byKey.get(key) === entry) this.#byKey.delete(key)
  }
}
