import type { Clock } from '../../src/clock.ts'

interface Sleeper {
  until: number
  wake(): void
}

/** A clock that stands still until a test moves it. */
export class HandClock implements Clock {
  #now = 0
  #sleepers: Sleeper[] = []

  monotonic(): number {
    return this.#now
  }

  sleep(ms: number, ...signals: (AbortSignal | undefined)[]): Promise<void> {
    return new Promise((resolve) => {
      const sleeper = { until: this.#now + Math.max(0, ms), wake: resolve }
      this.#sleepers.push(sleeper)
      for (const signal of signals) signal?.addEventListener('abort', () => resolve())
      if (ms <= 0 || signals.some((signal) => signal?.aborted)) resolve()
    })
  }

  /** Resolves once somebody sleeps until then. */
  async untilAsleepUntil(at: number): Promise<void> {
    while (!this.#sleepers.some(({ until }) => until === at)) {
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Goes on, and wakes nobody: as for a process that is stalled. */
  stall(ms: number): void {
    this.#now += ms
  }

  /** Goes on, and lets everybody do what they were waiting to do. */
  async advance(ms: number): Promise<void> {
    this.#now += ms
    const due = this.#sleepers.filter(({ until }) => until <= this.#now)
    this.#sleepers = this.#sleepers.filter(({ until }) => until > this.#now)
    for (const { wake } of due) wake()
    await new Promise((resolve) => setImmediate(resolve))
  }
}
