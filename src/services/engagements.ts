/** Executors that something is under way for that bears on what they are given: a claim, or a report that may degrade
 *  them. For each, one thing after the other: no claim goes by a standing that is just being changed. */
export class Engagements {
  readonly #ends = new Map<string, Promise<void>>()

  has(executorId: string): boolean {
    return this.#ends.has(executorId)
  }

  /** Resolves once it is not engaged. */
  async free(executorId: string): Promise<void> {
    while (this.#ends.has(executorId)) await this.#ends.get(executorId)
  }

  /** Resolves once that has ended which is under way for it now; who asks later comes later. */
  async before(executorId: string): Promise<void> {
    await this.#ends.get(executorId)
  }

  /** Engages executors from now on, until the returned function is called. */
  begin(executorIds: string[]): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    for (const id of executorIds) this.#ends.set(id, promise)
    return () => {
      for (const id of executorIds) if (this.#ends.get(id) === promise) this.#ends.delete(id)
      resolve()
    }
  }

  /** Runs `fn` once what is under way for them has ended; whatever comes later comes after it. */
  async during<T>(executorIds: string[], fn: () => Promise<T>): Promise<T> {
    const before = executorIds.map((id) => this.#ends.get(id))
    const end = this.begin(executorIds)
    try {
      await Promise.all(before)
      return await fn()
    } finally {
      end()
    }
  }
}
