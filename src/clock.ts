import { performance } from 'node:perf_hooks'
import { setTimeout as timer } from 'node:timers/promises'

/** Local time. It never judges a deadline shared between processes (invariant 8): that is the
 *  database's clock, in SQL. It judges trust in one's own leadership, and how long to wait. */
export interface Clock {
  /** Milliseconds on a clock that never jumps and runs on while the process is frozen. */
  monotonic(): number
  /** Resolves after `ms`, or at once when the signal aborts. It never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await timer(Math.max(0, ms), undefined, signal ? { signal } : {})
    } catch (error) {
      if (!signal?.aborted) throw error
    }
  },
}
