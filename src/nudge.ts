/** Cuts a loop's pause short. One that comes while the loop is at work is not lost: it is armed before
 *  the work begins, and the pause after it ends at once. */
export class Nudge {
  #armed = new AbortController()

  /** The signal that the next pause must heed. */
  arm(): AbortSignal {
    this.#armed = new AbortController()
    return this.#armed.signal
  }

  nudge(): void {
    this.#armed.abort()
  }
}
