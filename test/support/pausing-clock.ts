import { type Clock, systemClock } from '../../src/clock.ts'

/** The real time, until a test lets it stand still: then whoever sleeps sleeps on, so that nothing happens of
 *  itself. */
export class PausingClock implements Clock {
  #pausedAt: number | undefined
  #lostMs = 0
  #resumed = Promise.withResolvers<void>()

  monotonic(): number {
    return (this.#pausedAt ?? systemClock.monotonic()) - this.#lostMs
  }

  async sleep(ms: number, ...signals: (AbortSignal | undefined)[]): Promise<void> {
    await systemClock.sleep(ms, ...signals)
    if (this.#pausedAt === undefined || signals.some((signal) => signal?.aborted)) return
    const aborted = signals.map(
      (signal) => new Promise((resolve) => signal?.addEventListener('abort', resolve)),
    )
    await Promise.race([this.#resumed.promise, ...aborted])
  }

  pause(): void {
    this.#pausedAt = systemClock.monotonic()
    this.#resumed = Promise.withResolvers()
  }

  resume(): void {
    if (this.#pausedAt === undefined) return
    this.#lostMs += systemClock.monotonic() - this.#pausedAt
    this.#pausedAt = undefined
    this.#resumed.resolve()
  }
}
