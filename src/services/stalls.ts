import type { Clock } from '../clock.ts'

const deafMs = 1_000
const tickMs = 250

/** Notes that executors may not have been heard for more than a second, though this replica led: it
 *  refused, shed or stalled heartbeats. Whoever takes work away asks first. */
export class Stalls {
  readonly #clock: Clock
  #tickedAt: number
  #noted = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#tickedAt = clock.monotonic()
  }

  /** Watches the event loop until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#tick()
      await this.#clock.sleep(tickMs, signal)
    }
  }

  note(): void {
    this.#noted = true
  }

  /** A heartbeat received at `receivedAt` is answered now. */
  answered(receivedAt: number): void {
    if (this.#clock.monotonic() - receivedAt > deafMs) this.note()
  }

  /** Whether there was a stall since this was last asked. Looks at the clock itself: after a stall the
   *  asker's timer may fire before the one that watches. */
  take(): boolean {
    this.#tick()
    const noted = this.#noted
    this.#noted = false
    return noted
  }

  #tick(): void {
    const now = this.#clock.monotonic()
    if (now - this.#tickedAt > tickMs + deafMs) this.#noted = true
    this.#tickedAt = now
  }
}
