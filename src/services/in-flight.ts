/** Counts what executors are being answered, so that a hand-over waits for no longer than that takes. */
export class InFlight {
  #count = 0
  #idle = Promise.withResolvers<void>()

  /** One begins; the returned function ends it. */
  begin(): () => void {
    this.#count += 1
    return () => {
      this.#count -= 1
      if (this.#count > 0) return
      this.#idle.resolve()
      this.#idle = Promise.withResolvers()
    }
  }

  /** Resolves when there is none; at once, if there is none now. */
  async idle(): Promise<void> {
    if (this.#count > 0) await this.#idle.promise
  }
}
