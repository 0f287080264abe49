import type { Clock } from '../clock.ts'
import type { Term } from '../leader/term.ts'
import type { Log } from '../log.ts'
import { type Counts, type LoopRun, type LoopState, runEvery } from '../loop.ts'
import type { Nudge } from '../nudge.ts'

/** One bounded, idempotent, leader-only pass, repeated. It probes with a read, and opens a fenced
 *  transaction only when there is work. */
export interface Sweep {
  name: string
  intervalMs: number
  nudge?: Nudge
  runOnce(term: Term): Promise<{ counts: Counts; pauseMs?: number }>
}

export interface SchedulerOptions {
  sweeps: Sweep[]
  clock: Clock
  log: Log
  onState(state: LoopState): void
  onRun?(run: LoopRun): void
}

/** Runs every sweep under the term's signal, and returns when all have ended. */
export async function runSweeps(term: Term, lost: AbortSignal, options: SchedulerOptions) {
  const { sweeps, ...rest } = options
  await Promise.all(
    sweeps.map(({ name, intervalMs, nudge, runOnce }) =>
      runEvery({ ...rest, name, intervalMs, signal: lost, nudge }, () => runOnce(term)),
    ),
  )
}
