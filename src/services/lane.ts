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
