import { performance } from 'node:perf_hooks'

/** Local time. It never judges a deadline shared between processes (invariant 8): that is the
 *  database's clock, in SQL. It judges trust in one's own leadership, and how long to wait. */
export interface Clock {
  /** Milliseconds on a clock that never jumps and runs on while the process is frozen. */
  monotonic(): number
  /** Resolves after `ms`, or at once when one of the signals aborts. It never rejects. */
  sleep(ms: number, ...signals: (AbortSignal | undefined)[]): Promise<void>
}

/** Longest that a timer can run. */
const longestMs = 2 ** 31 - 1

export const systemClock: Clock = {
  monotonic: () => performance.now(),
  sleep: (ms, ...given) =>
    new Promise((resolve) => {
      const signals = given.filter((signal) => signal !== undefined)
      const wake = () => {
        clearTimeout(timer)
        for (const signal of signals) signal.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, Math.min(Math.max(0, ms), longestMs))
      for (const signal of signals) signal.addEventListener('abort', wake)
      if (signals.some(({ aborted }) => aborted)) wake()
    }),
}
