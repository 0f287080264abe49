/** Executors that something is under way for that bears on what they are given: a claim, or a report that may degrade
 *  them. For each, one at a time: no claim goes by a standing that is just being changed. */
export class Engagements {
  readonly #ends = new Map<string, Promise<void>>()

  has(executorId: string): boolean {
    return this.#ends.has(executorId)
  }

  /** Resolves once none of them is engaged; in the same turn they may be. */
  async free(executorIds: string[]): Promise<void> {
    for (;;) {
      const ends = executorIds.map((id) => this.#ends.get(id)).filter((end) => end !== undefined)
      if (ends.length === 0) return
      await Promise.all(ends)
    }
  }

  /** Engages those that are free; the returned function ends it. */
  begin(executorIds: string[]): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    for (const id of executorIds) this.#ends.set(id, promise)
    return () => {
      for (const id of executorIds) this.#ends.delete(id)
      resolve()
    }
  }
}
