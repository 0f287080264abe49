import type { Outcome } from './lease.ts'

/**
 * How an executor is. Pure: what was read under its row lock goes in, and what is to be written comes out. Two axes,
 * with counters of their own, since a machine that is reached may ruin every job, and one that ruins none be cut off:
 *
 *   state, by beats:     healthy ──3 missed──▶ suspect ──lease TTL──▶ lost        either ──heard──▶ healthy
 *                        any ──deregistered──▶ deregistered ──registered──▶ healthy
 *   health, by reports:  healthy ──3 failures in a row──▶ degraded ──5 successes──▶ healthy
 *                                                             └──10 failures──▶ faulty ──an operator──▶ healthy
 *
 * Guaranteed: degraded is given one job at a time, faulty, draining and deregistered none. Not guaranteed: that it is
 * the executor's fault. Bad jobs look alike, which is why it takes an operator to say so.
 */
export type ExecutorState = 'healthy' | 'suspect' | 'lost' | 'deregistered'
export type Health = 'healthy' | 'degraded' | 'faulty'

export interface Trouble {
  health: Health
  /** Healthy: in a row. Degraded: since it is. */
  failures: number
  /** Since it is degraded. */
  successes: number
}

const degradedAfter = 3
const healthyAfter = 5
const faultyAfter = 10

export const noTrouble: Trouble = { health: 'healthy', failures: 0, successes: 0 }

/** After one accepted report. Of outcomes, only what a job came to counts: not what was given back or cancelled. */
export function afterOutcome(trouble: Trouble, outcome: Outcome): Trouble {
  const isFailure = outcome === 'failed'
  if ((!isFailure && outcome !== 'succeeded') || trouble.health === 'faulty') return trouble
  if (trouble.health === 'healthy') {
    const failures = isFailure ? trouble.failures + 1 : 0
    return failures >= degradedAfter
      ? { health: 'degraded', failures: 0, successes: 0 }
      : { ...trouble, failures }
  }
  const failures = trouble.failures + (isFailure ? 1 : 0)
  const successes = trouble.successes + (isFailure ? 0 : 1)
  if (failures >= faultyAfter) return { health: 'faulty', failures, successes }
  return successes >= healthyAfter ? noTrouble : { health: 'degraded', failures, successes }
}

/** Whether this outcome changes anything: if not, its row need not be locked. */
export function isCounted(trouble: Trouble, outcome: Outcome): boolean {
  const after = afterOutcome(trouble, outcome)
  return after.failures !== trouble.failures || after.successes !== trouble.successes
}

/** Missed in a row, an executor is suspect. */
export const missedBeats = 3

/** After a silence. Only being heard, or registered, leads back. */
export function afterSilence(
  state: ExecutorState,
  silentMs: number,
  { suspectMs, lostMs }: { suspectMs: number; lostMs: number },
): ExecutorState {
  if (state !== 'healthy' && state !== 'suspect') return state
  if (silentMs > lostMs) return 'lost'
  return silentMs > suspectMs ? 'suspect' : state
}

/** What decides what it may be given. */
export interface Standing {
  health: Health
  is_draining: boolean
  is_deregistered: boolean
  /** Higher with each change of the above. */
  changes: number
}

/** How many of `asked` jobs it may be given; of a degraded one only while it holds none. */
export function allowance(standing: Standing, asked: number): number {
  if (standing.health === 'faulty' || standing.is_draining || standing.is_deregistered) return 0
  return standing.health === 'degraded' ? Math.min(1, asked) : asked
}

/** Whether a claim could give it anything; `isBusy`: it holds a job. */
export function isOpenToWork(standing: Standing, isBusy: boolean): boolean {
  return allowance(standing, 1) > 0 && !(standing.health === 'degraded' && isBusy)
}
