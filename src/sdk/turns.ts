import type { Clock } from '../clock.ts'

interface Waiting {
  since: number
  mostMs: number
  answer(hasTurn: boolean): void
}

/** So many at once; the others wait, in the order of asking, for as long as those before them get on. */
export class Turns {
  readonly #clock: Clock
  readonly #waiting = new Set<Waiting>()
  #free: number
  #servedAt = Number.NEGATIVE_INFINITY

  constructor(most: number, clock: Clock) {
    this.#free = most
    this.#clock = clock
  }

  /** True: whoever asked has a turn, and ends it. False: one that had a turn was not served, nor was any other for
   *  `mostMs`. */
  async take(mostMs: number): Promise<boolean> {
    if (this.#free > 0) {
      this.#free -= 1
      return true
    }
    const since = this.#clock.monotonic()
    return new Promise((answer) => this.#waiting.add({ since, mostMs, answer }))
  }

  end(isServed: boolean): void {
    const [next] = this.#waiting
    if (next) this.#answer(next, true)
    else this.#free += 1
    if (isServed) this.#servedAt = this.#clock.monotonic()
    else this.#dismiss()
  }

  /** Whether anybody who had a turn was. */
  wasServedSince(then: number): boolean {
    return this.#servedAt >= then
  }

  #dismiss(): void {
    const now = this.#clock.monotonic()
    for (const waiting of this.#waiting) {
      const { since, mostMs } = waiting
      if (now >= Math.max(since, this.#servedAt) + mostMs) this.#answer(waiting, false)
    }
  }

  #answer(waiting: Waiting, hasTurn: boolean): void {
    this.#waiting.delete(waiting)
    waiting.answer(hasTurn)
  }
}
