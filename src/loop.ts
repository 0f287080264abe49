import { fullJitter, jittered } from './backoff.ts'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'
import type { Nudge } from './nudge.ts'

export type Counts = Record<string, number>

/** What a loop last did, for `GET /v1/status`. */
export interface LoopState {
  name: string
  runs: number
  failures: number
  last_counts: Counts
  last_error: string | null
}

/** One run of a loop, for whoever counts them. */
export interface LoopRun {
  name: string
  ms: number
  /** Undefined: it failed. */
  counts: Counts | undefined
}

interface LoopOptions {
  name: string
  intervalMs: number
  signal: AbortSignal
  clock: Clock
  log: Log
  nudge?: Nudge | undefined
  onState?: (state: LoopState) => void
  onRun?: ((run: LoopRun) => void) | undefined
}

const afterFailure = { baseMs: 200, factor: 2, capMs: 5_000 }

/** Repeats `runOnce` until the signal aborts. It never overlaps itself; a run that throws is logged
 *  and repeated with backoff. `runOnce` may name the next pause; else it is the interval ±10 %. */
export async function runEvery(
  options: LoopOptions,
  runOnce: () => Promise<{ counts: Counts; pauseMs?: number }>,
): Promise<void> {
  const { name, intervalMs, signal, clock, log, nudge, onState, onRun } = options
  const state: LoopState = { name, runs: 0, failures: 0, last_counts: {}, last_error: null }
  let failuresInARow = 0
  while (!signal.aborted) {
    const nudged = nudge?.arm()
    let pauseMs = jittered(intervalMs)
    let counts: Counts | undefined
    const startedAt = clock.monotonic()
    try {
      const done = await runOnce()
      pauseMs = done.pauseMs ?? pauseMs
      counts = done.counts
      failuresInARow = 0
      state.runs += 1
      state.last_counts = done.counts
      state.last_error = null
      if (Object.values(done.counts).some((count) => count > 0)) log.info({ ...done.counts }, name)
    } catch (error) {
      if (signal.aborted) return
      pauseMs = fullJitter(failuresInARow++, afterFailure)
      state.failures += 1
      state.last_error = error instanceof Error ? error.message : String(error)
      log.error({ err: error }, `${name} failed and will be repeated`)
    }
    onState?.({ ...state })
    onRun?.({ name, ms: clock.monotonic() - startedAt, counts })
    await clock.sleep(pauseMs, signal, nudged)
  }
}
