import type { Clock } from '../clock.ts'

const deafMs = 1_000
const tickMs = 250

/** Notes that executors may not have been heard for more than a second, though this replica led: it
 *  refused, shed or stalled heartbeats. Whoever takes work away asks first. */
export class Stalls {
  readonly #clock: Clock
  #tickedAt: number
  #noted = 0
  #settled = 0

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
    this.#noted += 1
  }

  now(): number {
    return this.#clock.monotonic()
  }

  /** A heartbeat received at `receivedAt` is answered now, or has come that far. */
  answered(receivedAt: number): void {
    if (this.#clock.monotonic() - receivedAt > deafMs) this.note()
  }

  /** The latest stall, to hand to `settle` once the deadlines have been moved for it; 0: there was none.
   *  Looks at the clock itself: after a stall the asker's timer may fire before the one that watches. */
  get unsettled(): number {
    this.#tick()
    return this.#noted > this.#settled ? this.#noted : 0
  }

  settle(stall: number): void {
    this.#settled = Math.max(this.#settled, stall)
  }

  #tick(): void {
    const now = this.#clock.monotonic()
    if (now - this.#tickedAt > tickMs + deafMs) this.note()
    this.#tickedAt = now
  }
}
