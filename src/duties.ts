import type { Config } from './config.ts'
import type { Duties } from './leader/tenure.ts'
import type { Term } from './leader/term.ts'
import type { Log } from './log.ts'
import type { LoopRun, LoopState } from './loop.ts'
import type { Parts } from './parts.ts'
import { checkSchemaPhase } from './recovery/check-schema.ts'
import { doubtEffectsPhase } from './recovery/doubt-effects.ts'
import { loadMemoryPhase } from './recovery/load-memory.ts'
import { markGonePhase } from './recovery/mark-gone.ts'
import { type Phase, recover } from './recovery/recover.ts'
import { rehearse } from './recovery/rehearse.ts'
import { settleDeadlinesPhase } from './recovery/settle-deadlines.ts'
import { verifyPhase } from './recovery/verify.ts'
import { refusal } from './services/serving.ts'
import { raiseDeadlineFloor } from './sql/leader.ts'
import { expireLeases } from './sweep/expire-leases.ts'
import { scanClaimable } from './sweep/scan-claimable.ts'
import { runSweeps } from './sweep/scheduler.ts'
import { verify } from './sweep/verify.ts'
import { wakeDue } from './sweep/wake-due-jobs.ts'

/** What a standby of this build does while it waits. */
export function rehearsal({ pools, migrations }: Parts, log: Log): Promise<void> {
  return rehearse(pools.leader, migrations, log)
}

/** What a leader of this build does: the phases of its recovery, in order, and its sweeps. */
export function duties(config: Config, log: Log, parts: Parts): Duties {
  const { pools, db, doors, gate, wiring, clock, metrics, migrations, sweepStates } = parts
  const { leaseEnds, stalls, polls, catalog, wakeNudge, waitList } = wiring
  const { lostLeaseBudget, timings } = config
  const reclaiming = { doors, leaseEnds, log, lostLeaseBudget }
  const phases = [
    checkSchemaPhase(pools.leader, migrations),
    markGonePhase(doors),
    settleDeadlinesPhase(db, reclaiming),
    doubtEffectsPhase(db, doors),
    loadMemoryPhase(db, wiring),
    verifyPhase(db, log),
  ]
  const sweeps = [
    expireLeases({
      ...reclaiming,
      db,
      stalls,
      intervalMs: timings.sweepIntervalMs,
      leaseTtlMs: timings.leaseTtlMs,
      onDeferred: (reason) => metrics.reclaimDeferred(reason),
    }),
    wakeDue({ db, doors, polls, nudge: wakeNudge, log }),
    scanClaimable(db, catalog, polls),
    verify(db, log, 12 * timings.sweepIntervalMs),
  ]
  return {
    recover: async (term, lost) => {
      // What waits from before a second recovery waits under memory that is about to be replaced.
      waitList.end('poll', refusal(gate))
      await recoverCounted(term, lost, phases, { ...parts, log })
    },
    sweep: async (term, lost) => {
      if (gate.serving === term) log.info({ term: term.number }, 'active: the gate is open')
      lost.addEventListener('abort', () => waitList.end('poll', refusal(gate)), { once: true })
      // Every executor gets one full TTL from the opening of the gate (invariant 7).
      await doors.asLeader(term, (tx) => raiseDeadlineFloor(tx, term.number, timings.leaseTtlMs))
      metrics.reclaimDeferred('promotion')
      const onState = (state: LoopState) => sweepStates.set(state.name, state)
      const onRun = (run: LoopRun) => metrics.sweepRan(run)
      const scheduling = { sweeps, clock, log, onState, onRun }
      await Promise.all([stalls.run(lost), runSweeps(term, lost, scheduling)])
    },
  }
}

/** A term that is lost has not failed to recover. */
async function recoverCounted(
  term: Term,
  lost: AbortSignal,
  phases: Phase[],
  { metrics, doors, clock, log }: Pick<Parts, 'metrics' | 'doors' | 'clock'> & { log: Log },
): Promise<void> {
  const startedAt = clock.monotonic()
  const onPhase = (phase: string, ms: number) => metrics.recoveryPhase(phase, ms)
  try {
    await recover(term, lost, { phases, doors, clock, log, onPhase })
    metrics.recovered(clock.monotonic() - startedAt)
  } catch (error) {
    if (!lost.aborted) metrics.recoveryFailed()
    throw error
  }
}
