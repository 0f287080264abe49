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

/** A lane for each key, for as long as somebody is in it. */
export class Lanes {
  readonly #byKey = new Map<string, { lane: Lane; users: number }>()

  async run<T>(key: string, fn: () => Promise<T>): Promise<T> {
    const entry = this.#byKey.get(key) ?? { lane: new Lane(), users: 0 }
    this.#byKey.set(key, entry)
    entry.users += 1
    try {
      return await entry.lane.run(fn)
    } finally {
      entry.users -= 1
      if (entry.users === 0) this.#byKey.delete(key)
    }
  }
}
