import type { Clock } from '../clock.ts'

/** So many at once; the others wait, in the order of asking. */
export class Turns {
  readonly #clock: Clock
  readonly #waiting = new Set<AbortController>()
  #free: number

  constructor(most: number, clock: Clock) {
    this.#free = most
    this.#clock = clock
  }

  /** True: whoever asked has a turn, and ends it. False: none came within `ms`, or a signal aborted before. */
  async take(ms: number, ...signals: (AbortSignal | undefined)[]): Promise<boolean> {
    if (this.#free > 0) {
      this.#free -= 1
      return true
    }
    const turn = new AbortController()
    this.#waiting.add(turn)
    await this.#clock.sleep(ms, turn.signal, ...signals)
    this.#waiting.delete(turn)
    return turn.signal.aborted
  }

  end(): void {
    const [next] = this.#waiting
    if (!next) {
      this.#free += 1
      return
    }
    this.#waiting.delete(next)
    next.abort()
  }
}
